//! Outcomes that a transaction of the handler's records.

mod ending;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use tower::ServiceExt;
use tower_idempotency::{
    BoxStore, Cached, Encrypted, EncryptionKey, Idempotency, IdempotencyLayer, Keep, Keyring, Mode,
    Outcome, Retention, Store, StoreErrorKind, Warning,
};

use crate::heard::Heard;
use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Answer, Body, Guarded, Handler, created, keyed, read, send, settle};

const SECOND: Duration = Duration::from_secs(1);

/// A service whose handler has its key.
fn handling<St, F, Fut>(layer: &IdempotencyLayer<St>, handle: F) -> (Handler, Guarded)
where
    St: Store,
    F: Fn(Idempotency) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let handler = Handler::default();
    let service = handler.answering(layer, move |request| {
        handle(request.extensions().get::<Idempotency>().unwrap().clone())
    });
    (handler, service)
}

/// The body of a response that is there, as the handlers of these tests have it.
async fn whole<R>(response: Response<R>) -> Response<Body>
where
    R: http_body::Body<Data = bytes::Bytes>,
    R::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap();
    Response::from_parts(head, body.to_bytes().into())
}

fn bad_gateway(text: &str) -> Response<Body> {
    let mut response = created(text);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

fn settlements(store: &Scripted) -> usize {
    let verbs = [Verb::Complete, Verb::Abandon, Verb::Release];
    verbs.map(|verb| store.calls(verb)).iter().sum()
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_the_outcome_and_nothing_is_settled_twice() {
    let store = Scripted::new();
    let committing = store.clone();
    let (handler, service) = handling(&IdempotencyLayer::new(store.clone()), move |key| {
        let store = committing.clone();
        async move {
            let mut response = created("transferred");
            response
                .headers_mut()
                .insert("x-balance", "7".parse().unwrap());
            let completion = key.completion(response).unwrap();
            store.commit().await;
            whole(completion.committed()).await
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let mut replay = send(&service, keyed("k", "x")).await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(replay.is_replay());
    replay.headers.remove("idempotent-replayed");
    replay.headers.remove("idempotency-key");
    assert_eq!(
        (&first.status, &first.headers, &first.body),
        (&replay.status, &replay.headers, &replay.body)
    );
    assert_eq!((handler.executions(), settlements(&store)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_what_was_recorded_and_not_what_came_after() {
    let store = Scripted::new();
    let committing = store.clone();
    let (_, service) = handling(&IdempotencyLayer::new(store.clone()), move |key| {
        let store = committing.clone();
        async move {
            let _ = key.completion(created("transferred")).unwrap().committed();
            store.commit().await;
            // A layer between, or a mistake.
            Response::builder()
                .status(504)
                .header("x-other", "1")
                .header("set-cookie", "session=7")
                .body("late".into())
                .unwrap()
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let replay = send(&service, keyed("k", "x")).await;

    for answer in [&first, &replay] {
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (201, "transferred")
        );
        assert_eq!(answer.header("x-other"), None);
        assert_eq!(answer.header("location"), Some("/charges/1"));
    }
    // Of the one exchange, and never kept.
    assert_eq!(first.header("set-cookie"), Some("session=7"));
    assert_eq!(replay.header("set-cookie"), None);
}

#[tokio::test(start_paused = true)]
async fn it_is_recorded_whatever_the_rules_say() {
    let store = Scripted::new();
    let committing = store.clone();
    let layer = IdempotencyLayer::new(store.clone()).keep(Keep::Success);
    let (handler, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            let mut response = bad_gateway("declined");
            response.extensions_mut().insert(Keep::Discard);
            response.extensions_mut().insert(Retention(60 * SECOND));
            let completion = key.completion(response).unwrap();
            store.commit().await;
            whole(completion.committed()).await
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let replay = send(&service, keyed("k", "x")).await;
    tokio::time::advance(61 * SECOND).await;
    send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), replay.text()), ("declined", "declined"));
    assert!(replay.is_replay());
    // The retention of the response counts.
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn wrapped_stores_take_part() {
    let store = Scripted::new();
    let keys = Keyring::new(EncryptionKey::new(1, [7; 32]));
    let wrapped = Cached::new(Encrypted::new(store.clone(), keys));
    let layer = IdempotencyLayer::new(Arc::new(BoxStore::new(wrapped)));
    let committing = store.clone();
    let (handler, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            let completion = key.completion(created("secret")).unwrap();
            store.commit().await;
            // The layer has to find it out.
            drop(completion);
            bad_gateway("unknown")
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let replay = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), replay.text()), ("secret", "secret"));
    assert_eq!((handler.executions(), settlements(&store)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_only_looks_leaves_the_response_as_it_is() {
    let store = Scripted::new();
    let committing = store.clone();
    let layer = IdempotencyLayer::new(store.clone()).mode(Mode::Shadow);
    let (_, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            let _ = key.completion(created("transferred")).unwrap().committed();
            store.commit().await;
            bad_gateway("late")
        }
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "late");
}

/// As frameworks answer HEAD, which run the handler and leave out the body.
#[tokio::test(start_paused = true)]
async fn a_first_answer_to_head_has_no_body() {
    let store = Scripted::new();
    let committing = store.clone();
    let layer = IdempotencyLayer::new(store.clone()).methods([Method::HEAD]);
    let (_, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            let _ = key.completion(created("transferred")).unwrap().committed();
            store.commit().await;
            let mut response = created("");
            let length = "11".parse().unwrap();
            response.headers_mut().insert("content-length", length);
            response
        }
    });
    let head = || {
        let mut request = keyed("k", "x");
        *request.method_mut() = Method::HEAD;
        request
    };

    let first = send(&service, head()).await;
    let replay = send(&service, head()).await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(replay.is_replay());
    for answer in [&first, &replay] {
        assert_eq!(answer.text(), "");
        assert_eq!(answer.header("content-length"), Some("11"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_answered_whole_and_leaves_a_tombstone() {
    let store = Scripted::new();
    let committing = store.clone();
    let layer = IdempotencyLayer::new(store.clone()).max_kept_response(10);
    let (handler, service) = handling(&layer, move |key| {
        let store = committing.clone();
        async move {
            let completion = key.completion(created("eleven byte")).unwrap();
            store.commit().await;
            whole(completion.committed()).await
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!(first.text(), "eleven byte");
    assert_eq!(second.code(), "idempotency_response_unavailable");
    assert_eq!(second.header("location"), Some("/charges/1"));
    assert_eq!(handler.executions(), 1);
}
