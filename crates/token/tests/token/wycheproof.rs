//! The vectors of Project Wycheproof. Each ends as expected or is skipped for a named reason, and both are counted exactly.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_token::{Algorithm, KeySet, VerifyingKey, jws::verify_compact};
use serde_json::{Value, json};

use crate::fixtures::encode;

const OTHER_ALGORITHM: &str = "its algorithm is not supported";
const ENCRYPTION: &str = "encryption (JWE) is not supported";
const SHARED_SECRET_IN_SET: &str = "shared secrets are not read from a key set";
const OTHER_CHARACTERS: &str = "it holds characters that RFC 7515 §2 forbids, and is refused";
const SAME_AS_VALID: &str = "it is byte for byte a vector that is valid: the padding that it names was lost";
const SHORT_SECRET: &str = "a secret below 256 bits is refused (RFC 7518 §3.2)";
const SHORT_TAG: &str = "a shortened tag is refused (RFC 7518 §3.2)";

/// What became of a file's vectors.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    as_expected: usize,
    skipped: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn new<const N: usize>(as_expected: usize, skipped: [(&'static str, usize); N]) -> Self {
        Self { as_expected, skipped: skipped.into() }
    }

    fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    fn compare(&mut self, accepted: bool, test: &Value) {
        let expected = test["result"].as_str().unwrap();
        assert_eq!(if accepted { "valid" } else { "invalid" }, expected, "{test:#}");
        self.as_expected += 1;
    }
}

/// Every vector of a file with its group; the file's own count guards against losing some.
fn run(text: &str, mut judge: impl FnMut(&Value, &Value, &mut Tally)) -> Tally {
    let file: Value = serde_json::from_str(text).unwrap();
    let mut tally = Tally::default();
    let mut seen = 0;
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            judge(group, test, &mut tally);
            seen += 1;
        }
    }
    assert_eq!(seen, file["numberOfTests"].as_u64().unwrap());
    assert_eq!(seen as usize, tally.as_expected + tally.skipped.values().sum::<usize>());
    tally
}

/// The group's keys, public where there is a public half; a single key is a set of one.
fn group_keys(group: &Value) -> Vec<Value> {
    let keys = group.get("public").or(group.get("private")).unwrap();
    keys.get("keys").map_or_else(|| vec![keys.clone()], |keys| keys.as_array().unwrap().clone())
}

fn is_supported(jwk: &Value) -> bool {
    jwk.get("alg").is_none_or(|alg| alg.as_str().unwrap().parse::<Algorithm>().is_ok())
}

fn header(token: &str) -> Option<Value> {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(token.split('.').next()?).ok()?).ok()
}

/// The key that a verifier would use: the secret by itself, or what the set has under the token's `kid`.
fn choose(keys: &[Value], token: &str) -> Option<VerifyingKey> {
    if let [jwk] = keys
        && jwk["kty"] == "oct"
        && jwk["alg"] == "HS256"
    {
        return VerifyingKey::from_secret(&Base64UrlUnpadded::decode_vec(jwk["k"].as_str()?).ok()?).ok();
    }
    let set = KeySet::from_jwks(&json!({ "keys": keys }).to_string()).ok()?;
    match header(token)?.get("kid") {
        Some(kid) => set.find(kid.as_str()?).cloned(),
        None => set.iter().next().filter(|_| set.len() == 1).cloned(),
    }
}

/// Why a vector proves nothing here. Confusion of algorithms is not among it: there the key or the token is for one of ours.
fn reason_to_skip(group: &Value, test: &Value, keys: &[Value], token: &str) -> Option<&'static str> {
    let should_pass = test["result"] == "valid";
    let of_token = header(token).and_then(|header| header.get("alg")?.as_str().map(str::to_ascii_lowercase));
    let known = ["none", "hs256", "es256", "rs256", "eddsa"];
    if of_token.is_some_and(|alg| !known.contains(&alg.as_str())) && !keys.iter().any(is_supported) {
        return Some(OTHER_ALGORITHM);
    }
    if should_pass && keys.len() > 1 && keys.iter().all(|jwk| jwk["kty"] == "oct") {
        return Some(SHARED_SECRET_IN_SET);
    }
    if should_pass && token.contains('?') {
        return Some(OTHER_CHARACTERS);
    }
    let same_and_valid = |other: &Value| other["jws"] == test["jws"] && other["result"] == "valid";
    if !should_pass && group["tests"].as_array().unwrap().iter().any(same_and_valid) {
        return Some(SAME_AS_VALID);
    }
    None
}

