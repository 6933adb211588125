//! The file with the key-encryption key: read, or made where there is none.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use countersign_operations::KeyEncryptionKey;
use zeroize::Zeroizing;

/// More of a key file is not read, in bytes.
const LONGEST_KEY_FILE: usize = 1024;

/// Why the file with the key-encryption key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The database holds keys, and the key that opens them is gone.
    #[error(
        "the key-encryption key file {} is missing, and the database holds keys that only it can open: put the file back, or copy \
         it from another server on the same database (key_encryption_key_file names it)", .0.display()
    )]
    Missing(PathBuf),
    /// The file is not what `countersign` writes there.
    #[error("the key-encryption key file {} must hold 32 bytes in base64 on one line", .0.display())]
    Malformed(PathBuf),
    /// The system refuses.
    #[error("the key-encryption key file {} cannot be used: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

/// The key in the file; `None` where there is no file.
pub(crate) fn read_key(path: &Path) -> Result<Option<KeyEncryptionKey>, KeyFileError> {
    let failed = |error| KeyFileError::Io(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // No key file is that long: a wrong path must not fill the memory.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_KEY_FILE));
    file.take(LONGEST_KEY_FILE as u64).read_to_end(&mut text).map_err(failed)?;
    let mut key = Zeroizing::new([0; KeyEncryptionKey::BYTES]);
    match Base64::decode(text.trim_ascii_end(), &mut *key) {
        Ok(decoded) if decoded.len() == KeyEncryptionKey::BYTES => Ok(Some(KeyEncryptionKey::new(&key))),
        _ => Err(KeyFileError::Malformed(path.to_owned())),
    }
}

/// Makes the key. It comes under its name whole or not at all, and of two processes that start at once one makes it.
pub(crate) fn make_key(path: &Path) -> Result<KeyEncryptionKey, KeyFileError> {
    let failed = |error| KeyFileError::Io(path.to_owned(), error);
    // The folder of a SQLite database is there already.
    create_privately(folder_of(path)).map_err(failed)?;
    let draft = draft_beside(path);
    let key = KeyEncryptionKey::draw();
    let linked = write_privately(&draft, &key).and_then(|()| std::fs::hard_link(&draft, path));
    // A draft that stays behind is a key that nothing was sealed with.
    let _ = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return read_key(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()));
        }
        Err(error) => return Err(failed(error)),
    }
    // What is sealed with the key must not be on the disk before its name is.
    #[cfg(unix)]
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
    tracing::info!(
        file = %path.display(),
        "made the key that encrypts the signing keys: keep a copy of it, apart from the database"
    );
    Ok(KeyEncryptionKey::new(&key))
}

/// A name that no other process picks.
fn draft_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".draft-");
    name.push(Base64UrlUnpadded::encode_string(&KeyEncryptionKey::draw()[..12]));
    name.into()
}

fn write_privately(path: &Path, key: &[u8; KeyEncryptionKey::BYTES]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut text = Zeroizing::new(Base64::encode_string(key));
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn create_privately(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_make_the_key_at_once_all_read_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key-encryption.key");
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    make_key(&path).unwrap();
                    // The file is whole as soon as it has its name, whoever made it.
                    assert!(read_key(&path).unwrap().is_some());
                });
            }
        });
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["key-encryption.key"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end().len(), 44);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        make_key(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        assert!(read_key(&path).unwrap().is_none());
        for text in ["", "c2hvcnQ=\n", "not base64 at all", &"A".repeat(100_000)] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read_key(&path), Err(KeyFileError::Malformed(_))), "{text:.20}");
            assert!(matches!(make_key(&path), Err(KeyFileError::Malformed(_))), "{text:.20}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let below_a_file = path.join("k");
        assert!(matches!(make_key(&below_a_file), Err(KeyFileError::Io(..))));
    }
}
