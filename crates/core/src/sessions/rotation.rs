//! The decision: what a presented refresh token gets. Written once; every store asks it while it holds the rows, or writes
//! what it says only where they are unchanged.
//!
//! The answer is a value and never an error, because a replay has to commit the end of its session.

use std::time::Duration;

use crate::ids::{ClientId, SessionId};
use crate::sessions::recent::Recent;
use crate::sessions::refresh_token::{Nonce, RefreshToken, RetryHash, RetryKey};
use crate::sessions::stall::Stall;
use crate::sessions::state::{Dead, Family, LastRotation, Session, Standing, alive};
use crate::time::Millis;

/// The lifetimes that a rotation applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long an access token lives.
    pub access_token: Duration,
    /// How long a session lives without being refreshed.
    pub refresh_token_idle: Duration,
    /// How long a client without a retry key may repeat a request; zero forbids it.
    pub rotation_overlap: Duration,
}

/// What a client presents.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The refresh token; its tag is genuine.
    pub token: RefreshToken,
    /// The client that presents it.
    pub client: ClientId,
    /// The retry key, where the client has one.
    pub retry_key: Option<RetryKey>,
    /// The session of the access token that came along, where one did.
    pub access_token_session: Option<SessionId>,
}

/// The rows that a store has read, and what it knows about its commits.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The family of the presented token.
    pub family: &'a Family,
    /// The session of the family.
    pub session: &'a Session,
    /// What the account and the installation say.
    pub standing: &'a Standing,
    /// When nothing could be committed lately.
    pub stalls: &'a [Stall],
}

/// What a presented refresh token gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The family moves on one generation: write `family`, hand out the successor.
    Rotated {
        /// The row to write.
        family: Family,
        /// The token to hand out.
        successor: RefreshToken,
    },
    /// The successor that was handed out before is handed out again: write the counters of `family`.
    Reissued {
        /// The row to write; only its counter and the expiry of the newest access token differ.
        family: Family,
        /// The token to hand out.
        successor: RefreshToken,
        /// True where this is the third generation in a row that was asked for twice: perhaps two hold the same token.
        recurring: bool,
    },
    /// The token was used before by somebody else: end the session, and let that commit.
    Replayed(Replay),
    /// Nothing is handed out and nothing changes.
    Refused(Refusal),
}

/// How a replay was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// An ancestor of the parent.
    Ancestor,
    /// The parent, with another retry key than the first time or with none.
    OtherRetryKey,
    /// The parent without a retry key, after the overlap.
    AfterOverlap,
    /// The right generation with another secret: two histories exist.
    OtherSecret,
    /// A generation that this database never reached: it went back in time.
    Rollback,
}

impl Replay {
    /// The name that an event carries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ancestor => "ancestor",
            Self::OtherRetryKey => "other_retry_key",
            Self::AfterOverlap => "after_overlap",
            Self::OtherSecret => "other_secret",
            Self::Rollback => "rollback",
        }
    }
}

/// Why nothing was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The family is not there: it ended so long ago that it was pruned.
    UnknownFamily,
    /// The token was given to another client.
    OtherClient,
    /// The access token that came along belongs to another session.
    AccessTokenMismatch,
    /// The session is dead.
    Dead(Dead),
    /// A duplicate of a request that was answered, and whose answer was used, a moment ago.
    LateDuplicate,
    /// The chain has no further generation.
    Exhausted,
}

/// Decides over a presented token whose tag is genuine.
///
/// `nonce` is fresh randomness; it is used only where the answer is [`Decision::Rotated`].
#[must_use]
pub fn decide(
    presented: &Presented,
    found: Option<Found<'_>>,
    lifetimes: &Lifetimes,
    nonce: Nonce,
    now: Millis,
) -> Decision {
    let Some(found) = found else {
        return Decision::Refused(Refusal::UnknownFamily);
    };
    if let Err(refusal) = admissible(presented, found, now) {
        return Decision::Refused(refusal);
    }
    let family = found.family;
    let token = &presented.token;
    if token.generation > family.generation {
        return Decision::Replayed(Replay::Rollback);
    }
    if token.generation == family.generation {
        return current(presented, found, lifetimes, nonce, now);
    }
    let Some(last) = &family.last else {
        return Decision::Replayed(Replay::Ancestor);
    };
    // No overflow: the token's generation is below the family's.
    if token.generation + 1 == family.generation {
        return parent(presented, found, last, lifetimes, now);
    }
    if family.recent.covers(token.generation, last.rotated_at, now, lifetimes.rotation_overlap) {
        return Decision::Refused(Refusal::LateDuplicate);
    }
    Decision::Replayed(Replay::Ancestor)
}

