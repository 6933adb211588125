//! What each key does at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_core::keys::{KeyPhase, KeyUse, StoredKey};
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{TagKey, TagKeys};
use countersign_core::time::Millis;
use countersign_store::{Store, StoreError};
use countersign_token::{KeySet, SigningKey, VerifyingKey};

use crate::keys::genuine::Genuine;
use crate::keys::{KeyError, KeySource, SigningSource};
use crate::sealing::KeyEncryptionKey;

/// The keys in use at one moment.
pub(crate) struct Keys {
    /// Signs access tokens.
    pub(crate) signing: Arc<SigningKey>,
    /// Verifies them: what is published, and a shared secret where HS256 is used.
    pub(crate) verifying: Arc<KeySet>,
    /// What was verified with them.
    pub(crate) genuine: Arc<Genuine>,
    /// Verifies also with keys that have retired: an expired access token that comes along with a refresh only says which session
    /// it belonged to.
    pub(crate) with_retired: KeySet,
    /// Tags refresh tokens.
    pub(crate) tags: TagKeys,
    /// What they were made of.
    pub(super) rows: Arc<Rows>,
    /// Signing keys that were parsed before, by id.
    pub(super) parsed: HashMap<String, Arc<SigningKey>>,
}

/// The keys as the store holds them.
pub(super) struct Rows {
    signing: Vec<StoredKey>,
    tags: Vec<StoredKey>,
}

impl Rows {
    pub(super) async fn read(store: &dyn Store) -> Result<Arc<Self>, StoreError> {
        let (signing, tags) = (store.keys(KeyUse::Signing).await?, store.keys(KeyUse::RefreshTag).await?);
        Ok(Arc::new(Self { signing, tags }))
    }
}

impl Keys {
    /// The set that verifies is the very same for as long as the same keys do, and so is what is remembered: verifiers forget what they
    /// have seen with another.
    pub(super) fn after(self, known: &Self) -> Self {
        let same = self.verifying.iter().map(VerifyingKey::kid).eq(known.verifying.iter().map(VerifyingKey::kid));
        if !same {
            return self;
        }
        Self { verifying: Arc::clone(&known.verifying), genuine: Arc::clone(&known.genuine), ..self }
    }

    /// What each key does at this time, of those in the store and those that the operator brought.
    pub(super) fn at(
        now: Millis,
        rows: Arc<Rows>,
        source: &KeySource,
        known: &HashMap<String, Arc<SigningKey>>,
    ) -> Result<Self, KeyError> {
        let mut parsed = HashMap::new();
        let mut verifying = vec![];
        let mut active = None;
        if let SigningSource::Brought(keys) = &source.signing {
            verifying.extend(keys.iter().map(|key| key.verifying_key()));
            active = keys.first().map(Arc::clone);
        }
        let brought = active.is_some();
        let mut retired = vec![];
        for row in &rows.signing {
            let key = match known.get(&row.kid) {
                Some(key) => Arc::clone(key),
                None => Arc::new(open_signing_key(&source.encryption, row)?),
            };
            parsed.insert(row.kid.clone(), Arc::clone(&key));
            if row.phase(None, now) == KeyPhase::Retired {
                retired.push(key.verifying_key());
                continue;
            }
            verifying.push(key.verifying_key());
            // Oldest first: the last that is active signs. Where none is yet, by a clock that was set back, the oldest does.
            if !brought && (active.is_none() || now >= row.active_from) {
                active = Some(key);
            }
        }
        let signing = active.ok_or(KeyError::NoKey)?;
        let tags = read_tags(&rows.tags, &source.encryption, now)?;
        let with_retired = KeySet::new(verifying.iter().cloned().chain(retired));
        Ok(Self {
            signing,
            verifying: Arc::new(KeySet::new(verifying)),
            genuine: Arc::default(),
            with_retired,
            tags,
            rows,
            parsed,
        })
    }
}

