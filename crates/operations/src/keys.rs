//! Keys: read from the store or from files, parsed once, changed without anybody noticing.
//!
//! A new signing key is published before it signs, so that every verifier has fetched it by then; an old one verifies until
//! the last token that it signed has expired. The keys that tag refresh tokens follow the same path.

mod genuine;
mod in_use;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use countersign_core::events::Origin;
use countersign_core::keys::{KeyPhase, KeyUse, StoredKey};
use countersign_core::time::Millis;
use countersign_store::verbs::{NewKey, StoredKeyDraft};
use countersign_store::{Store, StoreError};
use countersign_token::{Algorithm, KeySet, MAX_LEEWAY_SECONDS, SigningKey};
use tokio::sync::Mutex;

pub(crate) use self::in_use::Keys;
use self::in_use::Rows;
use crate::administrators::Administrator;
use crate::policy::Policy;
use crate::sealing::KeyEncryptionKey;
use crate::{Operations, random};

/// For how long verifiers may keep the published key set (`Cache-Control: max-age`), and so for how long a new key is
/// published before it signs.
pub const PUBLISHED_AHEAD: Duration = Duration::from_secs(300);

/// How long lies between two times that keys are read for somebody who presents one that is not here.
const RENEWAL_PAUSE: Duration = Duration::from_millis(200);

/// Where signing keys come from. The keys that tag refresh tokens are always in the store.
#[derive(Debug)]
pub struct KeySource {
    /// Opens the keys in the store.
    pub encryption: KeyEncryptionKey,
    /// Which keys sign.
    pub signing: SigningSource,
}

/// Which keys sign access tokens.
#[derive(Debug)]
pub enum SigningSource {
    /// Keys that Countersign makes and keeps in the store, for this algorithm.
    Generated(Algorithm),
    /// Keys that the operator brings: the first signs, all verify.
    Brought(Vec<Arc<SigningKey>>),
}

/// Why keys could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be made or parsed.
    #[error(transparent)]
    Key(#[from] countersign_token::KeyError),
    /// A key in the store was sealed with another key-encryption key.
    #[error("key {0} in the database cannot be opened: the key-encryption key is not the one it was sealed with")]
    OtherEncryptionKey(String),
    /// `signing_key_files` names none.
    #[error("no signing key: signing_key_files is empty")]
    NoKey,
    /// The ring of tag keys has no free number.
    #[error("255 refresh-tag keys are in use; wait until an older one has retired")]
    RingFull,
    /// Somebody else rotated at the same moment.
    #[error("the keys were rotated by somebody else at the same moment; look at `countersign key list`")]
    Raced,
}

/// The keys in use, replaced as a whole.
pub(crate) struct KeyRing {
    source: KeySource,
    current: ArcSwap<Keys>,
    /// When the keys were last read for somebody who presented one that was not here.
    renewed: Mutex<Option<Instant>>,
    /// Held from the read of the keys until they are in use: what was read first must not take the place of what was read later.
    reading: Mutex<()>,
}

/// A key in a list.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// Its id.
    pub kid: String,
    /// What it is for.
    pub key_use: KeyUse,
    /// The JOSE name of its algorithm.
    pub algorithm: String,
    /// What it does now.
    pub phase: KeyPhase,
    /// When it was made; `None`: the operator brought it.
    pub created_at: Option<Millis>,
    /// From when it is used for new tokens.
    pub active_from: Option<Millis>,
    /// Until when it verifies, once another has taken its place.
    pub verifies_until: Option<Millis>,
}