fn judge_jws(group: &Value, test: &Value, tally: &mut Tally) {
    let Some(jws) = test.get("jws") else {
        assert!(test.get("jwe").is_some(), "{test:#}");
        return tally.skip(ENCRYPTION);
    };
    let keys = group_keys(group);
    // The JSON serialisation arrives as an object; a verifier would be handed its text.
    let token = jws.as_str().map_or_else(|| jws.to_string(), str::to_owned);
    let accepted = choose(&keys, &token).is_some_and(|key| verify_compact(&token, &key).is_ok());
    let Some(reason) = reason_to_skip(group, test, &keys, &token) else {
        return tally.compare(accepted, test);
    };
    assert_eq!(accepted, reason == SAME_AS_VALID, "{test:#}");
    tally.skip(reason);
}

#[test]
fn json_web_signature() {
    let tally = run(include_str!("../wycheproof/json_web_signature.json"), judge_jws);
    assert_eq!(tally, Tally::new(317, [(OTHER_ALGORITHM, 80), (OTHER_CHARACTERS, 2), (SAME_AS_VALID, 2)]));
}

#[test]
fn json_web_key() {
    let tally = run(include_str!("../wycheproof/json_web_key.json"), judge_jws);
    assert_eq!(tally, Tally::new(19, [(OTHER_ALGORITHM, 6), (SHARED_SECRET_IN_SET, 1)]));
}

#[test]
fn json_web_crypto() {
    let tally = run(include_str!("../wycheproof/json_web_crypto.json"), judge_jws);
    assert_eq!(tally, Tally::new(48, [(ENCRYPTION, 34), (SHARED_SECRET_IN_SET, 1)]));
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn only_key(jwk: Value) -> VerifyingKey {
    let set = KeySet::from_jwks(&json!({ "keys": [jwk] }).to_string()).unwrap();
    set.iter().next().expect("the group's public key is usable").clone()
}

fn verifies(key: &VerifyingKey, test: &Value, signature: &str) -> bool {
    key.verify_signature(&unhex(&test["msg"]), &unhex(&test[signature])).is_ok()
}

#[test]
fn ecdsa_p256_sha256_p1363() {
    let tally = run(include_str!("../wycheproof/ecdsa_secp256r1_sha256_p1363.json"), |group, test, tally| {
        let point = unhex(&group["publicKey"]["uncompressed"]);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) });
        tally.compare(verifies(&only_key(jwk), test, "sig"), test);
    });
    assert_eq!(tally, Tally::new(262, []));
}

#[test]
fn ed25519() {
    let tally = run(include_str!("../wycheproof/ed25519.json"), |group, test, tally| {
        tally.compare(verifies(&only_key(group["publicKeyJwk"].clone()), test, "sig"), test);
    });
    assert_eq!(tally, Tally::new(151, []));
}

#[test]
fn hmac_sha256() {
    let tally = run(include_str!("../wycheproof/hmac_sha256.json"), |group, test, tally| {
        let Ok(key) = VerifyingKey::from_secret(&unhex(&test["key"])) else {
            assert!(group["keySize"].as_u64().unwrap() < 256);
            return tally.skip(SHORT_SECRET);
        };
        let accepted = verifies(&key, test, "tag");
        if group["tagSize"] != 256 && test["result"] == "valid" {
            assert!(!accepted, "{test:#}");
            return tally.skip(SHORT_TAG);
        }
        tally.compare(accepted, test);
    });
    assert_eq!(tally, Tally::new(138, [(SHORT_SECRET, 6), (SHORT_TAG, 30)]));
}
