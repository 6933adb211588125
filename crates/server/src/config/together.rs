//! Settings that are right alone and wrong together. What did not parse is not judged again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_token::{Algorithm, SigningKey};
use zeroize::Zeroizing;

use super::database::{DatabaseUrl, beside, default_key_file, default_witness_file};
use super::layers::Layers;
use super::show::Show;
use super::table;
use super::types::PasswordHash;
use super::url::Issuer;

/// The port of `listen` where it is not set.
const DEFAULT_PORT: u16 = 5000;

pub(super) fn addresses(layers: &mut Layers, listen: Option<SocketAddr>, metrics: Option<SocketAddr>) {
    let (Some(listen), Some(metrics)) = (listen, metrics) else { return };
    let same_host = listen.ip() == metrics.ip() || listen.ip().is_unspecified() || metrics.ip().is_unspecified();
    if listen.port() != 0 && listen.port() == metrics.port() && same_host {
        layers.refuse_value(&table::METRICS_LISTEN, format!("must differ from listen, which is {listen}"));
    }
}

/// The issuer: this machine by its own name, and the port of `listen`, unless it is named.
pub(super) fn issuer(layers: &mut Layers, named: Option<Issuer>, listen: Option<SocketAddr>) -> Issuer {
    named.unwrap_or_else(|| {
        // Port 0 has yet to be picked; whoever binds it says which it is.
        let port = listen.map(|listen| listen.port()).filter(|port| *port != 0).unwrap_or(DEFAULT_PORT);
        let derived = Issuer::local(port);
        layers.derived(&table::ISSUER, derived.show());
        derived
    })
}

/// The overlap: a minute unless it is named, and always shorter than an access token lives.
pub(super) fn rotation_overlap(layers: &mut Layers, named: Option<Duration>, access: Option<Duration>) -> Duration {
    let access = access.unwrap_or(Duration::MAX);
    let Some(overlap) = named else {
        let derived = Duration::from_secs(60.min(access.as_secs() / 2));
        layers.derived(&table::ROTATION_OVERLAP, derived.show());
        return derived;
    };
    if overlap >= access {
        let access = access.show();
        let expected = format!("must be shorter than access_token_lifetime, which is {access}");
        layers.refuse_value(&table::ROTATION_OVERLAP, expected);
    }
    overlap
}

/// The cost of a hash, where its parts parsed and are strong enough together.
pub(super) fn password_hash(
    layers: &mut Layers,
    memory_kib: Option<u32>,
    iterations: Option<u32>,
    parallelism: Option<u32>,
) -> Option<PasswordHash> {
    let (Some(memory_kib), Some(iterations), Some(parallelism)) = (memory_kib, iterations, parallelism) else {
        return None;
    };
    let cost = PasswordHash { memory_kib, iterations, parallelism };
    if !cost.is_strong_enough() {
        let expected = format!(
            "is too weak with password_hash_iterations = {iterations}; at least 19456 with 2 (or 47104 with 1, 12288 \
             with 3, 9216 with 4, 7168 with 5), as OWASP advises"
        );
        layers.refuse_value(&table::PASSWORD_HASH_MEMORY_KIB, expected);
    }
    Some(cost)
}

/// The file of the key that encrypts the signing keys: with the data of this server, unless it is named.
pub(super) fn key_encryption_key_file(
    layers: &mut Layers,
    named: Option<PathBuf>,
    database: Option<&DatabaseUrl>,
) -> Option<PathBuf> {
    if named.is_some() {
        return named;
    }
    let file = default_key_file(database?);
    layers.derived(&table::KEY_ENCRYPTION_KEY_FILE, file.show());
    Some(file)
}

/// The file that shows a database that went back in time. That of a SQLite database is found by whoever moves the database.
pub(super) fn witness_file(
    layers: &mut Layers,
    named: Option<PathBuf>,
    database: Option<&DatabaseUrl>,
) -> Option<PathBuf> {
    let file = match (named, database?) {
        (Some(named), DatabaseUrl::Postgres(_)) => return Some(named),
        (Some(_), DatabaseUrl::Sqlite(database)) => {
            let beside = beside(database);
            let expected =
                format!("must be left out with SQLite: the witness is {}, beside the database", beside.display());
            layers.refuse_value(&table::WITNESS_FILE, expected);
            return None;
        }
        (None, database) => default_witness_file(database),
    };
    layers.derived(&table::WITNESS_FILE, file.show());
    Some(file)
}

/// The operator's own keys, read and parsed; the first is the one that signs.
pub(super) fn signing_keys(layers: &mut Layers, algorithm: Option<Algorithm>, files: &[PathBuf]) -> Vec<SigningKey> {
    let Some(algorithm) = algorithm else { return Vec::new() };
    if algorithm == Algorithm::Hs256 && files.len() != 1 {
        let expected = "must name exactly one file when signing_algorithm is HS256: its secret, at least 32 random \
                        bytes; `openssl rand -hex 32 > FILE` makes one";
        layers.refuse_value(&table::SIGNING_KEY_FILES, expected.to_owned());
        return Vec::new();
    }
    let mut keys = Vec::with_capacity(files.len());
    for file in files {
        match signing_key(algorithm, file) {
            Ok(key) => keys.push(key),
            Err(wrong) => layers.refuse_value(&table::SIGNING_KEY_FILES, format!("{}: {wrong}", file.display())),
        }
    }
    if let (Some(first), Some(file)) = (keys.first(), files.first())
        && keys.len() == files.len()
        && first.algorithm() != algorithm
    {
        let found = first.algorithm();
        let expected = format!("{}: is a key for {found}, and the first file signs with {algorithm}", file.display());
        layers.refuse_value(&table::SIGNING_KEY_FILES, expected);
    }
    keys
}

fn signing_key(algorithm: Algorithm, file: &Path) -> Result<SigningKey, String> {
    let bytes = Zeroizing::new(read_small(file).map_err(|error| format!("cannot be read: {error}"))?);
    if algorithm == Algorithm::Hs256 {
        return SigningKey::from_secret(without_newline(&bytes)).map_err(|wrong| wrong.to_string());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not PEM text".to_owned())?;
    SigningKey::from_pem(text).map_err(|wrong| wrong.to_string())
}

/// Reads a file that has no reason to be large: a device or a disk image named by mistake must not fill the memory.
fn read_small(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;

    const MOST: u64 = 64 * 1024;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(std::io::Error::other("it is longer than 64 KiB"));
    }
    Ok(bytes)
}

/// The newline with which tools and editors end a text is no part of the secret; raw bytes are taken as they are.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.iter().all(u8::is_ascii_graphic) { text } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_ends_a_text_and_belongs_to_raw_bytes() {
        assert_eq!(without_newline(b"abc\n"), b"abc");
        assert_eq!(without_newline(b"abc\r\n"), b"abc");
        assert_eq!(without_newline(b"abc"), b"abc");
        assert_eq!(without_newline(b"\x00\xffc\n"), b"\x00\xffc\n");
    }
}
