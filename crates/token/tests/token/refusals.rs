//! Each reason to refuse a token, by itself, on a token that is genuine in every other way.

use countersign_token::{
    AccessClaims, Algorithm, Audience, Expected, KeySet, MAX_TOKEN_BYTES, SigningKey, VerifyError, jws, verify,
};
use serde_json::{Value, json};

use crate::fixtures::{ALGORITHMS, AUDIENCE, ISSUER, NOW, claims, encode, expected, key, keys, signed};

fn check(token: &str) -> Result<AccessClaims, VerifyError> {
    verify(token, &keys(Algorithm::Hs256), &expected(), NOW)
}

fn payload() -> Vec<u8> {
    serde_json::to_vec(&claims()).unwrap()
}

fn good_header() -> Value {
    json!({ "alg": "HS256", "kid": key(Algorithm::Hs256).kid(), "typ": "at+jwt" })
}

/// The good token with one header member set.
fn with_header(member: &str, value: Value) -> Result<AccessClaims, VerifyError> {
    let mut header = good_header();
    header[member] = value;
    check(&signed(&header.to_string(), &payload()))
}

/// The good token without one header member.
fn without_header(member: &str) -> String {
    let mut header = good_header();
    header.as_object_mut().unwrap().remove(member);
    signed(&header.to_string(), &payload())
}

#[test]
fn the_token_that_the_others_vary_is_accepted() {
    assert_eq!(check(&signed(&good_header().to_string(), &payload())), Ok(claims()));
}

#[test]
fn none_and_unknown_algorithms() {
    for alg in ["none", "None", "NONE", "", "hs256", "HS384", "PS256", "ES256K", "A256KW", "Ed25519"] {
        assert_eq!(with_header("alg", alg.into()), Err(VerifyError::UnsupportedAlgorithm), "{alg}");
    }
    let unsigned = format!("{}.{}.", encode(json!({ "alg": "none", "typ": "at+jwt" }).to_string()), encode(payload()));
    assert_eq!(check(&unsigned), Err(VerifyError::UnsupportedAlgorithm));
    assert_eq!(check(&without_header("alg")), Err(VerifyError::Malformed));
    assert_eq!(with_header("alg", json!(["HS256"])), Err(VerifyError::Malformed));
}

#[test]
fn a_key_verifies_its_own_algorithm_only() {
    for of_key in ALGORITHMS {
        for of_token in ALGORITHMS {
            let header = json!({ "alg": of_token, "kid": key(of_key).kid(), "typ": "at+jwt" });
            let token = format!("{}.{}.{}", encode(header.to_string()), encode(payload()), encode([1; 64]));
            let refusal =
                if of_key == of_token { VerifyError::SignatureInvalid } else { VerifyError::UnsupportedAlgorithm };
            assert_eq!(
                verify(&token, &keys(of_key), &expected(), NOW),
                Err(refusal),
                "{of_token} with a key for {of_key}"
            );
        }
    }
}

#[test]
fn a_public_key_used_as_a_shared_secret() {
    let public = key(Algorithm::Rs256);
    let published = KeySet::new([public.verifying_key()]).to_jwks()["keys"][0].to_string();
    let header = json!({ "alg": "HS256", "kid": public.kid(), "typ": "at+jwt" }).to_string();
    let input = format!("{}.{}", encode(header), encode(payload()));
    let forger = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, published.as_bytes());
    let token = format!("{input}.{}", encode(aws_lc_rs::hmac::sign(&forger, input.as_bytes())));
    assert_eq!(verify(&token, &keys(Algorithm::Rs256), &expected(), NOW), Err(VerifyError::UnsupportedAlgorithm));
}

#[test]
fn keys_that_the_token_brings_along_are_not_looked_at() {
    for (member, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("x5c", json!(["MIIB"])),
    ] {
        assert_eq!(with_header(member, value.clone()), Ok(claims()), "{member} on a genuine token");
        let forger = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let mut header = json!({ "alg": "EdDSA", "kid": forger.kid(), "typ": "at+jwt" });
        header[member] = value;
        header["jwk"] = KeySet::new([forger.verifying_key()]).to_jwks()["keys"][0].clone();
        let own = forger.sign(&claims()).unwrap();
        let token = format!("{}.{}", encode(header.to_string()), own.split_once('.').unwrap().1);
        assert_eq!(verify(&token, &keys(Algorithm::EdDsa), &expected(), NOW), Err(VerifyError::UnknownKey), "{member}");
    }
}

#[test]
fn any_crit() {
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), Value::Null, json!("exp"), json!(false)] {
        assert_eq!(with_header("crit", crit.clone()), Err(VerifyError::UnsupportedHeader), "{crit}");
    }
}

#[test]
fn another_type_of_token() {
    for typ in ["JWT", "jwt", "logout+jwt", "", "at+jwt ", "application/jwt", "text/at+jwt"] {
        assert_eq!(with_header("typ", typ.into()), Err(VerifyError::WrongType), "{typ}");
    }
    assert_eq!(check(&without_header("typ")), Err(VerifyError::WrongType));
    assert_eq!(with_header("typ", json!(1)), Err(VerifyError::Malformed));
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert_eq!(with_header("typ", typ.into()), Ok(claims()), "{typ}");
    }
}

