//! What a hook may answer, and what becomes of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_done_is_recorded_and_replayed_to_everybody() {
    let provider = Provider::who_says([Says::Done("charged")]);
    let (spy, heard) = (Spy::new(), Heard::default());
    let layer = heard.of(layer(spy.clone(), provider.on_lost()).keep(Keep::Discard));
    let (handler, service) = service(&layer);
    lose(&service).await;
    heard.take();

    let first = again(&service).await;
    let second = again(&service).await;

    assert_eq!((first.status.as_u16(), first.text()), (201, "charged"));
    assert!(first.is_replay());
    assert_eq!(first.outcome, Outcome::Replayed);
    assert_eq!(first.header("location"), Some("/charges/7"));
    assert_eq!(first.header("set-cookie"), None, "as with every record");
    assert_eq!(second, first);
    assert_eq!((handler.executions(), provider.asked()), (1, 1));
    assert!(spy.verbs().ends_with(&["claim", "complete", "claim"]));
    assert_eq!(heard.told(), ["replayed", "replayed"]);
    assert_eq!(record(&layer).await.unwrap().attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_done_runs_as_the_attempt_that_asked() {
    let provider = Provider::who_says([Says::NotDone]);
    let heard = Heard::default();
    let layer = heard.of(layer(Spy::new(), provider.on_lost()));
    let (handler, service) = service(&layer);
    lose(&service).await;
    heard.take();

    let first = again(&service).await;
    let second = again(&service).await;

    assert_eq!(first.text(), "attempt 2");
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(!first.is_replay() && second.is_replay());
    assert_eq!((handler.executions(), provider.asked()), (2, 1));
    assert_eq!(heard.told(), ["executed", "replayed"]);
}

#[tokio::test(start_paused = true)]
async fn a_first_execution_and_a_record_that_is_kept_ask_nobody() {
    let provider = Provider::who_says([]);
    let layer = layer(Spy::new(), provider.on_lost());
    let handler = Handler::default();
    let service = handler.at_once(&layer);

    assert_eq!(again(&service).await.text(), "execution 1");
    assert!(again(&service).await.is_replay());
    assert_eq!(
        send(&service, keyed("k", "y")).await.outcome,
        Outcome::Mismatch
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_record_asks_nobody_for_another_request() {
    let provider = Provider::who_says([]);
    let layer = layer(Spy::new(), provider.on_lost());
    let (_, service) = service(&layer);
    lose(&service).await;

    let other = send(&service, keyed("k", "y")).await;

    assert_eq!(other.outcome, Outcome::Mismatch);
}

#[tokio::test(start_paused = true)]
async fn a_hook_sees_the_request_and_what_identifies_the_lost_one() {
    let provider = Provider::who_says([Says::NotDone]);
    let layer = layer(Spy::new(), provider.on_lost());
    let (handler, seen) = (Handler::default(), Arc::<Mutex<Vec<String>>>::default());
    let (counted, children) = (handler.clone(), seen.clone());
    let service = handler.answering(&layer, move |request| {
        let key = request.extensions().get::<Idempotency>().unwrap();
        let child = key.child("charge").as_str().to_owned();
        children.lock().unwrap().push(child);
        let number = counted.executions();
        async move {
            if number == 1 {
                std::future::pending::<()>().await;
            }
            created("done")
        }
    });
    let request = || {
        let mut request = plain("k", "x");
        request.extensions_mut().insert("the user");
        request
    };
    tokio::spawn(service.clone().oneshot(request()));
    tokio::time::sleep(20 * SECOND).await;

    send(&service, request()).await;

    let asked = provider.0.asked.lock().unwrap();
    let lost = &asked[0];
    let seen = seen.lock().unwrap();
    assert_eq!((lost.key().as_str(), lost.attempt()), ("k", 2));
    assert_eq!(seen.len(), 2);
    for child in &*seen {
        assert_eq!(lost.child("charge").as_str(), child);
    }
    let asking = lost.request();
    assert_eq!(
        (asking.method(), asking.uri().path()),
        (&Method::POST, PATH)
    );
    assert_eq!(asking.headers()["content-type"], "text/plain");
    assert_eq!(asking.body(), "x");
    assert_eq!(asking.extensions().get(), Some(&"the user"));
    let shown = format!("{lost:?}");
    assert!(
        !shown.contains("\"k\"") && !shown.contains("text/plain"),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_done_and_is_too_large_leaves_a_tombstone() {
    let provider = Provider::who_says([Says::Done("far too much")]);
    let layer = layer(Spy::new(), provider.on_lost()).max_kept_response(3);
    let (handler, service) = service(&layer);
    lose(&service).await;

    for _ in 0..2 {
        let answer = again(&service).await;

        assert_eq!(answer.code(), "idempotency_response_unavailable");
        assert_eq!(answer.header("location"), Some("/charges/7"));
    }
    assert_eq!((handler.executions(), provider.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_not_kept_is_asked_about_again() {
    let provider = Provider::who_says([Says::NotDone, Says::NotDone, Says::Done("at last")]);
    let layer = layer(Spy::new(), provider.on_lost());
    let handler = Handler::default();
    let counted = handler.clone();
    let service = handler.answering(&layer, move |_| {
        let number = counted.executions();
        async move {
            if number == 1 {
                std::future::pending::<()>().await;
            }
            let mut response = created("declined");
            *response.status_mut() = http::StatusCode::PAYMENT_REQUIRED;
            response
        }
    });
    lose(&service).await;

    for attempt in [2, 3] {
        let answer = again(&service).await;
        assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
        assert_eq!(handler.last_attempt(), attempt);
        assert!(!record(&layer).await.unwrap().is_live());
    }
    assert_eq!(again(&service).await.text(), "at last");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_have_a_hook_of_its_own() {
    let provider = Provider::who_says([Says::Done("charged")]);
    let layer = layer(Spy::new(), OnLost::Refuse).endpoints([
        Endpoint::post(PATH).on_lost(provider.on_lost()),
        Endpoint::post("/other"),
    ]);
    let (_, service) = service(&layer);
    lose(&service).await;

    assert_eq!(again(&service).await.text(), "charged");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_only_looks_asks_nobody() {
    let provider = Provider::who_says([]);
    let heard = Heard::default();
    let layer = heard.of(layer(Spy::new(), provider.on_lost()).mode(Mode::Shadow));
    let (_, service) = service(&layer);
    lose(&service).await;
    heard.take();

    assert_eq!(again(&service).await.status, 201);

    assert_eq!(heard.told(), ["refused idempotency_outcome_unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_length_that_a_provider_told_is_not_that_of_the_answer() {
    let hook = OnLost::reconcile(async |_| {
        let response = Response::builder().header("content-length", "999");
        Ok(Reconciled::Done(
            response.body(Bytes::from("charged")).unwrap(),
        ))
    });
    let (_, service) = service(&layer(Spy::new(), hook));
    lose(&service).await;

    for _ in 0..2 {
        let answer = again(&service).await;

        assert!(answer.is_replay());
        assert_eq!(answer.text(), "charged");
        assert_eq!(answer.header("content-length"), None, "the server tells it");
    }
}

#[tokio::test(start_paused = true)]
async fn an_informational_status_is_no_answer() {
    let hook = OnLost::reconcile(async |_| {
        let response = Response::builder().status(101).body(Bytes::new());
        Ok(Reconciled::Done(response.unwrap()))
    });
    let layer = layer(Spy::new(), hook);
    let (handler, service) = service(&layer);
    lose(&service).await;

    assert_eq!(again(&service).await.code(), "idempotency_reconcile_failed");

    assert_eq!(handler.executions(), 1);
    assert!(!record(&layer).await.unwrap().is_live());
}
