//! Hooks that fail, stores that fail, clients that leave.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_changes_nothing_and_is_asked_again() {
    for says in [Says::Fails, Says::Hangs, Says::Panics, Says::PanicsAtOnce] {
        let provider = Provider::who_says([says, says, Says::Done("charged")]);
        let heard = Heard::default();
        let layer = heard.of(layer(Spy::new(), provider.on_lost()));
        let (handler, service) = service(&layer);
        lose(&service).await;
        heard.take();

        for attempt in [2, 3] {
            let answer = again(&service).await;

            assert_eq!(answer.status, 503, "{says:?}");
            assert_eq!(answer.code(), "idempotency_reconcile_failed");
            assert_eq!(answer.header("retry-after"), Some("1"));
            let record = record(&layer).await.unwrap();
            assert!(record.is_committed() && !record.is_live());
            assert_eq!(record.attempt(), attempt);
        }
        assert_eq!(
            heard.told(),
            ["refused idempotency_reconcile_failed"; 2],
            "{says:?}"
        );
        assert_eq!(send(&service, keyed("k", "y")).await.status, 422);
        assert_eq!(again(&service).await.text(), "charged");
        assert_eq!(handler.executions(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_has_ten_seconds_or_what_it_is_given() {
    let limits = [(None, 10 * SECOND), (Some(3 * SECOND), 3 * SECOND)];
    for (given, limit) in limits {
        let provider = Provider::who_says([Says::Hangs]);
        let hook = match given {
            Some(limit) => provider.hook().at_most(limit),
            None => provider.hook(),
        };
        let (_, service) = service(&layer(Spy::new(), OnLost::Reconcile(hook)));
        lose(&service).await;
        let begin = tokio::time::Instant::now();

        assert_eq!(again(&service).await.status, 503);

        assert_eq!(begin.elapsed(), limit);
    }
}

#[test]
#[should_panic(expected = "at_most takes a duration of more than zero, not 0ns")]
fn a_hook_without_time_is_refused() {
    let _ = Reconcile::new(async |_| Ok(Reconciled::NotDone)).at_most(Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_recorded_although_the_client_has_gone() {
    let provider = Provider::who_says([Says::Held, Says::Done("charged")]);
    let layer = layer(Spy::new(), provider.on_lost());
    let (handler, service) = service(&layer);
    lose(&service).await;
    let asking = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    asking.abort();
    settle().await;

    provider.open();
    settle().await;

    assert_eq!(again(&service).await.text(), "charged");
    assert_eq!((handler.executions(), provider.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_done_does_not_run_for_a_client_that_has_gone() {
    let provider = Provider::who_says([Says::Held, Says::NotDone, Says::NotDone]);
    let layer = layer(Spy::new(), provider.on_lost());
    let (handler, service) = service(&layer);
    lose(&service).await;
    let asking = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    asking.abort();
    settle().await;

    provider.open();
    settle().await;

    assert_eq!(handler.executions(), 1);
    assert_eq!(again(&service).await.text(), "attempt 3");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_a_client_that_has_gone() {
    let provider = Provider::who_says([Says::Done("charged")]);
    let store = Scripted::new();
    let layer = layer(store.clone(), provider.on_lost());
    let (_, service) = service(&layer);
    lose(&service).await;
    store.next(Verb::Claim, Fault::SlowAfter(SECOND));
    let claiming = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    claiming.abort();

    tokio::time::sleep(2 * SECOND).await;

    assert_eq!(provider.asked(), 0);
    assert!(!record(&layer).await.unwrap().is_live(), "it is given back");
    assert_eq!(again(&service).await.text(), "charged");
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_shown_only_once_it_is_recorded() {
    let provider = Provider::who_says([Says::Done("charged")]);
    let store = Scripted::new();
    let layer = layer(store.clone(), provider.on_lost());
    let (handler, service) = service(&layer);
    lose(&service).await;
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));

    let answer = again(&service).await;

    assert_eq!(answer.code(), "idempotency_store_unavailable");
    assert_eq!(again(&service).await.outcome, Outcome::InProgress);
    store.heal();
    tokio::time::sleep(SECOND).await;
    assert_eq!(again(&service).await.text(), "charged");
    assert_eq!((handler.executions(), provider.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_was_fenced_out_while_he_asked_shows_nothing() {
    let provider = Provider::who_says([Says::Held, Says::Done("charged"), Says::NotDone]);
    let layer = layer(Spy::new(), provider.on_lost());
    let (handler, service) = service(&layer);
    lose(&service).await;
    let asking = tokio::spawn(send(&service, keyed("k", "x")));
    settle().await;
    let key = layer.record_key(b"", &Method::POST, PATH, "k");
    let forgotten = layer.store().forget(&key, true).await.unwrap();
    assert_eq!(forgotten, Forgotten::Forgotten);

    provider.open();

    assert_eq!(asking.await.unwrap().outcome, Outcome::InProgress);
    assert!(record(&layer).await.is_none());
    assert_eq!(again(&service).await.text(), "attempt 1");
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hook_under_a_lost_lease_starts_no_handler() {
    let provider = Provider::who_says([Says::Held, Says::NotDone]);
    let store = Scripted::new();
    let layer = layer(
        store.clone(),
        OnLost::Reconcile(provider.hook().at_most(LONG)),
    );
    let (handler, service) = service(&layer);
    lose(&service).await;
    store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    let asking = tokio::spawn(send(&service, keyed("k", "x")));
    tokio::time::sleep(7 * SECOND).await;

    provider.open();

    assert_eq!(asking.await.unwrap().outcome, Outcome::InProgress);
    assert_eq!(handler.executions(), 1);
}