#[test]
fn a_key_id_is_needed_where_there_is_a_choice() {
    let token = without_header("kid");
    assert_eq!(check(&token), Ok(claims()), "the only key of the set");
    let two = KeySet::new([key(Algorithm::Hs256).verifying_key(), key(Algorithm::Es256).verifying_key()]);
    assert_eq!(verify(&token, &two, &expected(), NOW), Err(VerifyError::UnknownKey));
    assert_eq!(verify(&token, &KeySet::default(), &expected(), NOW), Err(VerifyError::UnknownKey));
    assert_eq!(with_header("kid", "other".into()), Err(VerifyError::UnknownKey), "not the only key's name");
    assert_eq!(with_header("kid", json!(7)), Err(VerifyError::Malformed));
}

#[test]
fn a_header_with_a_name_twice() {
    let kid = key(Algorithm::Hs256).kid();
    for header in [
        format!(r#"{{"alg":"HS256","alg":"HS256","kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt","x":1,"x":1}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt","\u0061lg":"none"}}"#),
    ] {
        assert_eq!(check(&signed(&header, &payload())), Err(VerifyError::Malformed), "{header}");
    }
}

#[test]
fn a_header_that_is_no_json_object() {
    let deep = "[".repeat(3_000);
    for header in ["", "{", "[]", "null", "\"HS256\"", "1", "{\"alg\":\"HS256\"}{}", "\u{feff}{}", &deep] {
        assert_eq!(check(&signed(header, &payload())), Err(VerifyError::Malformed), "{header:.20}");
    }
    let deep_member = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    assert!(check(&signed(&deep_member, &payload())).is_err());
}

#[test]
fn not_three_parts_of_base64url() {
    let token = signed(&good_header().to_string(), &payload());
    let [header, body, tag] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for other in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        format!("{header}.{body}"),
        format!("{header}.{body}.{tag}."),
        format!(".{header}.{body}.{tag}"),
        format!("{header}.{body}.{tag}.{tag}"),
        format!("{header}..{body}.{tag}"),
        format!("{header}=.{body}.{tag}"),
        format!("{header}.{body}.{tag}="),
        format!("{header}.{body}.{tag} "),
        format!(" {header}.{body}.{tag}"),
        format!("{header}\n.{body}.{tag}"),
        format!("{header}.{body}.{}", tag.replace(['-', '_'], "+") + "+"),
        format!("Bearer {header}.{body}.{tag}"),
        json!({ "protected": header, "payload": body, "signature": tag }).to_string(),
        json!({ "payload": body, "signatures": [{ "protected": header, "signature": tag }] }).to_string(),
    ] {
        assert_eq!(check(&other), Err(VerifyError::Malformed), "{other}");
    }
}

#[test]
fn a_payload_in_another_spelling_though_signed() {
    let secret = key(Algorithm::Hs256).to_secret_bytes().unwrap();
    let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let body = encode(payload());
    for body in
        [format!("{body}="), format!("{body} "), format!("{body}\n"), "e30=".into(), "e31".into(), "e30+".into()]
    {
        let input = format!("{}.{body}", encode(good_header().to_string()));
        let token = format!("{input}.{}", encode(aws_lc_rs::hmac::sign(&hmac, input.as_bytes())));
        assert_eq!(check(&token), Err(VerifyError::Malformed), "{body}");
        assert_eq!(jws::verify_compact(&token, &key(Algorithm::Hs256).verifying_key()), Err(VerifyError::Malformed));
    }
}

#[test]
fn longer_than_8_kib() {
    let mut claims = serde_json::to_value(claims()).unwrap();
    let token = |padding: usize, claims: &mut Value| {
        claims["padding"] = "x".repeat(padding).into();
        signed(&good_header().to_string(), claims.to_string().as_bytes())
    };
    let longest =
        (5_000..6_000).rev().map(|n| token(n, &mut claims)).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert!(longest.len() > MAX_TOKEN_BYTES - 4);
    assert!(check(&longest).is_ok());
    assert_eq!(check(&format!("{longest}AAAA")), Err(VerifyError::TooLong));
    assert_eq!(check(&".".repeat(1_000_000)), Err(VerifyError::TooLong));
}

#[test]
fn an_es256_signature_is_64_bytes() {
    let key = key(Algorithm::Es256);
    let token = key.sign(&claims()).unwrap();
    let (input, _) = token.rsplit_once('.').unwrap();
    let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        &key.to_secret_bytes().unwrap(),
    )
    .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the signature is made here to be of the wrong form")]
    let der = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), input.as_bytes()).unwrap();
    for signature in [der.as_ref(), &[0; 64], &[0; 63], &[0; 65], &[], &[0xff; 64]] {
        let token = format!("{input}.{}", encode(signature));
        let refusal = Err(VerifyError::SignatureInvalid);
        assert_eq!(verify(&token, &keys(Algorithm::Es256), &expected(), NOW), refusal, "{} bytes", signature.len());
    }
}

