//! What a refresh has to know of its family, read in one moment, and what becomes of it.

use countersign_core::events::Origin;
use countersign_core::ids::FamilyId;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{self, Decision, decide};
use countersign_core::sessions::stall::Stall;
use countersign_core::sessions::state::{Family, Session, Standing};
use countersign_core::time::Millis;

use crate::postgres::failures::Outcome;
use crate::postgres::families::{Advance, Version};
use crate::postgres::rows::Columns;
use crate::verbs::{Granted, Rotate, RotatedIn, Subject};

/// Reads families, with what belongs to each.
macro_rules! rotation_sql {
    ($which:literal) => {
        concat!(
            "SELECT ",
            family_columns!(),
            ", ",
            session_columns!(),
            ", ",
            subject_columns!(),
            ", ",
            standing_columns!(),
            " FROM countersign.families f JOIN countersign.accounts a ON a.id = f.account \
             CROSS JOIN countersign.auth_state g WHERE ",
            $which
        )
    };
}
pub(super) use rotation_sql;

/// What is known of a family, and what becomes of it.
pub(super) struct FamilyRows {
    family: Family,
    pub(super) session: Session,
    standing: Standing,
    pub(super) subject: Subject,
    /// What it is in the database.
    seen: Version,
    changed: bool,
}

/// What a client presents, and where it comes from.
#[derive(Clone)]
pub(super) struct Presentation {
    pub(super) rotate: Rotate,
    pub(super) origin: Origin,
}

impl Presentation {
    pub(super) fn family(&self) -> FamilyId {
        self.rotate.presented.token.family
    }
}

impl FamilyRows {
    pub(super) fn read(columns: &mut Columns<'_>) -> Outcome<Self> {
        let family = columns.family()?;
        let (session, subject, standing) = (columns.session()?, columns.subject()?, columns.standing()?);
        let seen = Version::of(&family);
        Ok(Self { family, session, standing, subject, seen, changed: false })
    }

    pub(super) fn id(&self) -> FamilyId {
        self.family.id
    }

    /// Adds what is to be written, where something is.
    pub(super) fn advance(&mut self, advance: &mut Advance) {
        if self.changed {
            advance.push(&self.family, self.seen);
            (self.seen, self.changed) = (Version::of(&self.family), false);
        }
    }

    pub(super) fn ask(&self, rotate: &Rotate, stalls: &[Stall], now: Millis) -> Decision {
        let found = rotation::Found { family: &self.family, session: &self.session, standing: &self.standing, stalls };
        decide(&rotate.presented, Some(found), &rotate.lifetimes, rotate.nonce, now)
    }

    pub(super) fn rotated(&mut self, family: Family, successor: RefreshToken, now: Millis) -> RotatedIn {
        self.take(family);
        RotatedIn::Rotated(Box::new(self.granted(now)), successor)
    }

    pub(super) fn reissued(&mut self, family: Family, successor: RefreshToken, now: Millis) -> RotatedIn {
        self.take(family);
        RotatedIn::Reissued(Box::new(self.granted(now)), successor)
    }

    fn take(&mut self, family: Family) {
        self.family = family;
        self.changed = true;
    }

    fn granted(&self, now: Millis) -> Granted {
        Granted {
            subject: self.subject.clone(),
            session: self.session.id,
            client: self.family.client.clone(),
            global_epoch: self.standing.epochs.global,
            now,
            session_expires_at: self.session.expires_at,
        }
    }
}
