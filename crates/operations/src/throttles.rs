//! Throttles on guessing: counted in memory at once, and shared through the store.
//!
//! Three allowances for failed sign-ins: of an address, of an account from one address, and of an account from strangers. The
//! last one is what a distributed attack uses up, and an address from which the account has signed in before does not
//! need it: an attacker who fails on purpose locks out other strangers, not the owner. A success costs nothing.
//!
//! Servers on one database share what is used, and a restart forgets none of it. A check takes the larger of what this process has
//! counted and what the store knows. A charge counts here at once; the upkeep writes those that have come together four times a
//! second. Until then other servers do not know of it, so that in such a moment each may give out all that is left of an allowance.
//! Over time nothing is gained by that: every guess is charged, and what is owed has to be waited for at every server, up to
//! [`LONGEST_WAIT`](countersign_core::throttles::LONGEST_WAIT).

mod buckets;
mod pending;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use countersign_core::throttles::Usage;
use countersign_core::time::Millis;
use countersign_store::verbs::{Bucket, Charge};
use countersign_store::{Store, StoreError};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;

use crate::policy::ThrottlePolicy;
use crate::throttles::buckets::Buckets;
use crate::throttles::pending::Pending;

/// How many allowances are remembered. The least used ones are forgotten first.
const REMEMBERED: usize = 100_000;

/// The allowances, as far as this process knows.
pub struct Throttles {
    policy: ThrottlePolicy,
    buckets: Buckets,
    used: Mutex<Cache<Bucket, Usage>>,
    pending: Pending,
    under_way: Mutex<HashMap<Option<IpAddr>, u32>>,
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

/// Whom an attempt is about: an account, or the name of one that does not exist.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// An account.
    Account(&'a [u8; 16]),
    /// A name that nobody has.
    Nobody(&'a str),
}

/// The allowances that a guess needs.
pub(crate) struct Guess {
    network: Option<IpAddr>,
    pair: Charge,
    address: Option<Charge>,
    strangers: Charge,
}

/// The allowance that a registration needs.
pub(crate) struct Registration {
    network: Option<IpAddr>,
    allowance: Charge,
}

/// An attempt that was allowed. It is charged when it is dropped, unless it was forgiven: so whoever hangs up before the answer
/// comes has guessed as well.
pub struct Attempt<'a> {
    throttles: &'a Throttles,
    charges: Vec<Charge>,
    at: Millis,
    _place: Place<'a>,
}

impl Attempt<'_> {
    /// Charges nothing: it succeeded, or could not be tried. Its place is kept until it is dropped.
    pub(crate) fn forgive(&mut self) {
        self.charges.clear();
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut used = self.throttles.used.lock();
        for charge in &self.charges {
            spend(&mut used, charge, self.at);
        }
        drop(used);
        self.throttles.pending.add(&self.charges);
    }
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt({} allowances)", self.charges.len())
    }
}

impl Throttles {
    /// `key` is the same for all servers on one database.
    pub(crate) fn new(policy: ThrottlePolicy, key: hmac::Key) -> Self {
        Self {
            policy,
            buckets: Buckets::new(key),
            used: Mutex::new(Cache::new(REMEMBERED)),
            pending: Pending::default(),
            under_way: Mutex::default(),
        }
    }

    /// What a guess at a password from this address needs, after a look at what other servers have charged.
    pub(crate) async fn guess(
        &self,
        store: &dyn Store,
        target: Target<'_>,
        address: Option<IpAddr>,
    ) -> Result<Guess, StoreError> {
        let guess = self.guess_unlearned(target, address);
        let buckets = [Some(guess.pair), guess.address, Some(guess.strangers)].into_iter().flatten();
        self.learn(store, &buckets.map(|charge| charge.bucket).collect::<Vec<_>>()).await?;
        Ok(guess)
    }

