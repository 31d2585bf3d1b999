//! A service behind the layer, over the store under test.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};
use tower_idempotency::{
    Event, Idempotency, IdempotencyLayer, Outcome, RecordKey, RedisStore, RequestBody, Warning,
};

use crate::servers::{eventually, within};

/// The layer, and what was seen of it.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) layer: IdempotencyLayer<Arc<RedisStore>>,
    seen: Arc<Seen>,
}

struct Seen {
    /// Executions of each key.
    executions: Mutex<HashMap<String, u32>>,
    events: Arc<Mutex<Vec<Event>>>,
    /// Executions whose body is `wait` begin with this.
    gate: Semaphore,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) is_replay: bool,
    pub(crate) retry_after: bool,
    pub(crate) outcome: Outcome,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The code of an error.
    pub(crate) fn code(&self) -> &str {
        let body = std::str::from_utf8(&self.body).unwrap();
        body.split('"').nth(3).unwrap_or_default()
    }
}

impl Api {
    pub(crate) fn new(store: RedisStore) -> Self {
        Self::with(store, |layer| layer)
    }

    /// With other settings of the layer.
    pub(crate) fn with(
        store: RedisStore,
        settings: impl FnOnce(IdempotencyLayer<Arc<RedisStore>>) -> IdempotencyLayer<Arc<RedisStore>>,
    ) -> Self {
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let heard = Arc::clone(&events);
        let layer = IdempotencyLayer::new(Arc::new(store))
            .store_timeout(Duration::from_secs(25))
            .on_event(move |event: &Event| heard.lock().unwrap().push(event.clone()));
        let seen = Seen {
            executions: Mutex::default(),
            events,
            gate: Semaphore::new(0),
        };
        let (layer, seen) = (settings(layer), Arc::new(seen));
        Self { layer, seen }
    }

    /// Sends a request. The words of its body say what the handler does: `wait` for [`open`](Self::open), `mark` its
    /// point of no return, answer with a `long` text.
    pub(crate) async fn post(&self, key: &str, body: &'static str) -> Answer {
        let seen = Arc::clone(&self.seen);
        let handler = service_fn(move |request| Arc::clone(&seen).handle(request));
        let request = Request::post("/charges")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap();
        let response = self.layer.layer(handler).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer {
            status: head.status.as_u16(),
            is_replay: head.headers.contains_key("idempotent-replayed"),
            retry_after: head.headers.contains_key("retry-after"),
            outcome: Outcome::of(&head.extensions),
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Lets one execution that waits go on.
    pub(crate) fn open(&self) {
        self.seen.gate.add_permits(1);
    }

    /// Sends a request that waits, and lets its handler go on when `meanwhile` is over.
    pub(crate) fn post_while<'a>(
        &'a self,
        key: &'a str,
        body: &'static str,
        meanwhile: impl Future<Output = ()> + 'a,
    ) -> Pin<Box<dyn Future<Output = Answer> + 'a>> {
        assert!(body.contains("wait"));
        let executions = self.executions(key);
        Box::pin(within(async move {
            let meanwhile = async {
                let begun = async || (self.executions(key) > executions).then_some(());
                eventually("the handler has begun", begun).await;
                meanwhile.await;
                self.open();
            };
            let (answer, ()) = tokio::join!(self.post(key, body), meanwhile);
            answer
        }))
    }

    /// How often the handler has run for this key.
    pub(crate) fn executions(&self, key: &str) -> u32 {
        let executions = self.seen.executions.lock().unwrap();
        executions.get(key).copied().unwrap_or_default()
    }

    pub(crate) fn record_key(&self, key: &str) -> RecordKey {
        let method = http::Method::POST;
        self.layer.record_key(b"", &method, "/charges", key)
    }

    /// Whether there was such a warning; forgets what was heard before.
    pub(crate) fn warned(&self, warning: Warning) -> bool {
        let events = std::mem::take(&mut *self.seen.events.lock().unwrap());
        events.iter().any(|event| event.warning() == Some(warning))
    }

    /// The reasons of the last events, and forgets them.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.seen.events.lock().unwrap());
        let reasons = events.iter().filter_map(|event| event.reason());
        reasons.map(str::to_owned).collect()
    }
}

impl Seen {
    async fn handle(
        self: Arc<Self>,
        request: Request<RequestBody<Full<Bytes>>>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let context = head.extensions.get::<Idempotency>().unwrap();
        let key = context.key().as_str().to_owned();
        let execution = {
            let mut executions = self.executions.lock().unwrap();
            let execution = executions.entry(key.clone()).or_default();
            *execution += 1;
            *execution
        };
        let body = body.collect().await.unwrap().to_bytes();
        let is_to = |what: &str| std::str::from_utf8(&body).unwrap().contains(what);
        let mut answer = format!("{key} {execution}");
        if is_to("wait") {
            self.gate.acquire().await.unwrap().forget();
        }
        if is_to("mark") {
            let marked = context.point_of_no_return().await;
            answer += if marked.is_ok() {
                " marked"
            } else {
                " not marked"
            };
        }
        if is_to("long") {
            answer += &"x".repeat(20_000);
        }
        let mut response = Response::new(Full::new(answer.into()));
        *response.status_mut() = http::StatusCode::CREATED;
        Ok(response)
    }
}
