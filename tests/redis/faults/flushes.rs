//! A server that forgets the scripts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tower_idempotency::Store;

use super::verbs::{EachVerb, VERBS, completed, expected, find, own_key, patient, payload, say};
use crate::servers::{Server, within};

#[tokio::test]
async fn no_verb_notices_that_the_scripts_are_flushed() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let verbs = EachVerb::new(&store, 1).await;

    for verb in VERBS {
        say(&server, "SCRIPT FLUSH").await;

        let answer = within(verbs.call(verb)).await;

        assert_eq!(answer.unwrap(), expected(verb), "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_the_scripts_are_flushed_again_and_again() {
    let server = Server::start().await;
    let store = Arc::new(patient(&server.url()).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let workers = (0..4).map(|worker| {
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut number = worker;
            while !is_over.load(Ordering::Relaxed) {
                let owner = own_key(&store, number).await;
                let done = completed(number.to_string());
                store
                    .renew(&owner, super::verbs::LEASE, true)
                    .await
                    .unwrap();
                store.complete(&owner, &done).await.unwrap();
                let record = find(&store, *owner.key()).await;
                assert_eq!(payload(&record), number.to_string().as_bytes());
                number += 4;
            }
            number / 4
        })
    });
    let workers = workers.collect::<Vec<_>>();

    for _ in 0..200 {
        say(&server, "SCRIPT FLUSH").await;
    }
    is_over.store(true, Ordering::Relaxed);

    for worker in workers {
        assert!(within(worker).await.unwrap() > 0);
    }
}
