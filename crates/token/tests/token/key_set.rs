//! Key sets: what is published, what is read, what is passed over.

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_token::{Algorithm, KeyError, KeySet, MAX_KEYS, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures::{ALGORITHMS, encode, key};

fn published(algorithm: Algorithm) -> Value {
    KeySet::new([key(algorithm).verifying_key()]).to_jwks()["keys"][0].clone()
}

fn read(keys: Vec<Value>) -> Result<KeySet, KeyError> {
    KeySet::from_jwks(&json!({ "keys": keys }).to_string())
}

#[test]
fn the_published_set_is_public_keys_and_no_more() {
    let set: KeySet = ALGORITHMS.into_iter().map(|algorithm| key(algorithm).verifying_key()).collect();
    let jwks = set.to_jwks();
    let names: Vec<Vec<&String>> =
        jwks["keys"].as_array().unwrap().iter().map(|jwk| jwk.as_object().unwrap().keys().collect()).collect();
    assert_eq!(names[0], ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(names[1], ["alg", "crv", "kid", "kty", "use", "x"]);
    assert_eq!(names[2], ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(names.len(), 3, "the shared secret is not published");
    assert_eq!(KeySet::new([key(Algorithm::Hs256).verifying_key()]).to_jwks(), json!({ "keys": [] }));
}

#[test]
fn a_published_set_reads_back_as_itself() {
    let set: KeySet = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256]
        .into_iter()
        .map(|algorithm| key(algorithm).verifying_key())
        .collect();
    let again = KeySet::from_jwks(&set.to_jwks().to_string()).unwrap();
    assert_eq!(again.to_jwks(), set.to_jwks());
    assert_eq!(again.find(key(Algorithm::Rs256).kid()).unwrap().algorithm(), Algorithm::Rs256);
    assert!(again.find("other").is_none());
}

#[test]
fn the_thumbprint_of_rfc_7638_and_of_rfc_8037() {
    let rsa = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
              tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1\
              n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    for (mut jwk, thumbprint) in
        [(rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"), (ed, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")]
    {
        assert_eq!(jwk.as_object_mut().unwrap().remove("kid").is_some(), jwk["kty"] == "RSA");
        assert!(read(vec![jwk]).unwrap().find(thumbprint).is_some(), "{thumbprint}");
    }
}

#[test]
fn the_publisher_names_the_key() {
    let mut jwk = published(Algorithm::Es256);
    jwk["kid"] = "2026-11".into();
    let set = read(vec![jwk]).unwrap();
    assert_eq!(set.iter().next().unwrap().kid(), "2026-11");
}

#[test]
fn entries_that_are_not_for_us_are_passed_over() {
    let ec = published(Algorithm::Es256);
    let with = |member: &str, value: Value| {
        let mut jwk = ec.clone();
        jwk[member] = value;
        jwk
    };
    let rsa = |member: &str, value: &str| {
        let mut jwk = published(Algorithm::Rs256);
        jwk[member] = value.into();
        jwk
    };
    // The same octets, cut at another place: a point all the same to whoever only joins them.
    let decode = |member: &str| Base64UrlUnpadded::decode_vec(ec[member].as_str().unwrap()).unwrap();
    let octets = [decode("x"), decode("y")].concat();
    let mut shifted = with("x", encode(&octets[..31]).into());
    shifted["y"] = encode(&octets[31..]).into();
    let modulus = Base64UrlUnpadded::decode_vec(published(Algorithm::Rs256)["n"].as_str().unwrap()).unwrap();
    let rsa_n = |modulus: &[u8]| rsa("n", &encode(modulus));
    let even = [&modulus[..383], &[modulus[383] & 0xfe]].concat();
    let others = vec![
        shifted,
        rsa_n(&even),
        rsa_n(&[&[0], &modulus[..]].concat()),
        rsa_n(&[&[0x7f], &modulus[129..]].concat()),
        rsa_n(&modulus.repeat(3)),
        json!({}),
        json!(null),
        json!("key"),
        json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        with("kty", "RSA".into()),
        with("kty", json!(1)),
        with("use", "enc".into()),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("alg", "ES384".into()),
        with("alg", "RS256".into()),
        with("alg", "HS256".into()),
        with("alg", "none".into()),
        with("crv", "P-384".into()),
        with("crv", "secp256k1".into()),
        with("x", "AAAA".into()),
        with("x", json!(null)),
        with("y", ec["x"].clone()),
        with("y", format!("{}=", ec["y"].as_str().unwrap()).into()),
        with("d", "AAAA".into()),
        with("kid", "".into()),
        with("kid", json!(1)),
        with("kid", "k".repeat(257).into()),
        rsa("e", "AQ"),
        rsa("e", "AA"),
        rsa("e", ""),
        rsa("e", "AAEAAQ"),
        rsa("e", "Ag"),
        rsa("e", "AQAAAAE"),
        rsa("n", "AQAB"),
        rsa("n", ""),
        rsa("alg", "PS256"),
        json!({ "kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcH" }),
    ];
    for other in others {
        let set = read(vec![other.clone(), ec.clone()]).unwrap();
        assert_eq!(set.len(), 1, "{other}");
    }
    assert!(read(vec![with("use", "sig".into())]).unwrap().find(ec["kid"].as_str().unwrap()).is_some());
    assert_eq!(read(vec![with("key_ops", json!(["verify"]))]).unwrap().len(), 1);
    assert_eq!(read(vec![with("x5c", json!(["MIIB"]))]).unwrap().len(), 1);
}

#[test]
fn two_keys_of_one_name_are_refused() {
    let mut other = published(Algorithm::EdDsa);
    other["kid"] = published(Algorithm::Es256)["kid"].clone();
    assert_eq!(read(vec![published(Algorithm::Es256), other]).unwrap_err(), KeyError::DuplicateKid);
    let twice = vec![published(Algorithm::Es256), published(Algorithm::Es256)];
    assert_eq!(read(twice).unwrap_err(), KeyError::DuplicateKid);
    let verifying_key = || key(Algorithm::Es256).verifying_key();
    assert_eq!(KeySet::new([verifying_key(), verifying_key()]).len(), 1, "of our own keys the first is kept");
}

#[test]
fn a_set_has_bounds_and_a_form() {
    let keys = |count| (0..count).map(|_| published_of(&SigningKey::generate(Algorithm::EdDsa).unwrap())).collect();
    assert_eq!(read(keys(MAX_KEYS)).unwrap().len(), MAX_KEYS);
    assert_eq!(read(keys(MAX_KEYS + 1)).unwrap_err(), KeyError::TooManyKeys);
    assert_eq!(read(vec![json!(null); MAX_KEYS + 1]).unwrap_err(), KeyError::TooManyKeys);
    let padded = format!("{}{}", json!({ "keys": [] }), " ".repeat(64 * 1024));
    assert_eq!(KeySet::from_jwks(&padded).unwrap_err(), KeyError::TooLong);
    assert!(KeySet::from_jwks(r#"{"keys":[],"other":1}"#).unwrap().is_empty());
    let deep = format!(r#"{{"keys":[{}]}}"#, "[".repeat(5_000));
    for other in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[]"#,
        r#"{"keys":[],"keys":[]}"#,
        &deep,
    ] {
        assert_eq!(KeySet::from_jwks(other).unwrap_err(), KeyError::JwksMalformed, "{other:.30}");
    }
}

fn published_of(key: &SigningKey) -> Value {
    KeySet::new([key.verifying_key()]).to_jwks()["keys"][0].clone()
}

proptest! {
    #[test]
    fn arbitrary_members_never_panic(members in proptest::collection::btree_map(
        "kty|use|key_ops|alg|kid|crv|x|y|n|e|d", "EC|RSA|OKP|P-256|Ed25519|sig|ES256|[A-Za-z0-9_-]{0,90}", 0..9,
    )) {
        let _ = read(vec![json!(members)]);
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        prop_assert!(KeySet::from_jwks(&text).is_err());
    }
}