    fn guess_unlearned(&self, target: Target<'_>, address: Option<IpAddr>) -> Guess {
        let network = address.map(network);
        Guess {
            network,
            pair: Charge { bucket: self.buckets.pair(network, target), quota: self.policy.account_and_address },
            address: network
                .map(|network| Charge { bucket: self.buckets.address(network), quota: self.policy.address }),
            strangers: Charge { bucket: self.buckets.strangers(target), quota: self.policy.account_from_strangers },
        }
    }

    /// Whether one may try to sign in. Only a failure is charged, so that honest sign-ins side by side are all let through. The
    /// hashing pool bounds how many guesses run side by side, and each of them is charged.
    pub(crate) fn sign_in(&self, guess: &Guess, familiar: bool, now: Millis) -> Result<Attempt<'_>, Throttled> {
        let strangers = (!familiar).then_some(guess.strangers);
        let charges: Vec<Charge> = [Some(guess.pair), guess.address, strangers].into_iter().flatten().collect();
        let used = self.used.lock();
        for charge in &charges {
            usage(&used, charge).allows(charge.quota, now).map_err(|retry_after| Throttled {
                retry_after,
                cause: if *charge == guess.strangers { Cause::Strangers } else { Cause::Attempts },
            })?;
        }
        drop(used);
        let place = self.place(guess.network)?;
        Ok(Attempt { throttles: self, charges, at: now, _place: place })
    }

    /// What a registration from this address needs, after a look at what other servers have charged.
    pub(crate) async fn registration(
        &self,
        store: &dyn Store,
        address: Option<IpAddr>,
    ) -> Result<Registration, StoreError> {
        let registration = self.registration_unlearned(address);
        self.learn(store, &[registration.allowance.bucket]).await?;
        Ok(registration)
    }

    fn registration_unlearned(&self, address: Option<IpAddr>) -> Registration {
        let network = address.map(network);
        let allowance = Charge { bucket: self.buckets.registration(network), quota: self.policy.registration };
        Registration { network, allowance }
    }

    /// Charges one registration to an address.
    pub(crate) fn register(&self, registration: &Registration, now: Millis) -> Result<Place<'_>, Throttled> {
        let allowance = &registration.allowance;
        let mut used = self.used.lock();
        usage(&used, allowance)
            .allows(allowance.quota, now)
            .map_err(|retry_after| Throttled { retry_after, cause: Cause::Attempts })?;
        spend(&mut used, allowance, now);
        drop(used);
        self.pending.add(&[*allowance]);
        self.place(registration.network)
    }

    /// Takes over what the store knows where that is more. It has to be remembered, and not only asked: guesses that come side by
    /// side are counted here on top of it, before the store hears of them.
    async fn learn(&self, store: &dyn Store, buckets: &[Bucket]) -> Result<(), StoreError> {
        let stored = store.throttle_usage(buckets).await?;
        let mut used = self.used.lock();
        for (bucket, stored) in buckets.iter().zip(stored) {
            if stored > used.get(bucket).copied().unwrap_or(Usage::NONE) {
                used.insert(*bucket, stored);
            }
        }
        Ok(())
    }

    /// Tells the store what was charged since the last time.
    pub(crate) async fn write(&self, store: &dyn Store) -> Result<(), StoreError> {
        while let Some(batch) = self.pending.next() {
            store.charge(batch.charges()).await?;
            if !batch.arrived() {
                // What has come meanwhile can wait for others.
                break;
            }
        }
        Ok(())
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
}

fn usage(used: &Cache<Bucket, Usage>, charge: &Charge) -> Usage {
    used.get(&charge.bucket).copied().unwrap_or(Usage::NONE)
}