/// What must hold before the token itself is looked at.
fn admissible(presented: &Presented, found: Found<'_>, now: Millis) -> Result<(), Refusal> {
    if presented.client != found.family.client {
        return Err(Refusal::OtherClient);
    }
    if presented.access_token_session.is_some_and(|session| session != found.session.id) {
        return Err(Refusal::AccessTokenMismatch);
    }
    alive(found.session, found.family.idle_expires_at, found.standing, now).map_err(Refusal::Dead)
}

/// The current token: rotate.
fn current(presented: &Presented, found: Found<'_>, lifetimes: &Lifetimes, nonce: Nonce, now: Millis) -> Decision {
    let family = found.family;
    if presented.token.hash() != family.current {
        return Decision::Replayed(Replay::OtherSecret);
    }
    let Some(successor) = presented.token.successor(&nonce) else {
        return Decision::Refused(Refusal::Exhausted);
    };
    // The token that was the parent until now becomes an ancestor; the first rotation of a family has none.
    let recent = family
        .generation
        .checked_sub(1)
        .map_or(family.recent, |ancestor| family.recent.advance(ancestor, now, lifetimes.rotation_overlap));
    let family = Family {
        id: family.id,
        client: family.client.clone(),
        generation: successor.generation,
        current: successor.hash(),
        last: Some(LastRotation { previous: family.current, nonce, retry: retry_hash(presented), rotated_at: now }),
        idle_expires_at: (now + lifetimes.refresh_token_idle).min(found.session.expires_at),
        access_expires_at: access_expiry(found, lifetimes, now),
        reissues: 0,
        reissue_streak: if family.reissues > 0 { family.reissue_streak.saturating_add(1) } else { 0 },
        recent,
    };
    Decision::Rotated { family, successor }
}

/// The parent of the current token: an honest retry, or a replay.
fn parent(
    presented: &Presented,
    found: Found<'_>,
    last: &LastRotation,
    lifetimes: &Lifetimes,
    now: Millis,
) -> Decision {
    if presented.token.hash() != last.previous {
        return Decision::Replayed(Replay::OtherSecret);
    }
    // Nobody was told of a rotation before it was committed.
    let overlap_ends = Stall::latest_commit(found.stalls, last.rotated_at, now) + lifetimes.rotation_overlap;
    match (retry_hash(presented), last.retry) {
        (Some(sent), Some(kept)) if sent == kept => {}
        (None, None) if now < overlap_ends => {}
        (None, None) => return Decision::Replayed(Replay::AfterOverlap),
        _ => return Decision::Replayed(Replay::OtherRetryKey),
    }
    let Some(successor) = presented.token.successor(&last.nonce) else {
        return Decision::Refused(Refusal::Exhausted);
    };
    let first_of_generation = found.family.reissues == 0;
    let family = Family {
        reissues: found.family.reissues.saturating_add(1),
        access_expires_at: access_expiry(found, lifetimes, now),
        ..found.family.clone()
    };
    let recurring = first_of_generation && family.reissue_streak >= 2;
    Decision::Reissued { family, successor, recurring }
}

fn retry_hash(presented: &Presented) -> Option<RetryHash> {
    let token = &presented.token;
    presented.retry_key.as_ref().map(|key| key.hash(token.family, token.generation))
}

/// When an access token minted now expires: never after its session. It never moves back, whatever the clock does.
fn access_expiry(found: Found<'_>, lifetimes: &Lifetimes, now: Millis) -> Millis {
    (now + lifetimes.access_token).min(found.session.expires_at).max(found.family.access_expires_at)
}

/// The family of a session that begins now with `token`.
#[must_use]
pub fn begin(token: &RefreshToken, client: ClientId, session: &Session, lifetimes: &Lifetimes, now: Millis) -> Family {
    Family {
        id: token.family,
        client,
        generation: token.generation,
        current: token.hash(),
        last: None,
        idle_expires_at: (now + lifetimes.refresh_token_idle).min(session.expires_at),
        access_expires_at: (now + lifetimes.access_token).min(session.expires_at),
        reissues: 0,
        reissue_streak: 0,
        recent: Recent::default(),
    }
}
