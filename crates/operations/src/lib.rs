//! What Countersign can do: one async function per use case.
//!
//! An operation checks who asks, calls one atomic verb of the store, and answers with a value or one of a few errors. It knows
//! neither HTTP nor SQL. Everything shared by the operations of one process hangs on [`Operations`].

mod access_tokens;
pub mod accounts;
pub mod administrators;
pub mod callers;
pub mod hashing;
pub mod keys;
pub mod passwords;
pub mod policy;
mod random;
pub mod readers;
pub mod revocations;
mod sealing;
pub mod sessions;
pub mod throttles;
mod tokens;
pub mod upkeep;

use std::sync::Arc;

use countersign_core::time::Millis;
use countersign_store::Store;

use crate::hashing::Hasher;
use crate::keys::{KeyError, KeyRing, KeySource};
use crate::policy::Policy;
use crate::revocations::Feed;
use crate::throttles::Throttles;

pub use countersign_store::StoreError;
pub use sealing::KeyEncryptionKey;
pub use tokens::TokenPair;

/// One running Countersign: its store, its policy, and what it keeps in memory.
pub struct Operations {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) policy: Policy,
    pub(crate) hasher: Hasher,
    pub(crate) keys: KeyRing,
    pub(crate) throttles: Throttles,
    pub(crate) feed: Feed,
}

/// Why a Countersign could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys could not be read or made.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl Operations {
    /// Reads the keys (makes them where there are none) and the state of revocation.
    ///
    /// Nothing runs in the background until [`upkeep::run`] is driven.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(
        store: Arc<dyn Store>,
        policy: Policy,
        hasher: Hasher,
        keys: KeySource,
    ) -> Result<Arc<Self>, StartError> {
        store.note_access_lifetime(policy.lifetimes.access_token).await?;
        let throttles = Throttles::new(policy.throttles, keys.encryption.throttles());
        // Before the keys, whose phases depend on the time: the store learns it from the database.
        let feed = Feed::default();
        feed.catch_up(&*store).await?;
        let keys = KeyRing::open(&*store, &policy, keys).await?;
        Ok(Arc::new(Self { store, policy, hasher, keys, throttles, feed }))
    }

    /// The settings in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The time that counts: the database's, where it has a clock of its own.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.store.now()
    }

    /// Answers where the store can be read and locked for writing; a full disk is not noticed here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }
}
