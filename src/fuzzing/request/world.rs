//! What has happened, and what may not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http::request::Parts;
use tokio::time::Instant;

use super::handler::{Made, Plan, make};
use super::settings::Settings;
use super::step::Step;
use super::store::Faulty;
use crate::context::Idempotency;
use crate::event::Outcome;
use crate::key::RecordKey;
use crate::layer::IdempotencyLayer;
use crate::on_lost::Lost;
use crate::store::claim::State;
use crate::store::traits::Store;

/// Everything that a history is judged by.
pub(super) struct World {
    pub(super) layer: IdempotencyLayer<Arc<Faulty>>,
    pub(super) settings: Settings,
    store: Arc<Faulty>,
    past: Arc<Mutex<Past>>,
}

#[derive(Default)]
pub(super) struct Past {
    pub(super) sent: Vec<Sent>,
    pub(super) runs: Vec<Run>,
    /// The numbers of those that have not ended.
    running: Vec<usize>,
    /// Records that hold an outcome, and until when.
    kept: HashMap<Record, Instant>,
    pub(super) is_faulty: bool,
    wrong: Vec<String>,
}

/// Stands for a record key: what is derived from it.
type Record = String;

pub(super) fn record_of(key: &RecordKey) -> Record {
    key.child("").as_str().to_owned()
}

/// A request that was sent.
pub(super) struct Sent {
    pub(super) parts: Parts,
    pub(super) body: Vec<u8>,
    pub(super) is_broken: bool,
    pub(super) behaviour: u8,
}

/// An execution that has begun, or a hook that has found out what became of one.
pub(super) struct Run {
    pub(super) sent: usize,
    pub(super) key: Option<String>,
    pub(super) record: Option<Record>,
    /// Of an execution that is protected.
    context: Option<Idempotency>,
    begun: Instant,
    is_hook: bool,
    pub(super) made: Option<Made>,
}

impl Run {
    fn new(sent: usize, context: Option<Idempotency>) -> Self {
        let key = context.as_ref().map(|context| context.key().as_str());
        let record = context.as_ref().map(|context| context.child(""));
        Self {
            sent,
            key: key.map(str::to_owned),
            record: record.map(|record| record.as_str().to_owned()),
            context: context.filter(Idempotency::is_protected),
            begun: Instant::now(),
            is_hook: false,
            made: None,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        let context = self.context.as_ref();
        context.is_some_and(Idempotency::is_lease_lost)
    }
}

/// An execution, until it ends.
pub(super) struct Running {
    world: Arc<World>,
    pub(super) number: usize,
}

impl Running {
    pub(super) fn made(&self, made: Made) {
        self.world.past().runs[self.number].made = Some(made);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let running = &mut self.world.past().running;
        running.retain(|running| *running != self.number);
    }
}

impl Past {
    /// Whether the handler was called for this request.
    pub(super) fn has_run(&self, sent: usize) -> bool {
        (self.runs.iter()).any(|run| run.sent == sent && !run.is_hook)
    }

    /// What is wrong with an execution that begins now.
    fn faults_of(&self, run: &Run, settings: Settings) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        if self.has_run(run.sent) {
            wrong.push("a request runs twice");
        }
        if run.record.is_some() && self.sent[run.sent].body.len() > Settings::MOST_BODY {
            wrong.push("a body that is too large");
        }
        let (Some(context), Some(record)) = (&run.context, &run.record) else {
            return wrong;
        };
        if (self.kept.get(record)).is_some_and(|until| Instant::now() < *until) {
            wrong.push("what is kept runs again");
        }
        let mut last = None;
        for (number, other) in self.runs.iter().enumerate() {
            let before = other.context.as_ref();
            let Some(before) = before.filter(|_| other.record == run.record) else {
                continue;
            };
            if before.fence() >= context.fence() {
                wrong.push("a fence that is not higher");
            }
            if self.running.contains(&number) && !other.is_lost() {
                wrong.push("two executions own one record");
            }
            last = Some((other, before.attempt()));
        }
        let Some((last, before)) = last else {
            return wrong;
        };
        let attempt = context.attempt();
        if attempt > 1 && before >= attempt {
            wrong.push("an attempt that does not count up");
        }
        // Without faults it is known how long the record lives at least.
        let lives = Settings::RETENTION - Duration::from_secs(60);
        if before == 1 && !self.is_faulty && Instant::now() < last.begun + lives {
            let behaviour = self.sent[last.sent].behaviour;
            if attempt == 1 && (matches!(behaviour, 10 | 13) || last.made.is_none()) {
                wrong.push("a lost attempt that is forgotten");
            }
            if settings.leaves_unknown(true) && matches!(behaviour, 7..=9) {
                wrong.push("what was committed runs again");
            }
        }
        wrong
    }

