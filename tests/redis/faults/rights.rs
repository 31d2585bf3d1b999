//! Users who may do no more than they need.

use std::time::{Duration, Instant};

use tower_idempotency::{RedisStore, Store, StoreErrorKind};

use super::verbs::{
    EachVerb, VERBS, completed, expected, failed, find, key, own_key, patient, payload, request,
    say,
};
use crate::servers::{Server, within};

/// As the documentation has them.
pub(crate) const RIGHTS: &str =
    "-@all +evalsha +eval +get +getrange +set +pexpire +del +time +ping +info";

/// A server with a user who has these rights on the keys of the store, and on no others.
async fn server(rights: &str) -> Server {
    let user = format!("on >secret ~idem:1:* {rights}");
    Server::builder().user("app", &user).start().await
}

async fn store(server: &Server) -> RedisStore {
    patient(&server.url_as("app", "secret")).await
}

#[tokio::test]
async fn every_verb_of_requests_passes_with_the_documented_rights() {
    let server = server(RIGHTS).await;
    let store = store(&server).await;
    let verbs = EachVerb::new(&store, 1).await;

    for verb in VERBS {
        let answer = verbs.call(verb).await;
        if verb == "erase" {
            let (kind, why) = failed(answer);
            assert_eq!(kind, StoreErrorKind::Fatal);
            assert!(
                why.contains("the user lacks a right") && why.contains("'scan'"),
                "{why}"
            );
        } else {
            assert_eq!(answer.unwrap(), expected(verb), "{verb}");
        }
    }
    say(&server, "ACL SETUSER app +scan").await;
    assert_eq!(verbs.call("erase").await.unwrap(), "1");
    let long = own_key(&store, 99).await;
    let text = "x".repeat(20_000);
    store
        .complete(&long, &completed(text.clone()))
        .await
        .unwrap();
    assert_eq!(payload(&find(&store, key(99)).await), text.as_bytes());
}

#[tokio::test]
async fn without_info_all_works_and_the_operator_is_told_what_was_not_looked_at() {
    let server = server(&RIGHTS.replace(" +info", "")).await;
    let store = store(&server).await;
    let verbs = EachVerb::new(&store, 1).await;

    for verb in VERBS.into_iter().filter(|verb| *verb != "erase") {
        let answer = verbs.call(verb).await;
        assert_eq!(answer.unwrap(), expected(verb), "{verb}");
    }

    let advice = store.advice();
    assert!(advice.iter().any(|it| it.contains("+info")), "{advice:?}");
    assert!(
        advice.iter().any(|it| it.contains("maxmemory-policy")),
        "{advice:?}"
    );
}

/// Each right that is taken away: what needs it says so, at once, and what does not is as it was.
#[tokio::test]
async fn what_a_user_may_not_do_fails_and_says_why() {
    for right in RIGHTS.split(" +").skip(1) {
        let server = server(RIGHTS).await;
        let store = store(&server).await;
        let verbs = EachVerb::new(&store, 1).await;
        let long = own_key(&store, 98).await;
        let text = "x".repeat(20_000);
        store.complete(&long, &completed(text)).await.unwrap();
        say(&server, "SCRIPT FLUSH").await;
        say(&server, &format!("ACL SETUSER app -{right}")).await;

        let mut failures = 0;
        for verb in VERBS {
            let begin = Instant::now();
            match within(verbs.call(verb)).await {
                Ok(answer) => assert_eq!(answer, expected(verb), "-{right} {verb}"),
                Err(_) if verb == "erase" => {}
                Err(error) => {
                    failures += 1;
                    let (kind, why) = failed::<()>(Err(error));
                    assert_eq!(kind, StoreErrorKind::Fatal, "-{right} {verb} {why}");
                    assert!(
                        why.contains("the user lacks a right"),
                        "-{right} {verb} {why}"
                    );
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(5), "-{right} {verb}");
        }
        for number in [97, 98] {
            let claim = store.claim(&request(key(number))).await;
            failures += u32::from(claim.is_err_and(|it| it.kind() == StoreErrorKind::Fatal));
        }
        // Only a Cluster is asked by `PING`; without `INFO` see above. `PEXPIRE` is for a server that has no memory left,
        // `DEL` for what cannot be read.
        let is_for_others = matches!(right, "ping" | "info" | "pexpire" | "del");
        assert_eq!(failures == 0, is_for_others, "-{right}");
    }
}

#[tokio::test]
async fn keys_of_others_are_out_of_reach() {
    let server = server(RIGHTS).await;
    let store = RedisStore::builder().prefix("other");
    let store = store
        .connect(&server.url_as("app", "secret"))
        .await
        .unwrap();

    let (kind, why) = failed(store.claim(&request(key(1))).await);

    assert_eq!(kind, StoreErrorKind::Fatal, "{why}");
    assert!(why.contains("the user lacks a right"), "{why}");
}
