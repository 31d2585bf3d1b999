//! Every bound: what fits is served, one more is refused and told of, and there is room again when something has gone.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tower_idempotency::{IdempotencyLayer, InFlight, MemoryStore, StoreErrorKind};

use crate::heard::Heard;
use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Answer, Body, Guarded, Handler, plain, poll_once, send, settle};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What every request uploads.
const UPLOAD: &str = "0123456789";

type Layer = IdempotencyLayer<Arc<Scripted>>;

struct World {
    store: Arc<Scripted>,
    layer: Layer,
    heard: Heard,
    /// Its executions end when they may.
    held: Guarded,
    holding: Handler,
    at_once: Guarded,
    waiting: std::sync::Mutex<Vec<JoinHandle<Answer>>>,
}

impl World {
    fn new(memory: MemoryStore, bounded: impl FnOnce(Layer) -> Layer) -> Self {
        let (store, heard) = (Scripted::over(memory, 0), Heard::default());
        let layer = bounded(heard.of(IdempotencyLayer::new(Arc::clone(&store))));
        let holding = Handler::default();
        Self {
            held: holding.held(&layer),
            at_once: Handler::default().at_once(&layer),
            holding,
            store,
            layer,
            heard,
            waiting: std::sync::Mutex::default(),
        }
    }

    /// Begins a request and hangs up.
    async fn hang_up(&self, key: &str) {
        let mut request = Box::pin(self.held.clone().oneshot(plain(key, UPLOAD)));
        assert!(poll_once(&mut request).is_pending());
        drop(request);
        settle().await;
    }

    /// Begins a request that is answered in the end.
    async fn begin(&self, key: &str) {
        let request = tokio::spawn(send(&self.held, plain(key, UPLOAD)));
        settle().await;
        self.waiting.lock().unwrap().push(request);
    }

    async fn ask(&self, key: &str) -> Answer {
        send(&self.at_once, plain(key, UPLOAD)).await
    }

    /// Lets everything come to its end.
    async fn end(&self) {
        self.store.heal();
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        for _ in 0..100 {
            self.holding.open();
            settle().await;
        }
        for request in waiting {
            assert_eq!(request.await.unwrap().status, 201);
        }
        assert_eq!(self.layer.drain(DAY).await.left, 0);
    }
}

/// So many of them fit; what one more gets.
struct Bound {
    fit: usize,
    status: u16,
    code: &'static str,
}

impl Bound {
    async fn holds(
        self,
        world: World,
        take: impl AsyncFn(&World, usize),
        more: impl AsyncFn(&World) -> Answer,
        end: impl AsyncFn(&World),
    ) {
        for number in 0..self.fit {
            take(&world, number).await;
        }
        let told = world.heard.told();
        assert!(
            !told.iter().any(|told| told.contains(self.code)),
            "{told:?}"
        );

        let refused = more(&world).await;

        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (self.status, self.code.to_owned())
        );
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(
            world.heard.told(),
            [format!("{} {}", refused.outcome, self.code)]
        );

        end(&world).await;
        let served = more(&world).await;
        assert_eq!(served.status, 201, "{}", served.text());
    }
}

fn overloaded(fit: usize) -> Bound {
    Bound {
        fit,
        status: 503,
        code: "idempotency_overloaded",
    }
}

#[tokio::test(start_paused = true)]
async fn of_executions_whose_clients_have_gone() {
    let world = World::new(MemoryStore::new(), |layer| layer.max_detached(3));

    overloaded(3)
        .holds(
            world,
            async |world, number| world.hang_up(&format!("k{number}")).await,
            async |world| world.ask("more").await,
            async |world| world.end().await,
        )
        .await;
}

fn beside_a_store_that_settles_nothing(bounded: impl FnOnce(Layer) -> Layer) -> World {
    let world = World::new(MemoryStore::new(), bounded);
    let fails = Fault::Before(StoreErrorKind::NotApplied);
    world.store.always(Verb::Complete, fails);
    world
}

