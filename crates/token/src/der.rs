//! Just enough DER (X.690) to see what kind of key a PKCS#8 document holds, and to take an RSA public key apart.

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The kind of key that a PKCS#8 document names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    Ed25519,
    /// With the bits of its modulus.
    Rsa(usize),
    OtherCurve,
    Other,
}

/// Reads one element with the tag from the front of `input`; `None` if it is not there whole.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&found, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x83 => {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    if found != tag {
        return None;
    }
    *input = after;
    Some(content)
}

/// What a PKCS#8 `OneAsymmetricKey` (RFC 5958 §2) says it is; the key itself is left to the cryptographic library.
pub(crate) fn pkcs8_kind(mut input: &[u8]) -> Option<Kind> {
    const OCTET_STRING: u8 = 0x04;
    let mut key = take(&mut input, SEQUENCE)?;
    take(&mut key, INTEGER)?;
    let mut algorithm = take(&mut key, SEQUENCE)?;
    match take(&mut algorithm, OBJECT_IDENTIFIER)? {
        ED25519 => Some(Kind::Ed25519),
        EC_PUBLIC_KEY if take(&mut algorithm, OBJECT_IDENTIFIER) == Some(PRIME256V1) => Some(Kind::P256),
        EC_PUBLIC_KEY => Some(Kind::OtherCurve),
        RSA_ENCRYPTION => {
            let mut octets = take(&mut key, OCTET_STRING)?;
            let mut private_key = take(&mut octets, SEQUENCE)?;
            take(&mut private_key, INTEGER)?;
            Some(Kind::Rsa(bits(unsigned(&mut private_key)?)))
        }
        _ => Some(Kind::Other),
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 §A.1.1), without leading zeros.
pub(crate) fn rsa_public_key(mut input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut key = take(&mut input, SEQUENCE)?;
    Some((unsigned(&mut key)?, unsigned(&mut key)?))
}

fn unsigned<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let integer = take(input, INTEGER)?;
    Some(integer.strip_prefix(&[0]).unwrap_or(integer))
}

/// The length in bits of a big-endian number without leading zero bytes.
pub(crate) fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_count_from_the_highest_one() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[1]), 1);
        assert_eq!(bits(&[0x80, 0]), 16);
    }

    #[test]
    fn lengths_that_run_past_the_end_are_refused() {
        for input in
            [&[0x30][..], &[0x30, 5, 1], &[0x30, 0x82, 1], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 0x83, 255, 255, 255, 0]]
        {
            assert_eq!(pkcs8_kind(input), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = pkcs8_kind(&bytes);
            let _ = rsa_public_key(&bytes);
        }
    }
}
