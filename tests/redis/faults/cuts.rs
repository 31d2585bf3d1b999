//! Connections that are cut, before or after the server has applied a verb.

use std::time::Duration;

use tower_idempotency::{Keep, Outcome, RedisStore, Settled, Store, StoreErrorKind, Warning};

use super::api::Api;
use super::verbs::{
    EachVerb, LEASE, VERBS, completed, expected, failed, fallible, fence_on, find, key, own,
    own_key, patient, payload, request,
};
use crate::servers::{Proxy, Server, eventually, within};

/// A server, a store by way of a proxy, and every script known to the server.
async fn world() -> (Server, Proxy, RedisStore) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let store = patient(&format!("redis://{}", proxy.address())).await;
    EachVerb::new(&store, 1_000).await.all_pass().await;
    (server, proxy, store)
}

#[tokio::test]
async fn a_claim_whose_reply_is_cut_is_repeated_as_the_same_claim() {
    let (server, proxy, store) = world().await;
    let request = request(key(1));
    proxy.cut_replies(1);

    let owner = own(&store, &request).await;

    assert_eq!(proxy.cuts(), 1);
    assert_eq!(owner.fence(), fence_on(&server, owner.key()).await);
    assert_eq!(own(&store, &request).await, owner, "it was one claim");
    let record = find(&store, key(1)).await;
    assert_eq!((record.fence(), record.attempt()), (owner.fence(), 1));
}

#[tokio::test]
async fn a_claim_whose_replies_are_cut_runs_its_handler_once() {
    let (_server, proxy, store) = world().await;
    let api = Api::new(store);
    proxy.cut_replies(2);

    let first = api.post("k", "").await;
    let retry = api.post("k", "").await;

    assert_eq!(proxy.cuts(), 2);
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert_eq!((retry.is_replay, &retry.body), (true, &first.body));
    assert_eq!(api.executions("k"), 1);
}

