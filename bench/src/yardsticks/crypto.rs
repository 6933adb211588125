//! Signatures and password hashes, bare; and beside them what the bearer layer does with a token that it sees for the first time.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use argon2::{Algorithm as Argon2Kind, Argon2, Block, Params, Version};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use countersign_bearer::{AccessClaims, Bearer, KeySet, RevokedReason, TrustSource};
use countersign_token::{Algorithm, Audience, SigningKey};
use uuid::Uuid;

use crate::clock;
use crate::figures::median;
use crate::usage;

const ISSUER: &str = "http://127.0.0.1";
pub(super) const AUDIENCE: &str = "http://localhost:4200";

/// Seconds for one of each.
#[derive(Debug)]
pub(crate) struct Signatures {
    pub(crate) sign: f64,
    pub(crate) verify: f64,
    /// The layer accepts a token that it has not seen.
    pub(crate) first_sight: f64,
    /// The layer accepts a token that it has seen.
    pub(crate) seen: f64,
}

struct Source(Arc<KeySet>);

impl TrustSource for Source {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.0)
    }

    fn check(&self, _: &AccessClaims) -> Result<(), RevokedReason> {
        Ok(())
    }
}

/// In turns, so that whatever else the machine does meets all of them.
#[expect(clippy::disallowed_methods, reason = "a signature needs randomness; nobody trusts this one")]
pub(crate) fn signatures(rounds: usize) -> anyhow::Result<Signatures> {
    const EACH: usize = 100;
    let failed = |_| anyhow!("ES256 failed");
    let random = SystemRandom::new();
    let key = SigningKey::generate(Algorithm::Es256)?;
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
    let bare = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
        .map_err(|_| anyhow!("ES256 failed"))?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bare.public_key().as_ref().to_vec());
    let parsed = public.parse().map_err(|_| anyhow!("ES256 failed"))?;
    let bearer = Bearer::trusting(Arc::new(Source(Arc::new(KeySet::new([key.verifying_key()])))), ISSUER, AUDIENCE);
    let audience = Audience::try_from(AUDIENCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let [mut sign, mut verify, mut first, mut seen] = [const { Vec::new() }; 4];
    for round in 0..rounds.max(1) {
        let tokens = (0..EACH)
            .map(|at| key.sign(&claims((round * EACH + at) as u64, audience.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let message = |token: &str| token.rsplit_once('.').map(|(message, _)| message.to_owned()).unwrap_or_default();
        let messages: Vec<String> = tokens.iter().map(|token| message(token)).collect();
        let mut signatures = Vec::with_capacity(EACH);
        sign.push(timed(EACH, || {
            for message in &messages {
                signatures.push(bare.sign(&random, message.as_bytes()).map_err(failed)?);
            }
            Ok(())
        })?);
        verify.push(timed(EACH, || {
            for (message, signature) in messages.iter().zip(&signatures) {
                parsed.verify_sig(message.as_bytes(), signature.as_ref()).map_err(failed)?;
            }
            Ok(())
        })?);
        for times in [&mut first, &mut seen] {
            times.push(timed(EACH, || {
                runtime.block_on(async {
                    for token in &tokens {
                        ensure!(bearer.verify(token).await.is_ok(), "the layer refuses a good token");
                    }
                    Ok(())
                })
            })?);
        }
    }
    let middle = |times: &[f64]| median(times).unwrap_or_default();
    Ok(Signatures { sign: middle(&sign), verify: middle(&verify), first_sight: middle(&first), seen: middle(&seen) })
}

/// Seconds for each of so many.
fn timed(count: usize, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64() / count as f64)
}

pub(super) fn claims(number: u64, aud: Audience) -> AccessClaims {
    let now = clock::seconds();
    let id = Uuid::from_u128(u128::from(number) + (1 << 100));
    AccessClaims {
        iss: ISSUER.to_owned(),
        aud,
        sub: id,
        client_id: "first-party".to_owned(),
        iat: now,
        exp: now + 300,
        jti: id,
        nbf: None,
        sid: id,
        name: crate::loader::name(number),
        roles: vec!["User".to_owned()],
        ver: [1, 1],
    }
}

/// Argon2id hashes a second with the default parameters, one thread a core, the memory used again for each.
pub(crate) fn argon2id(duration: Duration) -> anyhow::Result<f64> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| anyhow!("Argon2: {error}"))?;
    let hashes = || {
        let mut blocks = vec![Block::default(); params.block_count()];
        let argon2 = Argon2::new(Argon2Kind::Argon2id, Version::V0x13, params.clone());
        let mut hash = || {
            argon2
                .hash_password_into_with_memory(
                    b"correct horse battery",
                    b"sixteen bytes at",
                    &mut [0; 32],
                    &mut blocks,
                )
                .map_err(|error| anyhow!("Argon2: {error}"))
        };
        // Its memory is met for the first time.
        hash()?;
        let (began, mut count) = (Instant::now(), 0u32);
        while began.elapsed() < duration {
            hash()?;
            count += 1;
        }
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..usage::cores()).map(|_| scope.spawn(hashes)).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a hash panicked"))?).sum()
    })
}
