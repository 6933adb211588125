//! Readers: the resource servers that may read the revocation feed.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_core::ids::ReaderId;
use countersign_store::StoreError;
use countersign_store::verbs::{NewReader, Reader};
use zeroize::Zeroizing;

use crate::administrators::Administrator;
use crate::{Operations, random};

/// What every reader key begins with, so that secret scanners can find a leaked one.
pub const READER_KEY_PREFIX: &str = "cs_rk_";

/// A key with which a resource server reads the feed: wiped when dropped, hidden in Debug.
pub struct ReaderKey {
    id: ReaderId,
    secret: Zeroizing<[u8; 32]>,
}

impl ReaderKey {
    /// The text to hand to the reader, once.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([self.id.as_bytes().as_slice(), self.secret.as_slice()].concat());
        Zeroizing::new(format!("{READER_KEY_PREFIX}{}", *Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes))))
    }

    fn hash(&self) -> [u8; 32] {
        sha256(&*self.secret)
    }
}

impl fmt::Debug for ReaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReaderKey({}, redacted)", self.id)
    }
}

/// A text is no reader key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reader key")]
pub struct NoReaderKey;

impl FromStr for ReaderKey {
    type Err = NoReaderKey;

    fn from_str(text: &str) -> Result<Self, NoReaderKey> {
        let encoded = text.strip_prefix(READER_KEY_PREFIX).filter(|encoded| encoded.len() == 64).ok_or(NoReaderKey)?;
        let mut bytes = Zeroizing::new([0; 48]);
        Base64UrlUnpadded::decode(encoded, &mut *bytes).map_err(|_| NoReaderKey)?;
        let (id, secret) = bytes.split_first_chunk::<16>().ok_or(NoReaderKey)?;
        let secret = secret.try_into().map_err(|_| NoReaderKey)?;
        Ok(Self { id: ReaderId::from_bytes(*id), secret: Zeroizing::new(secret) })
    }
}

/// Whether somebody may read the feed: with the shared secret of the settings, or with a reader key.
///
/// # Errors
/// [`StoreError`].
pub async fn may_read(
    operations: &Operations,
    presented: &str,
    shared_secret: Option<&str>,
) -> Result<bool, StoreError> {
    // Hashes of equal length are compared, so that not even the length of the secret shows in the time it takes.
    if let Some(secret) = shared_secret
        && verify_slices_are_equal(&sha256(presented.as_bytes()), &sha256(secret.as_bytes())).is_ok()
    {
        return Ok(true);
    }
    let Ok(key) = presented.parse::<ReaderKey>() else {
        return Ok(false);
    };
    let matches = |hash: &[u8; 32]| verify_slices_are_equal(hash, &key.hash()).is_ok();
    let admitted = &operations.feed.admitted;
    match operations.store.reader(key.id).await {
        Ok(Some(reader)) => {
            let is_right = matches(&reader.key_hash);
            if is_right {
                admitted.lock().insert(key.id, reader.key_hash);
            }
            Ok(is_right)
        }
        Ok(None) => {
            admitted.lock().remove(&key.id);
            Ok(false)
        }
        // The feed goes on from memory while the database is away, for those who could read it before.
        Err(error) => {
            if admitted.lock().get(&key.id).is_some_and(matches) {
                Ok(true)
            } else {
                Err(error)
            }
        }
    }
}

/// The most characters of a reader's name.
pub const READER_NAME_CHARS: usize = 64;

/// Why a reader was not admitted or dismissed.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The name is empty, too long, or has control characters.
    #[error("must have 1 to 64 characters and no control characters")]
    Name,
    /// There is no reader with this id.
    #[error("there is no reader with this id")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Admits a reader; the key is shown this once.
///
/// # Errors
/// See [`ReaderError`].
pub async fn admit(
    operations: &Operations,
    by: &Administrator,
    name: String,
) -> Result<(Reader, ReaderKey), ReaderError> {
    if !(1..=READER_NAME_CHARS).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(ReaderError::Name);
    }
    let id = ReaderId::new(random::id(operations.store.now()));
    let key = ReaderKey { id, secret: Zeroizing::new(random::bytes()) };
    let reader = operations.store.admit_reader(NewReader { id, name, key_hash: key.hash() }, by.origin).await?;
    Ok((reader, key))
}

/// Every reader.
///
/// # Errors
/// [`StoreError`].
pub async fn list(operations: &Operations, _by: &Administrator) -> Result<Vec<Reader>, StoreError> {
    operations.store.readers().await
}

/// Dismisses a reader.
///
/// # Errors
/// See [`ReaderError`].
pub async fn dismiss(operations: &Operations, by: &Administrator, id: ReaderId) -> Result<(), ReaderError> {
    operations.store.dismiss_reader(id, by.origin).await?.ok_or(ReaderError::NotFound)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