fn open_signing_key(encryption: &KeyEncryptionKey, row: &StoredKey) -> Result<SigningKey, KeyError> {
    let other = || KeyError::OtherEncryptionKey(row.kid.clone());
    let secret = encryption.open(KeyUse::Signing, &row.kid, &row.sealed).map_err(|_| other())?;
    let algorithm = row.algorithm.parse().map_err(|_| other())?;
    Ok(SigningKey::from_secret_bytes(algorithm, &secret)?)
}

fn read_tags(rows: &[StoredKey], encryption: &KeyEncryptionKey, now: Millis) -> Result<TagKeys, KeyError> {
    let mut ring = vec![];
    let mut active = 0;
    for row in rows.iter().filter(|row| row.phase(None, now) != KeyPhase::Retired) {
        let other = || KeyError::OtherEncryptionKey(row.kid.clone());
        let secret = encryption.open(KeyUse::RefreshTag, &row.kid, &row.sealed).map_err(|_| other())?;
        let bytes: [u8; 32] = secret.as_slice().try_into().map_err(|_| other())?;
        let id = row.kid.parse().map_err(|_| other())?;
        if now >= row.active_from {
            active = ring.len();
        }
        ring.push(TagKey::new(id, &Secret::new(bytes)));
    }
    if ring.is_empty() {
        return Err(KeyError::NoKey);
    }
    let newest = ring.swap_remove(active);
    Ok(TagKeys::new(newest, ring))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use countersign_token::Algorithm;

    use super::*;

    const HANDOVER: Millis = Millis::new(1_000);
    const END: Millis = Millis::new(2_000);

    /// A key as the store holds it: the first one of its use, or the one that follows it.
    fn row(key_use: KeyUse, kid: &str, secret: &[u8], first: bool) -> StoredKey {
        StoredKey {
            kid: kid.to_owned(),
            key_use,
            algorithm: "ES256".to_owned(),
            sealed: KeyEncryptionKey::new(&[1; 32]).seal(key_use, kid, secret).unwrap(),
            created_at: Millis::new(0),
            active_from: if first { Millis::new(0) } else { HANDOVER },
            verifies_until: first.then_some(END),
        }
    }

    #[test]
    fn time_alone_hands_over_from_one_key_to_the_next() {
        let [old, new] = [(); 2].map(|()| SigningKey::generate(Algorithm::Es256).unwrap());
        let signing = [(&old, true), (&new, false)]
            .map(|(key, first)| row(KeyUse::Signing, key.kid(), &key.to_secret_bytes().unwrap(), first));
        let tags = [("1", true), ("2", false)].map(|(kid, first)| row(KeyUse::RefreshTag, kid, &[7; 32], first));
        let rows = Arc::new(Rows { signing: signing.into(), tags: tags.into() });
        let source = KeySource {
            encryption: KeyEncryptionKey::new(&[1; 32]),
            signing: SigningSource::Generated(Algorithm::Es256),
        };
        let at = |now| Keys::at(now, Arc::clone(&rows), &source, &HashMap::new()).unwrap();
        let doing = |now| {
            let keys = at(now);
            (keys.signing.kid().to_owned(), keys.verifying.len(), keys.with_retired.len())
        };
        let just_before = |at: Millis| at - Duration::from_millis(1);
        assert_eq!(doing(just_before(HANDOVER)), (old.kid().to_owned(), 2, 2));
        assert_eq!(doing(HANDOVER), (new.kid().to_owned(), 2, 2));
        assert_eq!(doing(just_before(END)), (new.kid().to_owned(), 2, 2));
        assert_eq!(doing(END), (new.kid().to_owned(), 1, 2));

        let known = at(HANDOVER);
        let is_the_same = |now| {
            let next = at(now).after(&known);
            [Arc::ptr_eq(&next.verifying, &known.verifying), Arc::ptr_eq(&next.genuine, &known.genuine)]
        };
        assert_eq!([is_the_same(just_before(END)), is_the_same(END)], [[true; 2], [false; 2]]);
    }
}
