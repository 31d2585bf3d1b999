//! Transactions of which the layer does not know how they ended.

use super::*;

/// A service that makes a completion, does this with it, and answers that it does not know.
fn unknowing(
    layer: &IdempotencyLayer<Arc<Scripted>>,
    store: &Arc<Scripted>,
    ends: impl Fn(Arc<Scripted>) -> tokio::task::JoinHandle<()> + Clone + Send + 'static,
) -> (Handler, Guarded) {
    let store = store.clone();
    handling(layer, move |key| {
        let (store, ends) = (store.clone(), ends.clone());
        async move {
            drop(key.completion(created("transferred")).unwrap());
            let _ending = ends(store);
            settle().await;
            bad_gateway("unknown")
        }
    })
}

fn committed(store: Arc<Scripted>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { store.commit().await })
}

fn rolled_back(_: Arc<Scripted>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async {})
}

fn recorded(answer: &Answer) -> bool {
    answer.outcome == Outcome::Executed { recorded: true }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_committed_is_found() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(store.clone());
    let (handler, service) = unknowing(&layer, &store, committed);

    let first = send(&service, keyed("k", "x")).await;
    let replay = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), recorded(&first)), ("transferred", true));
    assert_eq!((replay.text(), replay.is_replay()), ("transferred", true));
    assert_eq!((handler.executions(), settlements(&store)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_rolled_back_leaves_the_settlement_to_the_rules() {
    for (keep, answers) in [
        (Keep::Success, ["unknown", "unknown"]),
        (Keep::All, ["unknown", "unknown"]),
    ] {
        let store = Scripted::new();
        let is_kept = matches!(keep, Keep::All);
        let layer = IdempotencyLayer::new(store.clone()).keep(keep);
        let (handler, service) = unknowing(&layer, &store, rolled_back);

        let first = send(&service, keyed("k", "x")).await;
        let second = send(&service, keyed("k", "x")).await;

        assert_eq!([first.text(), second.text()], answers);
        assert_eq!((recorded(&first), second.is_replay()), (is_kept, is_kept));
        assert_eq!(handler.executions(), if is_kept { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_committed_under_the_settlement_wins() {
    for (keep, verb) in [(Keep::Success, Verb::Release), (Keep::All, Verb::Complete)] {
        let store = Scripted::new();
        let layer = IdempotencyLayer::new(store.clone()).keep(keep);
        let (handler, service) = unknowing(&layer, &store, |store| {
            tokio::spawn(async move {
                tokio::time::sleep(SECOND / 2).await;
                store.commit().await;
            })
        });
        // As where the settlement waits for the row.
        store.next(verb, Fault::SlowBefore(SECOND));

        let first = send(&service, keyed("k", "x")).await;
        let replay = send(&service, keyed("k", "x")).await;

        assert_eq!((first.text(), recorded(&first)), ("transferred", true));
        assert_eq!((replay.text(), replay.is_replay()), ("transferred", true));
        assert_eq!((handler.executions(), store.calls(verb)), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_committed_after_the_settlement_failed_wins() {
    let store = Scripted::new();
    let heard = Heard::default();
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    let (handler, service) = unknowing(&layer, &store, |store| {
        tokio::spawn(async move {
            tokio::time::sleep(SECOND / 100).await;
            store.commit().await;
        })
    });
    store.next(Verb::Release, Fault::Before(StoreErrorKind::NotApplied));

    let first = send(&service, keyed("k", "x")).await;
    tokio::time::sleep(SECOND).await;
    let replay = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), recorded(&first)), ("unknown", false));
    assert_eq!((replay.text(), replay.is_replay()), ("transferred", true));
    assert_eq!(handler.executions(), 1);
    let warnings = heard.take().into_iter().filter_map(|event| event.warning());
    assert_eq!(warnings.collect::<Vec<_>>(), [Warning::NotRecorded]);
}

#[tokio::test(start_paused = true)]
async fn what_a_successor_has_recorded_is_not_taken_for_ones_own() {
    let store = Scripted::new();
    let committing = store.clone();
    let layer = IdempotencyLayer::new(store.clone())
        .lease(6 * SECOND)
        .max_execution(10 * SECOND);
    let (_, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            if key.attempt() == 1 {
                drop(key.completion(created("rolled back")).unwrap());
                tokio::time::sleep(60 * SECOND).await;
                return bad_gateway("late");
            }
            let completion = key.completion(created("successor")).unwrap();
            store.commit().await;
            whole(completion.committed()).await
        }
    });
    let first = tokio::spawn(send(&service, keyed("k", "x")));
    tokio::time::sleep(30 * SECOND).await;

    let second = send(&service, keyed("k", "x")).await;
    let first = first.await.unwrap();

    assert_eq!((second.text(), recorded(&second)), ("successor", true));
    assert_eq!((first.text(), recorded(&first)), ("late", false));
}

#[tokio::test(start_paused = true)]
async fn an_error_or_a_panic_after_the_commit_passes_and_the_outcome_stays() {
    let store = Scripted::new();
    let committing = store.clone();
    let heard = Heard::default();
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    let (handler, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            let _ = key.completion(created("transferred")).unwrap().committed();
            store.commit().await;
            std::panic::resume_unwind(Box::new("after the commit"))
        }
    });

    let first = tokio::spawn(service.clone().oneshot(keyed("k", "x"))).await;
    let told = heard.told();
    let replay = send(&service, keyed("k", "x")).await;

    assert!(first.is_err());
    assert_eq!(told, ["executed"]);
    assert_eq!((replay.text(), replay.is_replay()), ("transferred", true));
    assert_eq!((handler.executions(), settlements(&store)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_on_after_the_commit_has_lost_nothing() {
    for tells in [true, false] {
        let store = Scripted::new();
        let committing = store.clone();
        let heard = Heard::default();
        let layer = heard.of(IdempotencyLayer::new(store.clone()).lease(6 * SECOND));
        let (_, service) = handling(&layer, move |key| {
            let store = committing.clone();
            async move {
                let completion = key.completion(created("transferred")).unwrap();
                store.commit().await;
                if tells {
                    let _ = completion.committed();
                }
                tokio::time::sleep(60 * SECOND).await;
                created("other")
            }
        });

        let first = send(&service, keyed("k", "x")).await;

        assert_eq!((first.text(), recorded(&first)), ("transferred", true));
        assert_eq!(heard.told(), ["executed"], "{tells}");
        // Once, to find out.
        assert_eq!(store.calls(Verb::Renew), usize::from(!tells), "{tells}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_is_dropped_after_the_commit_undoes_nothing() {
    let store = Scripted::new();
    let committing = store.clone();
    let (_, service) = handling(&IdempotencyLayer::new(store.clone()), move |key| {
        let store = committing.clone();
        async move {
            let _ = key.completion(created("transferred")).unwrap().committed();
            store.commit().await;
            std::future::pending().await
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    // Its runtime ends with the work in it.
    let ending = std::thread::spawn({
        let service = service.clone();
        move || {
            let runtime = runtime.unwrap();
            runtime.spawn(service.oneshot(keyed("k", "x")));
            runtime.block_on(settle());
        }
    });
    ending.join().unwrap();

    let replay = send(&service, keyed("k", "x")).await;

    assert_eq!((replay.text(), replay.is_replay()), ("transferred", true));
    assert_eq!(settlements(&store), 0);
}
