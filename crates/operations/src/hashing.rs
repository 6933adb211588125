//! Hashing passwords: Argon2id on threads of its own, behind a queue that can be full.
//!
//! A hash takes tens of milliseconds and 19 MiB. So many run at once as there are threads, so many wait as fit the queue, and
//! the next caller is told to come back: a flood of sign-ins cannot exhaust the memory or starve what is not a sign-in.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use countersign_core::accounts::PasswordHash;
use countersign_core::passwords::Password;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::random;

/// The parameters of Argon2id (RFC 9106 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Default for HashingCost {
    /// What OWASP asks for at least: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// As many wait as may wait.
    #[error("too many passwords are being hashed; try again in {} s", .retry_after.as_secs())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The hash in the store, or a parameter, is unusable.
    #[error("a password could not be hashed: {0}")]
    Failed(&'static str),
}

/// Whether a password is the one that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is.
    Yes {
        /// True where the stored hash is weaker than what is asked for now.
        outdated: bool,
    },
    /// It is not.
    No,
}

type Job = Box<dyn FnOnce() + Send>;

/// The pool of hashing threads.
pub struct Hasher {
    queue: SyncSender<Job>,
    cost: Cost,
    /// What the password of an account that does not exist is compared with, so that the answer takes as long.
    dummy: PasswordHash,
}

/// The cost, checked.
#[derive(Clone)]
struct Cost(Params);

impl Hasher {
    /// Starts `threads` threads with room for `waiting` callers.
    ///
    /// # Errors
    /// [`HashingError::Failed`] where Argon2 has no such parameters or no thread can be started.
    pub fn start(cost: HashingCost, threads: usize, waiting: usize) -> Result<Self, HashingError> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None)
            .map_err(|_| HashingError::Failed("Argon2 has no such parameters"))?;
        let cost = Cost(params);
        let dummy = cost.hash("the password of nobody")?;
        let (queue, jobs) = sync_channel::<Job>(waiting.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new()
                .name(format!("hashing-{number}"))
                .spawn(move || work(&jobs))
                .map_err(|_| HashingError::Failed("no thread could be started"))?;
        }
        Ok(Self { queue, cost, dummy })
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashingError> {
        let cost = self.cost.clone();
        self.run(move || cost.hash(password.expose())).await?
    }

    /// Compares a password with a hash.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn verify(&self, password: Password, hash: PasswordHash) -> Result<Match, HashingError> {
        let cost = self.cost.clone();
        self.run(move || cost.verify(password.expose(), &hash)).await?
    }

    /// Takes as long as [`Self::verify`] and finds nothing.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn verify_nobody(&self, password: Password) -> Result<(), HashingError> {
        self.verify(password, self.dummy.clone()).await.map(|_| ())
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashingError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may have gone: nothing is hashed for nobody.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        self.queue.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                metrics::counter!("countersign_hashing_refused_total").increment(1);
                HashingError::Busy { retry_after: Duration::from_secs(1) }
            }
            TrySendError::Disconnected(_) => HashingError::Failed("the hashing threads have ended"),
        })?;
        answered.await.map_err(|_| HashingError::Failed("a hashing thread has ended"))
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting, and let go before hashing.
        let job = jobs.lock().recv();
        let Ok(job) = job else {
            return;
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a password hash panicked");
        }
    }
}

impl Cost {
    fn hash(&self, password: &str) -> Result<PasswordHash, HashingError> {
        let salt: [u8; 16] = random::bytes();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.0.clone())
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map(|phc| PasswordHash::new(phc.to_string()))
            .map_err(|_| HashingError::Failed("Argon2 failed"))
    }

    fn verify(&self, password: &str, hash: &PasswordHash) -> Result<Match, HashingError> {
        let stored = argon2::PasswordHash::new(hash.expose())
            .map_err(|_| HashingError::Failed("a stored hash is unreadable"))?;
        let params =
            Params::try_from(&stored).map_err(|_| HashingError::Failed("a stored hash has unknown parameters"))?;
        match Argon2::default().verify_password(password.as_bytes(), &stored) {
            Ok(()) => Ok(Match::Yes { outdated: self.exceeds(&params) }),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Match::No),
            Err(_) => Err(HashingError::Failed("a stored hash could not be compared")),
        }
    }

    /// True where the wanted parameters are stronger than those of a stored hash in memory or passes.
    fn exceeds(&self, stored: &Params) -> bool {
        self.0.m_cost() > stored.m_cost() || self.0.t_cost() > stored.t_cost()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text.to_owned()).unwrap()
    }

    const WEAK: HashingCost = HashingCost { memory_kib: 64, iterations: 1, parallelism: 1 };
    const STRONG: HashingCost = HashingCost { memory_kib: 128, iterations: 1, parallelism: 1 };

    #[tokio::test]
    async fn the_right_password_matches_and_another_does_not() {
        let hasher = Hasher::start(WEAK, 1, 4).unwrap();
        let hash = hasher.hash(password("open sesame")).await.unwrap();
        assert!(hash.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", hash.expose());
        assert_eq!(hasher.verify(password("open sesame"), hash.clone()).await, Ok(Match::Yes { outdated: false }));
        assert_eq!(hasher.verify(password("open barley"), hash).await, Ok(Match::No));
    }

    #[tokio::test]
    async fn a_weaker_hash_is_outdated_and_a_stronger_one_is_not() {
        let (weak, strong) = (Hasher::start(WEAK, 1, 4).unwrap(), Hasher::start(STRONG, 1, 4).unwrap());
        let old = weak.hash(password("open sesame")).await.unwrap();
        let new = strong.hash(password("open sesame")).await.unwrap();
        assert_eq!(strong.verify(password("open sesame"), old).await, Ok(Match::Yes { outdated: true }));
        assert_eq!(weak.verify(password("open sesame"), new).await, Ok(Match::Yes { outdated: false }));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hasher = Hasher::start(WEAK, 1, 1).unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        // One job holds the only thread, the next fills the queue.
        hasher
            .queue
            .try_send(Box::new(move || {
                started.send(()).unwrap();
                released.recv().unwrap();
            }))
            .unwrap();
        has_started.recv().unwrap();
        hasher.queue.try_send(Box::new(|| ())).unwrap();
        let refused = hasher.hash(password("one too many")).await;
        assert!(matches!(refused, Err(HashingError::Busy { .. })), "{refused:?}");
        release.send(()).unwrap();
    }

    #[tokio::test]
    async fn an_unreadable_hash_is_an_error_and_not_a_match() {
        let hasher = Hasher::start(WEAK, 1, 4).unwrap();
        let verified = hasher.verify(password("open sesame"), PasswordHash::new("plain".to_owned())).await;
        assert!(matches!(verified, Err(HashingError::Failed(_))), "{verified:?}");
    }
}
