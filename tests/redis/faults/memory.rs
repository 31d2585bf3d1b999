//! A server without memory.

use std::sync::atomic::{AtomicU64, Ordering};

use tower_idempotency::{
    Claim, Outcome, RedisStore, Settled, Store, StoreErrorKind, TakeOver, Warning,
};

use super::api::Api;
use super::verbs::{
    LEASE, completed, failed, find, key, name, own, own_key, patient, payload, request, say, tell,
};
use crate::servers::{Proxy, Server, eventually, within};

const MENDING: &str = "CONFIG SET maxmemory-policy noeviction";

/// The server has no memory from now on.
async fn fill(server: &Server) {
    say(server, "CONFIG SET maxmemory 1").await;
}

#[tokio::test]
async fn a_full_server_takes_no_new_key_and_everything_else() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let own_claim = request(key(1));
    let own_again = own(&store, &own_claim).await;
    let mut owners = Vec::new();
    for number in 2..=8 {
        owners.push(own_key(&store, number).await);
    }
    let [renewed, marked, small, long, abandoned, released, lapsed] = owners.try_into().unwrap();
    store.abandon(&lapsed).await.unwrap();
    let text = "x".repeat(20_000);
    for (number, text) in [(11, "short"), (12, &text)] {
        let owner = own_key(&store, number).await;
        store
            .complete(&owner, &completed(text.to_owned()))
            .await
            .unwrap();
    }
    fill(&server).await;

    let new = store.claim(&request(key(99))).await.unwrap();
    assert!(matches!(new, Claim::Full), "{new:?}");
    assert_eq!(own(&store, &own_claim).await, own_again);
    let settled = [
        store.renew(&renewed, LEASE, false).await,
        store.renew(&marked, LEASE, true).await,
        store.complete(&small, &completed("small")).await,
        store.complete(&long, &completed(text.clone())).await,
        store.abandon(&abandoned).await,
        store.release(&released).await,
    ];
    for settled in settled {
        assert_eq!(settled.unwrap(), Settled::Applied);
    }
    let take_over = request(key(8)).with_take_over(TakeOver::Uncommitted);
    assert!(own(&store, &take_over).await.fence() > lapsed.fence());
    assert_eq!(payload(&find(&store, key(4)).await), b"small");
    assert_eq!(payload(&find(&store, key(5)).await), text.as_bytes());
    assert_eq!(payload(&find(&store, key(11)).await), b"short");
    assert_eq!(payload(&find(&store, key(12)).await), text.as_bytes());
    // What is left of a released key is as long as a claim.
    assert!(own_key(&store, 7).await.fence() > released.fence());
    assert_eq!(store.erase_scope(&super::verbs::SCOPE).await.unwrap(), 10);
    say(&server, "CONFIG SET maxmemory 0").await;
    own_key(&store, 99).await;
}

#[tokio::test]
async fn what_runs_is_recorded_and_what_is_recorded_is_replayed_while_new_keys_are_refused() {
    let server = Server::start().await;
    let api = Api::new(patient(&server.url()).await);
    let before = api.post("before", "long").await;

    let during = api
        .post_while("during", "wait, mark, long", fill(&server))
        .await;
    let refused = api.post("after", "").await;

    assert_eq!(during.outcome, Outcome::Executed { recorded: true });
    assert_eq!(
        (refused.status, refused.code()),
        (503, "idempotency_store_full")
    );
    assert!(refused.retry_after);
    assert_eq!(api.executions("after"), 0);
    for (key, body, first) in [
        ("before", "long", before),
        ("during", "wait, mark, long", during),
    ] {
        let retry = api.post(key, body).await;
        assert_eq!((retry.is_replay, retry.body), (true, first.body), "{key}");
    }
    say(&server, "CONFIG SET maxmemory 0").await;
    assert_eq!(api.post("after", "").await.status, 201);
}

/// A store that may evict, over a server that does.
async fn evicting() -> (Server, RedisStore) {
    let server = Server::builder()
        .config("maxmemory-policy allkeys-lru")
        .start()
        .await;
    let store = RedisStore::builder().allow_eviction(true);
    let store = store.connect(&server.url()).await.unwrap();
    (server, store)
}

/// Writes until this record is gone.
async fn evict(server: &Server, key: &tower_idempotency::RecordKey) {
    say(server, "CONFIG SET maxmemory 4mb").await;
    let (name, filler, number) = (name(key), vec![b'x'; 50_000], AtomicU64::new(0));
    let gone = async || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let filled: String = tell(server, &[b"SET", &number.to_be_bytes(), &filler]).await;
        assert_eq!(filled, "OK");
        let length: u64 = tell(server, &[b"STRLEN", &name]).await;
        (length == 0).then_some(())
    };
    eventually("the record is evicted", gone).await;
}

