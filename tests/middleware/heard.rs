//! What the observer of a layer hears.

use std::mem;
use std::sync::{Arc, Mutex};

use tower_idempotency::{Event, IdempotencyLayer, Store};

/// An observer with a memory.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    /// The same layer, overheard.
    pub(crate) fn of<St: Store>(&self, layer: IdempotencyLayer<St>) -> IdempotencyLayer<St> {
        let events = Arc::clone(&self.0);
        layer.on_event(move |event| events.lock().unwrap().push(event.clone()))
    }

    /// All events since the last look.
    pub(crate) fn take(&self) -> Vec<Event> {
        mem::take(&mut *self.0.lock().unwrap())
    }

    /// The same, in words.
    pub(crate) fn told(&self) -> Vec<String> {
        self.take().iter().map(told).collect()
    }

    /// The only event since the last look.
    #[track_caller]
    pub(crate) fn only(&self) -> Event {
        let mut events = self.take();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }
}

/// Outcome and code, or the warning.
pub(crate) fn told(event: &Event) -> String {
    match (event.outcome(), event.refusal(), event.warning()) {
        (Some(outcome), Some(code), None) => format!("{outcome} {code}"),
        (Some(outcome), None, None) => outcome.to_string(),
        (None, None, Some(warning)) => format!("warning: {warning}"),
        _ => panic!("an event is an outcome, a refusal or a warning: {event:?}"),
    }
}
