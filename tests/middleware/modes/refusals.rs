//! Every refusal, acted upon and only looked at.

use super::*;

/// A request that a layer refuses, and what must have happened before.
struct Scene {
    code: RefusalCode,
    layer: IdempotencyLayer<BoxStore>,
    before: Option<Request<Body>>,
    request: Request<Body>,
    /// Whether the key was understood, so that the event names its record.
    known: bool,
}

/// The same request with a wish for the first execution: `hold`, `leave`, `lose` or `stream`.
fn first(wish: &'static str, mut request: Request<Body>) -> Option<Request<Body>> {
    let wish = HeaderValue::from_static(wish);
    request.headers_mut().insert("x-first", wish);
    Some(request)
}

fn memory(store: MemoryStore) -> IdempotencyLayer<BoxStore> {
    IdempotencyLayer::new(store).boxed()
}

/// Every refusal but that of an upload that breaks.
fn scenes() -> Vec<Scene> {
    let layer = || memory(MemoryStore::new());
    let scene = |code, layer, before, known| {
        let request = plain("k", "x");
        Scene {
            code,
            layer,
            before,
            request,
            known,
        }
    };
    let with = |code, layer: IdempotencyLayer<BoxStore>, request| Scene {
        request,
        ..scene(code, layer, None, false)
    };
    let keyless = post(PATH, &[], "x");
    let malformed = post(PATH, &[("idempotency-key", "\"k")], "x");
    let signed = post(PATH, &[("idempotency-key", "k"), ("cookie", "a=1")], "x");
    let known = true;
    vec![
        with(RefusalCode::KeyMissing, layer().require_key(true), keyless),
        with(RefusalCode::KeyInvalid, layer(), malformed),
        with(RefusalCode::ScopeUnresolved, layer(), signed),
        with(
            RefusalCode::Internal,
            layer().scope(Scope::with(|_| Err("it fails".into()))),
            plain("k", "x"),
        ),
        scene(
            RefusalCode::Mismatch,
            layer(),
            Some(plain("k", "other")),
            known,
        ),
        scene(
            RefusalCode::InProgress,
            layer(),
            first("hold", plain("k", "x")),
            known,
        ),
        scene(
            RefusalCode::OutcomeUnknown,
            layer().on_lost(OnLost::Refuse),
            first("lose", plain("k", "x")),
            known,
        ),
        scene(
            RefusalCode::ResponseUnavailable,
            layer(),
            first("stream", plain("k", "x")),
            known,
        ),
        scene(
            RefusalCode::QuotaExceeded,
            memory(MemoryStore::new().max_records_per_scope(1)),
            Some(plain("other", "x")),
            known,
        ),
        scene(
            RefusalCode::StoreFull,
            memory(MemoryStore::new().max_records(1)),
            Some(plain("other", "x")),
            known,
        ),
        scene(
            RefusalCode::Overloaded,
            layer().max_detached(1),
            first("leave", plain("other", "x")),
            known,
        ),
        scene(
            RefusalCode::StoreUnavailable,
            failing(StoreErrorKind::Fatal),
            None,
            known,
        ),
        scene(
            RefusalCode::StoreUnavailable,
            failing(StoreErrorKind::NotApplied),
            None,
            known,
        ),
        scene(
            RefusalCode::RecordUnreadable,
            failing(StoreErrorKind::Unreadable),
            None,
            known,
        ),
    ]
}

/// Sends what comes before; it may still be running afterwards.
async fn begin(service: &Guarded, before: Option<Request<Body>>) -> Option<JoinHandle<()>> {
    let before = before?;
    let leaves = before
        .headers()
        .get("x-first")
        .is_some_and(|wish| wish == "leave");
    let service = service.clone();
    let running = tokio::spawn(async move {
        read(service.oneshot(before).await.unwrap()).await;
    });
    settle().await;
    if leaves {
        running.abort();
        settle().await;
    }
    Some(running)
}

#[tokio::test(start_paused = true)]
async fn each_scene_is_refused_where_the_layer_acts() {
    for scene in scenes() {
        let handler = Handler::default();
        let service = obliging(&scene.layer, &handler);
        let _running = begin(&service, scene.before).await;
        let before = handler.executions();

        let answer = send(&service, scene.request).await;

        assert_eq!(answer.code(), scene.code.as_str());
        assert_eq!(handler.executions(), before, "{}", scene.code);
        handler.open();
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_be_refused_runs_and_is_only_reported() {
    for scene in scenes() {
        let (handler, heard, code) = (Handler::default(), Heard::default(), scene.code);
        let layer = shadow(heard.of(scene.layer));
        let service = obliging(&layer, &handler);
        let running = begin(&service, scene.before).await;
        heard.take();
        let (before, begin) = (handler.executions(), Instant::now());

        let answer = send(&service, scene.request).await;

        assert_eq!(answer.status, 201, "{code}: {answer:?}");
        assert_eq!(answer.text(), "none: x", "{code}");
        assert_eq!(answer.headers, *created("").headers(), "{code}");
        assert_eq!(answer.outcome, Outcome::Bypassed, "{code}");
        assert_eq!(handler.executions(), before + 1, "{code}");
        assert_eq!(Instant::now(), begin, "{code} does not wait");
        let event = heard.only();
        assert_eq!(event.refusal(), Some(code));
        assert_eq!(event.outcome(), Some(code.into()));
        assert_eq!(event.mode(), Mode::Shadow);
        assert_eq!(event.record_key().is_some(), scene.known, "{code}");
        assert_eq!((event.attempt(), event.endpoint().is_some()), (None, false));

        handler.open();
        assert_eq!(layer.drain(HOUR).await.left, 0, "{code}");
        drop(running);
    }
}