#[tokio::test]
async fn the_owner_of_an_evicted_record_never_applies() {
    let (server, store) = evicting().await;
    assert!(
        store
            .advice()
            .iter()
            .any(|it| it.contains("maxmemory-policy noeviction"))
    );
    let missing = own_key(&store, 1).await;
    evict(&server, missing.key()).await;
    let fenced_out = own_key(&store, 2).await;
    evict(&server, fenced_out.key()).await;
    let next = own_key(&store, 2).await;

    for (owner, expected) in [
        (missing, Settled::Missing),
        (fenced_out, Settled::FencedOut),
    ] {
        assert_eq!(store.renew(&owner, LEASE, true).await.unwrap(), expected);
        let completion = store.complete(&owner, &completed("late")).await;
        assert_eq!(completion.unwrap(), expected);
        assert_eq!(store.abandon(&owner).await.unwrap(), expected);
        assert_eq!(store.release(&owner).await.unwrap(), expected);
    }
    assert!(next.fence() > fenced_out.fence());
}

#[tokio::test]
async fn an_execution_whose_record_is_evicted_is_said_to_be_fenced_out() {
    let (server, store) = evicting().await;
    let api = Api::new(store);
    let key = api.record_key("k");

    let first = api.post_while("k", "wait", evict(&server, &key)).await;

    assert_eq!(first.status, 201);
    assert_eq!(first.outcome, Outcome::Executed { recorded: false });
    assert!(api.warned(Warning::FencedOut));
}

#[tokio::test]
async fn who_connects_is_told_how_to_end_the_eviction() {
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let policy = format!("maxmemory-policy {policy}");
        let server = Server::builder().config(&*policy).start().await;

        let (kind, why) = failed(RedisStore::connect(&server.url()).await);

        assert_eq!(kind, StoreErrorKind::Fatal);
        assert!(why.contains(MENDING), "{why}");
    }
}

/// Nothing more is claimed; what runs already is ended.
#[tokio::test]
async fn a_policy_that_changes_is_found_by_a_ping_and_by_the_next_connection() {
    let server = Server::start().await;
    let owner = own_key(&patient(&server.url()).await, 1).await;

    for finds in ["a ping", "the next connection"] {
        let store = patient(&server.url()).await;
        store.ping().await.unwrap();
        say(&server, "CONFIG SET maxmemory-policy allkeys-lru").await;
        if finds == "a ping" {
            let (_, why) = failed(store.ping().await);
            assert!(why.contains(MENDING), "{why}");
        } else {
            say(&server, "CLIENT KILL TYPE normal").await;
            // This one makes the connection.
            store.inspect(&key(1)).await.unwrap();
        }

        let (kind, why) = failed(within(store.claim(&request(key(2)))).await);
        assert_eq!(kind, StoreErrorKind::Fatal, "{finds} {why}");
        assert!(why.contains(MENDING), "{finds} {why}");
        let renewal = store.renew(&owner, LEASE, true).await;
        assert_eq!(renewal.unwrap(), Settled::Applied, "{finds}");
        let (_, why) = failed(store.ping().await);
        assert!(why.contains(MENDING), "{finds} {why}");

        say(&server, "CONFIG SET maxmemory-policy noeviction").await;
        let next = own_key(&store, 2).await;
        store.ping().await.unwrap();
        store.release(&next).await.unwrap();
    }
}

/// The claim that finds it is taken back; where the answer to that is lost, the claim is in doubt.
#[tokio::test]
async fn a_claim_that_meets_a_server_that_evicts_is_taken_back_or_in_doubt() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let store = patient(&format!("redis://{}", proxy.address())).await;
    own_key(&store, 1).await;
    let meet = async |number, policy: &str| {
        say(&server, &format!("CONFIG SET maxmemory-policy {policy}")).await;
        proxy.cut().await;
        failed(within(store.claim(&request(key(number)))).await)
    };

    let (kind, why) = meet(2, "allkeys-lru").await;
    let left = store.inspect(&key(2)).await.unwrap();
    say(&server, "CONFIG SET maxmemory-policy noeviction").await;
    own_key(&store, 3).await;
    // A claim has two arguments more.
    proxy.cut_replies_to("*5\r\n$7\r\nEVALSHA", usize::MAX);
    let (kind_in_doubt, _) = meet(4, "allkeys-lru").await;

    assert_eq!(kind, StoreErrorKind::Fatal, "{why}");
    assert!(why.contains(MENDING), "{why}");
    assert!(left.is_none(), "{left:?}");
    assert_eq!(kind_in_doubt, StoreErrorKind::Ambiguous);
}
