//! Opens the key that tags refresh tokens, as a server does when it starts.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64ct::{Base64, Encoding as _};
use countersign_core::keys::KeyUse;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{TagKey, TagKeys};

pub(super) fn open(key_file: &Path, kid: &str, sealed: &[u8]) -> anyhow::Result<TagKeys> {
    let text = std::fs::read_to_string(key_file).with_context(|| key_file.display().to_string())?;
    let encryption = Base64::decode_vec(text.trim()).map_err(|_| anyhow!("the key file is not in base64"))?;
    let unsealed = |_| anyhow!("the key of refresh tokens cannot be opened");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &encryption).map_err(unsealed)?);
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().context("the key of refresh tokens is short")?;
    let context = format!("cs/key/1 {} {kid}", KeyUse::RefreshTag.as_str()).into_bytes();
    let mut secret = ciphertext.to_vec();
    let opened =
        key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut secret).map_err(unsealed)?;
    let bytes: [u8; 32] = (&*opened).try_into()?;
    Ok(TagKeys::new(TagKey::new(kid.parse()?, &Secret::new(bytes)), vec![]))
}
