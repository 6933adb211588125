//! Events: the audit log, and the revocation feed that is read from it.

use countersign_core::epochs::Epoch;
use countersign_core::events::{Actor, Event, EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::time::Millis;
use uuid::Uuid;

use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{Columns, address_bytes, all, corrupt, params};
use crate::postgres::state;
use crate::postgres::writing::Writing;
use crate::verbs::{EventQuery, FeedPosition};

/// The most events that one query gives.
const PAGE: u32 = 1000;

/// The columns of an event but its time, as [`Rows`] has them.
macro_rules! written_columns {
    () => {
        "kind, actor, actor_account, address, account, session, detail, feed_seq, feed_scope, feed_version, feed_expires_at"
    };
}

/// Until when the feed tells of a revocation.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// The access tokens concerned have expired by then.
    Expired(Millis),
    /// The last access token issued until now has expired, whoever holds it.
    AllExpired,
}

impl From<Millis> for Until {
    fn from(expires_at: Millis) -> Self {
        Self::Expired(expires_at)
    }
}

/// An event to write.
pub(super) struct Record {
    kind: EventKind,
    origin: Origin,
    account: Option<AccountId>,
    session: Option<SessionId>,
    detail: Option<String>,
    /// What the feed is told, and for how long.
    revokes: Option<(RevocationScope, Until)>,
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
    pub(super) fn revokes(mut self, scope: RevocationScope, until: impl Into<Until>) -> Self {
        self.revokes = Some((scope, until.into()));
        self
    }

    /// Writes the event.
    pub(super) async fn write(self, writing: &Writing) -> Outcome<()> {
        Self::write_all(writing, vec![self]).await.map(|_| ())
    }

    /// Writes the event as the next entry of the revocation feed: see [`Self::write_all`].
    pub(super) async fn publish(
        self,
        writing: &Writing,
        scope: RevocationScope,
        until: impl Into<Until>,
    ) -> Outcome<FeedPosition> {
        Self::write_all(writing, vec![self.revokes(scope, until)]).await
    }

    /// Writes events in this order, however many with one statement, and those which revoke something as the next entries of the
    /// feed; where it stands then. To be done last in a verb, since it locks what everybody needs.
    pub(super) async fn write_all(writing: &Writing, records: Vec<Self>) -> Outcome<FeedPosition> {
        let entries = records.iter().filter(|record| record.revokes.is_some()).count() as u64;
        let (position, all_expired_at) = match entries {
            0 => (writing.position(), writing.now),
            entries => state::next_positions(writing, entries).await?,
        };
        let mut rows = Rows::default();
        let mut feed_seq = position.seq - entries;
        for record in records {
            feed_seq += u64::from(record.revokes.is_some());
            rows.push(record, feed_seq, all_expired_at);
        }
        rows.insert(writing).await?;
        Ok(position)
    }
}

/// Events as rows, column by column.
#[derive(Default)]
struct Rows {
    kind: Vec<&'static str>,
    actor: Vec<&'static str>,
    actor_account: Vec<Option<Uuid>>,
    address: Vec<Option<Vec<u8>>>,
    account: Vec<Option<Uuid>>,
    session: Vec<Option<Uuid>>,
    detail: Vec<Option<String>>,
    feed_seq: Vec<Option<i64>>,
    feed_scope: Vec<Option<&'static str>>,
    feed_version: Vec<Option<i64>>,
    feed_expires_at: Vec<Option<i64>>,
}

