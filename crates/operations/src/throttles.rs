//! Throttles on guessing, kept in memory.
//!
//! Three allowances for failed sign-ins: of an address, of an account from one address, and of an account from strangers. The
//! last one is what a distributed attack uses up, and an address from which the account has signed in before does not
//! need it: an attacker who fails on purpose locks out other strangers, not the owner. A success costs nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use countersign_core::throttles::{Quota, Usage};
use countersign_core::time::Millis;
use parking_lot::Mutex;
use quick_cache::unsync::Cache;

use crate::policy::ThrottlePolicy;

/// How many allowances are remembered. The least used ones are forgotten first.
const REMEMBERED: usize = 100_000;

/// The allowances of this process.
pub struct Throttles {
    policy: ThrottlePolicy,
    used: Mutex<Cache<u64, Usage>>,
    under_way: Mutex<HashMap<Option<IpAddr>, u32>>,
    hash: RandomState,
}

/// How many passwords of one network are hashed or wait for it at the same time: less than the hashing pool has room for, so that
/// one busy address, honest or not, leaves room for others.
pub const UNDER_WAY: u32 = 64;

/// A place among the requests of a network whose password is being hashed; given back when it is dropped.
pub struct Place<'a> {
    throttles: &'a Throttles,
    network: Option<IpAddr>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.throttles.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.network);
            }
        }
    }
}

/// One may not try now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// When one more attempt is allowed.
    pub retry_after: Duration,
    /// Why.
    pub cause: Cause,
}

/// Why one may not try now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many attempts failed, or too many registrations came from the address.
    Attempts,
    /// Too many attempts of strangers failed; an address that the account knows is let through.
    Strangers,
    /// As much is under way for the network as may be.
    UnderWay,
}

/// An attempt that was allowed. It is charged when it is dropped, unless it was forgiven: so whoever hangs up before the answer
/// comes has guessed as well.
pub struct Attempt<'a> {
    throttles: &'a Throttles,
    allowances: Vec<(u64, Quota)>,
    at: Millis,
    _place: Place<'a>,
}

impl Attempt<'_> {
    /// Charges nothing: it succeeded, or could not be tried. Its place is kept until it is dropped.
    pub(crate) fn forgive(&mut self) {
        self.allowances.clear();
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut used = self.throttles.used.lock();
        for (key, quota) in &self.allowances {
            let usage = used.get(key).copied().unwrap_or(Usage::NONE);
            used.insert(*key, usage.spend(*quota, self.at));
        }
    }
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt({} allowances)", self.allowances.len())
    }
}

/// Whom an attempt is about: an account, or the name of one that does not exist.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Target<'a> {
    /// An account.
    Account(&'a [u8; 16]),
    /// A name that nobody has.
    Nobody(&'a str),
}

impl Throttles {
    pub(crate) fn new(policy: ThrottlePolicy) -> Self {
        Self { policy, used: Mutex::new(Cache::new(REMEMBERED)), under_way: Mutex::default(), hash: RandomState::new() }
    }

    /// Whether one may try to sign in. Only a failure is charged, so that honest sign-ins side by side are all let through. The
    /// hashing pool bounds how many guesses run side by side, and each of them is charged.
    pub(crate) fn sign_in(
        &self,
        target: Target<'_>,
        address: Option<IpAddr>,
        familiar: bool,
        now: Millis,
    ) -> Result<Attempt<'_>, Throttled> {
        let network = address.map(network);
        let mut allowances = vec![(self.key("pair", &(target, network)), self.policy.account_and_address)];
        if let Some(network) = network {
            allowances.push((self.key("address", &network), self.policy.address));
        }
        let strangers = (self.key("strangers", &target), self.policy.account_from_strangers);
        if !familiar {
            allowances.push(strangers);
        }
        let used = self.used.lock();
        for (key, quota) in &allowances {
            let usage = used.get(key).copied().unwrap_or(Usage::NONE);
            usage.allows(*quota, now).map_err(|retry_after| Throttled {
                retry_after,
                cause: if *key == strangers.0 { Cause::Strangers } else { Cause::Attempts },
            })?;
        }
        drop(used);
        let place = self.place(network)?;
        Ok(Attempt { throttles: self, allowances, at: now, _place: place })
    }

    /// Charges one registration to an address.
    pub(crate) fn register(&self, address: Option<IpAddr>, now: Millis) -> Result<Place<'_>, Throttled> {
        let network = address.map(network);
        let (key, quota) = (self.key("registration", &network), self.policy.registration);
        let mut used = self.used.lock();
        let usage = used.get(&key).copied().unwrap_or(Usage::NONE);
        usage.allows(quota, now).map_err(|retry_after| Throttled { retry_after, cause: Cause::Attempts })?;
        used.insert(key, usage.spend(quota, now));
        drop(used);
        self.place(network)
    }

    fn place(&self, network: Option<IpAddr>) -> Result<Place<'_>, Throttled> {
        let mut under_way = self.under_way.lock();
        let count = under_way.entry(network).or_default();
        if *count >= UNDER_WAY {
            return Err(Throttled { retry_after: Duration::from_secs(1), cause: Cause::UnderWay });
        }
        *count += 1;
        Ok(Place { throttles: self, network })
    }

    fn key(&self, kind: &str, subject: &impl std::hash::Hash) -> u64 {
        self.hash.hash_one((kind, subject))
    }
}

