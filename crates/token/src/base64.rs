//! Unpadded base64url (RFC 7515 §2), strict: one spelling for one value, no padding, no other character.

use base64ct::{Base64UrlUnpadded, Encoding};

pub(crate) fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// `None` for a character outside the alphabet, an impossible length, or spare bits that are not zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_one_value() {
        assert_eq!(decode("Zm8"), Some(b"fo".to_vec()));
        assert_eq!(decode(""), Some(Vec::new()));
        for other in
            ["Zm9", "Zm8=", "Zm8 ", " Zm8", "Z m8", "Zm8\n", "Zm8.", "Zm+8", "Zm/8", "Z", "Zm9vY", "Zmé8", "Zm8\0"]
        {
            assert_eq!(decode(other), None, "{other:?}");
        }
    }
}
