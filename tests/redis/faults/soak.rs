//! Many clients, many keys, several processes' worth of stores, and wires that break at random.
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

const CLIENTS: usize = 32;
const STORES: usize = 6;
/// Between the requests of a client.
const PAUSE: Duration = Duration::from_millis(10);
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

/// Sends each key until it is answered; each is another client's, too, at another store.
async fn client(api: Api, number: usize, end: Instant, kept: Arc<Mutex<Acknowledged>>) {
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
            sleep(PAUSE).await;
        }
        sleep(PAUSE).await;
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
    let mut apis = Vec::new();
    for _ in 0..STORES {
        let store = RedisStore::connect(&format!("redis://{}", proxy.address())).await;
        apis.push(Api::with(store.unwrap(), |layer| {
            layer.store_timeout(Duration::from_secs(2))
        }));
    }
    let kept = Arc::<Mutex<Acknowledged>>::default();
    let end = Instant::now() + Duration::from_secs(soak);
    proxy.cut_at_random(20_260_101, 0.002);

    let clients = (0..CLIENTS).map(|number| {
        let (api, kept) = (apis[number % STORES].clone(), Arc::clone(&kept));
        tokio::spawn(client(api, number, end, kept))
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    proxy.cut_at_random(0, 0.0);
    for api in &apis {
        let drained = within(api.layer.drain(Duration::from_secs(25))).await;
        assert_eq!(drained.left, 0);
    }

    let kept = std::mem::take(&mut *kept.lock().unwrap());
    let (keys, cuts) = (kept.answers.len(), proxy.cuts());
    eprintln!(
        "{keys} keys, {cuts} cuts, {} refused, at most {:?}",
        kept.refused, kept.longest
    );
    assert!(
        keys as u64 > 10 * soak && cuts as u64 > 2 * soak,
        "{keys} {cuts}"
    );
    assert!(kept.longest <= BOUND, "{:?}", kept.longest);
    let answers = kept.answers.into_iter().collect::<Vec<_>>();
    for (number, some) in answers.chunks(100).enumerate() {
        let retries = some
            .iter()
            .map(|(key, _)| apis[number % STORES].post(key, ""));
        let retries = within(futures_util::future::join_all(retries)).await;
        for ((key, first), retry) in some.iter().zip(retries) {
            assert!(retry.is_replay, "{key} {retry:?}");
            assert_eq!(retry.body, *first, "{key}");
            let executions = apis.iter().map(|api| api.executions(key));
            assert_eq!(executions.sum::<u32>(), 1, "{key}");
        }
    }

    let few = async || {
        let clients = server.info("clients", "connected_clients").await?;
        // One asks.
        (clients.parse::<usize>().unwrap() <= STORES + 2).then_some(())
    };
    eventually("nearly all connections are closed", few).await;
    let few =
        async || (Handle::current().metrics().num_alive_tasks() <= 2 * STORES + 6).then_some(());
    eventually("nearly all tasks have ended", few).await;
}