/// What one party can be assumed to hold: an IPv4 address, or the /64 of an IPv6 address.
#[must_use]
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Millis = Millis::new(1_000_000_000);
    const ALICE: Target<'static> = Target::Account(&[1; 16]);

    fn throttles() -> Throttles {
        let quota = |burst| Quota { burst, refill: Duration::from_secs(60) };
        Throttles::new(ThrottlePolicy {
            address: quota(20),
            account_and_address: quota(3),
            account_from_strangers: quota(10),
            registration: quota(2),
        })
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([198, 51, 100, last]))
    }

    fn fail(throttles: &Throttles, target: Target<'_>, address: Option<IpAddr>) {
        drop(throttles.sign_in(target, address, false, NOW).unwrap());
    }

    #[test]
    fn one_address_may_guess_a_few_times() {
        let throttles = throttles();
        for _ in 0..3 {
            fail(&throttles, ALICE, address(1));
        }
        let refused = throttles.sign_in(ALICE, address(1), false, NOW).unwrap_err();
        assert_eq!(refused, Throttled { retry_after: Duration::from_secs(60), cause: Cause::Attempts });
    }

    #[test]
    fn many_addresses_lock_out_strangers_and_not_the_owner() {
        let throttles = throttles();
        for last in 0..10 {
            fail(&throttles, ALICE, address(last));
        }
        assert_eq!(throttles.sign_in(ALICE, address(200), false, NOW).unwrap_err().cause, Cause::Strangers);
        assert!(throttles.sign_in(ALICE, address(200), true, NOW).is_ok());
    }

    #[test]
    fn one_address_may_not_try_every_account() {
        let throttles = throttles();
        let names: Vec<String> = (0..21).map(|n| format!("user{n}")).collect();
        for name in &names[..20] {
            fail(&throttles, Target::Nobody(name), address(1));
        }
        assert!(throttles.sign_in(Target::Nobody(&names[20]), address(1), false, NOW).is_err());
        assert!(throttles.sign_in(Target::Nobody(&names[20]), address(2), false, NOW).is_ok());
    }

    #[test]
    fn one_network_leaves_room_in_the_hashing_pool() {
        let throttles = throttles();
        let attempts: Vec<_> =
            (0..UNDER_WAY).map(|_| throttles.sign_in(ALICE, address(1), true, NOW).unwrap()).collect();
        assert!(throttles.sign_in(ALICE, address(1), true, NOW).is_err());
        assert!(throttles.register(address(1), NOW).is_err());
        assert!(throttles.sign_in(ALICE, address(2), true, NOW).is_ok());
        attempts.into_iter().for_each(|mut attempt| attempt.forgive());
        assert!(throttles.sign_in(ALICE, address(1), true, NOW).is_ok());
    }

    #[test]
    fn successes_side_by_side_never_throttle() {
        let throttles = throttles();
        let attempts: Vec<_> = (0..UNDER_WAY).map(|_| throttles.sign_in(ALICE, address(1), false, NOW)).collect();
        assert!(attempts.iter().all(Result::is_ok));
        attempts.into_iter().for_each(|attempt| attempt.unwrap().forgive());
        assert!(throttles.sign_in(ALICE, address(1), false, NOW).is_ok());
    }

    #[test]
    fn registrations_count_even_where_they_succeed() {
        let throttles = throttles();
        assert_eq!([(); 3].map(|()| throttles.register(address(1), NOW).is_ok()), [true, true, false]);
        assert!(throttles.register(address(2), NOW).is_ok());
    }

    #[test]
    fn an_ipv6_holder_is_one_party() {
        let a: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let b: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
        let c: IpAddr = "2001:db8:1:3::1".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network(c));
        assert_eq!(network("::ffff:198.51.100.7".parse().unwrap()), IpAddr::from([198, 51, 100, 7]));
    }
}
