//! Keys that operators bring, and keys that are kept.

use countersign_token::{Algorithm, KeyError, SigningKey, verify};
use proptest::prelude::*;

use crate::fixtures::{ALGORITHMS, NOW, claims, expected, key, keys};

const P256: &str = include_str!("../keys/p256.pem");
const P256_PUBLIC: &str = include_str!("../keys/p256-public.pem");
const ED25519: &str = include_str!("../keys/ed25519.pem");
const RSA2048: &str = include_str!("../keys/rsa2048.pem");

fn refusal(pem: &str) -> KeyError {
    SigningKey::from_pem(pem).unwrap_err()
}

#[test]
fn the_key_decides_the_algorithm() {
    for (pem, algorithm) in [(P256, Algorithm::Es256), (ED25519, Algorithm::EdDsa), (RSA2048, Algorithm::Rs256)] {
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let token = key.sign(&claims()).unwrap();
        let set = [key.verifying_key()].into_iter().collect();
        assert_eq!(verify(&token, &set, &expected(), NOW), Ok(claims()));
    }
}

#[test]
fn other_forms_are_refused_with_the_command_that_converts_them() {
    for (pem, refused) in [
        (include_str!("../keys/p256-sec1.pem"), KeyError::Sec1),
        (include_str!("../keys/p256-sec1-with-parameters.pem"), KeyError::Sec1),
        (include_str!("../keys/rsa2048-pkcs1.pem"), KeyError::Pkcs1),
        (include_str!("../keys/p256-encrypted.pem"), KeyError::Encrypted),
    ] {
        assert_eq!(refusal(pem), refused);
        assert!(refused.to_string().contains("openssl pkcs8 -topk8 -nocrypt"), "{refused}");
    }
    for (pem, refused) in [
        (include_str!("../keys/p384.pem"), KeyError::UnsupportedCurve),
        (include_str!("../keys/secp256k1.pem"), KeyError::UnsupportedCurve),
        (include_str!("../keys/x25519.pem"), KeyError::UnsupportedKey),
        (include_str!("../keys/rsa-pss.pem"), KeyError::UnsupportedKey),
        (include_str!("../keys/rsa1024.pem"), KeyError::RsaSize { bits: 1024 }),
        (P256_PUBLIC, KeyError::NotPem),
        ("", KeyError::NotPem),
        ("PRIVATE KEY", KeyError::NotPem),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n-----END OPENSSH PRIVATE KEY-----", KeyError::UnsupportedPem),
        ("-----BEGIN PRIVATE KEY-----", KeyError::PemMalformed),
        ("-----BEGIN PRIVATE KEY-----\nAA==\n", KeyError::PemMalformed),
        ("-----BEGIN PRIVATE KEY-----\nA*==\n-----END PRIVATE KEY-----", KeyError::PemMalformed),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", KeyError::Pkcs8Malformed),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", KeyError::Pkcs8Malformed),
    ] {
        assert_eq!(refusal(pem), refused, "{pem:.40}");
    }
    assert_eq!(refusal(&format!("{P256}{ED25519}")), KeyError::SeveralKeys);
    assert_eq!(refusal(&" ".repeat(64 * 1024 + 1)), KeyError::TooLong);
}

#[test]
fn what_stands_around_the_key_is_passed_over() {
    let kid = SigningKey::from_pem(P256).unwrap().kid().to_owned();
    for pem in [
        format!("Bag Attributes\n  friendlyName: login\n{P256}"),
        format!("{P256_PUBLIC}{P256}"),
        format!("{P256}{P256_PUBLIC}"),
        P256.replace('\n', "\r\n"),
        P256.trim_end().to_owned(),
    ] {
        assert_eq!(SigningKey::from_pem(&pem).unwrap().kid(), kid);
    }
}

