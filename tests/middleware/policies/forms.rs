//! The form of refusals.

mod grpc;
mod problems;

use http::HeaderName;
use serde_json::{Value, json};
use tower_idempotency::{ErrorForm, Form, Problem, RefusalCode};

use super::configuration::refused;
use super::*;
use crate::support::post;

/// Seven refusals in this form, one for each of [`CODES`].
async fn refusals(form: impl Form) -> Vec<Answer> {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone())
        .require_key(true)
        .max_request_bytes(99)
        .errors(form);
    let service = handler.held(&layer);
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    let mut of_a_cookie = keyed("k", "x");
    let cookie = HeaderValue::from_static("session=1");
    of_a_cookie.headers_mut().insert("cookie", cookie);
    let long = "x".repeat(100).leak();

    let mut answers = Vec::new();
    for request in [
        post(PATH, &[], "x"),
        keyed("k,l", "x"),
        keyed("k", "y"),
        keyed("k", "x"),
        of_a_cookie,
        keyed("k", long),
    ] {
        answers.push(send(&service, request).await);
    }
    spy.goes_down(StoreErrorKind::Fatal);
    answers.push(send(&service, keyed("other", "x")).await);
    handler.open();
    running.await.unwrap().unwrap();
    answers
}

const CODES: [&str; 7] = [
    "idempotency_key_missing",
    "idempotency_key_invalid",
    "idempotency_mismatch",
    "idempotency_in_progress",
    "idempotency_scope_unresolved",
    "request_too_large",
    "idempotency_store_unavailable",
];
const MISMATCH: usize = 2;
const IN_PROGRESS: usize = 3;

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_flat_mismatch_is_the_documented_one() {
    let mismatch = &refusals(ErrorForm::flat()).await[MISMATCH];

    assert_eq!(mismatch.status, 422);
    assert_eq!(mismatch.header("content-type"), Some("application/json"));
    let documented = json!({
        "error": "idempotency_mismatch",
        "detail": "Idempotency key has already been used with different parameters.",
        "status_code": 422,
    });
    assert_eq!(body(mismatch), documented);
}

#[tokio::test(start_paused = true)]
async fn the_nested_mismatch_with_its_own_words_is_the_documented_one() {
    let text = "Idempotency key already used with different request parameters";
    let form = ErrorForm::nested()
        .code(RefusalCode::Mismatch, "idempotency_key_conflict")
        .detail(RefusalCode::Mismatch, text);

    let mismatch = &refusals(form).await[MISMATCH];

    assert_eq!(mismatch.status, 422);
    assert_eq!(mismatch.header("content-type"), Some("application/json"));
    let documented = json!({
        "error": {
            "code": "idempotency_key_conflict",
            "message": "Idempotency key already used with different request parameters",
            "type": "invalid_request_error",
        },
    });
    assert_eq!(body(mismatch), documented);
}

