//! What must not be seen in logs, `Debug` output and stores: keys, bodies and credentials.

mod encrypted;
mod sources;

use std::fmt::{Debug, Write as _};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, Service, ServiceExt};
use tower_idempotency::{
    BoxStore, Claim, ClaimId, ClaimRequest, Endpoint, ErrorForm, Fence, Fingerprint, Form,
    Idempotency, IdempotencyLayer, InFlight, Keep, KeyPolicy, MemoryStore, OnLost, OnStoreError,
    Owned, Owner, Refusal, RequestBody, ResponseBody, Retention, Scope, Settled, State, Store,
    StoreError, StoreErrorKind,
};

use crate::spy::Spy;
use crate::support::{Body, PATH, created, keyed, post, read, settle};

const KEY: &str = "canary-key-d41d8cd9";
const BODY: &str = "{\"card\":\"canary-body-8f00b204\"}";
const TOKEN: &str = "Bearer canary-token-e9800998";
const USER: &str = "canary-user-ecf8427e";
const CANARIES: [&str; 4] = [KEY, "canary-body-8f00b204", "canary-token-e9800998", USER];

type Service1 = BoxCloneService<Request<Body>, Response<ResponseBody<Body>>, &'static str>;

/// A request in which everything is a secret.
fn secret(body: &'static str) -> Request<Body> {
    let mut request = post(PATH, &[("authorization", TOKEN), ("x-api-key", USER)], body);
    request
        .headers_mut()
        .insert("idempotency-key", HeaderValue::from_static(KEY));
    request.extensions_mut().insert(User(USER));
    request
}

#[derive(Clone)]
struct User(&'static str);

/// Everything that is logged while it lives, on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn is_clean(text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in: {text}");
        // A list of bytes shows it as well.
        let bytes = format!("{:?}", canary.as_bytes());
        assert!(
            !text.contains(bytes.trim_matches(['[', ']'])),
            "{canary}, as bytes, in: {text}"
        );
    }
}

#[track_caller]
fn is_clean_bytes(bytes: &[u8]) {
    for canary in CANARIES {
        let mut windows = bytes.windows(canary.len());
        assert!(
            !windows.any(|window| window == canary.as_bytes()),
            "{canary} in: {bytes:?}"
        );
    }
}

/// A service whose handler behaves as the header `x-do` of the request says.
fn service<St: Store>(layer: &IdempotencyLayer<St>) -> Service1 {
    let inner = service_fn(|request: Request<RequestBody<Body>>| async move {
        tracing::trace!("the handler runs");
        let what = request
            .headers()
            .get("x-do")
            .map_or("", |what| what.to_str().unwrap());
        let wait = Duration::from_secs(1);
        match what {
            "fail" => return Err("the handler fails"),
            "panic" => panic!("the handler panics"),
            "wait" => tokio::time::sleep(wait).await,
            "commit" => {
                let key = request.extensions().get::<Idempotency>().unwrap();
                tracing::trace!(?key, "commits");
                let _ = key.point_of_no_return().await;
            }
            _ => {}
        }
        Ok(created("made"))
    });
    layer.layer(inner).boxed_clone()
}

