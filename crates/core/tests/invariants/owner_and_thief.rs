//! I5 and I6: a client with a retry key, alone and robbed, over longer histories than the model searches.

use std::time::Duration;

use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{Decision, Refusal};
use countersign_core::sessions::state::Dead;
use countersign_core::time::Millis;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::story::{Key, OVERLAP, World, config, present, wait};

/// What happens to a client whose tabs share one store.
#[derive(Clone, Debug)]
enum Weather {
    Send,
    /// A request arrives; it stays under way, so that it can arrive again.
    Deliver(Index),
    LoseRequest(Index),
    Answer(Index),
    LoseAnswer(Index),
    Wait(Duration),
}

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        6 => Just(Weather::Send),
        8 => any::<Index>().prop_map(Weather::Deliver),
        1 => any::<Index>().prop_map(Weather::LoseRequest),
        5 => any::<Index>().prop_map(Weather::Answer),
        2 => any::<Index>().prop_map(Weather::LoseAnswer),
        4 => wait().prop_map(Weather::Wait),
    ]
}

/// What owner and thief do.
#[derive(Clone, Debug)]
enum Move {
    OwnerRefreshes,
    /// The answer, or the whole server after its commit, is lost.
    OwnerRefreshesInVain,
    Steal,
    ThiefRefreshes(Index, bool),
    Wait(Duration),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::OwnerRefreshes),
        2 => Just(Move::OwnerRefreshesInVain),
        1 => Just(Move::Steal),
        4 => (any::<Index>(), any::<bool>()).prop_map(|(which, keyed)| Move::ThiefRefreshes(which, keyed)),
        3 => wait().prop_map(Move::Wait),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn i5_an_honest_client_with_a_retry_key_is_never_revoked(weather in proptest::collection::vec(weather(), 1..80)) {
        let mut world = World::new(OVERLAP);
        let mut stored = world.current().unwrap();
        let mut requests: Vec<(RefreshToken, Millis)> = vec![];
        let mut answers: Vec<(RefreshToken, RefreshToken)> = vec![];
        for event in weather {
            match event {
                Weather::Send => requests.push((stored.clone(), world.now)),
                Weather::Deliver(index) if !requests.is_empty() => {
                    let (token, _) = index.get(&requests);
                    let in_earnest = *token == stored;
                    let step = world.present(present(token, Key::Owners));
                    match &step.decision {
                        Decision::Rotated { successor, .. } | Decision::Reissued { successor, .. } => {
                            answers.push((token.clone(), successor.clone()));
                        }
                        Decision::Refused(Refusal::LateDuplicate) => prop_assert!(!in_earnest, "{:?}", step),
                        // Weeks have passed, at last.
                        Decision::Refused(Refusal::Dead(Dead::IdleExpired | Dead::Expired)) => return Ok(()),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Weather::LoseRequest(index) if !requests.is_empty() => {
                    requests.remove(index.index(requests.len()));
                }
                Weather::Answer(index) if !answers.is_empty() => {
                    let (token, successor) = answers.remove(index.index(answers.len()));
                    if stored == token {
                        stored = successor;
                    }
                }
                Weather::LoseAnswer(index) if !answers.is_empty() => {
                    answers.remove(index.index(answers.len()));
                }
                Weather::Wait(span) => {
                    world.now = world.now + span;
                    let now = world.now;
                    requests.retain(|(_, sent)| now < *sent + OVERLAP);
                }
                Weather::Deliver(_) | Weather::LoseRequest(_) | Weather::Answer(_) | Weather::LoseAnswer(_) => {}
            }
        }
    }

    #[test]
    fn i6_after_a_thiefs_success_the_owner_gets_nothing_and_ends_the_session(moves in moves()) {
        let mut world = World::new(OVERLAP);
        let mut stored = world.current().unwrap();
        let mut loot: Vec<RefreshToken> = vec![];
        let mut thief_succeeded = false;
        for one in moves {
            match one {
                Move::OwnerRefreshes | Move::OwnerRefreshesInVain => {
                    let step = world.present(present(&stored, Key::Owners));
                    if matches!(step.decision, Decision::Replayed(_) | Decision::Refused(Refusal::Dead(_))) {
                        return Ok(());
                    }
                    if thief_succeeded {
                        prop_assert_eq!(&step.decision, &Decision::Refused(Refusal::LateDuplicate));
                        return thief_is_found_out(world, &stored, loot.last().unwrap());
                    }
                    let (successor, _) = step.handed_out().expect("an owner who was not robbed yet is served");
                    if matches!(one, Move::OwnerRefreshes) {
                        stored = successor.clone();
                    }
                }
                Move::Steal if loot.is_empty() => loot.push(stored.clone()),
                Move::ThiefRefreshes(which, keyed) if !loot.is_empty() => {
                    let key = if keyed { Key::Thiefs } else { Key::None };
                    let step = world.present(present(which.get(&loot), key));
                    if let Some((successor, _)) = step.handed_out() {
                        loot.push(successor.clone());
                        thief_succeeded = true;
                    }
                }
                Move::Wait(span) => world.now = world.now + span,
                Move::Steal | Move::ThiefRefreshes(..) => {}
            }
        }
    }
}

/// From the owner's first refusal on, a thief who refreshes every second lives for twice the overlap at most.
fn thief_is_found_out(mut world: World, owners: &RefreshToken, thiefs: &RefreshToken) -> Result<(), TestCaseError> {
    let mut thiefs = thiefs.clone();
    let refused_at = world.now;
    loop {
        world.now = world.now + Duration::from_secs(1);
        let thief = world.present(present(&thiefs, Key::None));
        if let Some((successor, _)) = thief.handed_out() {
            thiefs = successor.clone();
        }
        let owner = world.present(present(owners, Key::Owners));
        prop_assert!(owner.handed_out().is_none());
        if matches!(owner.decision, Decision::Replayed(_) | Decision::Refused(Refusal::Dead(_))) {
            return Ok(());
        }
        prop_assert!(world.now < refused_at + 2 * OVERLAP, "not found out after twice the overlap");
    }
}
