//! What a store must answer, in memory, with the core as the judge of sessions.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::accounts::{Account, PasswordHash};
use countersign_core::epochs::Epoch;
use countersign_core::events::{EventKind, Revocation, RevocationScope};
use countersign_core::ids::{AccountId, FamilyId, SessionId};
use countersign_core::roles::Roles;
use countersign_core::sessions::limit::{Used, making_room};
use countersign_core::sessions::rotation::{Decision, Found, Refusal, begin, decide};
use countersign_core::sessions::state::{Dead, EndReason, Ended, Epochs, Family, Session, Standing, alive};
use countersign_core::time::Millis;
use countersign_store::verbs::{
    AccessDenied, Begin, Begun, Ended as End, FeedPosition, Granted, NewAccount, PasswordChange, PasswordWritten,
    REVOCATION_MARGIN, Receipt, ReceiptScope, Registered, Rotate, RotatedIn, SessionAccount,
};

/// An event as far as the model foresees it.
pub(crate) type Told = (EventKind, Option<AccountId>, Option<SessionId>);

/// A store that forgets everything at the end.
pub(crate) struct Model {
    pub(crate) now: Millis,
    pub(crate) position: FeedPosition,
    pub(crate) accounts: Vec<Held>,
    pub(crate) sessions: Vec<(Session, Family)>,
    pub(crate) feed: Vec<Revocation>,
    pub(crate) events: Vec<Told>,
    began: HashMap<SessionId, Millis>,
    longest: Duration,
}

/// An account and what only the store knows of it.
pub(crate) struct Held {
    pub(crate) account: Account,
    pub(crate) password: PasswordHash,
    /// The hash that a rehash of the same password replaced.
    replaced: Option<PasswordHash>,
    session_epoch: Epoch,
}

impl Held {
    fn still_is(&self, verified: &PasswordHash) -> bool {
        self.password == *verified || self.replaced.as_ref() == Some(verified)
    }
}

impl Model {
    pub(crate) fn new(now: Millis, position: FeedPosition) -> Self {
        Self {
            now,
            position,
            accounts: vec![],
            sessions: vec![],
            feed: vec![],
            events: vec![],
            began: HashMap::new(),
            longest: Duration::ZERO,
        }
    }

    pub(crate) fn register(&mut self, new: NewAccount) -> Registered {
        let taken = |held: &&Held| held.account.username.canonical() == new.username.canonical();
        if self.accounts.iter().any(|held| taken(&held)) {
            return Registered::UsernameTaken;
        }
        let account = Account {
            id: new.id,
            username: new.username,
            email: new.email,
            roles: new.roles,
            claims_version: Epoch::new(0),
            disabled_at: None,
            created_at: self.now,
        };
        self.events.push((EventKind::AccountRegistered, Some(account.id), None));
        let held =
            Held { account: account.clone(), password: new.password, replaced: None, session_epoch: Epoch::new(0) };
        self.accounts.push(held);
        Registered::Done(account)
    }

    pub(crate) fn begin(&mut self, asked: &Begin) -> Begun {
        let global = self.position.global_epoch;
        let (now, held) = (self.now, self.held(asked.account));
        if !held.still_is(&asked.verified) {
            return Begun::CredentialsChanged;
        }
        if held.account.disabled_at.is_some() {
            return Begun::AccountDisabled;
        }
        if let (Some(stronger), true) = (&asked.rehashed, held.password == asked.verified) {
            held.replaced = Some(std::mem::replace(&mut held.password, stronger.clone()));
        }
        let session = Session {
            id: asked.session,
            account: asked.account,
            expires_at: now + asked.session_lifetime,
            ended: None,
            born: Epochs { global, session: held.session_epoch },
        };
        let granted = Granted {
            subject: held.account.clone().into(),
            session: session.id,
            client: asked.client.clone(),
            global_epoch: global,
            now,
            session_expires_at: session.expires_at,
        };
        let family = begin(&asked.token, asked.client.clone(), &session, &asked.lifetimes, now);
        let ending = asked.session_limit.map_or_else(Vec::new, |limit| self.making_room(asked.account, limit));
        self.began.insert(session.id, now);
        self.sessions.push((session, family));
        self.events.push((EventKind::SignedIn, Some(asked.account), Some(asked.session)));
        self.longest = self.longest.max(asked.lifetimes.access_token);
        let made_room = !ending.is_empty();
        for session in ending {
            let at = self.sessions.iter().position(|(held, _)| held.id == session).unwrap();
            self.end_by_the_way(at, EndReason::SessionLimit);
        }
        Begun::Live(Box::new(granted), made_room.then_some(self.position))
    }

