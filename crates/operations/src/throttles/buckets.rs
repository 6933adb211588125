//! The names of allowances in the store: keyed hashes, since people type passwords where a name belongs.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use countersign_store::verbs::Bucket;

use super::Target;

/// Names allowances under a key that is not in the database.
pub(super) struct Buckets(hmac::Key);

impl Buckets {
    pub(super) fn new(key: hmac::Key) -> Self {
        Self(key)
    }

    /// Sign-ins to one account from one network.
    pub(super) fn pair(&self, network: Option<IpAddr>, target: Target<'_>) -> Bucket {
        self.bucket("pair", network, Some(target))
    }

    /// Sign-ins from one network, whatever the account.
    pub(super) fn address(&self, network: IpAddr) -> Bucket {
        self.bucket("address", Some(network), None)
    }

    /// Sign-ins to one account from everywhere.
    pub(super) fn strangers(&self, target: Target<'_>) -> Bucket {
        self.bucket("strangers", None, Some(target))
    }

    /// Registrations from one network.
    pub(super) fn registration(&self, network: Option<IpAddr>) -> Bucket {
        self.bucket("registration", network, None)
    }

    fn bucket(&self, kind: &str, network: Option<IpAddr>, target: Option<Target<'_>>) -> Bucket {
        let network = match network {
            None => vec![],
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
        };
        let (target_kind, target) = match target {
            None => ("", &[][..]),
            Some(Target::Account(id)) => ("account", &id[..]),
            Some(Target::Nobody(name)) => ("nobody", name.as_bytes()),
        };
        let mut context = hmac::Context::with_key(&self.0);
        for part in [kind.as_bytes(), &network, target_kind.as_bytes(), target] {
            // With its length in front, a part cannot pass for the end of the one before.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 16];
        for (byte, of_tag) in bytes.iter_mut().zip(context.sign().as_ref()) {
            *byte = *of_tag;
        }
        Bucket::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::KeyEncryptionKey;

    fn buckets(key: u8) -> Buckets {
        Buckets::new(KeyEncryptionKey::new(&[key; 32]).throttles())
    }

    #[test]
    fn whatever_differs_has_another_name() {
        let networks = [IpAddr::from([0, 0, 0, 0]), IpAddr::from([198, 51, 100, 7]), IpAddr::from([0; 16])];
        let targets = [
            Target::Account(&[b'a'; 16]),
            Target::Account(&[b'b'; 16]),
            Target::Nobody("aaaaaaaaaaaaaaaa"),
            Target::Nobody("a"),
            Target::Nobody(""),
        ];
        let mut named = vec![];
        for key in [1, 2] {
            let buckets = buckets(key);
            named.extend(networks.iter().map(|network| buckets.address(*network)));
            named.extend(targets.iter().map(|target| buckets.strangers(*target)));
            for network in networks.iter().copied().map(Some).chain([None]) {
                named.push(buckets.registration(network));
                named.extend(targets.iter().map(|target| buckets.pair(network, *target)));
            }
        }
        assert_eq!(named.iter().collect::<HashSet<_>>().len(), named.len());
    }

    #[test]
    fn every_server_with_the_same_key_gives_the_same_name() {
        let name = |key| buckets(key).pair(None, Target::Nobody("correct horse battery"));
        assert_eq!(name(1), name(1));
        // Servers of different versions may run side by side: the names must not change between them.
        assert_eq!(u128::from_be_bytes(*name(1).as_bytes()), 0xADB4_C032_8BA0_A67D_29B4_E9DC_49A8_7E8A);
    }
}
