//! The refresh token's bytes, written a second time from the description of the format, with nothing of the first.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use aws_lc_rs::{digest, hmac};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_core::ids::FamilyId;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{
    Malformed, RefreshToken, RetryHash, RetryKey, TagKey, TagKeys, TokenHash,
};
use proptest::prelude::*;

const FAMILY: [u8; 16] = [0xfa; 16];
const SECRET: [u8; 32] = [0x5e; 32];
const TAG_SECRET: [u8; 32] = [0x7a; 32];
const KEY_ID: u8 = 5;

fn ring() -> TagKeys {
    TagKeys::new(TagKey::new(KEY_ID, &Secret::new(TAG_SECRET)), vec![])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref().to_vec()
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest::digest(&digest::SHA256, &parts.concat()).as_ref().to_vec()
}

/// The bytes of a token before they are encoded, with a tag that fits them.
fn bytes(version: u8, key_id: u8, generation: u32, secret: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![version, key_id];
    bytes.extend(FAMILY);
    bytes.extend(generation.to_be_bytes());
    bytes.extend(secret);
    let tag = mac(&TAG_SECRET, &[b"cs/rt/tag/1", &bytes]);
    bytes.extend(&tag[..16]);
    bytes
}

fn text(bytes: &[u8]) -> String {
    format!("cs_rt_{}", Base64UrlUnpadded::encode_string(bytes))
}

fn genuine(generation: u32) -> String {
    text(&bytes(1, KEY_ID, generation, &SECRET))
}

fn refuses(text: &str) {
    assert_eq!(ring().open(text), Err(Malformed), "{text}");
}

#[test]
fn a_token_is_these_bytes() {
    let token = RefreshToken::first(FamilyId::from_bytes(FAMILY), Secret::new(SECRET));
    assert_eq!(*ring().seal(&token), genuine(0));
    let opened = ring().open(&genuine(0x0102_0304)).unwrap();
    assert_eq!((opened.family, opened.generation), (FamilyId::from_bytes(FAMILY), 0x0102_0304));
}

#[test]
fn a_row_holds_this_hash() {
    let token = ring().open(&genuine(7)).unwrap();
    assert_eq!(token.hash().as_bytes()[..], sha256(&[b"cs/rt/id/1", &FAMILY, &7u32.to_be_bytes(), &SECRET]));
}

#[test]
fn a_successor_has_this_secret() {
    let nonce = [3; 16];
    let successor = ring().open(&genuine(7)).unwrap().successor(&nonce).unwrap();
    let secret: [u8; 32] = mac(&SECRET, &[b"cs/rt/next/1", &FAMILY, &8u32.to_be_bytes(), &nonce]).try_into().unwrap();
    assert_eq!(*ring().seal(&successor), text(&bytes(1, KEY_ID, 8, &secret)));
}

#[test]
fn a_retry_key_is_kept_as_this_hash() {
    let key = RetryKey::parse("sixteen bytes or more").unwrap();
    let hash = sha256(&[b"cs/rt/rk/1", &FAMILY, &7u32.to_be_bytes(), b"sixteen bytes or more"]);
    assert_eq!(key.hash(FamilyId::from_bytes(FAMILY), 7).as_bytes()[..], hash[..16]);
}

#[test]
fn every_byte_of_a_hash_counts() {
    assert_eq!(TokenHash::from_bytes([0; 32]), TokenHash::from_bytes([0; 32]));
    for at in 0..32 {
        let mut other = [0; 32];
        other[at] = 1;
        assert_ne!(TokenHash::from_bytes([0; 32]), TokenHash::from_bytes(other), "byte {at}");
    }
    assert_eq!(RetryHash::from_bytes([0; 16]), RetryHash::from_bytes([0; 16]));
    for at in 0..16 {
        let mut other = [0; 16];
        other[at] = 1;
        assert_ne!(RetryHash::from_bytes([0; 16]), RetryHash::from_bytes(other), "byte {at}");
    }
}

#[test]
fn the_prefix_is_needed_once() {
    let text = genuine(0);
    let bare = text.strip_prefix("cs_rt_").unwrap();
    refuses(bare);
    refuses(&format!("cs_rt_{text}"));
    refuses(&format!("cs_at_{bare}"));
    refuses(&format!("CS_RT_{bare}"));
    refuses(&format!(" {text}"));
    refuses(&format!("{text} "));
}

#[test]
fn another_version_is_refused_though_its_tag_fits() {
    assert!(ring().open(&text(&bytes(1, KEY_ID, 0, &SECRET))).is_ok());
    for version in (0..=255).filter(|version| *version != 1) {
        refuses(&text(&bytes(version, KEY_ID, 0, &SECRET)));
    }
}

#[test]
fn another_tag_key_is_refused_though_its_bytes_are_the_same() {
    for key_id in (0..=255).filter(|id| *id != KEY_ID) {
        refuses(&text(&bytes(1, key_id, 0, &SECRET)));
    }
}

/// A tag that ends in zeros must not be left off: one token, one spelling.
#[test]
fn a_text_that_leaves_off_zeros_at_its_end_is_refused() {
    let ends_in_zero = (0..).find(|generation| bytes(1, KEY_ID, *generation, &SECRET).ends_with(&[0])).unwrap();
    let bytes = bytes(1, KEY_ID, ends_in_zero, &SECRET);
    assert!(ring().open(&text(&bytes)).is_ok());
    refuses(&text(&bytes[..bytes.len() - 1]));
    refuses(&text(&[&bytes[..], &[0]].concat()));
    refuses(&format!("{}=", text(&bytes)));
    refuses(&format!("{}==", text(&bytes)));
}

#[test]
fn the_other_base64_is_refused() {
    // A generation in whose text both letters that differ between the alphabets occur.
    let both = (0..).map(genuine).find(|text| text[6..].contains('-') && text[6..].contains('_')).unwrap();
    assert!(ring().open(&both).is_ok());
    refuses(&format!("cs_rt_{}", both[6..].replace('-', "+")));
    refuses(&format!("cs_rt_{}", both[6..].replace('_', "/")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_changed_bit_is_refused(generation in any::<u32>(), secret in any::<[u8; 32]>(), bit in 0usize..560) {
        let mut bytes = bytes(1, KEY_ID, generation, &secret);
        prop_assert!(ring().open(&text(&bytes)).is_ok());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(ring().open(&text(&bytes)), Err(Malformed));
    }
}