    fn making_room(&self, account: AccountId, limit: NonZeroU32) -> Vec<SessionId> {
        let of_account = self.sessions.iter().filter(|(session, _)| session.account == account);
        let used = of_account.map(|(session, family)| Used {
            session: session.clone(),
            last_used_at: family.last.map_or(self.began[&session.id], |last| last.rotated_at),
            idle_expires_at: family.idle_expires_at,
        });
        making_room(used.collect(), &self.standing(account), limit, self.now)
    }

    pub(crate) fn rotate(&mut self, asked: &Rotate) -> RotatedIn {
        let token = &asked.presented.token;
        let Some(at) = self.sessions.iter().position(|(_, family)| family.id == token.family) else {
            return RotatedIn::Refused(Refusal::UnknownFamily);
        };
        let (session, family) = self.sessions[at].clone();
        let standing = self.standing(session.account);
        let found = Found { family: &family, session: &session, standing: &standing, stalls: &[] };
        let account = self.held(session.account).account.clone();
        let granted = Box::new(Granted {
            subject: account.clone().into(),
            session: session.id,
            client: family.client.clone(),
            global_epoch: self.position.global_epoch,
            now: self.now,
            session_expires_at: session.expires_at,
        });
        match decide(&asked.presented, Some(found), &asked.lifetimes, asked.nonce, self.now) {
            Decision::Refused(refusal) => RotatedIn::Refused(refusal),
            Decision::Replayed(replay) => {
                self.end_at(at, EndReason::Replayed, EventKind::RefreshReplayed);
                RotatedIn::Replayed(replay, self.position)
            }
            Decision::Rotated { family, successor } => {
                self.sessions[at].1 = family;
                RotatedIn::Rotated(granted, successor)
            }
            Decision::Reissued { family, successor, recurring } => {
                self.sessions[at].1 = family;
                if recurring {
                    self.events.push((EventKind::RetriesRecurring, Some(account.id), Some(session.id)));
                }
                RotatedIn::Reissued(granted, successor)
            }
        }
    }

    pub(crate) fn end(&mut self, asked: &End) -> Option<FeedPosition> {
        let at = self.sessions.iter().position(|(session, _)| session.id == asked.session)?;
        let session = &self.sessions[at].0;
        if session.account != asked.account || self.dead(session, Millis::new(i64::MAX)).is_some() {
            return None;
        }
        self.end_at(at, asked.reason, EventKind::SessionEnded);
        Some(self.position)
    }

    fn end_at(&mut self, at: usize, reason: EndReason, kind: EventKind) {
        let now = self.now;
        let (session, family) = &mut self.sessions[at];
        session.ended = Some(Ended { at: now, reason });
        let (account, id, expires_at) = (session.account, session.id, family.access_expires_at);
        self.publish(RevocationScope::Session(id), expires_at);
        self.events.push((kind, Some(account), Some(id)));
    }

    /// Ends a session among others; the feed is told where somebody may still accept an access token.
    fn end_by_the_way(&mut self, at: usize, reason: EndReason) {
        let (session, family) = &mut self.sessions[at];
        if family.access_expires_at + REVOCATION_MARGIN > self.now {
            return self.end_at(at, reason, EventKind::SessionEnded);
        }
        session.ended = Some(Ended { at: self.now, reason });
        let told = (EventKind::SessionEnded, Some(session.account), Some(session.id));
        self.events.push(told);
    }

    pub(crate) fn revoke_account(&mut self, id: AccountId) -> Receipt {
        let before = self.held(id).session_epoch;
        let since = self.next_epoch(id);
        self.publish(RevocationScope::Account(id, since), self.now + self.longest + REVOCATION_MARGIN);
        self.events.push((EventKind::AccountRevoked, Some(id), None));
        Receipt { position: self.position, scope: ReceiptScope::Account(id), before, since, at: self.now }
    }

    pub(crate) fn revoke_everyone(&mut self) -> Receipt {
        let before = self.position.global_epoch;
        let since = before.next(self.now);
        self.position.global_epoch = since;
        self.publish(RevocationScope::Everyone(since), self.now + self.longest + REVOCATION_MARGIN);
        self.events.push((EventKind::EveryoneRevoked, None, None));
        Receipt { position: self.position, scope: ReceiptScope::Everyone, before, since, at: self.now }
    }

