//! The hot rows: one family each, written as the core left it.

use countersign_core::ids::SessionId;
use countersign_core::sessions::recent::Mark;
use countersign_core::sessions::state::Family;
use rusqlite::{ToSql, named_params};

use crate::StoreResult;
use crate::sqlite::rows::{execute, execute_on_one};
use crate::sqlite::writer::Writing;

/// Writes the family of a session that begins.
pub(super) fn insert(writing: &Writing<'_>, session: SessionId, family: &Family) -> StoreResult<()> {
    let sql = "INSERT INTO families (id, session, client, generation, current_hash, previous_hash, nonce, retry_hash, \
               rotated_at, idle_expires_at, access_expires_at, reissues, reissue_streak, older_generation, older_at, \
               newer_generation, newer_at) VALUES (:id, :session, :client, :generation, :current_hash, :previous_hash, \
               :nonce, :retry_hash, :rotated_at, :idle_expires_at, :access_expires_at, :reissues, :reissue_streak, \
               :older_generation, :older_at, :newer_generation, :newer_at)";
    let extra: [(&str, &dyn ToSql); 2] = [(":session", session.as_bytes()), (":client", &family.client.as_str())];
    with_hot_columns(family, |hot| execute(writing.connection, sql, [hot, &extra].concat().as_slice()))?;
    Ok(())
}

/// Writes the family as the core left it; only the generation that the core has seen may be replaced.
pub(super) fn advance(writing: &Writing<'_>, family: &Family, seen: u32) -> StoreResult<()> {
    let sql = "UPDATE families SET generation = :generation, current_hash = :current_hash, \
               previous_hash = :previous_hash, nonce = :nonce, retry_hash = :retry_hash, rotated_at = :rotated_at, \
               idle_expires_at = :idle_expires_at, access_expires_at = :access_expires_at, reissues = :reissues, \
               reissue_streak = :reissue_streak, older_generation = :older_generation, older_at = :older_at, \
               newer_generation = :newer_generation, newer_at = :newer_at WHERE id = :id AND generation = :seen";
    let extra: [(&str, &dyn ToSql); 1] = [(":seen", &seen)];
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

fn with_hot_columns<T>(family: &Family, run: impl FnOnce(&[(&str, &dyn ToSql)]) -> T) -> T {
    let last = family.last.as_ref();
    let generation = |mark: Option<Mark>| mark.map(|mark| mark.generation);
    let at = |mark: Option<Mark>| mark.map(|mark| mark.at.get());
    let (older, newer) = (family.recent.older, family.recent.newer);
    run(named_params! {
        ":id": family.id.as_bytes(),
        ":generation": family.generation,
        ":current_hash": family.current.as_bytes(),
        ":previous_hash": last.map(|last| last.previous.as_bytes()),
        ":nonce": last.map(|last| last.nonce),
        ":retry_hash": last.and_then(|last| last.retry.as_ref()).map(|retry| retry.as_bytes()),
        ":rotated_at": last.map(|last| last.rotated_at.get()),
        ":idle_expires_at": family.idle_expires_at.get(),
        ":access_expires_at": family.access_expires_at.get(),
        ":reissues": family.reissues,
        ":reissue_streak": family.reissue_streak,
        ":older_generation": generation(older),
        ":older_at": at(older),
        ":newer_generation": generation(newer),
        ":newer_at": at(newer),
    })
}
