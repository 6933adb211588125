//! The `jsonwebtoken` crate as an independent oracle, in both directions.

use base64ct::{Base64, Encoding};
use countersign_token::{AccessClaims, Algorithm, KeySet, verify};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, jwk::JwkSet, jwk::ThumbprintHash};

use crate::fixtures::{ALGORITHMS, AUDIENCE, ISSUER, NOW, claims, expected, key, keys};

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    algorithm.as_str().parse().unwrap()
}

/// Claims that are good by the oracle's clock, which is the real one.
fn current_claims() -> AccessClaims {
    AccessClaims { exp: 32_503_680_000, ..claims() }
}

fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(theirs(algorithm));
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation
}

fn their_signing_key(algorithm: Algorithm) -> EncodingKey {
    let secret = key(algorithm).to_secret_bytes().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", Base64::encode_string(&secret));
    match algorithm {
        Algorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
        Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        Algorithm::Hs256 => EncodingKey::from_secret(&secret),
    }
}

fn published() -> JwkSet {
    let set: KeySet = ALGORITHMS.into_iter().map(|algorithm| key(algorithm).verifying_key()).collect();
    serde_json::from_value(set.to_jwks()).unwrap()
}

#[test]
fn it_verifies_what_we_sign_with_the_keys_we_publish() {
    let published = published();
    for algorithm in ALGORITHMS {
        let decoding_key = if algorithm.is_symmetric() {
            DecodingKey::from_secret(&key(algorithm).to_secret_bytes().unwrap())
        } else {
            DecodingKey::from_jwk(published.find(key(algorithm).kid()).unwrap()).unwrap()
        };
        let token = key(algorithm).sign(&current_claims()).unwrap();
        let read = jsonwebtoken::decode::<AccessClaims>(&token, &decoding_key, &validation(algorithm)).unwrap();
        assert_eq!(read.claims, current_claims(), "{algorithm}");
        assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(read.header.kid.as_deref(), Some(key(algorithm).kid()));
    }
}

#[test]
fn we_verify_what_it_signs() {
    for algorithm in ALGORITHMS {
        let mut header = Header::new(theirs(algorithm));
        header.typ = Some("at+jwt".into());
        header.kid = Some(key(algorithm).kid().into());
        let token = jsonwebtoken::encode(&header, &claims(), &their_signing_key(algorithm)).unwrap();
        assert_eq!(verify(&token, &keys(algorithm), &expected(), NOW), Ok(claims()), "{algorithm}");
    }
}

#[test]
fn it_computes_the_same_thumbprints() {
    let published = published();
    assert_eq!(published.keys.len(), 3, "the shared secret is not published");
    for jwk in &published.keys {
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        assert_eq!(jwk.common.key_id.as_deref(), Some(thumbprint.as_str()));
    }
}
