//! Keys in bodies and closures, senders in headers, and closures that know a secret.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderName;
use tower_idempotency::{Anonymous, Event, FingerprintPolicy, KeyFrom, Mode};

use super::*;

/// A request in which everything is a secret, its key at `/id` of the body and nowhere else.
fn in_body(what: &'static str, key: &str) -> Request<Body> {
    let mut request = secret("").map(|_| {
        let body = format!("{{\"id\":\"{KEY}-{key}\",\"card\":\"canary-body-8f00b204\"}}");
        Body::from(body)
    });
    let headers = request.headers_mut();
    headers.remove("idempotency-key");
    headers.insert("x-do", HeaderValue::from_static(what));
    request
}

/// Everything that can happen to such a request, and everything that can be wrong with it.
async fn everything_in_bodies<St: Store>(layer: &IdempotencyLayer<St>) {
    let service = service(layer);
    let ask = async |request: Request<Body>| {
        let answer = AssertUnwindSafe(service.clone().oneshot(request))
            .catch_unwind()
            .await;
        if let Ok(Ok(response)) = answer {
            is_clean(&format!("{:?}", read(response).await));
        }
    };
    for what in ["", "fail", "panic", "commit"] {
        ask(in_body(what, what)).await;
        ask(in_body(what, what)).await;
    }
    // Another request under the key.
    ask(in_body("", "").map(|_| format!("{{\"id\":\"{KEY}-\"}}").into())).await;
    // A client that hangs up.
    let running = tokio::spawn(service.clone().oneshot(in_body("wait", "wait")));
    settle().await;
    ask(in_body("wait", "wait")).await;
    running.abort();
    let _ = layer.drain(Duration::from_secs(60)).await;
    ask(in_body("wait", "wait")).await;
    // Refusals, and requests without a key.
    for wrong in [
        format!("{{\"id\":\"{KEY} {KEY}\"}}"),
        format!("{{\"id\":\"{KEY}\",\"id\":\"{KEY}\"}}"),
        format!("{{\"id\":[\"{KEY}\"]}}"),
        format!("{{\"id\":\"{KEY}\","),
        format!("{{\"{KEY}\":\"{KEY}\"}}"),
        KEY.to_owned(),
        format!("[\"{KEY}\"]"),
    ] {
        ask(in_body("", "").map(|_| wrong.into())).await;
    }
    for beside in [KEY, "other", "\"", ""] {
        let mut request = in_body("", "beside");
        let beside = HeaderValue::from_static(beside);
        request.headers_mut().insert("idempotency-key", beside);
        ask(request).await;
    }
}

fn api_key() -> [HeaderName; 1] {
    [HeaderName::from_static("x-api-key")]
}

