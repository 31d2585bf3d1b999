//! How an event looks, and what it never shows.

use std::fmt::Write as _;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_event_is_one_line_for_a_log() {
    let (layer, handler, heard) = overheard();
    let layer = layer.endpoints([PATH].map(Endpoint::post));
    let service = handler.at_once(&layer);
    let looking = handler.at_once(&layer.clone().mode(Mode::Shadow));
    let digests = format!("{:?}", record(&layer, "k"));

    send(&service, plain("k", "x")).await;
    send(&looking, plain("k", "y")).await;
    send(&service, post(PATH, &[], "x")).await;

    assert_eq!(
        heard
            .take()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            format!("executed, attempt 1, POST /charges, {digests}"),
            format!("mismatch idempotency_mismatch, POST /charges, {digests}, shadow"),
            "bypassed, POST /charges".into(),
        ]
    );
}

/// Nothing of these may be seen in an event.
const SECRETS: [&str; 4] = ["secret-key", "secret-body", "secret-token", "secret-query"];

fn secret(body: &'static str) -> Request<Body> {
    let headers = [
        ("idempotency-key", SECRETS[0]),
        ("authorization", "Bearer secret-token"),
    ];
    post("/charges?to=secret-query", &headers, body)
}

#[tokio::test(start_paused = true)]
async fn events_show_no_key_no_body_and_no_sender() {
    let (layer, handler, heard) = overheard();
    let layer = layer
        .retention(10 * SECOND)
        .errors(|refusal: &tower_idempotency::Refusal| {
            assert_eq!(
                refusal.code(),
                RefusalCode::KeyInvalid,
                "a form that panics"
            );
            Response::new(bytes::Bytes::new())
        });
    for mode in [Mode::Enforce, Mode::Shadow] {
        let service = handler.answering(&layer.clone().mode(mode), |_| {
            let mut response = created(SECRETS[1]);
            response.extensions_mut().insert(Retention(HOUR));
            std::future::ready(response)
        });
        send(&service, secret("secret-body")).await;
        send(&service, secret("secret-body")).await;
        send(&service, secret("secret-body, another")).await;
        let mut malformed = secret("secret-body");
        let key = HeaderValue::from_static("\"secret-key");
        malformed.headers_mut().insert("idempotency-key", key);
        send(&service, malformed).await;
    }

    let events = heard.take();
    let mut shown = String::new();
    for event in &events {
        writeln!(shown, "{event}\n{event:?}\n{event:#?}").unwrap();
    }
    let said = events.iter().map(told).collect::<Vec<_>>().join("\n");
    for word in [
        "executed",
        "replayed",
        "mismatch",
        "key_invalid",
        "retention",
        "error form",
    ] {
        assert!(said.contains(word), "{word} is not among: {said}");
    }
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{secret} in: {shown}");
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(
            !shown.contains(bytes.trim_matches(['[', ']'])),
            "{secret}, as bytes: {shown}"
        );
    }
}
