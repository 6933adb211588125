//! Hashing passwords: Argon2id on threads of its own, behind a queue that can be full.
//!
//! A hash takes tens of milliseconds and 19 MiB. So many run at once as there are threads, so many wait as fit the queue, and
//! the next caller is told to come back: a flood of sign-ins cannot exhaust the memory or starve what is not a sign-in.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use argon2::password_hash::phc;
use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
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

/// How far hashing threads stand back, as `nice` counts: beside one thread that takes all it can, they get a tenth of what it gets.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 10;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// What hashes work in. To get it from the system takes a good part of the time of a hash.
#[derive(Default)]
enum Memory {
    /// Each hash gets its own: nobody knows when the next one comes.
    #[default]
    ForOne,
    /// It is used again, since hashes wait.
    Kept(Vec<Block>),
}

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
        // Drawn and not computed: no password has it.
        let dummy = cost.phc(&random::bytes(), &random::bytes())?;
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
        self.run(move |memory| cost.hash(password.expose(), memory)).await?
    }

    /// Compares a password with a hash.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn verify(&self, password: Password, hash: PasswordHash) -> Result<Match, HashingError> {
        let cost = self.cost.clone();
        self.run(move |memory| cost.verify(password.expose(), &hash, memory)).await?
    }

    /// Takes as long as [`Self::verify`] and finds nothing.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn verify_nobody(&self, password: Password) -> Result<(), HashingError> {
        self.verify(password, self.dummy.clone()).await.map(|_| ())
    }

    async fn run<T, F>(&self, work: F) -> Result<T, HashingError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Memory) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            // Whoever asked may have gone: nothing is hashed for nobody.
            if !answer.is_closed() {
                let _ = answer.send(work(memory));
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
    give_way();
    let mut memory = Memory::default();
    while let Some(job) = next(jobs, &mut memory) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut memory))).is_err() {
            tracing::error!("a password hash panicked");
        }
    }
}

/// Lowers the priority of this thread: where the processors do not suffice, what takes microseconds comes before hashes.
fn give_way() {
    // Elsewhere a priority is that of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(GIVES_WAY) {
        tracing::warn!(%error, "hashing passwords cannot give way to other requests");
    }
}

/// The next job; `None` where there will be none. The memory is given back while nobody waits.
fn next(jobs: &Mutex<Receiver<Job>>, memory: &mut Memory) -> Option<Job> {
    // Where another thread has the lock, it waits for a job itself.
    if let Some(job) = jobs.try_lock().and_then(|jobs| jobs.try_recv().ok()) {
        if matches!(memory, Memory::ForOne) {
            *memory = Memory::Kept(vec![]);
        }
        return Some(job);
    }
    *memory = Memory::ForOne;
    // The lock is held while waiting, and let go before hashing.
    jobs.lock().recv().ok()
}

impl Memory {
    /// Hashes into `output`.
    fn hash(
        &mut self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), argon2::Error> {
        let Self::Kept(blocks) = self else {
            return argon2.hash_password_into(password, salt, output);
        };
        let missing = argon2.params().block_count().saturating_sub(blocks.len());
        blocks.try_reserve_exact(missing).map_err(|_| argon2::Error::OutOfMemory)?;
        blocks.resize(blocks.len() + missing, Block::default());
        argon2.hash_password_into_with_memory(password, salt, output, blocks)
    }
}

impl Cost {
    fn hash(&self, password: &str, memory: &mut Memory) -> Result<PasswordHash, HashingError> {
        let (salt, mut output): ([u8; 16], _) = (random::bytes(), [0; Params::DEFAULT_OUTPUT_LEN]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.0.clone());
        memory
            .hash(&argon2, password.as_bytes(), &salt, &mut output)
            .map_err(|_| HashingError::Failed("Argon2 failed"))?;
        self.phc(&salt, &output)
    }

