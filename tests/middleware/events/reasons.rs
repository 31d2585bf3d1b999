//! Why a store has failed, and what it advises: told to whoever looks after it, and to no client.

use super::*;

const SCRIPTED: Option<&str> = Some("scripted");

/// A store that fails at this verb, always, beneath a layer that is heard.
fn failing_at(verb: Verb, fault: Fault) -> (IdempotencyLayer<Arc<Scripted>>, Handler, Heard) {
    let (store, heard) = (Scripted::new(), Heard::default());
    let layer = heard
        .of(IdempotencyLayer::new(Arc::clone(&store)))
        .lease(9 * SECOND);
    store.always(verb, fault);
    (layer, Handler::default(), heard)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why_the_store_has_failed() {
    for kind in [
        StoreErrorKind::NotApplied,
        StoreErrorKind::Ambiguous,
        StoreErrorKind::Fatal,
        StoreErrorKind::Unreadable,
    ] {
        let (layer, handler, heard) = failing_at(Verb::Claim, Fault::Before(kind));

        let answer = send(&handler.at_once(&layer), plain("k", "x")).await;

        assert_eq!(answer.status, 503);
        assert!(!answer.text().contains("scripted"), "{}", answer.text());
        let event = heard.only();
        assert_eq!(event.reason(), SCRIPTED, "{event}");
        assert!(event.to_string().contains("(scripted)"), "{event}");
        layer.store().heal();
        layer.drain(HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_without_protection_says_why_the_store_has_failed() {
    let (layer, handler, heard) =
        failing_at(Verb::Claim, Fault::Before(StoreErrorKind::NotApplied));
    let layer = layer.on_store_error(OnStoreError::RunUnprotected);

    send(&handler.at_once(&layer), plain("k", "x")).await;

    let event = heard.only();
    assert_eq!(event.outcome(), Some(Outcome::Unprotected));
    assert_eq!(event.reason(), SCRIPTED);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_recorded_is_told_of_with_the_reason() {
    let (layer, handler, heard) =
        failing_at(Verb::Complete, Fault::Before(StoreErrorKind::Ambiguous));
    let layer = layer.settle_for(2 * SECOND);

    send(&handler.at_once(&layer), plain("k", "x")).await;
    layer.drain(HOUR).await;

    let events = heard.take();
    let warned = events.iter().filter(|event| event.warning().is_some());
    let warned: Vec<_> = warned
        .map(|event| (event.warning(), event.reason()))
        .collect();
    let expected = [Warning::NotRecorded, Warning::GivenUp];
    assert_eq!(warned, expected.map(|warning| (Some(warning), SCRIPTED)));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_told_of_with_the_reason() {
    let (layer, handler, heard) = failing_at(Verb::Renew, Fault::Before(StoreErrorKind::Ambiguous));
    let running = tokio::spawn(handler.held(&layer).oneshot(plain("k", "x")));
    tokio::time::sleep(4 * SECOND).await;

    let events = heard.take();

    assert!(!events.is_empty());
    for event in events {
        assert_eq!(event.warning(), Some(Warning::NotRenewed));
        assert_eq!(event.reason(), SCRIPTED);
    }
    handler.open();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_late_is_told_of_as_late() {
    let (layer, handler, heard) = failing_at(Verb::Claim, Fault::SlowBefore(HOUR));

    send(&handler.at_once(&layer), plain("k", "x")).await;

    assert_eq!(
        heard.only().reason(),
        Some("the store has not answered in time")
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_store_advises_is_told_once() {
    let (store, handler, heard) = (Scripted::new(), Handler::default(), Heard::default());
    store.advice.lock().unwrap().push("more salt");
    // Through everything that wraps a store.
    let keys = Keyring::new(EncryptionKey::new(1, [7; 32]));
    let store = Cached::new(Encrypted::new(BoxStore::new(store), keys));
    let store = BoxStore::new(ChaosStore::new(store, 1));
    let layer = heard.of(IdempotencyLayer::new(store));
    for key in ["a", "b"] {
        send(&handler.at_once(&layer.clone()), plain(key, "x")).await;
    }

    let events = heard.take();
    let warnings = events.iter().filter_map(Event::warning);
    let settings = warnings.filter(|warning| warning.as_str() == "store_setting");
    let settings: Vec<_> = settings.map(|warning| warning.to_string()).collect();
    assert_eq!(settings, ["more salt"], "{events:?}");
}