#[tokio::test]
async fn a_claim_that_is_never_answered_is_given_back() {
    let (_server, proxy, store) = world().await;
    let api = Api::new(store);
    proxy.cut_replies(usize::MAX);

    let refused = api.post("k", "").await;
    proxy.cut_replies(0);
    let drained = api.layer.drain(Duration::from_secs(20)).await;

    assert_eq!(refused.code(), "idempotency_store_unavailable");
    assert_eq!((api.executions("k"), drained.left), (0, 0));
    let first = api.post("k", "").await;
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test]
async fn the_writes_of_an_owner_whose_replies_are_cut_are_applied_once() {
    let (_server, proxy, store) = world().await;
    let owners = [1, 2, 3, 4, 5].map(async |number| own_key(&store, number).await);
    let [renewed, marked, done, abandoned, released] = owners;
    let (renewed, marked, done) = (renewed.await, marked.await, done.await);
    let (abandoned, released) = (abandoned.await, released.await);
    let cut = || proxy.cut_replies(1);

    cut();
    let renewal = store.renew(&renewed, LEASE * 2, false).await;
    cut();
    let mark = store.renew(&marked, LEASE, true).await;
    cut();
    let completion = store.complete(&done, &completed("done")).await;
    cut();
    let abandonment = store.abandon(&abandoned).await;
    cut();
    let release = store.release(&released).await;

    assert_eq!(proxy.cuts(), 5);
    for settled in [renewal, mark, completion, abandonment, release] {
        assert_eq!(settled.unwrap(), Settled::Applied);
    }
    let record = find(&store, key(1)).await;
    assert!(record.state().lease_left() > LEASE, "{record:?}");
    assert!(find(&store, key(2)).await.is_committed());
    assert_eq!(payload(&find(&store, key(3)).await), b"done");
    let inspected = store.inspect(&key(4)).await.unwrap().unwrap();
    assert!(!inspected.is_live(), "{inspected:?}");
    assert!(store.inspect(&key(5)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_release_that_was_not_repeated_misses_what_is_gone() {
    let (_server, _proxy, store) = world().await;
    let owner = own_key(&store, 1).await;

    let releases = [store.release(&owner).await, store.release(&owner).await];

    let releases = releases.map(Result::unwrap);
    assert_eq!(releases, [Settled::Applied, Settled::Missing]);
}

/// Nothing is kept of the answer: the key is free, and nobody is told that it was taken from anybody.
#[tokio::test]
async fn a_release_whose_reply_is_cut_is_a_release() {
    let (_server, proxy, store) = world().await;
    let api = Api::with(store, |layer| layer.keep(Keep::when(|_| false)));

    let first = api
        .post_while("k", "wait", async { proxy.cut_replies(1) })
        .await;

    assert_eq!(proxy.cuts(), 1);
    assert_eq!(first.outcome, Outcome::Executed { recorded: false });
    assert!(!api.warned(Warning::FencedOut));
    assert_eq!(api.post("k", "").await.status, 201);
    assert_eq!(api.executions("k"), 2);
}

#[tokio::test]
async fn a_completion_whose_reply_is_cut_is_recorded() {
    let (_server, proxy, store) = world().await;
    let api = Api::new(store);

    let first = api
        .post_while("k", "wait", async { proxy.cut_replies(1) })
        .await;
    let retry = api.post("k", "wait").await;

    assert_eq!(proxy.cuts(), 1);
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert_eq!((retry.is_replay, retry.body), (true, first.body));
}

#[tokio::test]
async fn a_mark_whose_reply_is_cut_is_made() {
    let (_server, proxy, store) = world().await;
    let api = Api::new(store);

    let first = api
        .post_while("k", "wait, mark", async { proxy.cut_replies(1) })
        .await;

    assert_eq!(proxy.cuts(), 1);
    assert_eq!(&first.body[..], b"k 1 marked");
    let store = api.layer.store();
    let record = store.inspect(&api.record_key("k")).await.unwrap().unwrap();
    assert!(record.is_committed());
}

#[tokio::test]
async fn no_verb_fails_after_the_connection_was_cut_between_calls() {
    let (_server, proxy, store) = world().await;
    let verbs = EachVerb::new(&store, 1).await;

    for verb in VERBS {
        proxy.cut().await;

        let answer = within(verbs.call(verb)).await;

        assert_eq!(answer.unwrap(), expected(verb), "{verb}");
    }
}

#[tokio::test]
async fn a_verb_whose_every_reply_is_cut_is_in_doubt_and_not_refused() {
    let (_server, proxy, store) = world().await;
    let verbs = EachVerb::new(&store, 1).await;

    for verb in fallible() {
        proxy.cut_replies_to("EVALSHA", usize::MAX);
        let (kind, why) = failed(within(verbs.call(verb)).await);
        proxy.cut_replies(0);

        assert_eq!(kind, StoreErrorKind::Ambiguous, "{verb} {why}");
    }
}

/// Cut after it was applied, then refused: what the first try did is in doubt still.
#[tokio::test]
async fn what_one_try_may_have_done_is_in_doubt_after_another_was_refused() {
    let (server, proxy, store) = world().await;
    let request = request(key(1));
    proxy.cut_replies(1);
    let refusing = async {
        let cut = async || (proxy.cuts() == 1).then_some(());
        eventually("the reply is cut", cut).await;
        proxy.refuse().await;
    };

    let (claim, ()) = tokio::join!(store.claim(&request), refusing);

    let (kind, why) = failed(claim);
    assert_eq!(kind, StoreErrorKind::Ambiguous, "{why}");
    proxy.accept().await;
    let again = eventually("the proxy is connected to", async || {
        store.claim(&request).await.ok()
    });
    let owner = super::verbs::owned(&request, Ok(again.await));
    assert_eq!(owner.fence(), fence_on(&server, owner.key()).await);
}