#[test]
fn claims_of_another_kind_of_token_though_signed() {
    for payload in ["", "{}", "[]", "null", "not json", r#"{"iss":"https://login.example"}"#, "\u{feff}{}"] {
        let token = signed(&good_header().to_string(), payload.as_bytes());
        assert_eq!(check(&token), Err(VerifyError::ClaimsMalformed), "{payload}");
    }
    let token = signed(&good_header().to_string(), b"{\"iss\":\"\xff\"}");
    assert_eq!(check(&token), Err(VerifyError::ClaimsMalformed), "no UTF-8");
}

#[test]
fn issuer_audience_and_time() {
    let token = key(Algorithm::Hs256).sign(&claims()).unwrap();
    let at = |expected: &Expected, now| verify(&token, &keys(Algorithm::Hs256), expected, now).err();
    for issuer in ["https://login.example/", "https://LOGIN.example", "http://login.example", ""] {
        assert_eq!(at(&Expected::new(issuer, AUDIENCE), NOW), Some(VerifyError::IssuerMismatch), "{issuer}");
    }
    for audience in ["https://api.example/", "api", ""] {
        assert_eq!(at(&Expected::new(ISSUER, audience), NOW), Some(VerifyError::AudienceMismatch), "{audience}");
    }
    assert_eq!(at(&expected(), NOW + 304), None, "within the leeway of 5 seconds");
    assert_eq!(at(&expected(), NOW + 305), Some(VerifyError::Expired));
    assert_eq!(at(&expected(), i64::MAX), Some(VerifyError::Expired));
    assert_eq!(at(&expected(), i64::MIN), None, "a clock that is behind is no reason to refuse");
    let strict = Expected { leeway_seconds: 0, ..expected() };
    assert_eq!(at(&strict, NOW + 299), None);
    assert_eq!(at(&strict, NOW + 300), Some(VerifyError::Expired));
    let negative = Expected { leeway_seconds: -100, ..expected() };
    assert_eq!(at(&negative, NOW + 299), None, "a negative leeway is none");
}

#[test]
fn an_expired_token_may_be_allowed_but_nothing_else() {
    let allow = Expected { allow_expired: true, ..expected() };
    let hs256 = keys(Algorithm::Hs256);
    let later = NOW + 1_000_000;
    let token = key(Algorithm::Hs256).sign(&claims()).unwrap();
    assert_eq!(verify(&token, &hs256, &allow, later), Ok(claims()));
    let early = AccessClaims { nbf: Some(NOW + 100), ..claims() };
    let early = key(Algorithm::Hs256).sign(&early).unwrap();
    assert_eq!(verify(&early, &hs256, &allow, NOW), Err(VerifyError::NotYetValid));
    assert_eq!(verify(&early, &hs256, &expected(), NOW), Err(VerifyError::NotYetValid));
    let elsewhere = AccessClaims { aud: Audience::try_from("other").unwrap(), ..claims() };
    let elsewhere = key(Algorithm::Hs256).sign(&elsewhere).unwrap();
    assert_eq!(verify(&elsewhere, &hs256, &allow, later), Err(VerifyError::AudienceMismatch));
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, encode([0; 32]));
    assert_eq!(verify(&forged, &hs256, &allow, later), Err(VerifyError::SignatureInvalid));
}

#[test]
fn the_signature_comes_before_anything_that_the_token_says() {
    let expired = AccessClaims { iss: "other".into(), exp: NOW, ..claims() };
    let token = key(Algorithm::Hs256).sign(&expired).unwrap();
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, encode([0; 32]));
    assert_eq!(check(&forged), Err(VerifyError::SignatureInvalid));
    let header = json!({ "alg": "HS256", "kid": key(Algorithm::Hs256).kid(), "typ": "JWT" }).to_string();
    let token = format!("{}.{}.{}", encode(header), encode("{}"), encode([0; 32]));
    assert_eq!(check(&token), Err(VerifyError::SignatureInvalid));
}

#[test]
fn every_refusal_has_a_code_and_tells_nothing_of_the_token() {
    let refusals = [
        (VerifyError::Malformed, "token_malformed"),
        (VerifyError::TooLong, "token_malformed"),
        (VerifyError::UnsupportedAlgorithm, "algorithm_not_allowed"),
        (VerifyError::UnsupportedHeader, "token_malformed"),
        (VerifyError::WrongType, "token_type_wrong"),
        (VerifyError::UnknownKey, "key_unknown"),
        (VerifyError::SignatureInvalid, "signature_invalid"),
        (VerifyError::IssuerMismatch, "issuer_mismatch"),
        (VerifyError::AudienceMismatch, "audience_mismatch"),
        (VerifyError::Expired, "token_expired"),
        (VerifyError::NotYetValid, "token_not_yet_valid"),
        (VerifyError::ClaimsMalformed, "token_malformed"),
    ];
    for (refusal, code) in refusals {
        assert_eq!(refusal.code(), code);
        assert!(refusal.to_string().starts_with("the token"), "{refusal}");
    }
}
