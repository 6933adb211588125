//! The hot rows: one family each, written as the core left it.

use countersign_core::ids::ClientId;
use countersign_core::sessions::recent::Mark;
use countersign_core::sessions::state::{Family, Session};
use rusqlite::{ToSql, named_params, params};

use crate::StoreResult;
use crate::sqlite::rows::{execute, execute_on_one};
use crate::sqlite::writing::Writing;

/// Writes the family of a session that begins, with what a refresh has to know of that.
pub(super) fn insert(writing: &Writing<'_>, session: &Session, family: &Family) -> StoreResult<()> {
    let sql = "INSERT INTO families (id, generation, current_hash, previous_hash, nonce, retry_hash, rotated_at, \
               idle_expires_at, access_expires_at, reissues, reissue_streak, older_generation, older_at, \
               newer_generation, newer_at, client, session, account, born_global, born_session, session_expires_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
    let extra: &[&dyn ToSql] = params![
        other_client(&family.client),
        session.id.as_bytes(),
        session.account.as_bytes(),
        session.born.global.get(),
        session.born.session.get(),
        session.expires_at.get(),
    ];
    with_hot_columns(family, |hot| execute(writing.connection, sql, [hot, extra].concat().as_slice()))?;
    Ok(())
}

/// Writes the family as the core left it; only the generation that the core has seen may be replaced.
pub(super) fn advance(writing: &Writing<'_>, family: &Family, seen: u32) -> StoreResult<()> {
    let sql = "UPDATE families SET generation = ?2, current_hash = ?3, previous_hash = ?4, nonce = ?5, \
               retry_hash = ?6, rotated_at = ?7, idle_expires_at = ?8, access_expires_at = ?9, reissues = ?10, \
               reissue_streak = ?11, older_generation = ?12, older_at = ?13, newer_generation = ?14, newer_at = ?15 \
               WHERE id = ?1 AND generation = ?16";
    let extra: [&dyn ToSql; 1] = [&seen];
    with_hot_columns(family, |hot| execute_on_one(writing.connection, sql, [hot, &extra].concat().as_slice()))
}

/// A reissue changes its counter and how long the newest access token lives, and nothing else.
pub(super) fn count_reissue(writing: &Writing<'_>, family: &Family) -> StoreResult<()> {
    let sql = "UPDATE families SET reissues = :reissues, access_expires_at = :access_expires_at \
               WHERE id = :id AND generation = :generation";
    let parameters = named_params! {
        ":reissues": family.reissues,
        ":access_expires_at": family.access_expires_at.get(),
        ":id": family.id.as_bytes(),
        ":generation": family.generation,
    };
    execute_on_one(writing.connection, sql, parameters)
}

/// The columns from ?1 to ?15. By number: SQLite looks for every name among all of them.
fn with_hot_columns<T>(family: &Family, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    let last = family.last.as_ref();
    let generation = |mark: Option<Mark>| mark.map(|mark| mark.generation);
    let at = |mark: Option<Mark>| mark.map(|mark| mark.at.get());
    let (older, newer) = (family.recent.older, family.recent.newer);
    run(params![
        family.id.as_bytes(),
        family.generation,
        family.current.as_bytes(),
        last.map(|last| last.previous.as_bytes()),
        last.map(|last| last.nonce),
        last.and_then(|last| last.retry.as_ref()).map(|retry| retry.as_bytes()),
        last.map(|last| last.rotated_at.get()),
        family.idle_expires_at.get(),
        family.access_expires_at.get(),
        family.reissues,
        family.reissue_streak,
        generation(older),
        at(older),
        generation(newer),
        at(newer),
    ])
}

/// The client as it is stored.
fn other_client(client: &ClientId) -> Option<&str> {
    (*client != ClientId::first_party()).then(|| client.as_str())
}
