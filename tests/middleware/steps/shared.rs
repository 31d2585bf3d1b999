//! Steps that two attempts come to.

use super::*;

/// An attempt that begins a step at its last moment, and its successor.
fn overlapping(step_takes: Duration) -> (Guarded, Provider) {
    let provider = Provider::default();
    let layer = IdempotencyLayer::default()
        .lease(6 * SECOND)
        .max_execution(10 * SECOND);
    let running = Provider::default();
    let charges = provider.clone();
    let service = stepping(&layer, move |key, execution| {
        let (provider, running) = (provider.clone(), running.clone());
        async move {
            if execution == 1 {
                tokio::time::sleep(9 * SECOND).await;
            }
            let work = async || {
                assert_eq!(running.0.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                let _running = Leaves(&running);
                if execution == 1 {
                    tokio::time::sleep(step_takes).await;
                }
                provider.charge()
            };
            told(key.step("charge", work).await)
        }
    });
    (service, charges)
}

struct Leaves<'a>(&'a Provider);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_waits_for_the_step_of_its_predecessor_and_gets_its_value() {
    let (service, charges) = overlapping(9 * SECOND);
    let start = tokio::time::Instant::now();
    let first = tokio::spawn(send(&service, keyed("k", "x")));
    tokio::time::sleep(17 * SECOND).await;

    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((second.text(), charges.charges()), ("1", 1));
    // Not much later than the step has ended.
    assert!(start.elapsed() >= 18 * SECOND && start.elapsed() < 19 * SECOND);
    assert_eq!(
        first.await.unwrap().outcome,
        Outcome::Executed { recorded: false }
    );
}

#[tokio::test(start_paused = true)]
async fn work_whose_lease_is_lost_is_dropped_before_another_attempt_begins_it() {
    let (service, charges) = overlapping(60 * SECOND);
    let first = tokio::spawn(send(&service, keyed("k", "x")));
    tokio::time::sleep(17 * SECOND).await;

    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((second.text(), charges.charges()), ("1", 1));
    assert_eq!(first.await.unwrap().text(), "LeaseLost");
}

#[tokio::test(start_paused = true)]
async fn two_at_once_in_one_attempt_run_a_step_once() {
    let provider = Provider::default();
    let charges = provider.clone();
    let service = stepping(&IdempotencyLayer::default(), move |key, _| {
        let provider = provider.clone();
        async move {
            let work = async || {
                tokio::time::sleep(SECOND).await;
                provider.charge()
            };
            let (one, other) = tokio::join!(key.step("a", work), key.step("a", work));
            created(&format!("{} {}", one.unwrap(), other.unwrap()))
        }
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "1 1");
    assert_eq!(charges.charges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_step_is_kept_alive() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(store.clone()).lease(6 * SECOND);
    let service = stepping(&layer, |key, _| async move {
        let work = async || tokio::time::sleep(60 * SECOND).await;
        told(key.step("a", work).await.map(|()| "done"))
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "done");
    // Both, each third of the lease.
    assert!(store.calls(Verb::Renew) >= 2 * 28);
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_left_behind_begins_no_step_once_its_lease_is_lost() {
    let layer = IdempotencyLayer::default()
        .lease(6 * SECOND)
        .max_execution(10 * SECOND);
    let service = stepping(&layer, |key, _| async move {
        tokio::time::sleep(20 * SECOND).await;
        told(key.step("a", async || 1).await)
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "LeaseLost");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_stops_waiting_for_a_step_when_its_own_lease_is_lost() {
    let layer = IdempotencyLayer::default()
        .lease(6 * SECOND)
        .max_execution(10 * SECOND);
    let service = stepping(&layer, |key, _| async move {
        let busy = async || tokio::time::sleep(14 * SECOND).await;
        let one = key.step("a", busy);
        let start = tokio::time::Instant::now();
        let other = async {
            tokio::time::sleep(SECOND).await;
            let step = key.step("a", async || ()).await;
            assert_eq!(start.elapsed().as_secs(), 10);
            step
        };
        let (_, other) = tokio::join!(one, other);
        told(other.map(|()| "waited"))
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "LeaseLost");
}