#[tokio::test(start_paused = true)]
async fn of_outcomes_that_the_store_does_not_take() {
    let world = beside_a_store_that_settles_nothing(|layer| layer.max_unsettled(3));

    overloaded(3)
        .holds(
            world,
            async |world, number| assert_eq!(world.ask(&format!("k{number}")).await.status, 201),
            async |world| world.ask("more").await,
            async |world| world.end().await,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn of_their_bytes() {
    // One that is larger than all that is left goes in; nothing goes in beside it.
    let world = beside_a_store_that_settles_nothing(|layer| layer.max_unsettled_bytes(1));

    overloaded(1)
        .holds(
            world,
            async |world, number| assert_eq!(world.ask(&format!("k{number}")).await.status, 201),
            async |world| world.ask("more").await,
            async |world| world.end().await,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn of_bytes_of_request_bodies() {
    let world = World::new(MemoryStore::new(), |layer| {
        layer.max_buffered_bytes(3 * UPLOAD.len() + UPLOAD.len() / 2)
    });

    overloaded(3)
        .holds(
            world,
            async |world, number| world.begin(&format!("k{number}")).await,
            async |world| world.ask("more").await,
            async |world| world.end().await,
        )
        .await;
}

/// Waits for the execution with this key, which is there or is made.
async fn wait(world: &World, key: &str) {
    world.begin(key).await;
}

const IN_PROGRESS: &str = "idempotency_in_progress";

#[tokio::test(start_paused = true)]
async fn of_waiters_for_one_key() {
    let world = World::new(MemoryStore::new(), |layer| {
        layer.in_flight(InFlight::wait(DAY)).max_waiters_per_key(3)
    });
    world.begin("k").await;

    let bound = Bound {
        fit: 3,
        status: 409,
        code: IN_PROGRESS,
    };
    bound
        .holds(
            world,
            async |world, _| wait(world, "k").await,
            async |world| world.ask("k").await,
            async |world| world.end().await,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn of_waiters_in_all() {
    let world = World::new(MemoryStore::new(), |layer| {
        layer.in_flight(InFlight::wait(DAY)).max_waiters(3)
    });
    for key in ["k0", "k1", "k2", "more"] {
        world.begin(key).await;
    }

    let bound = Bound {
        fit: 3,
        status: 409,
        code: IN_PROGRESS,
    };
    bound
        .holds(
            world,
            async |world, number| wait(world, &format!("k{number}")).await,
            async |world| world.ask("more").await,
            async |world| world.end().await,
        )
        .await;
}

fn full(fit: usize) -> Bound {
    Bound {
        fit,
        status: 503,
        code: "idempotency_store_full",
    }
}

#[tokio::test(start_paused = true)]
async fn of_records() {
    let world = World::new(MemoryStore::new().max_records(3), |layer| layer);

    full(3)
        .holds(
            world,
            async |world, number| assert_eq!(world.ask(&format!("k{number}")).await.status, 201),
            async |world| world.ask("more").await,
            async |_| tokio::time::sleep(DAY).await,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn of_bytes_of_records() {
    // Three that run fit, and not a fourth.
    let world = World::new(MemoryStore::new().max_bytes(4 * 736 - 1), |layer| layer);

    full(3)
        .holds(
            world,
            async |world, number| world.begin(&format!("k{number}")).await,
            async |world| world.ask("more").await,
            async |world| world.end().await,
        )
        .await;
}

fn by(principal: &str, key: &str) -> Request<Body> {
    let mut request = plain(key, UPLOAD);
    let principal = principal.parse().unwrap();
    request.headers_mut().insert("x-api-key", principal);
    request
}

#[tokio::test(start_paused = true)]
async fn of_live_keys_of_one_principal() {
    let world = World::new(MemoryStore::new().max_records_per_scope(3), |layer| layer);

    let quota = Bound {
        fit: 3,
        status: 429,
        code: "idempotency_quota_exceeded",
    };
    quota
        .holds(
            world,
            async |world, number| {
                let key = format!("k{number}");
                for principal in ["one", "another"] {
                    let answer = send(&world.at_once, by(principal, &key)).await;
                    assert_eq!(answer.status, 201);
                }
            },
            async |world| send(&world.at_once, by("one", "more")).await,
            async |_| tokio::time::sleep(DAY).await,
        )
        .await;
}
