//! Whether a session may act, and for which account.

use countersign_core::accounts::Account;
use countersign_core::ids::SessionId;
use countersign_core::sessions::state::{Session, Standing, alive};
use countersign_core::time::Millis;

use crate::error::MovedError;
use crate::postgres::base::Base;
use crate::postgres::connection::Connection;
use crate::postgres::ending::NEVER_IDLE;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{account_columns, database_time, first, params, session_columns, standing_columns};
use crate::postgres::writing::Writing;
use crate::verbs::{AccessDenied, FeedPosition, SessionAccount};

/// Asked at every request, so it also tells when the database has lost something or has moved.
pub(super) async fn session_account(
    base: &Base,
    connection: &Connection,
    id: SessionId,
) -> Outcome<Result<SessionAccount, AccessDenied>> {
    let before = base.node.position();
    let Some(mut found) = find(connection, id).await? else {
        return Ok(Err(AccessDenied::UnknownSession));
    };
    base.continues(&before, &found.position, connection).await?;
    base.node.stays_unless(found.moved.take())?;
    base.node.saw(found.position);
    let now = base.settle(found.time);
    Ok(found.alive_at(now))
}

/// The same for a transaction that holds the rows.
pub(super) async fn session_account_held(
    writing: &Writing,
    id: SessionId,
) -> Outcome<Result<SessionAccount, AccessDenied>> {
    let found = find(writing.connection()?, id).await?;
    Ok(found.map_or(Err(AccessDenied::UnknownSession), |found| found.alive_at(writing.now)))
}

/// A session with what decides over it.
struct FoundSession {
    time: Millis,
    position: FeedPosition,
    moved: Option<MovedError>,
    session: Session,
    standing: Standing,
    account: Account,
}

impl FoundSession {
    fn alive_at(self, now: Millis) -> Result<SessionAccount, AccessDenied> {
        let Self { session, standing, account, .. } = self;
        alive(&session, NEVER_IDLE, &standing, now).map_err(AccessDenied::Dead)?;
        Ok(SessionAccount { account, global_epoch: standing.epochs.global })
    }
}

async fn find(connection: &Connection, id: SessionId) -> Outcome<Option<FoundSession>> {
    let sql = concat!(
        "SELECT ",
        database_time!(),
        ", g.incarnation, g.feed_seq, g.global_epoch, g.moved_to, g.arriving IS NOT NULL, ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", ",
        account_columns!(),
        " FROM countersign.families f JOIN countersign.accounts a ON a.id = f.account CROSS JOIN countersign.auth_state g \
         WHERE f.session = $1"
    );
    first(&connection.rows(sql, params![id.as_uuid()]).await?, |columns| {
        Ok(FoundSession {
            time: columns.millis()?,
            position: columns.position()?,
            moved: columns.moved()?,
            session: columns.session()?,
            standing: columns.standing()?,
            account: columns.account()?,
        })
    })
}
