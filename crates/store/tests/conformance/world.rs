//! A store with people in it: what the cases share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign_core::accounts::{Account, Email, PasswordHash, Username};
use countersign_core::events::{Actor, Event, EventKind, Origin, Revocation};
use countersign_core::ids::{AccountId, ClientId, FamilyId, SessionId};
use countersign_core::roles::Roles;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{RefreshToken, RetryKey};
use countersign_core::sessions::rotation::{Lifetimes, Presented};
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_core::time::Millis;
use countersign_store::verbs::{
    AccessDenied, Begin, Begun, Ended, EventQuery, FeedPosition, Granted, NewAccount, Registered, Rotate, RotatedIn,
};
use countersign_store::{Store, StoreResult};
use tokio::task::JoinSet;

use crate::harness::Harness;

pub(crate) const LIFETIMES: Lifetimes = Lifetimes {
    access_token: Duration::from_secs(300),
    refresh_token_idle: Duration::from_secs(7 * 24 * 3600),
    rotation_overlap: Duration::from_secs(60),
};
pub(crate) const SESSION_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
/// Where the requests of strangers come from.
pub(crate) const STRANGER: Origin = Origin { actor: Actor::Anonymous, address: Some(ADDRESS) };

/// A store and what the test has drawn for it.
pub(crate) struct World<H> {
    pub(crate) harness: H,
    drawn: AtomicU32,
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) session: SessionId,
    pub(crate) token: RefreshToken,
    pub(crate) granted: Granted,
}

impl<H: Harness> World<H> {
    pub(crate) async fn new() -> Self {
        Self { harness: H::fresh().await, drawn: AtomicU32::new(0) }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.harness.store()
    }