#[tokio::test(start_paused = true)]
async fn the_type_in_the_nested_form_follows_from_the_status() {
    let form = ErrorForm::nested().status(RefusalCode::InProgress, StatusCode::TOO_MANY_REQUESTS);

    let answers = refusals(form).await;

    let types = answers.iter().map(|answer| {
        let body = body(answer);
        (
            answer.status.as_u16(),
            body["error"]["type"].as_str().unwrap().to_owned(),
        )
    });
    assert_eq!(
        types.collect::<Vec<_>>(),
        [
            (400, "invalid_request_error".into()),
            (400, "invalid_request_error".into()),
            (422, "invalid_request_error".into()),
            (429, "rate_limit_error".into()),
            (500, "api_error".into()),
            (413, "invalid_request_error".into()),
            (503, "api_error".into()),
        ]
    );
    assert_eq!(answers[IN_PROGRESS].header("retry-after"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn the_form_for_stripes_sdks_tells_them_what_to_raise_and_whether_to_retry() {
    let answers = refusals(ErrorForm::stripe()).await;

    let seen = answers.iter().zip(CODES).map(|(answer, code)| {
        let body = body(answer);
        assert_eq!(body["error"]["code"], code);
        assert!(body["error"]["message"].is_string());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let kind = body["error"]["type"].as_str().unwrap().to_owned();
        let again = answer.header("stripe-should-retry").unwrap().to_owned();
        (answer.status.as_u16(), kind, again)
    });
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [
            (400, "invalid_request_error", "false"),
            (400, "invalid_request_error", "false"),
            (400, "idempotency_error", "false"),
            (409, "idempotency_error", "true"),
            (500, "api_error", "false"),
            (400, "invalid_request_error", "false"),
            (503, "api_error", "true"),
        ]
        .map(|(status, kind, again)| (status, kind.to_owned(), again.to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn codes_statuses_and_texts_are_changed_in_every_form_and_for_that_code_only() {
    const TEXT: &str = "\u{1} \"so\" \\ <é>\r\n";
    macro_rules! changed {
        ($form:expr) => {
            refusals(
                $form
                    .code(RefusalCode::Mismatch, "not this one")
                    .code(RefusalCode::Mismatch, "key \"used\"")
                    .status(RefusalCode::Mismatch, StatusCode::GONE)
                    .detail(RefusalCode::Mismatch, TEXT),
            )
            .await
        };
    }
    let problem = || ErrorForm::problem().docs("https://docs.example/");

    for (answers, unchanged, code, detail) in [
        (
            changed!(ErrorForm::flat()),
            refusals(ErrorForm::flat()).await,
            "/error",
            "/detail",
        ),
        (
            changed!(ErrorForm::nested()),
            refusals(ErrorForm::nested()).await,
            "/error/code",
            "/error/message",
        ),
        (
            changed!(ErrorForm::stripe()),
            refusals(ErrorForm::stripe()).await,
            "/error/code",
            "/error/message",
        ),
        (
            changed!(problem()),
            refusals(problem()).await,
            "/code",
            "/detail",
        ),
    ] {
        let mismatch = body(&answers[MISMATCH]);
        assert_eq!(answers[MISMATCH].status, 410);
        assert_eq!(answers[MISMATCH].outcome, Outcome::Mismatch);
        assert_eq!(mismatch.pointer(code).unwrap(), "key \"used\"");
        assert_eq!(mismatch.pointer(detail).unwrap(), TEXT);
        if let Some(kind) = mismatch.get("type") {
            assert_eq!(kind, "https://docs.example/#key%20%22used%22");
        }
        for (number, expected) in CODES.iter().enumerate() {
            if number != MISMATCH {
                let answer = &answers[number];
                assert_eq!(answer, &unchanged[number]);
                assert_eq!(body(answer).pointer(code).unwrap(), expected);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_may_be_built_around_a_built_in_one() {
    struct Versioned(Problem);
    impl Form for Versioned {
        fn render(&self, refusal: &Refusal) -> Response<Bytes> {
            let mut response = self.0.render(refusal);
            let version = HeaderName::from_static("api-version");
            response
                .headers_mut()
                .insert(version, HeaderValue::from_static("7"));
            response
        }
    }

    let answers = refusals(Versioned(ErrorForm::problem())).await;

    assert_eq!(statuses(&answers), [400, 400, 422, 409, 500, 413, 503]);
    for answer in answers {
        assert_eq!(answer.header("api-version"), Some("7"));
    }
}

#[test]
fn a_wrong_word_of_a_form_panics_where_it_is_written_and_says_what_to_do() {
    for status in [101, 200, 302, 399, 600, 999] {
        let status = StatusCode::from_u16(status).unwrap();
        let (busy, mismatch) = (RefusalCode::InProgress, RefusalCode::Mismatch);

        assert_eq!(
            refused(|| drop(ErrorForm::flat().status(busy, status))),
            format!(
                "status takes 4xx or 5xx for idempotency_in_progress, not {}",
                status.as_u16()
            )
        );
        assert_eq!(
            refused(|| drop(ErrorForm::problem().status(mismatch, status))),
            format!(
                "status takes 4xx or 5xx for idempotency_mismatch, not {}",
                status.as_u16()
            )
        );
    }
    for url in [
        "/docs",
        "ftp://docs.example",
        "https://docs.example/#a",
        "https://docs.example/a>; rel=next",
        "https://docs.example/\r\nset-cookie: a=b",
    ] {
        assert_eq!(
            refused(|| drop(ErrorForm::problem().docs(url))),
            format!("docs takes an absolute http or https URL without a fragment, not {url:?}")
        );
    }
}

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
        let answer = send(&service, post(PATH, &[], "x")).await;
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

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_marked_as_a_replay_whatever_its_form_says() {
    let form = |refusal: &Refusal| {
        let mut response = ErrorForm::flat().render(refusal);
        for mark in ["true", "yes"] {
            let mark = HeaderValue::from_static(mark);
            response.headers_mut().append("idempotent-replayed", mark);
        }
        response
    };

    let answers = refusals(form).await;

    assert_eq!(answers, refusals(ErrorForm::flat()).await);
    let (layer, handler) = (IdempotencyLayer::default().errors(form), Handler::default());
    let streaming = handler.answering(&layer, |_| {
        let mut response = created("flows");
        response.extensions_mut().insert(Keep::Stream);
        std::future::ready(response)
    });
    send(&streaming, keyed("k", "x")).await;
    let unavailable = send(&streaming, keyed("k", "x")).await;
    assert_eq!(unavailable.code(), "idempotency_response_unavailable");
    assert_eq!(unavailable.header("idempotent-replayed"), None);
}
