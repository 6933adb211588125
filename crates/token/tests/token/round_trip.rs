//! What is signed is what is verified, for each algorithm; what was altered, by one bit even, is not.

use countersign_token::{AccessClaims, Algorithm, Audience, KeySet, SignError, SigningKey, VerifyError, verify};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::fixtures::{ALGORITHMS, AUDIENCE, ISSUER, NOW, claims, encode, expected, header, key, keys};

prop_compose! {
    fn any_claims()(
        others in vec("\\PC{1,20}", 0..4),
        ids in any::<[u128; 3]>(),
        client_id in any::<String>(),
        name in any::<String>(),
        roles in vec(any::<String>(), 0..6),
        lifetime in 1_i64..100_000,
        nbf in proptest::option::of(0..=NOW),
        ver in any::<[i64; 2]>(),
    ) -> AccessClaims {
        let mut audiences = others;
        audiences.push(AUDIENCE.into());
        let [sub, jti, sid] = ids.map(Uuid::from_u128);
        AccessClaims {
            iss: ISSUER.into(), aud: Audience::try_from(audiences).unwrap(), sub, client_id, iat: NOW, exp: NOW + lifetime, jti,
            nbf, sid, name, roles, ver,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_is_what_is_verified(claims in any_claims()) {
        for algorithm in ALGORITHMS {
            let token = key(algorithm).sign(&claims).unwrap();
            prop_assert_eq!(verify(&token, &keys(algorithm), &expected(), NOW), Ok(claims.clone()));
        }
    }

    #[test]
    fn hostile_strings_are_refused_without_a_panic(text in any::<String>()) {
        prop_assert!(verify(&text, &keys(Algorithm::Es256), &expected(), NOW).is_err());
    }

    #[test]
    fn hostile_parts_are_refused_without_a_panic(
        header in "\\{\"alg\":\"(ES256|EdDSA|RS256|HS256|none)\"[ -~]{0,40}\\}",
        payload in vec(any::<u8>(), 0..80),
        signature in vec(any::<u8>(), 0..520),
        now in any::<i64>(),
    ) {
        let token = format!("{}.{}.{}", encode(header), encode(payload), encode(signature));
        for algorithm in ALGORITHMS {
            prop_assert!(verify(&token, &keys(algorithm), &expected(), now).is_err());
        }
    }

    #[test]
    fn a_token_spliced_from_two_is_refused(one in any_claims(), other in any_claims()) {
        prop_assume!(one != other);
        for algorithm in ALGORITHMS {
            let (one, other) = (key(algorithm).sign(&one).unwrap(), key(algorithm).sign(&other).unwrap());
            let body = one.rsplit_once('.').unwrap().0;
            let signature = other.rsplit_once('.').unwrap().1;
            let spliced = format!("{body}.{signature}");
            prop_assert_eq!(verify(&spliced, &keys(algorithm), &expected(), NOW), Err(VerifyError::SignatureInvalid));
        }
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    for algorithm in ALGORITHMS {
        let token = key(algorithm).sign(&claims()).unwrap();
        let keys = keys(algorithm);
        assert!(verify(&token, &keys, &expected(), NOW).is_ok());
        let mut refused = 0;
        for position in 0..token.len() {
            // The highest bit would make it no UTF-8, and so no &str.
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let flipped = String::from_utf8(bytes).unwrap();
                assert!(verify(&flipped, &keys, &expected(), NOW).is_err(), "{algorithm}: bit {bit} of {position}");
                refused += 1;
            }
        }
        assert_eq!(refused, token.len() * 7);
    }
}

#[test]
fn any_shortened_or_lengthened_token_is_refused() {
    for algorithm in ALGORITHMS {
        let token = key(algorithm).sign(&claims()).unwrap();
        let keys = keys(algorithm);
        for end in 0..token.len() {
            assert!(verify(&token[..end], &keys, &expected(), NOW).is_err(), "{algorithm}: cut at {end}");
        }
        for more in ["A", "AA", "=", ".", " ", "\n", "\0", ".A", "é"] {
            assert!(verify(&format!("{token}{more}"), &keys, &expected(), NOW).is_err(), "{algorithm}: with {more:?}");
            assert!(verify(&format!("{more}{token}"), &keys, &expected(), NOW).is_err(), "{algorithm}: after {more:?}");
        }
    }
}

#[test]
fn the_header_says_algorithm_key_and_type() {
    for algorithm in ALGORITHMS {
        let key = key(algorithm);
        let token = key.sign(&claims()).unwrap();
        let says = serde_json::json!({ "alg": algorithm.as_str(), "kid": key.kid(), "typ": "at+jwt" });
        assert_eq!(header(&token), says);
    }
}

#[test]
fn another_key_of_the_same_kind_does_not_verify() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
        let token = SigningKey::generate(algorithm).unwrap().sign(&claims()).unwrap();
        assert_eq!(verify(&token, &keys(algorithm), &expected(), NOW), Err(VerifyError::UnknownKey), "{algorithm}");
        assert_eq!(
            countersign_token::jws::verify_compact(&token, &key(algorithm).verifying_key()),
            Err(VerifyError::SignatureInvalid),
            "{algorithm}"
        );
    }
}

#[test]
fn a_set_of_all_keys_picks_the_right_one() {
    let set: KeySet = ALGORITHMS.into_iter().map(|algorithm| key(algorithm).verifying_key()).collect();
    assert_eq!(set.len(), 4);
    for algorithm in ALGORITHMS {
        let token = key(algorithm).sign(&claims()).unwrap();
        assert_eq!(verify(&token, &set, &expected(), NOW), Ok(claims()));
    }
}

#[test]
fn what_no_verifier_would_take_is_not_signed() {
    let key = key(Algorithm::Hs256);
    let with = |change: fn(&mut AccessClaims)| {
        let mut claims = claims();
        change(&mut claims);
        key.sign(&claims)
    };
    assert_eq!(with(|claims| claims.iat = -1), Err(SignError::TimeOutOfRange));
    assert_eq!(with(|claims| claims.exp = i64::MAX), Err(SignError::TimeOutOfRange));
    assert_eq!(with(|claims| claims.exp = claims.iat - 1), Err(SignError::TimeOutOfRange));
    assert_eq!(with(|claims| claims.nbf = Some(i64::MIN)), Err(SignError::TimeOutOfRange));
    assert_eq!(with(|claims| claims.name = "n".repeat(5_800)), Err(SignError::TooLong));
    assert_eq!(with(|claims| claims.name = "n".repeat(20_000)), Err(SignError::TooLong));
    let longest = with(|claims| claims.name = "n".repeat(5_600)).unwrap();
    assert!(verify(&longest, &keys(Algorithm::Hs256), &expected(), NOW).is_ok());
}
