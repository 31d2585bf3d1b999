//! The book of one history: everything that happens is entered, in the order in which it happens, and checked on the spot.

mod answers;
mod ending;
mod executions;
mod verbs;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tower_idempotency::{ChaosClock, Fingerprint, Outcome, RecordKey};

use crate::check::{Check, Checked, Violation, ensure};
use crate::clock::WorldClock;
use crate::model::Model;
use crate::settings::Settings;

pub(crate) use answers::{Heard, Unanswered};
pub(crate) use executions::{Execution, Given, Run};
pub(crate) use verbs::End;

/// Shared by all that happens in a history.
#[derive(Clone)]
pub(crate) struct Book(Arc<Mutex<Entries>>);

pub(crate) struct Entries {
    pub(crate) settings: Settings,
    clock: WorldClock,
    store_clock: ChaosClock,
    /// How far the store's clock was ahead, or behind.
    ahead: (Duration, Duration),
    /// The number of the latest event.
    pub(crate) event: u64,
    pub(crate) model: Model,
    pub(crate) requests: Vec<Request>,
    pub(crate) executions: Vec<Execution>,
    /// Which body has which fingerprint, by key.
    prints: Vec<(usize, Fingerprint, usize)>,
    /// Records of which the layer has said that it gave up recording them.
    pub(crate) given_up: Vec<RecordKey>,
    trace: Option<Vec<String>>,
    violation: Option<Violation>,
}

/// One request of a client.
pub(crate) struct Request {
    pub(crate) key: usize,
    pub(crate) body: usize,
    pub(crate) process: usize,
    pub(crate) began: u64,
    pub(crate) execution: Option<usize>,
    /// What was asked for it.
    pub(crate) hook: Option<usize>,
    /// What its client has heard.
    pub(crate) heard: Option<(Outcome, String)>,
}

impl Book {
    pub(crate) fn new(
        settings: Settings,
        clock: WorldClock,
        store_clock: ChaosClock,
        model: Model,
        traced: bool,
    ) -> Self {
        Self(Arc::new(Mutex::new(Entries {
            settings,
            clock,
            store_clock,
            ahead: (Duration::ZERO, Duration::ZERO),
            event: 0,
            model,
            requests: Vec::new(),
            executions: Vec::new(),
            prints: Vec::new(),
            given_up: Vec::new(),
            trace: traced.then(Vec::new),
            violation: None,
        })))
    }

    /// The entries as they are.
    pub(crate) fn look(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }

    /// Enters an event and checks it.
    pub(crate) fn enter<T>(
        &self,
        event: impl FnOnce(&mut Entries) -> Result<T, Violation>,
    ) -> Option<T> {
        let mut entries = self.look();
        entries.begin();
        let entered = event(&mut entries);
        entered.map_err(|violation| entries.violate(violation)).ok()
    }

    /// Writes a line into the trace.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        self.look().note(line);
    }

    /// What does not hold, the first that was found.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.look().violation.clone()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.look().trace.clone().unwrap_or_default()
    }
}

impl Entries {
    /// Counts the event, and sees whether the store's clock has jumped since the last one.
    fn begin(&mut self) {
        self.event += 1;
        let (ours, theirs) = (self.clock.now(), self.store_clock.now());
        let ahead = (theirs.saturating_sub(ours), ours.saturating_sub(theirs));
        let has_jumped = ahead != self.ahead;
        if has_jumped {
            self.note(|| format!("  the store's clock has jumped: {theirs:?}"));
        }
        self.ahead = ahead;
        self.model.is_now(theirs, has_jumped);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.clock.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}", now.as_secs_f64(), line()));
        }
    }

    fn violate(&mut self, violation: Violation) {
        self.note(|| format!("VIOLATION {violation}"));
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn asks(&mut self, process: usize, key: usize, body: usize) -> usize {
        let number = self.requests.len();
        let name = &self.model.keys[key].name;
        let line = format!("p{process} request {number}: {name}, body {body}");
        self.note(|| line);
        self.requests.push(Request {
            key,
            body,
            process,
            began: self.event,
            execution: None,
            hook: None,
            heard: None,
        });
        number
    }

    /// What a body is hashed to, as far as it is known; two bodies never share a fingerprint.
    fn prints_agree(&mut self, key: usize, print: Fingerprint, body: usize) -> Checked {
        let mut of_key = self.prints.iter().filter(|known| known.0 == key);
        let known = of_key.find(|known| known.1.matches(&print) || known.2 == body);
        let Some(known) = known else {
            self.prints.push((key, print, body));
            return Ok(());
        };
        let same = known.1.matches(&print) && known.2 == body;
        ensure(same, Check::AnotherRequest, || {
            "the fingerprint of another body".into()
        })
    }

    /// The body with this fingerprint, where one of them was seen to run.
    pub(crate) fn body_of(&self, key: usize, print: &Fingerprint) -> Option<usize> {
        let mut prints = self.prints.iter();
        let known = prints.find(|known| known.0 == key && known.1.matches(print));
        known.map(|known| known.2)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.text)
    }
}
