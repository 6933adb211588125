//! Events: the audit log, and the revocation feed that is read from it.

use countersign_core::epochs::Epoch;
use countersign_core::events::{Actor, Event, EventKind, Origin, Revocation, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::time::Millis;

use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{Columns, address_bytes, all, corrupt, params};
use crate::postgres::state;
use crate::postgres::writing::Writing;
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
}

impl Record {
    pub(super) const fn new(kind: EventKind, origin: Origin) -> Self {
        Self { kind, origin, account: None, session: None, detail: None }
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

    /// Writes the event.
    pub(super) async fn write(self, writing: &Writing) -> Outcome<()> {
        self.insert(writing, None).await
    }

    /// Writes the event as the next entry of the revocation feed: to be done last in a verb, since it locks what everybody needs.
    pub(super) async fn publish(
        self,
        writing: &Writing,
        scope: RevocationScope,
        expires_at: Millis,
    ) -> Outcome<FeedPosition> {
        let position = state::next_position(writing).await?;
        self.insert(writing, Some(Revocation { feed_seq: position.seq, scope, expires_at })).await?;
        Ok(position)
    }

    async fn insert(self, writing: &Writing, feed: Option<Revocation>) -> Outcome<()> {
        let (actor, actor_account) = match self.origin.actor {
            Actor::Account(account) => ("account", Some(account.as_uuid())),
            Actor::Anonymous => ("anonymous", None),
            Actor::CommandLine => ("command_line", None),
            Actor::Server => ("server", None),
        };
        let (scope, version) = match feed.map(|feed| feed.scope) {
            None => (None, None),
            Some(RevocationScope::Session(_)) => (Some("session"), None),
            Some(RevocationScope::Account(_, version)) => (Some("account"), Some(version)),
            Some(RevocationScope::Everyone(epoch)) => (Some("everyone"), Some(epoch)),
        };
        let sql = "INSERT INTO countersign.events (at, kind, actor, actor_account, address, account, session, detail, \
                   feed_seq, feed_scope, feed_version, feed_expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let parameters = params![
            writing.now.get(),
            self.kind.as_str(),
            actor,
            actor_account,
            address_bytes(self.origin.address),
            self.account.map(|account| account.as_uuid()),
            self.session.map(|session| session.as_uuid()),
            self.detail,
            feed.map(|feed| feed.feed_seq.cast_signed()),
            scope,
            version.map(Epoch::get),
            feed.map(|feed| feed.expires_at.get()),
        ];
        writing.execute(sql, parameters).await?;
        Ok(())
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