impl Rows {
    /// `feed_seq` is the number of the event where it is an entry of the feed.
    fn push(&mut self, record: Record, feed_seq: u64, all_expired_at: Millis) {
        let (actor, actor_account) = match record.origin.actor {
            Actor::Account(account) => ("account", Some(account.as_uuid())),
            Actor::Anonymous => ("anonymous", None),
            Actor::CommandLine => ("command_line", None),
            Actor::Server => ("server", None),
        };
        let (scope, version) = match record.revokes.map(|(scope, _)| scope) {
            None => (None, None),
            Some(RevocationScope::Session(_)) => (Some("session"), None),
            Some(RevocationScope::Account(_, version)) => (Some("account"), Some(version)),
            Some(RevocationScope::Everyone(epoch)) => (Some("everyone"), Some(epoch)),
        };
        let expires_at = record.revokes.map(|(_, until)| match until {
            Until::Expired(expires_at) => expires_at,
            Until::AllExpired => all_expired_at,
        });
        self.kind.push(record.kind.as_str());
        self.actor.push(actor);
        self.actor_account.push(actor_account);
        self.address.push(address_bytes(record.origin.address));
        self.account.push(record.account.map(|account| account.as_uuid()));
        self.session.push(record.session.map(|session| session.as_uuid()));
        self.detail.push(record.detail);
        self.feed_seq.push(record.revokes.map(|_| feed_seq.cast_signed()));
        self.feed_scope.push(scope);
        self.feed_version.push(version.map(Epoch::get));
        self.feed_expires_at.push(expires_at.map(Millis::get));
    }

    async fn insert(self, writing: &Writing) -> Outcome<()> {
        // Sorted before the ids are given out, so that these grow in the order of the events.
        let sql = concat!(
            "INSERT INTO countersign.events (at, ",
            written_columns!(),
            ") SELECT $1, ",
            written_columns!(),
            " FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) WITH ORDINALITY AS event (",
            written_columns!(),
            ", place) ORDER BY place"
        );
        let count = self.kind.len() as u64;
        let parameters = params![
            writing.now.get(),
            self.kind,
            self.actor,
            self.actor_account,
            self.address,
            self.account,
            self.session,
            self.detail,
            self.feed_seq,
            self.feed_scope,
            self.feed_version,
            self.feed_expires_at,
        ];
        writing.execute_on(count, sql, parameters).await
    }
}

pub(super) async fn list(connection: &Connection, query: &EventQuery) -> Outcome<Vec<Event>> {
    // Two statements, since one with "account IS NULL OR" would use no index.
    let sql = match query.account {
        Some(_) => {
            "SELECT id, at, kind, actor, actor_account, address, account, session, detail FROM countersign.events \
             WHERE account = $1 AND ($2::text IS NULL OR kind = $2) AND id < $3 ORDER BY id DESC LIMIT $4"
        }
        None => {
            "SELECT id, at, kind, actor, actor_account, address, account, session, detail FROM countersign.events \
             WHERE $1::uuid IS NULL AND ($2::text IS NULL OR kind = $2) AND id < $3 ORDER BY id DESC LIMIT $4"
        }
    };
    let parameters = params![
        query.account.map(|account| account.as_uuid()),
        query.kind.map(EventKind::as_str),
        query.before.unwrap_or(i64::MAX),
        i64::from(query.limit.min(PAGE)),
    ];
    all(&connection.rows(sql, parameters).await?, event)
}

fn event(columns: &mut Columns<'_>) -> Outcome<Event> {
    let (id, at) = (columns.value()?, columns.millis()?);
    let kind = EventKind::parse(columns.value()?).ok_or_else(|| corrupt("an event has an unknown kind"))?;
    let actor: &str = columns.value()?;
    let actor = match (actor, columns.maybe_account_id()?) {
        ("account", Some(account)) => Actor::Account(account),
        ("anonymous", None) => Actor::Anonymous,
        ("command_line", None) => Actor::CommandLine,
        ("server", None) => Actor::Server,
        _ => return Err(corrupt("an event has an unknown actor").into()),
    };
    let origin = Origin { actor, address: columns.address()? };
    let (account, session) = (columns.maybe_account_id()?, columns.maybe_session_id()?);
    Ok(Event { id, at, kind, origin, account, session, detail: columns.value()? })
}
