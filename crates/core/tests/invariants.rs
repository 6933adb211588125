//! The invariants of rotation as properties of random stories, as far as the decision answers for them.
//!
//! What a decision cannot hold alone is held above it: that a revocation that committed is seen by every refresh that
//! starts later (I4), that a refresh adds no row (I9), that the feed has no gap (I10), and that a token minted during a
//! race carries the older version (I11) are shown by the conformance tests of the store and by the operations. Here stand
//! the parts of them that are rules: what kills a session, what is written, how epochs grow and compare.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "invariants/at_rest.rs"]
mod at_rest;
#[path = "invariants/owner_and_thief.rs"]
mod owner_and_thief;
#[path = "invariants/revocation.rs"]
mod revocation;
#[path = "invariants/rotation.rs"]
mod rotation;
#[path = "invariants/story.rs"]
mod story;
mod support;

/// A property of stories in which nothing happens says nothing: they have to reach every answer.
#[test]
fn the_stories_reach_every_answer() {
    use std::collections::BTreeMap;

    use countersign_core::sessions::rotation::Decision;
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        let story = story::story_with_restores().new_tree(&mut runner).unwrap().current();
        for step in story::World::new(story::OVERLAP).tell(&story) {
            let answer = match step.decision {
                Decision::Rotated { .. } => "rotated".to_owned(),
                Decision::Reissued { recurring, .. } => format!("reissued, recurring: {recurring}"),
                Decision::Replayed(replay) => format!("{replay:?}"),
                Decision::Refused(refusal) => format!("{refusal:?}"),
            };
            *answers.entry(answer).or_default() += 1;
        }
    }
    for answer in [
        "rotated",
        "reissued, recurring: false",
        "reissued, recurring: true",
        "Ancestor",
        "OtherRetryKey",
        "AfterOverlap",
        "OtherSecret",
        "Rollback",
        "OtherClient",
        "AccessTokenMismatch",
        "LateDuplicate",
        "Dead(Ended(Replayed))",
        "Dead(Ended(SignedOut))",
        "Dead(AccountRevoked)",
        "Dead(EveryoneRevoked)",
        "Dead(AccountDisabled)",
        "Dead(IdleExpired)",
        "Dead(Expired)",
    ] {
        assert!(answers.get(answer).is_some_and(|count| *count >= 3), "{answer}: {answers:#?}");
    }
    assert!(answers["rotated"] >= 1000);
}
