//! I1, I2, I3, I7, I8, I9: what a token yields and what is written for it.

use std::collections::HashMap;

use countersign_core::sessions::rotation::{Decision, Refusal};
use countersign_core::sessions::state::{Family, LastRotation};
use countersign_core::time::Millis;
use proptest::prelude::*;

use crate::story::{Step, World, config, overlap, story, story_with_restores};

/// Whether the presented token is the current one.
fn is_current(step: &Step) -> bool {
    let token = &step.presented.token;
    token.generation == step.family.generation && token.hash() == step.family.current
}

/// Whether the presented token is the parent, with the right retry key or in time.
fn is_accepted_parent(step: &Step) -> bool {
    let token = &step.presented.token;
    let Some(LastRotation { previous, retry, rotated_at, .. }) = step.family.last else {
        return false;
    };
    let sent = step.presented.retry_key.as_ref().map(|key| key.hash(token.family, token.generation));
    let in_time = step.now < rotated_at + step.lifetimes.rotation_overlap;
    token.generation + 1 == step.family.generation
        && token.hash() == previous
        && sent == retry
        && (retry.is_some() || in_time)
}

/// Whether the session may be asked about at all, by this client with this access token.
fn is_admissible(step: &Step) -> bool {
    let Step { presented, family, session, standing, now, .. } = step;
    presented.client == family.client
        && presented.access_token_session.is_none_or(|sid| sid == session.id)
        && session.ended.is_none()
        && !standing.account_disabled
        && session.born.session >= standing.epochs.session
        && session.born.global >= standing.epochs.global
        && *now < family.idle_expires_at.min(session.expires_at)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn i1_one_secret_per_generation(story in story(), overlap in overlap()) {
        let mut secrets = HashMap::new();
        for step in World::new(overlap).tell(&story) {
            let Some((successor, _)) = step.handed_out() else { continue };
            let first = secrets.entry(successor.generation).or_insert_with(|| successor.clone());
            prop_assert_eq!(&*first, successor);
        }
    }

    #[test]
    fn i2_every_success_for_one_token_returns_one_successor(story in story(), overlap in overlap()) {
        let mut successors = HashMap::new();
        for step in World::new(overlap).tell(&story) {
            let Some((successor, _)) = step.handed_out() else { continue };
            let presented = *step.presented.token.hash().as_bytes();
            let first = successors.entry(presented).or_insert_with(|| successor.clone());
            prop_assert_eq!(&*first, successor);
            prop_assert_eq!(successor.generation, step.presented.token.generation + 1);
        }
    }

    #[test]
    fn i3_exactly_the_current_token_and_the_accepted_parent_yield(story in story_with_restores(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            let rotates = is_admissible(&step) && is_current(&step);
            let reissues = is_admissible(&step) && is_accepted_parent(&step);
            prop_assert_eq!(matches!(step.decision, Decision::Rotated { .. }), rotates, "{:?}", step);
            prop_assert_eq!(matches!(step.decision, Decision::Reissued { .. }), reissues, "{:?}", step);
        }
    }

    /// A replay ends a session, so only who holds a token of a session that lives can bring it about.
    #[test]
    fn i3_only_an_admissible_token_is_a_replay(story in story_with_restores(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            let late = step.decision == Decision::Refused(Refusal::LateDuplicate);
            let replayed = matches!(step.decision, Decision::Replayed(_));
            let expected = is_admissible(&step) && step.handed_out().is_none();
            prop_assert_eq!(replayed || late, expected, "{:?}", step);
            prop_assert!(!late || step.presented.token.generation + 1 < step.family.generation);
        }
    }

    #[test]
    fn i7_a_reissue_changes_only_its_counter(story in story(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            let Decision::Reissued { family, .. } = &step.decision else { continue };
            prop_assert_eq!(family.reissues, step.family.reissues + 1);
            let expiry = (step.now + step.lifetimes.access_token).min(step.session.expires_at);
            prop_assert_eq!(family.access_expires_at, expiry.max(step.family.access_expires_at));
            let unchanged =
                Family { reissues: step.family.reissues, access_expires_at: step.family.access_expires_at, ..family.clone() };
            prop_assert_eq!(unchanged, step.family);
        }
    }

    #[test]
    fn i8_no_lifetime_passes_the_end_and_only_rotation_extends_idle(story in story(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            let Some((_, family)) = step.handed_out() else { continue };
            prop_assert!(family.idle_expires_at <= step.session.expires_at);
            prop_assert!(family.access_expires_at <= step.session.expires_at);
            prop_assert!(family.access_expires_at >= step.family.access_expires_at);
            let extended = (step.now + step.lifetimes.refresh_token_idle).min(step.session.expires_at);
            let rotated = matches!(step.decision, Decision::Rotated { .. });
            prop_assert_eq!(family.idle_expires_at, if rotated { extended } else { step.family.idle_expires_at });
        }
    }

    /// One row in, the same row out, and nothing in it that grows: every field has a fixed size.
    #[test]
    fn i9_what_is_written_is_the_row_that_was_read(story in story(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            let Some((_, written)) = step.handed_out() else { continue };
            prop_assert_eq!((written.id, &written.client), (step.family.id, &step.family.client));
            prop_assert!(written.generation - step.family.generation <= 1);
        }
    }

    /// Rows that no rotation of ours would write, at times that no clock would show: an answer, not a panic.
    #[test]
    fn hostile_rows_get_an_answer(
        steps in 0u8..4, generation in any::<u32>(), same in any::<bool>(), rotated_at in any::<i64>(), mark in any::<u32>(),
        idle in any::<i64>(), end in any::<i64>(), now in any::<i64>(), story in story(),
    ) {
        let mut world = World::new(overlap_of(end));
        world.disturb(|family, session| {
            family.generation = if same { u32::from(steps) } else { generation };
            family.idle_expires_at = Millis::new(idle);
            session.expires_at = Millis::new(end);
            family.last = Some(LastRotation {
                previous: family.current, nonce: [0; 16], retry: None, rotated_at: Millis::new(rotated_at),
            });
            family.recent.newer = Some(countersign_core::sessions::recent::Mark {
                generation: mark, at: Millis::new(rotated_at),
            });
        });
        world.now = Millis::new(now);
        for step in world.tell(&story) {
            let Some((_, family)) = step.handed_out() else { continue };
            prop_assert!(is_current(&step) || is_accepted_parent(&step));
            prop_assert!(family.idle_expires_at <= step.session.expires_at.max(step.family.idle_expires_at));
        }
    }
}

/// Any span, up to the longest that there is.
fn overlap_of(number: i64) -> std::time::Duration {
    std::time::Duration::from_millis(number.unsigned_abs())
}