fn doing(what: &'static str, key: &'static str) -> Request<Body> {
    let mut request = secret(BODY);
    request
        .headers_mut()
        .insert("x-do", HeaderValue::from_static(what));
    let key = format!("{KEY}-{key}");
    request
        .headers_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

/// Everything that can happen to a request of this service.
async fn everything<St: Store>(layer: &IdempotencyLayer<St>) {
    let service = service(layer);
    let ask = async |request: Request<Body>| {
        let answer = AssertUnwindSafe(service.clone().oneshot(request))
            .catch_unwind()
            .await;
        if let Ok(Ok(response)) = answer {
            let answer = read(response).await;
            if !answer.is_replay() {
                is_clean(&format!("{answer:?}"));
            }
        }
    };
    // First, replay, mismatch, and the ways to be lost.
    ask(secret(BODY)).await;
    ask(secret(BODY)).await;
    ask(secret("other")).await;
    for what in ["fail", "panic", "commit"] {
        ask(doing(what, what)).await;
        ask(doing(what, what)).await;
    }
    // In progress, and a client that hangs up.
    let running = tokio::spawn(service.clone().oneshot(doing("wait", "wait")));
    settle().await;
    ask(doing("wait", "wait")).await;
    running.abort();
    let _ = layer.drain(Duration::from_secs(60)).await;
    ask(doing("wait", "wait")).await;
    // Refusals.
    for wrong in [
        format!("\"{KEY}"),
        format!("{KEY},{KEY}"),
        format!("{KEY} {KEY}"),
    ] {
        let mut request = secret(BODY);
        request
            .headers_mut()
            .insert("idempotency-key", wrong.parse().unwrap());
        ask(request).await;
    }
    let mut twice = secret(BODY);
    twice
        .headers_mut()
        .append("idempotency-key", HeaderValue::from_static(KEY));
    ask(twice).await;
    let mut signed = secret(BODY);
    signed.headers_mut().remove("x-api-key");
    signed.headers_mut().insert(
        "authorization",
        format!("Signature {USER}").parse().unwrap(),
    );
    ask(signed).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_logged_at_any_level() {
    let log = Log::default();
    let capturing = log.capture();
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    everything(&layer).await;
    everything(
        &layer
            .clone()
            .scope(Scope::extension(|user: &User| user.0.to_owned())),
    )
    .await;
    everything(
        &layer
            .clone()
            .scope(Scope::with(|_| panic!("a scope that panics"))),
    )
    .await;
    everything(&layer.clone().max_request_bytes(3)).await;
    everything(
        &layer
            .clone()
            .in_flight(InFlight::wait(Duration::from_secs(9))),
    )
    .await;
    everything(
        &layer
            .clone()
            .boxed()
            .on_lost(OnLost::Refuse)
            .keep(Keep::Discard),
    )
    .await;
    for kind in [StoreErrorKind::Fatal, StoreErrorKind::Unreadable] {
        spy.goes_down(kind);
        everything(&layer).await;
        everything(&layer.clone().on_store_error(OnStoreError::RunUnprotected)).await;
    }
    drop(capturing);

    let logged = log.text();

    assert!(
        logged.contains("the handler runs") && logged.contains("commits"),
        "{logged}"
    );
    is_clean(&logged);
}

#[tokio::test(start_paused = true)]
async fn debug_output_of_what_a_request_meets_shows_nothing_secret() {
    let layer = IdempotencyLayer::default().namespace("payments");
    let seen = Arc::new(Mutex::new(String::new()));
    let shown = Arc::clone(&seen);
    let layer = layer.keep(Keep::when(move |reply| {
        write!(shown.lock().unwrap(), "{reply:?}").unwrap();
        true
    }));
    let shown = Arc::clone(&seen);
    let mut service = layer.layer(service_fn(move |request: Request<RequestBody<Body>>| {
        let context = request.extensions().get::<Idempotency>().unwrap();
        let (key, child) = (context.key(), context.child(KEY));
        let body = request.body();
        write!(
            shown.lock().unwrap(),
            "{context:?} {context:#?} {key:?} {child:?} {body:?}"
        )
        .unwrap();
        let mut response = created(BODY);
        response
            .headers_mut()
            .insert("idempotency-key", HeaderValue::from_static(KEY));
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    }));
    let refused = layer.record_key_for(&Request::new(()).into_parts().0, &format!("{KEY} "));

    let future = service.call(secret(BODY));
    write!(
        seen.lock().unwrap(),
        "{layer:?} {service:?} {future:?} {refused:?}"
    )
    .unwrap();
    for future in [future, service.call(secret(BODY))] {
        let response = future.await.unwrap();
        let (head, body) = response.into_parts();
        write!(seen.lock().unwrap(), "{body:?} {:?}", head.extensions).unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), BODY);
    }

    write!(seen.lock().unwrap(), "{:?}", layer.store()).unwrap();

    let seen = seen.lock().unwrap();
    for name in [
        "IdempotencyLayer",
        "IdempotencyService",
        "ResponseFuture",
        "RequestBody",
        "ResponseBody",
        "Idempotency ",
        "IdempotencyKey",
        "ChildKey",
        "RecordKey",
        "Refusal",
        "Reply",
        "MemoryStore",
    ] {
        assert!(seen.contains(name), "{name} is not in {seen}");
    }
    is_clean(&seen);
}

