//! Events: the audit log, and the revocation feed that is read from it.

use countersign_core::epochs::Epoch;
use countersign_core::events::{Actor, Event, EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::rows::{Columns, address_bytes, corrupt, execute, many};
use crate::sqlite::state;
use crate::sqlite::writing::Writing;
use crate::verbs::{EventQuery, FeedPosition};

/// The most events that one query gives.
const PAGE: u32 = 1000;

/// An event to write.
pub(super) struct Record {
    kind: EventKind,
    origin: Origin,
    account: Option<AccountId>,
    session: Option<SessionId>,
    detail: Option<String>,
    /// What the feed is told, and when the last access token concerned expires.
    revokes: Option<(RevocationScope, Millis)>,
}

impl Record {
    pub(super) const fn new(kind: EventKind, origin: Origin) -> Self {
        Self { kind, origin, account: None, session: None, detail: None, revokes: None }
    }

    pub(super) const fn account(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    pub(super) const fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Makes the event an entry of the revocation feed.
    pub(super) const fn revokes(mut self, scope: RevocationScope, expires_at: Millis) -> Self {
        self.revokes = Some((scope, expires_at));
        self
    }

    /// Writes the event.
    pub(super) fn write(self, writing: &Writing<'_>) -> StoreResult<()> {
        Self::write_all(writing, vec![self]).map(|_| ())
    }

    /// Writes the event as the next entry of the revocation feed: see [`Self::write_all`].
    pub(super) fn publish(
        self,
        writing: &Writing<'_>,
        scope: RevocationScope,
        expires_at: Millis,
    ) -> StoreResult<FeedPosition> {
        Self::write_all(writing, vec![self.revokes(scope, expires_at)])
    }

    /// Writes events in this order, and those which revoke something as the next entries of the feed; where it stands then. To be
    /// done last in a verb.
    pub(super) fn write_all(writing: &Writing<'_>, records: Vec<Self>) -> StoreResult<FeedPosition> {
        let entries = records.iter().filter(|record| record.revokes.is_some()).count() as u64;
        let position = match entries {
            0 => state::position(writing.connection)?,
            entries => state::next_positions(writing, entries)?,
        };
        let mut feed_seq = position.seq - entries;
        for record in records {
            feed_seq += u64::from(record.revokes.is_some());
            record.insert(writing, feed_seq)?;
        }
        Ok(position)
    }

    /// `feed_seq` is the number of the event where it is an entry of the feed.
    fn insert(self, writing: &Writing<'_>, feed_seq: u64) -> StoreResult<()> {
        let (actor, actor_account) = match self.origin.actor {
            Actor::Account(account) => ("account", Some(account)),
            Actor::Anonymous => ("anonymous", None),
            Actor::CommandLine => ("command_line", None),
            Actor::Server => ("server", None),
        };
        let (scope, version) = match self.revokes.map(|(scope, _)| scope) {
            None => (None, None),
            Some(RevocationScope::Session(_)) => (Some("session"), None),
            Some(RevocationScope::Account(_, version)) => (Some("account"), Some(version)),
            Some(RevocationScope::Everyone(epoch)) => (Some("everyone"), Some(epoch)),
        };
        let sql = "INSERT INTO events (at, kind, actor, actor_account, address, account, session, detail, \
                   feed_seq, feed_scope, feed_version, feed_expires_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let parameters = params![
            writing.now.get(),
            self.kind.as_str(),
            actor,
            actor_account.as_ref().map(AccountId::as_bytes),
            address_bytes(self.origin.address),
            self.account.as_ref().map(AccountId::as_bytes),
            self.session.as_ref().map(SessionId::as_bytes),
            self.detail,
            self.revokes.map(|_| feed_seq.cast_signed()),
            scope,
            version.map(Epoch::get),
            self.revokes.map(|(_, expires_at)| expires_at.get()),
        ];
        execute(writing.connection, sql, parameters)?;
        Ok(())
    }
}

pub(super) fn list(connection: &Connection, query: &EventQuery) -> StoreResult<Vec<Event>> {
    // Two statements, since one with "account IS NULL OR" would use no index.
    let sql = match query.account {
        Some(_) => {
            "SELECT id, at, kind, actor, actor_account, address, account, session, detail FROM events \
             WHERE account = ?1 AND (?2 IS NULL OR kind = ?2) AND id < ?3 ORDER BY id DESC LIMIT ?4"
        }
        None => {
            "SELECT id, at, kind, actor, actor_account, address, account, session, detail FROM events \
             WHERE ?1 IS NULL AND (?2 IS NULL OR kind = ?2) AND id < ?3 ORDER BY id DESC LIMIT ?4"
        }
    };
    let parameters = params![
        query.account.as_ref().map(AccountId::as_bytes),
        query.kind.map(EventKind::as_str),
        query.before.unwrap_or(i64::MAX),
        query.limit.min(PAGE),
    ];
    many(connection, sql, parameters, event)
}

fn event(columns: &mut Columns<'_>) -> StoreResult<Event> {
    let (id, at) = (columns.value()?, columns.millis()?);
    let kind = EventKind::parse(&columns.value::<String>()?).ok_or_else(|| corrupt("an event has an unknown kind"))?;
    let actor: String = columns.value()?;
    let actor = match (actor.as_str(), columns.maybe_account_id()?) {
        ("account", Some(account)) => Actor::Account(account),
        ("anonymous", None) => Actor::Anonymous,
        ("command_line", None) => Actor::CommandLine,
        ("server", None) => Actor::Server,
        _ => return Err(corrupt("an event has an unknown actor")),
    };
    let origin = Origin { actor, address: columns.address()? };
    let (account, session) = (columns.maybe_account_id()?, columns.maybe_session_id()?);
    Ok(Event { id, at, kind, origin, account, session, detail: columns.value()? })
}
