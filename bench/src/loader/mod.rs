//! A crowd of accounts, each with a session, written straight into a database.
//!
//! One real account with one real session, which was refreshed a few times, is the model: every row is a copy of one of its three rows with
//! ids, names and hashes of its own, so that the crowd has the columns that the schema has. Whoever knows the number of a session can make its
//! refresh token, since its secret follows from the number.

mod keys;
mod postgres;
mod sqlite;

pub(crate) use sqlite::bytes as sqlite_bytes;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use countersign_core::ids::FamilyId;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{RefreshToken, TagKeys};
use uuid::Uuid;

use crate::clock;
use crate::server::{Database, Installation, MODEL};

/// How long ago the sessions beside the crowd were over.
pub(crate) const LONG_OVER_MILLIS: i64 = 400 * 86_400_000;

/// How many times the model is refreshed: afterwards each column of its row is filled, and refreshes change it in place.
const REFRESHES: usize = 4;

/// Everybody who was loaded.
pub(crate) struct Crowd {
    pub(crate) size: u64,
    tags: TagKeys,
    numbers: Numbers,
    /// The number of the first session that lives.
    first: u64,
    taken: u64,
    /// What a session takes of the database, in bytes.
    pub(crate) bytes_each: f64,
}

/// What follows from a number.
#[derive(Clone, Copy)]
struct Numbers {
    /// Before the first one's, in milliseconds since 1970.
    born: i64,
    /// The position of every session's newest refresh token in its chain.
    generation: u32,
}

/// The username of a number.
pub(crate) fn name(number: u64) -> String {
    format!("user{number:07}")
}

impl Numbers {
    fn id(self, kind: &str, number: u64) -> Uuid {
        let drawn = hash(kind, number);
        let mut bytes = [0; 16];
        // As UUID version 7: written together, close together.
        bytes[..6].copy_from_slice(&(self.born.unsigned_abs() + number).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&drawn[..10]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Uuid::from_bytes(bytes)
    }

    fn account(self, number: u64) -> Uuid {
        self.id("account", number)
    }

    fn session(self, number: u64) -> Uuid {
        self.id("session", number)
    }

    fn family(self, number: u64) -> Uuid {
        self.id("family", number)
    }

    fn token(self, number: u64) -> RefreshToken {
        let mut token = RefreshToken::first(FamilyId::new(self.family(number)), Secret::new(hash("secret", number)));
        token.generation = self.generation;
        token
    }

    fn current_hash(self, number: u64) -> [u8; 32] {
        *self.token(number).hash().as_bytes()
    }

    fn previous_hash(self, number: u64) -> [u8; 32] {
        hash("previous", number)
    }
}

fn hash(kind: &str, number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, format!("{kind} {number}").as_bytes()).as_ref());
    bytes
}

impl Crowd {
    /// Sessions that nobody has used yet, spread over all of the crowd; each can be taken once.
    pub(crate) fn take(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let count = u64::try_from(count)?;
        if self.taken + count > self.size {
            bail!("the crowd of {} has not so many sessions that are unused", self.size);
        }
        // A step without a factor in common with the size comes by everyone once.
        let mut step = (self.size as f64 * 0.618) as u64 | 1;
        while gcd(step, self.size) != 1 {
            step += 2;
        }
        let numbers = (self.taken..self.taken + count).map(|at| self.first + (at * step) % self.size);
        let tokens = numbers.map(|number| self.tags.seal(&self.numbers.token(number)).to_string()).collect();
        self.taken += count;
        Ok(tokens)
    }

    /// The last of the sessions that ended long ago.
    pub(crate) fn last_over(&self) -> Option<Uuid> {
        self.first.checked_sub(1).map(|number| self.numbers.session(number))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Makes the model in a new installation and loads `size` copies of it, and `over` sessions that ended long ago. No server must run on it.
pub(crate) fn load(installation: &Installation, size: u64, over: u64) -> anyhow::Result<Crowd> {
    make_model(installation)?;
    let born = i64::try_from(clock::since_1970().as_millis())? - i64::try_from(size + over)?;
    let loaded = match &installation.database {
        Database::Sqlite => sqlite::load(&installation.database_file(), size, over, born),
        Database::Postgres(url) => postgres::load(url, size, over, born),
    };
    let loaded = loaded.context("loading a crowd")?;
    let tags = keys::open(&installation.key_file(), &loaded.kid, &loaded.sealed)?;
    Ok(Crowd { size, tags, numbers: loaded.numbers, first: over, taken: 0, bytes_each: loaded.bytes_each })
}

/// What a back-end's loader gives back.
struct Loaded {
    numbers: Numbers,
    /// The key that tags refresh tokens, as the store has it.
    kid: String,
    sealed: Vec<u8>,
    bytes_each: f64,
}

fn make_model(installation: &Installation) -> anyhow::Result<()> {
    installation.create_administrator()?;
    // Without an overlap each refresh begins a stretch of its own, so that all marks are set.
    let server = installation.clone().with("rotation_overlap", "0s").start()?;
    server.register(MODEL)?;
    let mut client = server.client();
    let mut tokens = server.sign_in(&mut client, MODEL)?;
    for _ in 0..REFRESHES {
        tokens = server.refresh(&mut client, &tokens.refresh_token)?;
    }
    drop(client);
    server.process.stop()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use countersign_core::sessions::refresh_token::TagKey;

    use super::*;

    fn crowd(size: u64) -> Crowd {
        let numbers = Numbers { born: 1_700_000_000_000, generation: 4 };
        let tags = TagKeys::new(TagKey::new(1, &Secret::new([1; 32])), vec![]);
        Crowd { size, tags, numbers, first: 7, taken: 0, bytes_each: 0.0 }
    }

    #[test]
    fn every_session_can_be_taken_once() {
        for size in [1, 2, 64, 1000, 997] {
            let mut crowd = crowd(size);
            let size = usize::try_from(size).unwrap();
            let mut taken = crowd.take(size / 2).unwrap();
            taken.extend(crowd.take(size - size / 2).unwrap());
            assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), size);
            assert!(crowd.take(1).is_err());
        }
    }

    #[test]
    fn ids_sort_by_their_numbers_and_differ_by_their_kinds() {
        let numbers = crowd(10).numbers;
        assert!((0..1000).is_sorted_by_key(|number| numbers.session(number)));
        assert_eq!(numbers.family(3).get_version_num(), 7);
        assert!(numbers.family(3) != numbers.session(3));
        assert_eq!(numbers.token(3).generation, 4);
    }
}
