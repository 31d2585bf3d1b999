//! A server that ends and comes back, with what it had and without.

use tower_idempotency::{Outcome, Settled, Store, Warning};

use super::api::Api;
use super::verbs::{completed, find, key, own, own_key, patient, payload, request};
use crate::servers::Server;

#[tokio::test]
async fn records_survive_where_they_are_appended_to_a_file() {
    let server = Server::builder().append_only().start().await;
    let store = patient(&server.url()).await;
    let done = own_key(&store, 1).await;
    store.complete(&done, &completed("done")).await.unwrap();
    let request = request(key(2));
    let owner = own(&store, &request).await;

    server.restart().await;

    let renewal = store.renew(&owner, super::verbs::LEASE, true).await;
    assert_eq!(renewal.unwrap(), Settled::Applied, "on a new connection");
    let record = find(&store, key(1)).await;
    assert_eq!(
        (payload(&record), record.fence()),
        (&b"done"[..], done.fence())
    );
    assert_eq!(own(&store, &request).await, owner);
    assert!(find(&store, key(2)).await.is_committed());
}

#[tokio::test]
async fn where_nothing_is_kept_everything_is_gone_and_nothing_hangs() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let done = own_key(&store, 1).await;
    store.complete(&done, &completed("done")).await.unwrap();
    let owner = own_key(&store, 2).await;

    server.restart().await;

    let renewal = store.renew(&owner, super::verbs::LEASE, false).await;
    assert_eq!(renewal.unwrap(), Settled::Missing);
    let completion = store.complete(&owner, &completed("late")).await;
    assert_eq!(completion.unwrap(), Settled::Missing);
    assert!(own_key(&store, 1).await.fence() > done.fence());
    assert!(own_key(&store, 2).await.fence() > owner.fence());
}

#[tokio::test]
async fn an_execution_whose_record_is_gone_is_answered_and_said_to_be_fenced_out() {
    let server = Server::start().await;
    let api = Api::new(patient(&server.url()).await);

    let first = api.post_while("k", "wait", server.restart()).await;
    let is_told = api.warned(Warning::FencedOut);
    let second = api.post_while("k", "wait", async {}).await;
    let retry = api.post("k", "wait").await;

    assert_eq!((first.status, &first.body[..]), (201, &b"k 1"[..]));
    assert_eq!(first.outcome, Outcome::Executed { recorded: false });
    assert!(is_told);
    assert_eq!(&second.body[..], b"k 2");
    assert_eq!((retry.is_replay, retry.body), (true, second.body));
}
