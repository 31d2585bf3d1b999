//! A layer in narrow bounds around a handler that does what a row of the table says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinHandle, yield_now};
use tower::Layer as _;
use tower_idempotency::{
    ClaimId, ClaimRequest, Fingerprint, IdempotencyLayer, InFlight, KeyFrom, Outcome, RecordKey,
    Store, StoreErrorKind,
};

use crate::client::{Got, Service, caught, client, post};
use crate::frames::Step;
use crate::handler::{Handler, Happened};
use crate::row::{Before, Does, Ready, Row, Times};
use crate::scripted::{Fault, Scripted, Verb};
use crate::support::PATH;

pub(crate) const LEASE: Duration = Duration::from_secs(3);
pub(crate) const HOLD: Duration = Duration::from_secs(1);
pub(crate) const MOMENT: Duration = Duration::from_millis(2);
/// Longer than anything goes on.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) type Layer = IdempotencyLayer<Arc<Scripted>>;

pub(crate) struct World {
    pub(crate) row: Row,
    pub(crate) store: Arc<Scripted>,
    pub(crate) layer: Layer,
    pub(crate) happened: Arc<Happened>,
    service: Service,
    waiting: Service,
    elsewhere: Arc<Happened>,
    whole: Vec<Step>,
    /// How often everything has been forgotten.
    times: AtomicU32,
}

impl World {
    pub(crate) fn new(row: Row) -> Self {
        Self::over(row, Scripted::yielding(1))
    }

    /// Over this store.
    pub(crate) fn over(row: Row, store: Arc<Scripted>) -> Self {
        let whole: Vec<_> = (row.upload.iter())
            .filter(|step| matches!(step, Step::Data(_) | Step::Trailers(_)))
            .cloned()
            .collect();
        let (happened, elsewhere) = (Arc::<Happened>::default(), Arc::<Happened>::default());
        // Every bound so narrow that whatever is not given back is noticed.
        let layer = IdempotencyLayer::new(Arc::clone(&store))
            .lease(LEASE)
            .hold_for(HOLD)
            .store_timeout(Duration::from_millis(200))
            .settle_for(Duration::from_secs(5))
            .max_kept_response(64)
            .max_detached(1)
            .max_unsettled(1)
            .max_unsettled_bytes(1)
            .max_waiters(1)
            .max_waiters_per_key(1)
            .max_buffered_bytes(3 * length(&whole));
        let layer = (row.layer)(layer, &happened);
        let waiting = layer
            .clone()
            .key_from(KeyFrom::header("idempotency-key"))
            .in_flight(InFlight::wait(LONG / 3));
        let uploads = [joined(&whole), Bytes::from_static(DIFFERENT.as_bytes())];
        let handler = |does: &[Does], readiness: &[Ready], happened: &Arc<Happened>| {
            let script = (does.to_vec(), readiness.to_vec(), uploads.clone());
            Handler::new(script, Arc::clone(happened))
        };
        Self {
            service: layer.layer(handler(&row.does, &row.readiness, &happened)),
            waiting: waiting.layer(handler(&[], &[], &elsewhere)),
            happened,
            elsewhere,
            store,
            layer,
            whole,
            row,
            times: AtomicU32::new(0),
        }
    }

    /// Makes the map of the store as large as it gets, wherever the keys fall: into one of 256 shards.
    pub(crate) async fn grow(&self) {
        let requests = (0..24 * 256).map(|number| {
            let key = RecordKey::from_parts([7; 16], digest(number));
            let print = Fingerprint::from_parts(1, digest(number));
            let id = ClaimId::from_bytes([7; 16]);
            ClaimRequest::new(key, id, print, LEASE, LEASE)
        });
        for request in requests {
            let _ = self.store.memory.claim(&request).await;
        }
        self.store.memory.erase_scope(&[7; 16]).await.unwrap();
    }

    /// The request of the row.
    pub(crate) fn request(&self) -> impl Future<Output = Got> + use<> {
        client(
            self.service.clone(),
            post(&self.key("k"), self.row.upload.clone()),
        )
    }

    /// Its repetition, uploaded whole and at once.
    pub(crate) fn again(&self) -> impl Future<Output = Got> + use<> {
        caught(client(
            self.service.clone(),
            post(&self.key("k"), self.whole.clone()),
        ))
    }

