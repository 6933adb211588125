//! `kill -9` of nodes under load: clients go on at the others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{addresses, three};
use crate::support::{Database, Honest, KEY, Settings, Tokens, refreshed, show, until};

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn fifty_kills_under_load_lose_no_session_and_nothing_that_was_acknowledged() {
    const ROUNDS: usize = 50;
    let database = Database::new();
    let mut nodes = three(&Settings::node(&database.url));
    let mut chains: Vec<Tokens> = (0..4).map(|number| nodes[0].user(&format!("chain{number}"))).collect();
    let honest = Honest::new(&addresses(&nodes));
    std::thread::scope(|scope| {
        for (number, chain) in chains.iter_mut().enumerate() {
            let honest = &honest;
            scope.spawn(move || honest.use_session(chain, &format!("chain{number}")));
        }
        for round in 0..ROUNDS {
            // Not at the same place twice: after a few answers more or less, whatever is under way then.
            let enough = honest.refreshes.load(Ordering::Relaxed) + 4 + round % 5;
            until(Duration::from_secs(30), "the load runs", || {
                (honest.refreshes.load(Ordering::Relaxed) >= enough).then_some(())
            });
            let victim = nodes.remove(round % 3).kill_and_restart();
            nodes.insert(round % 3, victim);
            for session in honest.ended.lock().unwrap().drain(..) {
                for node in &nodes {
                    node.me(&session.access).refused(401, "session_revoked");
                }
                nodes[round % 3].refresh(&session.refresh).refused(400, "refresh_token_revoked");
            }
        }
        honest.stop();
    });
    for chain in &chains {
        let next = refreshed(nodes[0].refresh_keyed(&chain.refresh, KEY));
        nodes[1].me(&next.access).expect(200);
    }
    assert!(nodes[0].events("refresh_replayed").is_empty());
    let (refreshes, repeated) = (honest.refreshes.into_inner(), honest.repeated.into_inner());
    show(format!("{ROUNDS} kills, {refreshes} refreshes, {repeated} requests repeated"));
    assert!(repeated > 0, "nobody noticed a kill");
}
