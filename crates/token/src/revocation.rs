//! Which tokens have been revoked before their time, and how a resource server learns of it.
//!
//! A Countersign publishes a feed of [`FeedPage`]s at `GET /revocations`. A resource server keeps a [`RevocationView`] of it in
//! memory and asks it about every token, after the signature and without asking anybody. Revocation is decided by session
//! and by version, never by comparing a time of issue with a time of revocation.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AccessClaims, MAX_LEEWAY_SECONDS};

/// What has been revoked. `expires` is in seconds since 1970: from then on no concerned access token can be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Revocation {
    /// One session has ended.
    Session {
        /// The session.
        sid: Uuid,
        /// When the event may be forgotten.
        expires: i64,
    },
    /// The access tokens of one account that carry an older version are no longer good: the account was revoked, or its roles
    /// changed and its clients shall renew.
    Account {
        /// The account.
        sub: Uuid,
        /// The lowest `ver[1]` that is still good.
        version: i64,
        /// When the event may be forgotten.
        expires: i64,
    },
    /// Every access token of an older epoch is no longer good.
    Everyone {
        /// The lowest `ver[0]` that is still good.
        epoch: i64,
    },
}

/// A revocation and its place in the feed.
///
/// A reader does not skip a type that it does not know: it would let a revoked token pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEvent {
    /// The place in the feed; grows by one with every event of an incarnation.
    pub seq: u64,
    /// What has been revoked.
    #[serde(flatten)]
    pub revocation: Revocation,
}

/// An answer of `GET /revocations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedPage {
    /// The life of the issuer's database; it changes when an older copy is restored, and the numbering starts over.
    pub incarnation: String,
    /// The place in the feed that a reader has reached with this page; the `after` of its next question.
    pub seq: u64,
    /// Whether `events` is all that is in force (and replaces what the reader knew), rather than what is new.
    pub snapshot: bool,
    /// The events in the order of the feed.
    pub events: Vec<FeedEvent>,
}

/// Why a page cannot be applied. The view is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The view is empty or of another incarnation, and the page only says what is new: ask for a snapshot.
    #[error("a snapshot is needed first")]
    SnapshotNeeded,
    /// The page is older than the view: an answer that came late, or an issuer that went back in time.
    #[error("the page is older than what is known")]
    WentBack,
    /// An event lies outside the page: its `seq` is beyond the page's own.
    #[error("an event lies outside its page")]
    Inconsistent,
}

/// Why a genuine token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RevokedReason {
    /// Its session has ended.
    #[error("the token's session has ended")]
    Session,
    /// Its account was revoked, or the account's roles changed since.
    #[error("the account's tokens were revoked or its roles have changed")]
    Account,
    /// Everyone's tokens were revoked.
    #[error("all tokens issued before were revoked")]
    Everyone,
}

impl RevokedReason {
    /// The stable code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Session => "session_revoked",
            Self::Account => "account_revoked",
            Self::Everyone => "everyone_revoked",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct AccountFloor {
    version: i64,
    expires: i64,
}

/// What a resource server knows of the feed: small, in memory, asked for every token.
///
/// ```
/// use countersign_token::revocation::{FeedPage, RevocationView, RevokedReason};
/// # use countersign_token::AccessClaims;
/// # let claims: AccessClaims = serde_json::from_str(r#"{"iss":"i","aud":"a","sub":"0198a8a6-0000-7000-8000-000000000001",
/// #   "client_id":"web","iat":0,"exp":300,"jti":"0198a8a6-0000-7000-8000-000000000002",
/// #   "sid":"0198a8a6-0000-7000-8000-000000000003","name":"ada","roles":[],"ver":[0,0]}"#)?;
///
/// let mut view = RevocationView::new();
/// let page: FeedPage = serde_json::from_str(
///     r#"{"incarnation":"a1","seq":12,"snapshot":true,"events":[
///         {"seq":12,"type":"session","sid":"0198a8a6-0000-7000-8000-000000000003","expires":300}]}"#,
/// )?;
/// view.apply(&page)?;
/// assert_eq!(view.cursor(), Some(("a1", 12)));
/// assert_eq!(view.check(&claims), Err(RevokedReason::Session));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RevocationView {
    cursor: Option<(String, u64)>,
    everyone: i64,
    accounts: HashMap<Uuid, AccountFloor>,
    sessions: HashMap<Uuid, i64>,
}