    /// Does what the row says has happened; the execution that goes on, if one does.
    pub(crate) async fn prepare(&self) -> Option<JoinHandle<Got>> {
        let different = || {
            let upload = vec![Step::Data(DIFFERENT)];
            caught(client(self.service.clone(), post(&self.key("k"), upload)))
        };
        let running = match self.row.before {
            Before::Nothing => return None,
            Before::Executed => {
                self.again().await;
                return None;
            }
            Before::Different => {
                different().await;
                return None;
            }
            Before::Crashed | Before::Lapsed => {
                for verb in [Verb::Renew, Verb::Complete, Verb::Abandon, Verb::Release] {
                    let fault = Fault::Before(StoreErrorKind::NotApplied);
                    self.store.always(verb, fault);
                }
                let crashing = self.layer.clone().settle_for(Duration::ZERO);
                let inner = self.service.get_ref().clone();
                let crashing = crashing.layer(inner);
                caught(client(crashing, post(&self.key("k"), self.whole.clone()))).await;
                assert_eq!(self.layer.drain(LONG).await.left, 0);
                self.store.heal();
                self.happened.lose_the_first();
                if self.row.before == Before::Lapsed {
                    tokio::time::sleep(LEASE).await;
                }
                return None;
            }
            Before::Running => tokio::spawn(self.again()),
            Before::RunningDifferent => tokio::spawn(different()),
        };
        while self.happened.executions.lock().unwrap().is_empty() {
            yield_now().await;
        }
        Some(running)
    }

    pub(crate) fn begin_faults(&self) {
        for (verb, times, fault) in &self.row.faults {
            match times {
                Times::Once => self.store.next(*verb, *fault),
                Times::Always => self.store.always(*verb, *fault),
            }
        }
    }

    /// Another key every time: one that has been used before could find what it has left.
    fn key(&self, name: &str) -> String {
        match self.row.is_keyed_by_body && name == "k" {
            true => name.to_owned(),
            false => format!("{name}{:06}", self.times.load(Ordering::SeqCst)),
        }
    }

    pub(crate) fn record_key(&self, key: &str) -> RecordKey {
        (self.layer).record_key(b"", &http::Method::POST, PATH, &self.key(key))
    }

    /// Every bound is free: as many bytes are read as may be, a claim finds room, somebody may wait.
    pub(crate) async fn has_all_room(&self, told: &impl Fn() -> String) {
        assert!(self.has_room("fresh").await, "{}", told());
        let held = || {
            client(
                self.waiting.clone(),
                post(&self.key("held"), self.whole.clone()),
            )
        };
        let first = tokio::spawn(held());
        yield_now().await;
        let second = held().await;
        first.await.unwrap();
        assert!(
            matches!(&second, Got::Answer(answer) if answer.outcome == Outcome::Replayed),
            "{}: {second:?}",
            told()
        );
    }

    /// Whether a request with this key, of as many bytes as are read at a time, finds room.
    pub(crate) async fn has_room(&self, key: &str) -> bool {
        let upload = (0..3).flat_map(|_| self.whole.iter().cloned());
        let upload = upload
            .filter(|step| matches!(step, Step::Data(_)))
            .collect();
        let got = client(self.waiting.clone(), post(&self.key(key), upload)).await;
        got.outcome() == Some(Outcome::Executed { recorded: true })
    }

    /// Leaves the store as it was before.
    pub(crate) async fn forget(&self) {
        for key in ["k", "first", "fresh", "held"] {
            let key = self.record_key(key);
            self.store.memory.forget(&key, true).await.unwrap();
        }
        assert_eq!((self.store.memory.len(), self.store.memory.bytes()), (0, 0));
        self.happened.forget();
        self.elsewhere.forget();
        self.times.fetch_add(1, Ordering::SeqCst);
    }
}

fn digest(number: u64) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    digest
}

const DIFFERENT: &str = "?";

fn length(steps: &[Step]) -> usize {
    joined(steps).len()
}

fn joined(steps: &[Step]) -> Bytes {
    let data = steps.iter().map(|step| match step {
        Step::Data(data) => data,
        _ => "",
    });
    data.collect::<String>().into()
}