/// Ways to find a key and a sender, and to compare, beyond those by default.
fn configured<St: Store>(layer: &IdempotencyLayer<St>) -> Vec<IdempotencyLayer<St>> {
    let by_user = Scope::extension(|user: &User| user.0.to_owned());
    let json = || layer.clone().key_from(KeyFrom::json(["/id"]));
    let several = KeyFrom::json(["/id", "/card"]);
    let in_head = KeyFrom::with(|parts| {
        let what = parts.headers.get("x-do")?.to_str().ok()?;
        Some(format!("{KEY}-{what}"))
    });
    vec![
        json(),
        json().require_key(true),
        json().scope(by_user.clone()),
        json().scope(by_user.without_endpoint()),
        json().scope(Scope::headers(api_key())),
        json().scope(Scope::headers(api_key()).anonymous(Anonymous::Bypass)),
        json().scope(Scope::with(|_| Err(KEY.into()))),
        json().fingerprint(FingerprintPolicy::none()),
        json().fingerprint(FingerprintPolicy::default().exclude(["/card"])),
        json().fingerprint(FingerprintPolicy::default().header("authorization")),
        json().fingerprint(FingerprintPolicy::with(|_, body| Ok(body.to_vec()))),
        json().fingerprint(FingerprintPolicy::with(|_, _| Err(KEY.into()))),
        json().fingerprint(FingerprintPolicy::with(|_, _| panic!("a policy"))),
        json().key(KeyPolicy::with(|key| !key.contains("fail"))),
        json().key(KeyPolicy::default().characters(|_| panic!("a policy"))),
        json().max_request_bytes(30),
        json().mode(Mode::Shadow),
        layer.clone().key_from(several),
        layer.clone().key_from(in_head),
        layer.clone().key_from(KeyFrom::header("x-do")),
        layer
            .clone()
            .key_from(KeyFrom::with(|_| panic!("a source"))),
    ]
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_logged_or_told_of_keys_from_anywhere() {
    let (log, spy) = (Log::default(), Spy::new());
    let capturing = log.capture();
    let (told, events) = (Arc::new(Mutex::new(String::new())), AtomicU32::new(0));
    let telling = Arc::clone(&told);
    let events = Arc::new(events);
    let counted = Arc::clone(&events);
    let layer = IdempotencyLayer::new(spy.clone()).on_event(move |event: &Event| {
        counted.fetch_add(1, Ordering::SeqCst);
        writeln!(telling.lock().unwrap(), "{event} {event:?} {event:#?}").unwrap();
    });

    for (number, layer) in configured(&layer).into_iter().enumerate() {
        let layer = layer.namespace(format!("{USER}-{number}"));
        everything_in_bodies(&layer).await;
    }
    spy.goes_down(StoreErrorKind::Fatal);
    everything_in_bodies(&layer.key_from(KeyFrom::json(["/id"]))).await;
    drop(capturing);

    assert!(log.text().contains("the handler runs"));
    is_clean(&log.text());
    let told = told.lock().unwrap();
    assert!(events.load(Ordering::SeqCst) > 100);
    for outcome in ["replayed", "mismatch", "idempotency_internal", "bypassed"] {
        assert!(told.contains(outcome), "{outcome} is not in {told}");
    }
    is_clean(&told);
    let (claims, completed) = (spy.claims(), spy.completed());
    assert!(claims.len() > 100 && completed.len() > 20);
    for claim in claims {
        is_clean_bytes(claim.key().scope());
        is_clean_bytes(claim.key().key());
        is_clean_bytes(claim.fingerprint().digest());
    }
    for completed in completed {
        is_clean_bytes(completed.payload());
        is_clean_bytes(completed.tombstone());
    }
}

#[test]
fn debug_output_of_what_is_configured_shows_nothing_of_what_closures_know() {
    let known = || (KEY.to_owned(), USER.to_owned());
    let from_source = known();
    let source = KeyFrom::with(move |_| Some(from_source.0.clone()));
    let of_policy = known();
    let policy = KeyPolicy::with(move |key| key != of_policy.0);
    let of_characters = known();
    let characters = KeyPolicy::ascii(1..=9).characters(move |char| of_characters.0.contains(char));
    let of_scope = known();
    let scope = Scope::with(move |_| Ok(of_scope.1.clone().into_bytes()));
    let of_fingerprint = known();
    let fingerprint =
        FingerprintPolicy::with(move |_, _| Ok(of_fingerprint.0.clone().into_bytes()));
    let layer = IdempotencyLayer::default()
        .namespace(USER)
        .key_from(source.clone())
        .key(policy.clone())
        .scope(scope.clone())
        .fingerprint(fingerprint.clone())
        .on_event(|_| ());

    let shown: [(&dyn Debug, &str); 16] = [
        (&source, "KeyFrom::with(..)"),
        (&KeyFrom::default(), "KeyFrom::header(idempotency-key)"),
        (
            &KeyFrom::header("webhook-id"),
            "KeyFrom::header(webhook-id)",
        ),
        (&KeyFrom::json(["/id"]), "KeyFrom::json([\"/id\"])"),
        (&policy, "KeyPolicy"),
        (&characters, "KeyPolicy"),
        (&KeyPolicy::uuid().strict(), "KeyPolicy"),
        (&scope, "Scope::with(..)"),
        (&scope.clone().without_endpoint(), "Scope::with(..)"),
        (&Scope::headers(api_key()), "Scope::headers(..)"),
        (&Anonymous::Bypass, "Bypass"),
        (&fingerprint, "FingerprintPolicy(..)"),
        (
            &fingerprint.clone().header("x-version"),
            "FingerprintPolicy(..)",
        ),
        (
            &FingerprintPolicy::default(),
            "FingerprintPolicy::default()",
        ),
        (&layer, "IdempotencyLayer"),
        (&layer.layer(()), "IdempotencyService"),
    ];

    for (shown, name) in shown {
        let shown = format!("{shown:?} {shown:#?}");
        assert!(shown.starts_with(name), "{name}: {shown}");
        is_clean(&shown);
    }
}

/// Configuration is written by the service, and its mistakes are shown to it; what a request brings never is.
#[test]
fn what_operators_are_refused_shows_nothing_secret() {
    let (parts, _) = in_body("", "").into_parts();
    let layer = IdempotencyLayer::default().namespace(USER);
    for layer in [
        layer.clone().key(KeyPolicy::uuid()),
        layer.clone().key(KeyPolicy::with(|_| panic!("a policy"))),
        layer.clone().scope(Scope::with(|_| Err(KEY.into()))),
        layer.scope(Scope::with(|_| Ok(Vec::new()))),
    ] {
        let refused = layer.record_key_for(&parts, KEY).unwrap_err();
        is_clean(&format!(
            "{refused:?} {} {}",
            refused.code(),
            refused.detail()
        ));

        let named = catch_unwind(AssertUnwindSafe(|| {
            layer.record_key(USER.as_bytes(), &Method::POST, PATH, KEY)
        }));
        is_clean(&format!("{named:?}"));
    }
}

/// On a replay it is replaced by the retry's own, whatever the name of its header.
#[tokio::test(start_paused = true)]
async fn a_key_that_the_handler_echoes_by_a_configured_header_does_not_reach_the_store() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).key_from(KeyFrom::header("webhook-id"));
    let service = layer.layer(service_fn(|request: Request<RequestBody<Body>>| {
        let mut response = created("made");
        let key = request.headers()["webhook-id"].clone();
        response.headers_mut().insert("webhook-id", key);
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    }));
    let request = post(PATH, &[("webhook-id", KEY)], "x");

    read(service.clone().oneshot(request).await.unwrap()).await;

    is_clean_bytes(spy.completed()[0].payload());
}
