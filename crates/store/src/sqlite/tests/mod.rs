//! What only this back-end can get wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backups;
mod disk;
mod files;
mod scale;
mod schema;
mod witness;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use countersign_core::accounts::{Email, PasswordHash, Username};
use countersign_core::events::Origin;
use countersign_core::ids::{AccountId, ClientId, FamilyId, SessionId};
use countersign_core::roles::Roles;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{Lifetimes, Presented};
use countersign_core::sessions::state::EndReason;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::database::OpenMode;
use crate::sqlite::SqliteStore;
use crate::verbs::{Begin, Begun, Ended, NewAccount, Rotate, RotatedIn};
use crate::{Clock, Store, StoreResult};

const LIFETIMES: Lifetimes = Lifetimes {
    access_token: Duration::from_secs(300),
    refresh_token_idle: Duration::from_secs(7 * 24 * 3600),
    rotation_overlap: Duration::from_secs(60),
};

/// A folder with a database in it, or not yet.
struct Place {
    folder: TempDir,
    clock: Arc<AtomicI64>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(AtomicI64::new(1_800_000_000_000)) }
    }

    fn path(&self) -> PathBuf {
        self.beside("store.db")
    }

    fn witness(&self) -> PathBuf {
        self.beside("store.db.witness")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_open(&self, mode: OpenMode) -> StoreResult<SqliteStore> {
        SqliteStore::open(self.path(), mode, Clock::Manual(Arc::clone(&self.clock)))
    }

    fn open(&self) -> SqliteStore {
        self.try_open(OpenMode::Serve).unwrap()
    }

    /// The database as anybody with a SQLite shell sees it.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        self.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn commit_seq(&self) -> i64 {
        self.count("SELECT commit_seq FROM auth_state")
    }
}

/// Sixteen bytes that say which they are.
fn id(number: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn new_account(number: u32) -> NewAccount {
    NewAccount {
        id: AccountId::from_bytes(id(number)),
        username: Username::parse(&format!("account{number}")).unwrap(),
        email: Email::parse(&format!("account{number}@example.com")).unwrap(),
        password: PasswordHash::new("hash".to_owned()),
        roles: Roles::user(),
        authority: None,
    }
}

fn new_session(account: u32, number: u32) -> Begin {
    Begin {
        session: SessionId::from_bytes(id(number)),
        account: AccountId::from_bytes(id(account)),
        verified: PasswordHash::new("hash".to_owned()),
        rehashed: None,
        client: ClientId::first_party(),
        token: RefreshToken::first(FamilyId::from_bytes(id(number)), Secret::new([7; 32])),
        device: Some("Firefox on Debian".to_owned()),
        address: Some([192, 0, 2, 7].into()),
        session_lifetime: Duration::from_secs(90 * 24 * 3600),
        session_limit: None,
        lifetimes: LIFETIMES,
    }
}

fn presentation(token: &RefreshToken) -> Rotate {
    let presented = Presented {
        token: token.clone(),
        client: ClientId::first_party(),
        retry_key: None,
        access_token_session: None,
    };
    Rotate { presented, nonce: [5; 16], lifetimes: LIFETIMES }
}

async fn register(store: &SqliteStore, number: u32) {
    store.register(new_account(number), Origin::SERVER).await.unwrap();
}

/// The first refresh token of a session of account `account`.
async fn sign_in(store: &SqliteStore, account: u32, number: u32) -> RefreshToken {
    let begin = new_session(account, number);
    let token = begin.token.clone();
    assert!(matches!(store.begin_session(begin, Origin::SERVER).await.unwrap(), Begun::Live(..)));
    token
}

async fn rotate(store: &SqliteStore, token: &RefreshToken) -> RotatedIn {
    store.rotate(presentation(token), Origin::SERVER).await.unwrap().committed().await.unwrap()
}

async fn sign_out(store: &SqliteStore, account: u32, number: u32) {
    let (account, session) = (AccountId::from_bytes(id(account)), SessionId::from_bytes(id(number)));
    let ended = Ended { account, session, reason: EndReason::SignedOut };
    store.end_session(ended, Origin::SERVER).await.unwrap().unwrap();
}