impl KeyRing {
    pub(crate) async fn open(store: &dyn Store, policy: &Policy, source: KeySource) -> Result<Self, KeyError> {
        if let SigningSource::Generated(algorithm) = source.signing {
            let newest = store.keys(KeyUse::Signing).await?.pop();
            if newest.as_ref().is_none_or(|key| key.algorithm != algorithm.as_str()) {
                // Where another process adds one at the same moment, its key is the one.
                let key = new_signing_key(policy, &source.encryption, algorithm, newest, false)?;
                store.add_keys(vec![key], Origin::SERVER).await?;
            }
        }
        if store.keys(KeyUse::RefreshTag).await?.is_empty() {
            store.add_keys(vec![new_tag_key(policy, &source.encryption, &[], false)?], Origin::SERVER).await?;
        }
        let keys = Keys::at(store.now(), Rows::read(store).await?, &source, &HashMap::new())?;
        Ok(Self { source, current: ArcSwap::from_pointee(keys), renewed: Mutex::new(None), reading: Mutex::new(()) })
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.current.load()
    }

    /// Reads the keys again because somebody presents one that is not here: another server may have made it a moment ago. Whoever
    /// asks while they are read, or was just before, waits for the next time, so that nobody can make this busy.
    pub(crate) async fn renew(&self, store: &dyn Store) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut renewed = self.renewed.lock().await;
        if let Some(last) = *renewed {
            if last >= asked {
                return Ok(());
            }
            tokio::time::sleep(RENEWAL_PAUSE.saturating_sub(last.elapsed())).await;
        }
        *renewed = Some(Instant::now());
        match self.reload(store).await {
            Ok(()) => Ok(()),
            Err(KeyError::Store(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "could not read the keys; the ones in memory stay in use");
                Ok(())
            }
        }
    }

    /// Reads the keys again: others may have added some, and time moves every key on. It does so with the keys that are known where no
    /// others can be had: one that has retired must not verify for as long as the store is away.
    pub(crate) async fn reload(&self, store: &dyn Store) -> Result<(), KeyError> {
        let _reading = self.reading.lock().await;
        let read = Rows::read(store).await.map_err(KeyError::from);
        let now = store.now();
        match read.and_then(|rows| Keys::at(now, rows, &self.source, &self.current().parsed)) {
            Ok(keys) => {
                self.current.store(Arc::new(keys.after(&self.current())));
                Ok(())
            }
            Err(error) => {
                self.current.rcu(|known| {
                    let moved_on = Keys::at(now, Arc::clone(&known.rows), &self.source, &known.parsed);
                    moved_on.map_or_else(|_| Arc::clone(known), |keys| Arc::new(keys.after(known)))
                });
                Err(error)
            }
        }
    }
}

impl Operations {
    /// The keys that verify access tokens now.
    #[must_use]
    pub fn verifying_keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.current().verifying)
    }
}

/// Makes new keys, all or none: one that will sign once every verifier can know it, and one that tags refresh tokens. Where the
/// operator brings the signing keys, only the latter.
///
/// `now` is for a key that leaked: the new one signs at once, and the older ones verify nothing any more, so every access token has
/// to be refreshed. Verifiers that have fetched the set within the last minutes may refuse new tokens, and accept old ones, until they
/// fetch it again.
///
/// # Errors
/// See [`KeyError`].
pub async fn rotate(operations: &Operations, by: &Administrator, now: bool) -> Result<Rotated, KeyError> {
    let (store, policy) = (&*operations.store, &operations.policy);
    let encryption = &operations.keys.source.encryption;
    let tags = store.keys(KeyUse::RefreshTag).await?;
    let mut new = vec![new_tag_key(policy, encryption, &tags, now)?];
    if let SigningSource::Generated(algorithm) = operations.keys.source.signing {
        let newest = store.keys(KeyUse::Signing).await?.pop();
        new.push(new_signing_key(policy, encryption, algorithm, newest, now)?);
    }
    if !store.add_keys(new, by.origin).await? {
        return Err(KeyError::Raced);
    }
    operations.keys.reload(store).await?;
    Ok(match operations.keys.source.signing {
        SigningSource::Generated(_) => Rotated::All,
        SigningSource::Brought(_) => Rotated::RefreshTag,
    })
}

/// Which keys were rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The one that signs access tokens and the one that tags refresh tokens.
    All,
    /// The latter alone: the operator brings the signing keys.
    RefreshTag,
}

