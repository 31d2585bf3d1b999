//! The form of refusals.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_form_of_the_applications_own_gives_status_headers_and_body() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().errors(|refusal: &Refusal| {
        let text = format!("{}: {}", refusal.code(), refusal.detail());
        let mut response = Response::new(Bytes::from(text));
        let renamed = if refusal.status() == 409 {
            StatusCode::LOCKED
        } else {
            refusal.status()
        };
        *response.status_mut() = renamed;
        response
            .headers_mut()
            .insert("x-form", HeaderValue::from_static("own"));
        response
    });
    let service = handler.held(&layer);
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;

    let busy = send(&service, keyed("k", "x")).await;
    let mismatch = send(&service, keyed("k", "y")).await;
    handler.open();
    running.await.unwrap().unwrap();

    assert_eq!(busy.status, 423);
    assert!(
        busy.text()
            .starts_with("idempotency_in_progress: A request with")
    );
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(busy.outcome, Outcome::InProgress);
    assert_eq!(mismatch.status, 422);
    assert_eq!(mismatch.header("x-form"), Some("own"));
    assert_eq!(mismatch.header("content-type"), None);
}

#[tokio::test(start_paused = true)]
async fn a_form_that_panics_or_makes_no_error_of_a_refusal_is_not_used() {
    fn panics(_: &Refusal) -> Response<Bytes> {
        panic!("a form that panics")
    }
    fn answers<const STATUS: u16>(_: &Refusal) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(b"fine"));
        *response.status_mut() = StatusCode::from_u16(STATUS).unwrap();
        response
    }
    let layer = IdempotencyLayer::default().require_key(true);

    for layer in [
        layer.clone().errors(panics),
        layer.clone().errors(answers::<101>),
        layer.clone().errors(answers::<200>),
        layer.clone().errors(answers::<302>),
        layer.errors(answers::<600>),
    ] {
        let service = Handler::default().at_once(&layer);
        let answer = send(&service, crate::support::post(PATH, &[], "x")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "idempotency_key_missing")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_setting_of_a_knob_counts_and_clones_are_apart() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default()
        .keep(Keep::All)
        .keep(Keep::Success);
    let keeping = layer.clone().keep(Keep::All);
    let frees = handler.statuses(&layer, &[500]);
    let keeps = handler.statuses(&keeping, &[500]);

    assert_eq!(
        send(&frees, keyed("k", "x")).await.outcome,
        Outcome::Executed { recorded: false }
    );
    assert_eq!(
        send(&keeps, keyed("k", "x")).await.outcome,
        Outcome::Executed { recorded: true }
    );
    assert!(send(&frees, keyed("k", "x")).await.is_replay());
}