    pub(crate) fn now(&self) -> Millis {
        Millis::new(self.harness.clock().load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.harness.clock().fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// An id that nobody has; later ones sort after earlier ones.
    pub(crate) fn draw(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }

    pub(crate) fn new_account(&self, name: &str) -> NewAccount {
        NewAccount {
            id: AccountId::from_bytes(self.draw()),
            username: Username::parse(name).unwrap(),
            email: Email::parse(&format!("{name}@example.com")).unwrap(),
            password: hash("first"),
            roles: Roles::user(),
            authority: None,
        }
    }

    pub(crate) async fn register(&self, name: &str) -> Account {
        match self.store().register(self.new_account(name), STRANGER).await.unwrap() {
            Registered::Done(account) => account,
            refused => panic!("{refused:?}"),
        }
    }

    pub(crate) fn begin(&self, account: AccountId) -> Begin {
        let (family, secret) = (self.draw(), self.draw());
        let mut bytes = [7; 32];
        bytes[..16].copy_from_slice(&secret);
        Begin {
            session: SessionId::from_bytes(self.draw()),
            account,
            verified: hash("first"),
            rehashed: None,
            client: ClientId::first_party(),
            token: RefreshToken::first(FamilyId::from_bytes(family), Secret::new(bytes)),
            device: Some("a device".to_owned()),
            address: Some(ADDRESS),
            session_lifetime: SESSION_LIFETIME,
            session_limit: None,
            lifetimes: LIFETIMES,
        }
    }

    pub(crate) async fn sign_in(&self, account: AccountId) -> SignedIn {
        self.sign_in_with(self.begin(account)).await
    }

    pub(crate) async fn sign_in_with(&self, begin: Begin) -> SignedIn {
        let (session, token) = (begin.session, begin.token.clone());
        match self.store().begin_session(begin, STRANGER).await.unwrap() {
            Begun::Live(granted, _) => SignedIn { session, token, granted: *granted },
            refused => panic!("{refused:?}"),
        }
    }

    /// Signs in again and again, some at a time; by session.
    pub(crate) async fn sign_in_often(&self, account: AccountId, times: usize) -> Vec<SignedIn> {
        let begins: Vec<Begin> = (0..times).map(|_| self.begin(account)).collect();
        let mut signed_in = Vec::with_capacity(times);
        for some in begins.chunks(16) {
            let mut signing_in = JoinSet::new();
            for begin in some.iter().cloned() {
                let store = self.store();
                signing_in.spawn(async move {
                    let (session, token) = (begin.session, begin.token.clone());
                    (session, token, store.begin_session(begin, STRANGER).await.unwrap())
                });
            }
            for (session, token, begun) in signing_in.join_all().await {
                let Begun::Live(granted, _) = begun else { panic!("{begun:?}") };
                signed_in.push(SignedIn { session, token, granted: *granted });
            }
        }
        signed_in.sort_by_key(|signed_in| signed_in.session);
        signed_in
    }

    pub(crate) fn presentation(&self, token: &RefreshToken) -> Rotate {
        let presented = Presented {
            token: token.clone(),
            client: ClientId::first_party(),
            retry_key: None,
            access_token_session: None,
        };
        Rotate { presented, nonce: self.draw(), lifetimes: LIFETIMES }
    }

    pub(crate) async fn rotate(&self, token: &RefreshToken) -> RotatedIn {
        rotated(&*self.store(), self.presentation(token)).await.unwrap()
    }

    pub(crate) async fn rotate_keyed(&self, token: &RefreshToken, key: &str) -> RotatedIn {
        let mut presentation = self.presentation(token);
        presentation.presented.retry_key = Some(RetryKey::parse(key).unwrap());
        rotated(&*self.store(), presentation).await.unwrap()
    }

    /// The successor of a token that must be the current one.
    pub(crate) async fn successor(&self, token: &RefreshToken) -> RefreshToken {
        match self.rotate(token).await {
            RotatedIn::Rotated(_, successor) => successor,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn end(&self, account: AccountId, session: SessionId) -> Option<FeedPosition> {
        let ended = Ended { account, session, reason: EndReason::SignedOut };
        self.store().end_session(ended, STRANGER).await.unwrap()
    }

    /// Why the access tokens of a session are refused, if they are.
    pub(crate) async fn denied(&self, session: SessionId) -> Option<AccessDenied> {
        self.store().session_account(session).await.unwrap().err()
    }

    /// Why a session in its owner's list is dead, if it is.
    pub(crate) async fn listed_dead(&self, account: AccountId, session: SessionId) -> Option<Dead> {
        let sessions = self.store().sessions(account, 1000).await.unwrap();
        sessions.iter().find(|listed| listed.id == session).expect("it is listed").dead
    }

    /// Every event, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let mut events = vec![];
        loop {
            let before = events.last().map(|event: &Event| event.id);
            let query = EventQuery { before, limit: 1000, ..EventQuery::default() };
            let page = self.store().events(query).await.unwrap();
            if page.is_empty() {
                events.reverse();
                return events;
            }
            events.extend(page);
        }
    }

    pub(crate) async fn kinds(&self) -> Vec<EventKind> {
        self.events().await.iter().map(|event| event.kind).collect()
    }

    /// The newest event.
    pub(crate) async fn last_event(&self) -> Event {
        self.events().await.pop().expect("there is an event")
    }

    /// The whole feed, which must have no gap, end at its position, and be what the signal says.
    pub(crate) async fn feed(&self) -> Vec<Revocation> {
        let position = self.store().feed_position().await.unwrap();
        let feed = self.store().revocations(0, 10_000).await.unwrap();
        let numbers: Vec<u64> = feed.iter().map(|entry| entry.feed_seq).collect();
        assert_eq!(numbers, (1..=position.seq).collect::<Vec<_>>(), "the feed has no gap");
        assert_eq!(*self.store().feed_signal().borrow(), position.seq, "the signal knows the newest number");
        feed
    }
}

/// The hash of a password, as far as a store knows.
pub(crate) fn hash(of: &str) -> PasswordHash {
    PasswordHash::new(format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA${of}"))
}

/// Presents it, and waits until the answer is on disk.
pub(crate) async fn rotated(store: &dyn Store, rotate: Rotate) -> StoreResult<RotatedIn> {
    store.rotate(rotate, STRANGER).await?.committed().await
}
