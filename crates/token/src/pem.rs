//! PEM (RFC 7468) with one PKCS#8 private key.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::KeyError;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const MAX_PEM_BYTES: usize = 64 * 1024;

/// The DER of the one private key in the text. Text before and after, and blocks that are not private keys, are passed over.
pub(crate) fn private_key(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if text.len() > MAX_PEM_BYTES {
        return Err(KeyError::TooLong);
    }
    let mut found = None;
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let (label, after) = rest[begin + BEGIN.len()..].split_once(DASHES).ok_or(KeyError::PemMalformed)?;
        let (body, after) = after.split_once(&format!("-----END {label}{DASHES}")).ok_or(KeyError::PemMalformed)?;
        rest = after;
        if !label.ends_with("PRIVATE KEY") {
            continue;
        }
        if found.replace((label, body)).is_some() {
            return Err(KeyError::SeveralKeys);
        }
    }
    match found.ok_or(KeyError::NotPem)? {
        ("PRIVATE KEY", body) => decode(body),
        ("EC PRIVATE KEY", _) => Err(KeyError::Sec1),
        // The old OpenSSL form encrypts inside a block that is named as if it were plain; the same command converts it.
        ("RSA PRIVATE KEY", _) => Err(KeyError::Pkcs1),
        ("ENCRYPTED PRIVATE KEY", _) => Err(KeyError::Encrypted),
        _ => Err(KeyError::UnsupportedPem),
    }
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let compact: Zeroizing<String> = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    Base64::decode_vec(&compact).map(Zeroizing::new).map_err(|_| KeyError::PemMalformed)
}
