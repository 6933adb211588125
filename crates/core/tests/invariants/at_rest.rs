//! I12 and I13: what a dump holds, and what a restored copy accepts.

use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{Nonce, RefreshToken};
use countersign_core::sessions::rotation::{Decision, Replay};
use countersign_core::sessions::state::Family;
use proptest::prelude::*;

use crate::story::{Event, Key, OVERLAP, Step, Which, World, config, overlap, present, story, story_with_restores};
use crate::support;

/// Every byte of a row that a thief of the database could take for a secret.
fn bytes_at_rest(family: &Family) -> Vec<u8> {
    // Named one by one: a field that joins the row has to be judged here.
    let Family {
        id,
        client: _,
        generation,
        current,
        last,
        idle_expires_at: _,
        access_expires_at: _,
        reissues: _,
        reissue_streak: _,
        recent: _,
    } = family;
    let mut bytes = current.as_bytes().to_vec();
    if let Some(last) = last {
        bytes.extend(last.previous.as_bytes());
        bytes.extend(last.nonce);
        bytes.extend(last.retry.iter().flat_map(|retry| retry.as_bytes()));
    }
    bytes.extend(id.as_bytes());
    bytes.extend(generation.to_be_bytes());
    // A window may begin in one column and end in the next, and around.
    bytes.extend(bytes.clone());
    bytes
}

fn token(generation: u32, secret: [u8; 32]) -> RefreshToken {
    let mut token = RefreshToken::first(support::FAMILY, Secret::new(secret));
    token.generation = generation;
    token
}

fn rotation(times: usize) -> Vec<Event> {
    let current = Event::Present { which: Which::Current, key: Key::Owners, other_client: false, access_token: None };
    vec![current; times]
}

proptest! {
    #![proptest_config(config())]

    /// Even a thief who has the tag keys as well makes nothing of a dump.
    #[test]
    fn i12_nothing_in_a_dump_authenticates(story in story(), overlap in overlap()) {
        let steps = World::new(overlap).tell(&story);
        // Every row of a story is like its last one, and each is asked some hundred times.
        if let Some((_, row)) = steps.iter().filter_map(Step::handed_out).next_back() {
            let nonce = row.last.map_or([0; 16], |last| last.nonce);
            for window in bytes_at_rest(row).windows(32) {
                let secret = window.try_into().unwrap();
                for generation in [row.generation, row.generation - 1] {
                    let made = token(generation, secret);
                    prop_assert!(made.hash() != row.current);
                    prop_assert!(row.last.is_none_or(|last| made.hash() != last.previous));
                    let next = made.successor(&nonce).unwrap();
                    prop_assert!(next.hash() != row.current);
                }
            }
        }
    }

    #[test]
    fn i12_neither_a_row_nor_a_request_shows_a_hash_or_a_key(story in story(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            let Some((_, row)) = step.handed_out() else { continue };
            let shown = format!("{step:?}");
            for hash in [row.current, row.last.unwrap().previous] {
                let numbers = format!("{:?}", &hash.as_bytes()[..8]);
                let hex: String = hash.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
                prop_assert!(!shown.contains(numbers.trim_matches(['[', ']'])) && !shown.contains(&hex), "{}", shown);
            }
            prop_assert!(!shown.contains("the owner's") && !shown.contains("a thief's"), "{}", shown);
        }
    }

    /// Same generation, other secret: two histories, of which only one goes on.
    #[test]
    fn i13_what_succeeds_is_of_the_history_that_the_row_holds(story in story_with_restores(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story) {
            if step.handed_out().is_none() { continue }
            let hash = step.presented.token.hash();
            let parent = step.family.last.map(|last| last.previous);
            prop_assert!(hash == step.family.current || Some(hash) == parent);
        }
    }

    /// The tokens of the history that a restore lost: whoever presents one first ends the session.
    #[test]
    fn i13_a_token_of_the_lost_history_ends_the_session(
        before in 0usize..4, lost in 1usize..5, since in 0usize..5, which in 0usize..5,
    ) {
        let mut story = rotation(before);
        story.push(Event::Copy);
        story.extend(rotation(lost));
        let mut world = World::new(OVERLAP);
        let lost_tokens = world.run(&story);
        world.restore_last_copy();
        world.run(&rotation(since));

        let token = &lost_tokens[before + which % lost];
        let generation = u32::try_from(before + which % lost + 1).unwrap();
        prop_assert_eq!(token.generation, generation);
        let reached = u32::try_from(before + since).unwrap();
        let step = world.present(present(token, Key::Owners));
        if generation > reached {
            prop_assert_eq!(step.decision, Decision::Replayed(Replay::Rollback));
        } else if generation + 1 >= reached {
            prop_assert_eq!(step.decision, Decision::Replayed(Replay::OtherSecret));
        } else {
            prop_assert!(step.handed_out().is_none());
        }
    }
}

/// Two rotations of one token with two nonces are two secrets, so that histories that parted can be told apart.
#[test]
fn i13_the_nonce_tells_histories_apart() {
    let parent = support::first_token();
    let nonces: [Nonce; 2] = [[1; 16], [2; 16]];
    let [one, other] = nonces.map(|nonce| parent.successor(&nonce).unwrap());
    assert_eq!(one.generation, other.generation);
    assert_ne!(one.hash(), other.hash());
}