    /// Makes the response of an attempt that was lost, and yet did what it was to do.
    fn finds(&mut self, lost: &Lost) -> Response<Bytes> {
        let (made, _) = make(0, self.runs.len());
        let mut response = Response::new(Bytes::from(made.body.data.clone()));
        *response.status_mut() = made.status;
        *response.headers_mut() = made.headers.clone();
        let plan = lost.request().extensions().get::<Plan>();
        self.runs.push(Run {
            sent: plan.expect("extensions are there").sent,
            key: Some(lost.key().as_str().to_owned()),
            record: Some(lost.child("").as_str().to_owned()),
            context: None,
            begun: Instant::now(),
            is_hook: true,
            made: Some(made),
        });
        response
    }

    /// Notes that an outcome is kept, and until when. It may have come after its retention, and be gone.
    fn keeps(&mut self, store: &Faulty, key: &RecordKey) {
        let Some(Ok(Some(record))) = store.memory.inspect(key).now_or_never() else {
            return;
        };
        if let State::Completed { .. } = record.state() {
            if record.remaining() > Settings::RETENTION {
                self.wrong.push("kept for too long".to_owned());
            }
            let until = Instant::now() + record.remaining();
            self.kept.insert(record_of(key), until);
        }
    }
}

impl World {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let (store, past) = (settings.store(), Arc::<Mutex<Past>>::default());
        let on_lost = settings.on_lost({
            let past = Arc::clone(&past);
            move |lost| lock(&past).finds(lost)
        });
        let mut layer = settings.layer(&store).on_lost(on_lost);
        if settings.is_observed {
            let (store, past) = (Arc::clone(&store), Arc::clone(&past));
            // What is kept though nobody hears the answer.
            layer = layer.on_event(move |event| {
                let executed = Some(Outcome::Executed { recorded: true });
                if let Some(key) = event.record_key().filter(|_| event.outcome() == executed) {
                    lock(&past).keeps(&store, key);
                }
            });
        }
        Arc::new(Self {
            layer,
            settings,
            store,
            past,
        })
    }

    pub(super) fn past(&self) -> MutexGuard<'_, Past> {
        lock(&self.past)
    }

    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.past().wrong.push(what.into());
    }

    /// Panics where something was wrong.
    pub(super) fn verdict(&self) {
        assert_eq!(self.past().wrong, [""; 0], "{:?}", self.settings);
    }

    /// From here on the store fails so. A runtime that is blocked is no better: time-outs pass at once.
    pub(super) fn suffers(&self, step: &Step) {
        self.past().is_faulty |= step.faults.is_some() || step.is_blocked;
        self.store.set(step.faults);
    }

    pub(super) fn heals(&self) {
        self.store.set(None);
    }

    /// Notes a request; gives its number.
    pub(super) fn sends(&self, step: &Step) -> usize {
        let mut past = self.past();
        past.sent.push(Sent {
            parts: step.parts.clone(),
            body: step.data.concat(),
            is_broken: step.is_broken,
            behaviour: step.behaviour,
        });
        past.sent.len() - 1
    }

    /// Notes an execution.
    pub(super) fn begins(self: &Arc<Self>, plan: &Plan, context: Option<Idempotency>) -> Running {
        let run = Run::new(plan.sent, context);
        let mut past = self.past();
        let wrong = past
            .faults_of(&run, self.settings)
            .into_iter()
            .map(str::to_owned);
        past.wrong.extend(wrong);
        let is_unprotected = run.record.is_some() && run.context.is_none();
        if is_unprotected && !(self.settings.runs_unprotected && past.is_faulty) {
            past.wrong.push("unprotected without reason".to_owned());
        }
        past.runs.push(run);
        let number = past.runs.len() - 1;
        past.running.push(number);
        Running {
            world: Arc::clone(self),
            number,
        }
    }

    /// Notes that what this request was answered with is kept: the outcome of this execution.
    pub(super) fn keeps(&self, sent: usize, run: usize) {
        let mut past = self.past();
        if let Some(key) = past.runs.get(run).and_then(|run| run.key.as_ref())
            && let Ok(key) = self.layer.record_key_for(&past.sent[sent].parts, key)
        {
            past.keeps(&self.store, &key);
        }
    }
}

fn lock(past: &Mutex<Past>) -> MutexGuard<'_, Past> {
    past.lock().unwrap_or_else(PoisonError::into_inner)
}