    pub(crate) fn set_roles(&mut self, id: AccountId, roles: Roles) -> FeedPosition {
        let now = self.now;
        let account = &mut self.held(id).account;
        if account.roles == roles {
            return self.position;
        }
        account.roles = roles;
        account.claims_version = account.claims_version.next(now);
        let version = account.claims_version;
        self.publish(RevocationScope::Account(id, version), self.now + self.longest + REVOCATION_MARGIN);
        self.events.push((EventKind::RolesChanged, Some(id), None));
        self.position
    }

    pub(crate) fn disable(&mut self, id: AccountId) -> FeedPosition {
        if self.held(id).account.disabled_at.is_some() {
            return self.position;
        }
        let since = self.next_epoch(id);
        self.held(id).account.disabled_at = Some(self.now);
        self.publish(RevocationScope::Account(id, since), self.now + self.longest + REVOCATION_MARGIN);
        self.events.push((EventKind::AccountDisabled, Some(id), None));
        self.position
    }

    pub(crate) fn enable(&mut self, id: AccountId) {
        if self.held(id).account.disabled_at.take().is_some() {
            self.events.push((EventKind::AccountEnabled, Some(id), None));
        }
    }

    /// Whether the account has this session and nothing has ended it.
    fn lives(&self, account: AccountId, session: SessionId) -> bool {
        let mut sessions = self.sessions.iter().map(|(session, _)| session);
        let found = sessions.find(|found| found.id == session && found.account == account);
        found.is_some_and(|found| self.dead(found, Millis::new(i64::MAX)).is_none())
    }

    pub(crate) fn write_password(&mut self, asked: &PasswordChange) -> PasswordWritten {
        let id = asked.account;
        let held = self.held(id);
        if asked.expected.as_ref().is_some_and(|expected| !held.still_is(expected)) {
            return PasswordWritten::Superseded;
        }
        if let Some(keep) = asked.keep
            && !self.lives(id, keep)
        {
            return PasswordWritten::SessionDead;
        }
        let held = self.held(id);
        held.password = asked.new.clone();
        held.replaced = None;
        let kind = if asked.expected.is_some() { EventKind::PasswordChanged } else { EventKind::PasswordSet };
        let Some(keep) = asked.keep else {
            let since = self.next_epoch(id);
            self.publish(RevocationScope::Account(id, since), self.now + self.longest + REVOCATION_MARGIN);
            self.events.push((kind, Some(id), None));
            return PasswordWritten::Done(self.position);
        };
        self.events.push((kind, Some(id), None));
        for at in 0..self.sessions.len() {
            let session = &self.sessions[at].0;
            let other = session.account == id && session.id != keep;
            if !other || self.dead(session, Millis::new(i64::MAX)).is_some() {
                continue;
            }
            self.end_by_the_way(at, EndReason::PasswordChanged);
        }
        PasswordWritten::Done(self.position)
    }

    /// What a check of the access tokens of a session answers.
    pub(crate) fn session_account(&self, session: &Session) -> Result<SessionAccount, AccessDenied> {
        match self.dead(session, Millis::new(i64::MAX)) {
            Some(dead) => Err(AccessDenied::Dead(dead)),
            None => {
                let held = self.accounts.iter().find(|held| held.account.id == session.account).unwrap();
                Ok(SessionAccount { account: held.account.clone(), global_epoch: self.position.global_epoch })
            }
        }
    }

    /// Why a session is dead, if it is.
    pub(crate) fn dead(&self, session: &Session, idle_expires_at: Millis) -> Option<Dead> {
        alive(session, idle_expires_at, &self.standing(session.account), self.now).err()
    }

    pub(crate) fn family(&self, id: FamilyId) -> &Family {
        self.sessions.iter().map(|(_, family)| family).find(|family| family.id == id).unwrap()
    }

    fn standing(&self, id: AccountId) -> Standing {
        let held = self.accounts.iter().find(|held| held.account.id == id).unwrap();
        Standing {
            account_disabled: held.account.disabled_at.is_some(),
            epochs: Epochs { global: self.position.global_epoch, session: held.session_epoch },
        }
    }

    fn held(&mut self, id: AccountId) -> &mut Held {
        self.accounts.iter_mut().find(|held| held.account.id == id).unwrap()
    }

    fn next_epoch(&mut self, id: AccountId) -> Epoch {
        let now = self.now;
        let held = self.held(id);
        let since = held.session_epoch.max(held.account.claims_version).next(now);
        held.session_epoch = since;
        held.account.claims_version = since;
        since
    }

    fn publish(&mut self, scope: RevocationScope, expires_at: Millis) {
        self.position.seq += 1;
        self.feed.push(Revocation { feed_seq: self.position.seq, scope, expires_at });
    }
}