fn spend(used: &mut Cache<Bucket, Usage>, charge: &Charge, at: Millis) {
    let usage = usage(used, charge).spend(charge.quota, at);
    used.insert(charge.bucket, usage);
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
    use countersign_core::throttles::Quota;

    use super::*;
    use crate::KeyEncryptionKey;

    const NOW: Millis = Millis::new(1_000_000_000);
    const ALICE: Target<'static> = Target::Account(&[1; 16]);

    fn throttles() -> Throttles {
        let quota = |burst| Quota { burst, refill: Duration::from_secs(60) };
        let policy = ThrottlePolicy {
            address: quota(20),
            account_and_address: quota(3),
            account_from_strangers: quota(10),
            registration: quota(2),
        };
        Throttles::new(policy, KeyEncryptionKey::new(&[1; 32]).throttles())
    }

    fn attempt<'a>(
        throttles: &'a Throttles,
        target: Target<'_>,
        address: Option<IpAddr>,
        familiar: bool,
    ) -> Result<Attempt<'a>, Throttled> {
        throttles.sign_in(&throttles.guess_unlearned(target, address), familiar, NOW)
    }

    fn register(throttles: &Throttles, address: Option<IpAddr>) -> Result<Place<'_>, Throttled> {
        throttles.register(&throttles.registration_unlearned(address), NOW)
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([198, 51, 100, last]))
    }

    fn fail(throttles: &Throttles, target: Target<'_>, address: Option<IpAddr>) {
        drop(attempt(throttles, target, address, false).unwrap());
    }

    #[test]
    fn one_address_may_guess_a_few_times() {
        let throttles = throttles();
        for _ in 0..3 {
            fail(&throttles, ALICE, address(1));
        }
        let refused = attempt(&throttles, ALICE, address(1), false).unwrap_err();
        assert_eq!(refused, Throttled { retry_after: Duration::from_secs(60), cause: Cause::Attempts });
    }

    #[test]
    fn many_addresses_lock_out_strangers_and_not_the_owner() {
        let throttles = throttles();
        for last in 0..10 {
            fail(&throttles, ALICE, address(last));
        }
        assert_eq!(attempt(&throttles, ALICE, address(200), false).unwrap_err().cause, Cause::Strangers);
        assert!(attempt(&throttles, ALICE, address(200), true).is_ok());
    }

    #[test]
    fn one_address_may_not_try_every_account() {
        let throttles = throttles();
        let names: Vec<String> = (0..21).map(|n| format!("user{n}")).collect();
        for name in &names[..20] {
            fail(&throttles, Target::Nobody(name), address(1));
        }
        assert!(attempt(&throttles, Target::Nobody(&names[20]), address(1), false).is_err());
        assert!(attempt(&throttles, Target::Nobody(&names[20]), address(2), false).is_ok());
    }

    #[test]
    fn one_network_leaves_room_in_the_hashing_pool() {
        let throttles = throttles();
        let attempts: Vec<_> = (0..UNDER_WAY).map(|_| attempt(&throttles, ALICE, address(1), true).unwrap()).collect();
        assert!(attempt(&throttles, ALICE, address(1), true).is_err());
        assert!(register(&throttles, address(1)).is_err());
        assert!(attempt(&throttles, ALICE, address(2), true).is_ok());
        attempts.into_iter().for_each(|mut attempt| attempt.forgive());
        assert!(attempt(&throttles, ALICE, address(1), true).is_ok());
    }

    #[test]
    fn successes_side_by_side_never_throttle() {
        let throttles = throttles();
        let attempts: Vec<_> = (0..UNDER_WAY).map(|_| attempt(&throttles, ALICE, address(1), false)).collect();
        assert!(attempts.iter().all(Result::is_ok));
        attempts.into_iter().for_each(|attempt| attempt.unwrap().forgive());
        assert!(attempt(&throttles, ALICE, address(1), false).is_ok());
    }

    #[test]
    fn registrations_count_even_where_they_succeed() {
        let throttles = throttles();
        assert_eq!([(); 3].map(|()| register(&throttles, address(1)).is_ok()), [true, true, false]);
        assert!(register(&throttles, address(2)).is_ok());
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
