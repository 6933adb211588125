//! Keys come, go and are forged.

use countersign_token::{Algorithm, SigningKey};

use crate::issuer::{Issuer, code_of};

#[tokio::test]
async fn a_new_key_is_fetched_for_the_first_token_that_it_signed() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let issuer = Issuer::start().await;
        let bearer = issuer.reader().await;
        let old = issuer.sign(&issuer.claims());
        assert_eq!(code_of(&bearer, &old).await, "ok");
        issuer.tell(|told| told.keys.insert(0, SigningKey::generate(algorithm).unwrap()));
        let new = issuer.sign(&issuer.claims());
        assert_eq!(code_of(&bearer, &new).await, "ok");
        assert_eq!(code_of(&bearer, &old).await, "ok");
        assert_eq!(issuer.key_fetches(), 2);
    }
}

#[tokio::test]
async fn honest_requests_that_come_with_a_new_key_at_once_all_pass() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    issuer.tell(|told| told.keys = vec![SigningKey::generate(Algorithm::Es256).unwrap()]);
    let requests = (0..100).map(|_| {
        let (bearer, token) = (bearer.clone(), issuer.sign(&issuer.claims()));
        async move { code_of(&bearer, &token).await }
    });
    let codes = requests.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(codes.iter().all(|code| code == "ok"), "{codes:?}");
    assert_eq!(issuer.key_fetches(), 2);
}

#[tokio::test]
async fn forged_key_ids_do_not_hammer_the_issuer() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let good = issuer.sign(&issuer.claims());
    let forged: Vec<String> =
        (0..50).map(|_| SigningKey::generate(Algorithm::EdDsa).unwrap().sign(&issuer.claims()).unwrap()).collect();
    let requests = (0..500).map(|at| {
        let (bearer, token) = (bearer.clone(), forged[at % forged.len()].clone());
        async move { code_of(&bearer, &token).await }
    });
    let codes = requests.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(codes.iter().all(|code| code == "key_unknown"), "{codes:?}");
    assert_eq!(issuer.key_fetches(), 2, "one at the start, one for all forgeries");
    assert_eq!(code_of(&bearer, &good).await, "ok");
}

#[tokio::test]
async fn keys_are_kept_while_the_issuer_is_away() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let (seen, unseen) = (issuer.sign(&issuer.claims()), issuer.sign(&issuer.claims()));
    assert_eq!(code_of(&bearer, &seen).await, "ok");
    issuer.go_away().await;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap().sign(&issuer.claims()).unwrap();
    assert_eq!(code_of(&bearer, &stranger).await, "key_unknown");
    for token in [seen, unseen] {
        assert_eq!(code_of(&bearer, &token).await, "ok");
    }
}

#[tokio::test]
async fn a_key_that_is_withdrawn_takes_its_remembered_tokens_with_it() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let old = issuer.sign(&issuer.claims());
    for _ in 0..2 {
        assert_eq!(code_of(&bearer, &old).await, "ok");
    }
    issuer.tell(|told| told.keys = vec![SigningKey::generate(Algorithm::Es256).unwrap()]);
    assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, "ok");
    assert_eq!(code_of(&bearer, &old).await, "key_unknown");
}
