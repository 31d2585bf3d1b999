//! A lost execution whose outcome the application finds out: `OnLost::Reconcile`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Response};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_idempotency::{
    BoxError, Endpoint, Forgotten, Idempotency, IdempotencyLayer, InFlight, Keep, Lost, Mode,
    OnLost, Outcome, Reconcile, Reconciled, Record, Store, StoreErrorKind,
};

use crate::heard::Heard;
use crate::scripted::{Fault, Scripted, Verb};
use crate::spy::Spy;
use crate::support::{Answer, Guarded, Handler, PATH, created, keyed, plain, send, settle};

mod answers;
mod failures;
mod retries;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60 * 60);

/// What a provider says when it is asked.
#[derive(Clone, Copy, Debug)]
enum Says {
    Done(&'static str),
    NotDone,
    Fails,
    Hangs,
    Panics,
    /// Before it gives a future.
    PanicsAtOnce,
    /// What comes next, after the gate was opened for it.
    Held,
}

/// A provider that knows what became of a lost execution.
#[derive(Clone)]
struct Provider(Arc<Known>);

struct Known {
    script: Mutex<VecDeque<Says>>,
    asked: Mutex<Vec<Lost>>,
    gate: Semaphore,
}

impl Provider {
    fn who_says(script: impl IntoIterator<Item = Says>) -> Self {
        Self(Arc::new(Known {
            script: Mutex::new(script.into_iter().collect()),
            asked: Mutex::default(),
            gate: Semaphore::new(0),
        }))
    }

    fn hook(&self) -> Reconcile {
        let provider = self.clone();
        Reconcile::new(move |lost| {
            let says = provider.says();
            provider.0.asked.lock().unwrap().push(lost);
            assert!(!matches!(says, Says::PanicsAtOnce), "a hook panics");
            let provider = provider.clone();
            async move {
                let says = match says {
                    Says::Held => {
                        provider.0.gate.acquire().await.unwrap().forget();
                        provider.says()
                    }
                    says => says,
                };
                match says {
                    Says::Done(text) => Ok(Reconciled::Done(done(text))),
                    Says::NotDone => Ok(Reconciled::NotDone),
                    Says::Fails => Err(BoxError::from("unreachable")),
                    Says::Hangs => std::future::pending().await,
                    _ => panic!("a hook panics"),
                }
            }
        })
    }

    fn on_lost(&self) -> OnLost {
        OnLost::Reconcile(self.hook())
    }

    fn says(&self) -> Says {
        let next = self.0.script.lock().unwrap().pop_front();
        next.expect("it is asked no more often")
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }

    fn open(&self) {
        self.0.gate.add_permits(1);
    }
}

fn done(text: &'static str) -> Response<Bytes> {
    Response::builder()
        .status(201)
        .header("location", "/charges/7")
        .header("set-cookie", "of=the provider")
        .body(Bytes::from(text))
        .unwrap()
}

/// A service whose first execution is behind its mark when its lease lapses, and never ends.
fn service<St: Store>(layer: &IdempotencyLayer<St>) -> (Handler, Guarded) {
    let handler = Handler::default();
    let counted = handler.clone();
    let service = handler.answering(layer, move |request| {
        let number = counted.executions();
        async move {
            let key = request.extensions().get::<Idempotency>();
            if number == 1 {
                key.unwrap().point_of_no_return().await.unwrap();
                std::future::pending::<()>().await;
            }
            let attempt = key.map_or(0, Idempotency::attempt);
            created(&format!("attempt {attempt}"))
        }
    });
    (handler, service)
}

/// A layer whose executions are given up after ten seconds.
fn layer<St: Store>(store: St, on_lost: OnLost) -> IdempotencyLayer<St> {
    IdempotencyLayer::new(store)
        .lease(6 * SECOND)
        .max_execution(10 * SECOND)
        .on_lost(on_lost)
}

/// Loses the first execution.
async fn lose(service: &Guarded) {
    tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    tokio::time::sleep(20 * SECOND).await;
}

async fn again(service: &Guarded) -> Answer {
    send(service, keyed("k", "x")).await
}

async fn record<St: Store>(layer: &IdempotencyLayer<St>) -> Option<Record> {
    let key = layer.record_key(b"", &Method::POST, PATH, "k");
    layer.store().inspect(&key).await.unwrap()
}