    /// The text in which a hash is stored.
    fn phc(&self, salt: &[u8; 16], output: &[u8; Params::DEFAULT_OUTPUT_LEN]) -> Result<PasswordHash, HashingError> {
        let failed = HashingError::Failed("a hash could not be written");
        let hash = phc::PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.0).map_err(|_| failed)?,
            salt: Some(Salt::new(salt).map_err(|_| failed)?),
            hash: Some(Output::new(output).map_err(|_| failed)?),
        };
        Ok(PasswordHash::new(hash.to_string()))
    }

    fn verify(&self, password: &str, hash: &PasswordHash, memory: &mut Memory) -> Result<Match, HashingError> {
        let unreadable = HashingError::Failed("a stored hash is unreadable");
        let stored = phc::PasswordHash::new(hash.expose()).map_err(|_| unreadable)?;
        let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return Err(unreadable) };
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(|_| unreadable)?;
        let version = stored.version.map_or(Ok(Version::default()), Version::try_from).map_err(|_| unreadable)?;
        let params =
            Params::try_from(&stored).map_err(|_| HashingError::Failed("a stored hash has unknown parameters"))?;
        let argon2 = Argon2::new(algorithm, version, params);
        let mut output = [0; Output::MAX_LENGTH];
        let output = &mut output[..expected.len()];
        memory
            .hash(&argon2, password.as_bytes(), salt, output)
            .map_err(|_| HashingError::Failed("a stored hash could not be compared"))?;
        // The comparison takes as long wherever the two differ.
        if Output::new(output).is_ok_and(|output| output == *expected) {
            Ok(Match::Yes { outdated: self.exceeds(argon2.params()) })
        } else {
            Ok(Match::No)
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

    #[test]
    fn a_hash_is_the_same_in_fresh_memory_and_in_memory_that_was_used() {
        // From the tests of the reference implementation.
        let references = [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ];
        let cost = Cost(Params::new(64, 1, 1, None).unwrap());
        let mut used = Memory::Kept(vec![]);
        let smaller = cost.hash("password", &mut used).unwrap().expose().to_owned();
        for stored in references.into_iter().chain([smaller.as_str()]).map(|text| PasswordHash::new(text.to_owned())) {
            for memory in [&mut used, &mut Memory::Kept(vec![]), &mut Memory::ForOne] {
                let compared = |password, memory: &mut Memory| cost.verify(password, &stored, memory);
                assert_eq!(compared("password", memory), Ok(Match::Yes { outdated: false }), "{}", stored.expose());
                assert_eq!(compared("passwore", memory), Ok(Match::No), "{}", stored.expose());
            }
        }
        assert!(matches!(used, Memory::Kept(blocks) if blocks.len() == 256));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashes_give_way_and_nothing_else_does() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let hasher = Hasher::start(WEAK, 1, 4).unwrap();
        let hashing = hasher.run(move |_| priority()).await.unwrap();
        assert_eq!(hashing, (before + GIVES_WAY).min(19));
        assert_eq!(priority(), before);
    }

    #[test]
    fn memory_is_given_back_where_nobody_waits() {
        let (queue, jobs) = sync_channel::<Job>(1);
        let jobs = Mutex::new(jobs);
        let mut memory = Memory::ForOne;
        for blocks in [0, 64] {
            queue.send(Box::new(|_| ())).unwrap();
            assert!(next(&jobs, &mut memory).is_some());
            let Memory::Kept(kept) = &mut memory else { panic!("the next hash waits") };
            assert_eq!(kept.len(), blocks);
            kept.resize(64, Block::default());
        }
        drop(queue);
        assert!(next(&jobs, &mut memory).is_none());
        assert!(matches!(memory, Memory::ForOne));
    }

    #[tokio::test]
    async fn nobody_has_a_hash_that_is_compared_like_any_other() {
        let hasher = Hasher::start(WEAK, 1, 4).unwrap();
        assert!(hasher.dummy.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", hasher.dummy.expose());
        assert_eq!(hasher.verify_nobody(password("the password of nobody")).await, Ok(()));
        assert_eq!(hasher.verify(password("open sesame"), hasher.dummy.clone()).await, Ok(Match::No));
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
            .try_send(Box::new(move |_| {
                started.send(()).unwrap();
                released.recv().unwrap();
            }))
            .unwrap();
        has_started.recv().unwrap();
        hasher.queue.try_send(Box::new(|_| ())).unwrap();
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
