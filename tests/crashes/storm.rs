//! Processes are killed at moments that nobody chose, while clients retry.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::process::{Policy, Process};
use crate::world::{LEASE, World};

/// So often a key has to be taken over before the storm is over.
const TAKEN_OVER: usize = 10;

/// The processes of the service, some of them about to be killed.
type Service = Arc<Mutex<Vec<Process>>>;

/// A client that sends every key a few times, and sees that no answer changes.
async fn client(service: Service, kept: Arc<Mutex<HashMap<String, String>>>, round: usize) {
    for number in round.. {
        let key = format!("key-{}", number / 10);
        let reply = {
            let service = service.lock().unwrap();
            service[number % service.len()].post(&key, "x")
        };
        // A replay shows what is kept, and keeps showing it. A first answer may be a zombie's, or of a process that
        // was killed before it could be sent.
        if let Some((201, true, body)) = reply.await {
            let mut kept = kept.lock().unwrap();
            let before = kept.entry(key).or_insert_with(|| body.clone());
            assert_eq!(*before, body);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn kills_at_any_moment_run_no_key_twice_within_a_lease_and_change_no_answer() {
    let world = World::start().await;
    let service = Service::default();
    for _ in 0..2 {
        let process = Process::start(&world, Policy::Rerun).await;
        service.lock().unwrap().push(process);
    }
    let kept = Arc::<Mutex<HashMap<String, String>>>::default();
    let clients = (0..4)
        .map(|round| tokio::spawn(client(Arc::clone(&service), Arc::clone(&kept), round)))
        .collect::<Vec<_>>();

    let taken_over = || {
        let told = world.told();
        told.iter().filter(|(.., attempt, _)| *attempt > 1).count()
    };
    let mut kills = 0;
    while taken_over() < TAKEN_OVER {
        let next = Process::start(&world, Policy::Rerun).await;
        let killed = {
            let mut service = service.lock().unwrap();
            service.push(next);
            service.remove(0)
        };
        killed.kill().await;
        // What it had claimed may be taken over; what is recorded, stays.
        world.pass(LEASE);
        kills += 1;
        assert!(kills < 2_000, "no kill hits anything");
    }

    assert!(
        clients.iter().all(|client| !client.is_finished()),
        "an answer changed"
    );
    clients.iter().for_each(|client| client.abort());
    let started = world
        .told()
        .into_iter()
        .filter(|(point, ..)| point == "started");
    let mut attempts = HashSet::new();
    for (_, key, attempt, _) in started {
        assert!(attempts.insert((key, attempt)), "an attempt ran twice");
    }
    assert!(!kept.lock().unwrap().is_empty(), "nothing was replayed");
}
