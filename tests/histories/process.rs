//! A process: a runtime with a layer of its own, over the store that all share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower::Layer;
use tower::util::BoxCloneService;
use tower_idempotency::{ChaosStore, IdempotencyLayer, ResponseBody, Warning};

use crate::body::ScriptedBody;
use crate::book::Book;
use crate::broken::{Bug, Buggy};
use crate::client::{Stays, client};
use crate::clock::WorldClock;
use crate::handler::Handler;
use crate::hook::Hook;
use crate::settings::Settings;
use crate::stores::{Port, Recorder, Way, Write};

pub(crate) type Guarded =
    BoxCloneService<Request<Full<Bytes>>, Response<ResponseBody<ScriptedBody>>, &'static str>;

pub(crate) struct Process {
    pub(crate) number: usize,
    runtime: Runtime,
    pub(crate) layer: IdempotencyLayer<Buggy>,
    service: Guarded,
    way: Arc<Mutex<Way>>,
    book: Book,
    bug: Bug,
    clock: WorldClock,
    /// The time of the world when the runtime was made, by the runtime's clock, and how far it has come.
    made_at: Duration,
    epoch: Instant,
    now: Duration,
}

impl Process {
    pub(crate) fn start(
        number: usize,
        settings: &Settings,
        store: Arc<ChaosStore<Recorder>>,
        handler: Handler,
        clock: &WorldClock,
        now: Duration,
    ) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (way, book) = (Arc::<Mutex<Way>>::default(), handler.book.clone());
        let port = Port {
            process: number,
            way: Arc::clone(&way),
            store,
            book: book.clone(),
        };
        let observed = book.clone();
        let hook = Hook {
            seed: handler.seed,
            book: book.clone(),
            calm: Arc::clone(&handler.calm),
        };
        let bug = handler.bug;
        let store = Buggy {
            bug,
            port: Arc::new(port),
            calm: Arc::clone(&handler.calm),
            claims: AtomicU64::new(0),
        };
        let layer = bug
            .configure(settings.layer(store, &hook))
            .on_event(move |event| {
                if let (Some(Warning::GivenUp), Some(record)) =
                    (event.warning(), event.record_key())
                {
                    observed.look().given_up.push(*record);
                }
                observed.note(|| format!("p{number} event: {event}"));
            });
        let service = BoxCloneService::new(layer.layer(handler));
        let epoch = runtime.block_on(async { Instant::now() });
        book.note(|| format!("p{number} starts"));
        Self {
            number,
            runtime,
            layer,
            service,
            way,
            book,
            bug,
            clock: clock.clone(),
            made_at: now,
            epoch,
            now,
        }
    }

    /// A client connects.
    pub(crate) fn send(&self, request: usize, stays: Stays) {
        let (book, service) = (self.book.clone(), self.service.clone());
        drop(
            self.runtime
                .spawn(client(book, service, request, stays, self.bug)),
        );
    }

    /// Runs something beside the requests.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Finds that it is `now`, and runs for a while; gives the time afterwards.
    pub(crate) fn run(&mut self, now: Duration, length: Duration) -> Duration {
        self.block_on(now, async { tokio::time::sleep(length).await });
        self.now
    }

    /// Finds that it is `now`, and runs until the work is done.
    pub(crate) fn block_on<T>(&mut self, now: Duration, work: impl Future<Output = T>) -> T {
        let (slept, clock) = (now - self.now, &self.clock);
        let (made_at, epoch) = (self.made_at, self.epoch);
        let output = self.runtime.block_on(async {
            clock.follow(made_at, epoch);
            if !slept.is_zero() {
                tokio::time::advance(slept).await;
            }
            let output = work.await;
            clock.stop(made_at + epoch.elapsed());
            output
        });
        self.now = self.clock.now();
        output
    }

    /// Whether nothing is left of all its requests.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks() == 0
    }

    pub(crate) fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Ends at once: killed, nothing that it does any more reaches the store; otherwise its runtime is dropped, as when
    /// `main` returns. Gives what is still sent.
    pub(crate) fn end(self, killed: bool) -> Vec<Write> {
        let number = self.number;
        self.book
            .note(|| format!("p{number} ends, killed: {killed}"));
        self.book.look().is_cut_off(number);
        let set = |way| std::mem::replace(&mut *self.way.lock().unwrap(), way);
        set(if killed {
            Way::Dead
        } else {
            Way::Closing(Vec::new())
        });
        drop(self.runtime);
        match set(Way::Dead) {
            Way::Closing(sent) => sent,
            Way::Dead | Way::Open => Vec::new(),
        }
    }
}