#[test]
fn a_damaged_private_key_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let der = key(algorithm).to_secret_bytes().unwrap();
        for end in 0..der.len() {
            assert!(SigningKey::from_pkcs8_der(&der[..end]).is_err(), "{algorithm}: cut at {end}");
        }
    }
    let der = key(Algorithm::Rs256).to_secret_bytes().unwrap();
    let mut contradictory = der.to_vec();
    contradictory[100] ^= 1;
    assert_eq!(SigningKey::from_pkcs8_der(&contradictory).unwrap_err(), KeyError::Pkcs8Malformed);
}

#[test]
fn a_key_survives_being_kept() {
    for algorithm in ALGORITHMS {
        let kept = key(algorithm).to_secret_bytes().unwrap();
        let again = SigningKey::from_secret_bytes(algorithm, &kept).unwrap();
        assert_eq!(again.kid(), key(algorithm).kid());
        assert_eq!(again.to_secret_bytes().unwrap(), kept);
        let token = again.sign(&claims()).unwrap();
        assert_eq!(verify(&token, &keys(algorithm), &expected(), NOW), Ok(claims()), "{algorithm}");
    }
    let es256 = key(Algorithm::Es256).to_secret_bytes().unwrap();
    assert_eq!(
        SigningKey::from_secret_bytes(Algorithm::EdDsa, &es256).unwrap_err(),
        KeyError::AlgorithmMismatch { expected: Algorithm::EdDsa, found: Algorithm::Es256 }
    );
}

#[test]
fn a_shared_secret_is_neither_short_nor_a_wrong_file() {
    assert_eq!(SigningKey::from_secret(&[7; 31]).unwrap_err(), KeyError::SecretTooShort { bytes: 31 });
    assert_eq!(SigningKey::from_secret(&[]).unwrap_err(), KeyError::SecretTooShort { bytes: 0 });
    assert_eq!(SigningKey::from_secret(&[7; 1025]).unwrap_err(), KeyError::SecretTooLong { bytes: 1025 });
    assert!(SigningKey::from_secret(&[7; 32]).is_ok());
    assert!(SigningKey::from_secret(&[7; 1024]).is_ok());
}

#[test]
fn the_name_of_a_secret_is_its_own_and_is_stable() {
    let kid = |byte| SigningKey::from_secret(&[byte; 32]).unwrap().kid().to_owned();
    assert_eq!(kid(7), kid(7));
    assert_ne!(kid(7), kid(8));
    // Stored keys and tokens in flight go by this name: a change of the derivation would orphan them.
    assert_eq!(kid(7), "DZPHYGQUT_YckuNW9ofYrg");
}

#[test]
fn new_keys_differ_and_rsa_has_3072_bits() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
        let kid = |_| SigningKey::generate(algorithm).unwrap().kid().to_owned();
        assert_ne!(kid(0), kid(1), "{algorithm}");
    }
    let token = key(Algorithm::Rs256).sign(&claims()).unwrap();
    assert_eq!(token.rsplit_once('.').unwrap().1.len(), 512, "384 bytes in base64url");
}

#[test]
fn debug_shows_no_secret() {
    for algorithm in ALGORITHMS {
        let key = key(algorithm);
        let shown = format!("SigningKey {{ kid: {:?}, algorithm: {algorithm:?}, .. }}", key.kid());
        assert_eq!(format!("{key:?}"), shown);
        assert_eq!(format!("{:?}", key.verifying_key()), shown.replace("Signing", "Verifying"));
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_key(text in any::<String>()) {
        prop_assert!(SigningKey::from_pem(&text).is_err());
        let framed = format!("-----BEGIN PRIVATE KEY-----{text}-----END PRIVATE KEY-----");
        prop_assert!(SigningKey::from_pem(&framed).is_err());
    }

    #[test]
    fn a_flipped_bit_of_a_key_never_panics(position in 0_usize..138, bit in 0..8_u8) {
        let mut der = key(Algorithm::Es256).to_secret_bytes().unwrap().to_vec();
        if let Some(byte) = der.get_mut(position) {
            *byte ^= 1_u8 << bit;
        }
        let _ = SigningKey::from_pkcs8_der(&der);
    }
}