impl RevocationView {
    /// A view that has read nothing yet. Its [`cursor`](Self::cursor) is `None`: until the first snapshot it knows nothing, and a
    /// reader that fails closed must not answer from it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The incarnation and the place up to which the feed has been read, or `None` before the first snapshot.
    pub fn cursor(&self) -> Option<(&str, u64)> {
        self.cursor.as_ref().map(|(incarnation, seq)| (incarnation.as_str(), *seq))
    }

    /// How many sessions and accounts are held in memory.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.accounts.len()
    }

    /// Whether no session and no account is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in a page. A snapshot replaces what was known; within one incarnation nothing ever gets younger, so epoch and
    /// versions never fall.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] where the page does not follow from what is known; the view is then unchanged.
    pub fn apply(&mut self, page: &FeedPage) -> Result<(), ApplyError> {
        if page.events.iter().any(|event| event.seq > page.seq) {
            return Err(ApplyError::Inconsistent);
        }
        let same_incarnation = match &self.cursor {
            Some((incarnation, seq)) if *incarnation == page.incarnation => {
                if page.seq < *seq {
                    return Err(ApplyError::WentBack);
                }
                true
            }
            _ => false,
        };
        match (page.snapshot, same_incarnation) {
            (true, true) => self.replace_within_incarnation(page),
            (true, false) => {
                *self = Self::default();
                self.take(&page.events);
            }
            (false, true) => self.take(&page.events),
            (false, false) => return Err(ApplyError::SnapshotNeeded),
        }
        self.cursor = Some((page.incarnation.clone(), page.seq));
        Ok(())
    }

    /// What the snapshot no longer names has expired; what it names may not fall below what is known.
    fn replace_within_incarnation(&mut self, page: &FeedPage) {
        let revocations = || page.events.iter().map(|event| event.revocation);
        let accounts: HashSet<Uuid> = revocations()
            .filter_map(|revocation| match revocation {
                Revocation::Account { sub, .. } => Some(sub),
                Revocation::Session { .. } | Revocation::Everyone { .. } => None,
            })
            .collect();
        let sessions: HashSet<Uuid> = revocations()
            .filter_map(|revocation| match revocation {
                Revocation::Session { sid, .. } => Some(sid),
                Revocation::Account { .. } | Revocation::Everyone { .. } => None,
            })
            .collect();
        self.accounts.retain(|sub, _| accounts.contains(sub));
        self.sessions.retain(|sid, _| sessions.contains(sid));
        self.take(&page.events);
    }

    fn take(&mut self, events: &[FeedEvent]) {
        for event in events {
            match event.revocation {
                Revocation::Session { sid, expires } => {
                    let known = self.sessions.entry(sid).or_insert(expires);
                    *known = expires.max(*known);
                }
                Revocation::Account { sub, version, expires } => {
                    let known = self.accounts.entry(sub).or_insert(AccountFloor { version, expires });
                    known.version = version.max(known.version);
                    known.expires = expires.max(known.expires);
                }
                Revocation::Everyone { epoch } => self.everyone = epoch.max(self.everyone),
            }
        }
    }

    /// Frees what concerns no living token at `now` (seconds since 1970). An event is kept
    /// [`MAX_LEEWAY_SECONDS`] past its `expires`, because a verifier may accept a token for so long after its `exp`.
    pub fn forget_expired(&mut self, now: i64) {
        let alive = |expires: i64| now < expires.saturating_add(MAX_LEEWAY_SECONDS);
        self.sessions.retain(|_, expires| alive(*expires));
        self.accounts.retain(|_, floor| alive(floor.expires));
    }

    /// Whether a genuine token is still good: in memory, without a lock, for every request.
    ///
    /// # Errors
    ///
    /// [`RevokedReason`], the most particular one that applies.
    pub fn check(&self, claims: &AccessClaims) -> Result<(), RevokedReason> {
        let [epoch, version] = claims.ver;
        if self.sessions.contains_key(&claims.sid) {
            return Err(RevokedReason::Session);
        }
        if self.accounts.get(&claims.sub).is_some_and(|floor| version < floor.version) {
            return Err(RevokedReason::Account);
        }
        if epoch < self.everyone {
            return Err(RevokedReason::Everyone);
        }
        Ok(())
    }
}
