//! Many clients, many keys, and a wire that breaks at random.
//!
//! For longer: `SOAK_SECS=600 cargo test --all-features --test redis -- faults::soak --nocapture`

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tower_idempotency::RedisStore;

use super::api::{Answer, Api};
use crate::servers::{Proxy, Server, eventually, within};

const CLIENTS: u64 = 32;
/// One claim and one completion, each with a layer's time-out; and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(8);

/// The answers that were acknowledged, and the longest that a request took.
#[derive(Default)]
struct Acknowledged {
    answers: HashMap<String, Bytes>,
    longest: Duration,
    refused: u64,
}

impl Acknowledged {
    /// Expects that each answer to a key is the same.
    fn is_answered(&mut self, key: &str, answer: &Answer, took: Duration) -> bool {
        self.longest = self.longest.max(took);
        if answer.status != 201 {
            assert!([409, 503].contains(&answer.status), "{answer:?}");
            self.refused += 1;
            return false;
        }
        let first = self.answers.entry(key.to_owned());
        let first = first.or_insert_with(|| answer.body.clone());
        assert_eq!(*first, answer.body, "an answer that changes");
        true
    }
}

/// Sends each key until it is answered; each is another client's, too.
async fn client(api: Api, number: u64, end: Instant, kept: Arc<Mutex<Acknowledged>>) {
    for round in 0.. {
        let key = format!("key-{}-{round}", number / 2);
        loop {
            if Instant::now() >= end {
                return;
            }
            let begin = Instant::now();
            let answer = api.post(&key, "").await;
            if kept
                .lock()
                .unwrap()
                .is_answered(&key, &answer, begin.elapsed())
            {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "for those who look how much was going on"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_breaks_at_random_runs_nothing_twice_and_loses_nothing() {
    let soak = env::var("SOAK_SECS").map_or(30, |seconds| seconds.parse().unwrap());
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let store = RedisStore::connect(&format!("redis://{}", proxy.address())).await;
    let api = Api::with(store.unwrap(), |layer| {
        layer.store_timeout(Duration::from_secs(2))
    });
    let kept = Arc::<Mutex<Acknowledged>>::default();
    let end = Instant::now() + Duration::from_secs(soak);
    proxy.cut_at_random(20_260_101, 0.02);

    let clients = (0..CLIENTS).map(|number| {
        let (api, kept) = (api.clone(), Arc::clone(&kept));
        tokio::spawn(client(api, number, end, kept))
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    proxy.cut_at_random(0, 0.0);
    let drained = within(api.layer.drain(Duration::from_secs(25))).await;

    assert_eq!(drained.left, 0);
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    let (keys, cuts) = (kept.answers.len(), proxy.cuts());
    eprintln!(
        "{keys} keys, {cuts} cuts, {} refused, at most {:?}",
        kept.refused, kept.longest
    );
    assert!(
        keys as u64 > 10 * soak && cuts as u64 > soak,
        "{keys} {cuts}"
    );
    assert!(kept.longest <= BOUND, "{:?}", kept.longest);
    for (key, first) in kept.answers {
        let retry = within(api.post(&key, "")).await;
        assert!(
            retry.is_replay && retry.body == first,
            "{key} {retry:?} {first:?}"
        );
        assert_eq!(api.executions(&key), 1, "{key}");
    }

    let few = async || {
        let clients = server.info("clients", "connected_clients").await?;
        // One of them asks.
        (clients.parse::<u32>().unwrap() <= 3).then_some(())
    };
    eventually("nearly all connections are closed", few).await;
    let few = async || (Handle::current().metrics().num_alive_tasks() <= 8).then_some(());
    eventually("nearly all tasks have ended", few).await;
}