/// Every key, with what it does now.
///
/// # Errors
/// See [`KeyError`].
pub async fn list(operations: &Operations) -> Result<Vec<ListedKey>, KeyError> {
    let now = operations.store.now();
    let mut listed = vec![];
    if let SigningSource::Brought(keys) = &operations.keys.source.signing {
        listed.extend(keys.iter().enumerate().map(|(position, key)| ListedKey {
            kid: key.kid().to_owned(),
            key_use: KeyUse::Signing,
            algorithm: key.algorithm().to_string(),
            phase: if position == 0 { KeyPhase::Active } else { KeyPhase::Verifying },
            created_at: None,
            active_from: None,
            verifies_until: None,
        }));
    }
    let brought = !listed.is_empty();
    for key_use in [KeyUse::Signing, KeyUse::RefreshTag] {
        let rows = operations.store.keys(key_use).await?;
        for (position, row) in rows.iter().enumerate() {
            let successor = rows[position + 1..].iter().map(|later| later.active_from).min();
            let phase = match row.phase(successor, now) {
                // Beside keys that the operator brought, those in the store sign nothing.
                KeyPhase::Active | KeyPhase::Published if brought && key_use == KeyUse::Signing => KeyPhase::Verifying,
                phase => phase,
            };
            listed.push(ListedKey {
                kid: row.kid.clone(),
                key_use,
                algorithm: row.algorithm.clone(),
                phase,
                created_at: Some(row.created_at),
                active_from: Some(row.active_from),
                verifies_until: row.verifies_until,
            });
        }
    }
    Ok(listed)
}

fn new_signing_key(
    policy: &Policy,
    encryption: &KeyEncryptionKey,
    algorithm: Algorithm,
    newest: Option<StoredKey>,
    now: bool,
) -> Result<NewKey, KeyError> {
    let key = SigningKey::generate(algorithm)?;
    let sealed = encryption
        .seal(KeyUse::Signing, key.kid(), &key.to_secret_bytes()?)
        .map_err(|_| KeyError::OtherEncryptionKey(key.kid().to_owned()))?;
    let leeway = Duration::from_secs(MAX_LEEWAY_SECONDS.unsigned_abs());
    Ok(NewKey {
        key: StoredKeyDraft {
            kid: key.kid().to_owned(),
            key_use: KeyUse::Signing,
            algorithm: algorithm.as_str().to_owned(),
            sealed,
            active_after: if newest.is_none() || now { Duration::ZERO } else { PUBLISHED_AHEAD },
        },
        expected_newest: newest.map(|key| key.kid),
        // A key that leaked verifies nothing any more; one that is replaced in peace, what it has signed.
        overlap: if now { Duration::ZERO } else { policy.lifetimes.access_token + leeway },
    })
}

fn new_tag_key(
    policy: &Policy,
    encryption: &KeyEncryptionKey,
    present: &[StoredKey],
    now: bool,
) -> Result<NewKey, KeyError> {
    let taken: Vec<u8> = present.iter().filter_map(|key| key.kid.parse().ok()).collect();
    let newest = taken.last().copied().unwrap_or(0);
    let id = (1..=u8::MAX).map(|step| newest.wrapping_add(step)).find(|id| *id != 0 && !taken.contains(id));
    let kid = id.ok_or(KeyError::RingFull)?.to_string();
    let secret: [u8; 32] = random::bytes();
    let sealed =
        encryption.seal(KeyUse::RefreshTag, &kid, &secret).map_err(|_| KeyError::OtherEncryptionKey(kid.clone()))?;
    Ok(NewKey {
        key: StoredKeyDraft {
            kid,
            key_use: KeyUse::RefreshTag,
            algorithm: "HMAC-SHA256".to_owned(),
            sealed,
            active_after: if present.is_empty() || now { Duration::ZERO } else { PUBLISHED_AHEAD },
        },
        expected_newest: present.last().map(|key| key.kid.clone()),
        overlap: policy.lifetimes.refresh_token_idle,
    })
}
