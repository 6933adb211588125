//! Whether a session may act, and for which account.

use countersign_core::ids::SessionId;
use countersign_core::sessions::state::alive;
use countersign_core::time::Millis;
use rusqlite::Connection;

use crate::StoreResult;
use crate::sqlite::ending::NEVER_IDLE;
use crate::sqlite::rows::{account_columns, one, session_columns, standing_columns};
use crate::verbs::{AccessDenied, SessionAccount};

pub(super) fn session_account(
    connection: &Connection,
    id: SessionId,
    now: Millis,
) -> StoreResult<Result<SessionAccount, AccessDenied>> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", ",
        account_columns!(),
        " FROM families f JOIN accounts a ON a.id = f.account, auth_state g WHERE f.session = ?1"
    );
    let found = one(connection, sql, [id.as_bytes()], |columns| {
        Ok((columns.session()?, columns.standing()?, columns.account()?))
    })?;
    let Some((session, standing, account)) = found else {
        return Ok(Err(AccessDenied::UnknownSession));
    };
    let answer = alive(&session, NEVER_IDLE, &standing, now).map_err(AccessDenied::Dead);
    Ok(answer.map(|()| SessionAccount { account, global_epoch: standing.epochs.global }))
}