#[tokio::test(start_paused = true)]
async fn debug_output_of_what_a_store_is_told_shows_nothing_secret() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).namespace(USER);
    let service = layer.layer(service_fn(|_: Request<RequestBody<Body>>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(created(BODY)))
    }));
    read(service.clone().oneshot(secret(BODY)).await.unwrap()).await;
    let [claim]: [ClaimRequest; 1] = spy.claims().try_into().unwrap();
    let [completed] = spy.completed().try_into().unwrap();
    let record = spy.inspect(claim.key()).await.unwrap().unwrap();
    let existing = spy.claim(&claim).await.unwrap();
    let owned = Owned::new(record.fence(), 1, claim.lease());
    let owner = Owner::new(*claim.key(), record.fence(), claim.claim_id());
    assert!(matches!(existing, Claim::Existing(_)));
    assert!(matches!(record.state(), State::Completed { .. }));

    let shown: [&dyn Debug; 11] = [
        &claim,
        claim.key(),
        &claim.claim_id(),
        claim.fingerprint(),
        &completed,
        &record,
        record.state(),
        &existing,
        &owned,
        &owner,
        &Settled::Applied,
    ];

    for shown in shown {
        is_clean(&format!("{shown:?} {shown:#?}"));
    }
}

#[test]
fn debug_output_of_everything_else_shows_nothing_secret() {
    let user = USER.to_owned();
    let scope = Scope::extension(move |_: &User| user.clone());
    let rule = Keep::when(|reply| reply.status() == 201);
    let key = IdempotencyLayer::default().record_key(USER.as_bytes(), &Method::POST, PATH, KEY);
    let error = StoreError::new(StoreErrorKind::Fatal, "refused");

    let shown: [&dyn Debug; 16] = [
        &scope,
        &Scope::credentials(),
        &rule,
        &key,
        &error,
        &Endpoint::post(PATH),
        &ErrorForm::flat(),
        &Retention(Duration::from_secs(1)),
        &KeyPolicy::default(),
        &InFlight::reject(),
        &OnLost::Refuse,
        &OnStoreError::Refuse,
        &BoxStore::new(MemoryStore::new()),
        &Fence::new(1),
        &ClaimId::from_bytes([7; 16]),
        &Fingerprint::from_parts(1, [7; 32]),
    ];

    for shown in shown {
        is_clean(&format!("{shown:?} {shown:#?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_never_gets_to_see_a_secret() {
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<String>>);
    impl Form for Shown {
        fn render(&self, refusal: &Refusal) -> Response<Bytes> {
            let mut shown = self.0.lock().unwrap();
            write!(shown, "{refusal:?} {} {}", refusal.detail(), refusal.code()).unwrap();
            ErrorForm::flat().render(refusal)
        }
    }
    let shown = Shown::default();

    everything(&IdempotencyLayer::default().errors(shown.clone())).await;

    let shown = shown.0.lock().unwrap();
    assert!(
        shown.contains("Mismatch") && shown.contains("KeyInvalid"),
        "{shown}"
    );
    is_clean(&shown);
}

#[tokio::test(start_paused = true)]
async fn the_store_is_told_digests_and_the_response_and_nothing_of_the_request() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).namespace(USER);
    everything(&layer).await;
    everything(&layer.scope(Scope::extension(|user: &User| user.0.to_owned()))).await;

    let (claims, completed) = (spy.claims(), spy.completed());

    assert!(claims.len() > 10 && completed.len() > 4);
    for claim in claims {
        is_clean_bytes(claim.key().scope());
        is_clean_bytes(claim.key().key());
        is_clean_bytes(claim.fingerprint().digest());
        is_clean_bytes(claim.claim_id().as_bytes());
    }
    for completed in completed {
        is_clean_bytes(completed.payload());
        is_clean_bytes(completed.tombstone());
    }
}

/// On a replay it is replaced by the retry's own.
#[tokio::test(start_paused = true)]
async fn a_key_that_the_handler_echoes_does_not_reach_the_store() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let service = layer.layer(service_fn(|request: Request<RequestBody<Body>>| {
        let mut response = created("made");
        let key = request.headers()["idempotency-key"].clone();
        response.headers_mut().insert("idempotency-key", key);
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    }));

    read(service.clone().oneshot(keyed(KEY, "x")).await.unwrap()).await;

    is_clean_bytes(spy.completed()[0].payload());
}
