//! What a row of the table says.

use std::sync::Arc;
use std::time::Duration;

use tower_idempotency::InFlight;

use crate::frames::Step;
use crate::handler::Happened;
use crate::model::End;
use crate::scripted::{Fault, Verb};
use crate::world::{LONG, Layer, MOMENT};

/// A scenario.
pub(crate) struct Row {
    pub(crate) before: Before,
    /// What the request uploads.
    pub(crate) upload: Vec<Step>,
    /// What the executions do, in order; those beyond are kept.
    pub(crate) does: Vec<Does>,
    /// What those find who ask the service whether it is ready, in order; it is ready for all others.
    pub(crate) readiness: Vec<Ready>,
    /// What the store does from when the request begins.
    pub(crate) faults: Vec<(Verb, Times, Fault)>,
    /// Until everything has come to its end, not only until the request has gone.
    pub(crate) for_good: bool,
    /// What becomes of executions all the same.
    pub(crate) ends_as: Option<End>,
    /// So many claims count as attempts although their handler never started.
    pub(crate) unstarted: u32,
    /// What is left is over at the end of its lease, not at once.
    pub(crate) lapses: bool,
    pub(crate) layer: Box<dyn Fn(Layer, &Arc<Happened>) -> Layer>,
    /// What the request gets when nobody disturbs it.
    pub(crate) gets: Gets,
    /// Whether the upload names the key.
    pub(crate) is_keyed_by_body: bool,
    /// Whether all memory comes from the thread of the test.
    pub(crate) is_counted: bool,
}

/// What has happened to the key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Before {
    Nothing,
    /// An execution, by the first of the row's.
    Executed,
    /// The same of another request.
    Different,
    /// An execution that nobody ends: its process is gone, its lease lives.
    Crashed,
    /// The same, and its lease is over.
    Lapsed,
    /// An execution that goes on.
    Running,
    /// The same of another request.
    RunningDifferent,
}

/// What an execution does.
#[derive(Clone)]
pub(crate) struct Does {
    pub(crate) end: End,
    pub(crate) takes: Duration,
    pub(crate) commits: bool,
    pub(crate) then: Then,
}

#[derive(Clone)]
pub(crate) enum Then {
    /// Tells in its body which execution it is, and goes on like this.
    Responds(u16, &'static str, Vec<Step>),
    Fails,
    Panics,
    PanicsInCall,
}

impl Row {
    /// A first request whose execution does this.
    pub(crate) fn of(does: Does) -> Self {
        let steps = [
            Step::Wait(MOMENT),
            Step::Data("aa"),
            Step::Wait(MOMENT),
            Step::Data("bb"),
        ];
        Self {
            before: Before::Nothing,
            upload: steps.into(),
            does: vec![does],
            readiness: Vec::new(),
            faults: Vec::new(),
            for_good: false,
            ends_as: None,
            unstarted: 0,
            lapses: false,
            layer: Box::new(|layer, _| layer),
            gets: Gets::Run(1),
            is_keyed_by_body: false,
            is_counted: true,
        }
    }

    /// A request that meets what the execution does that came, or began, before.
    pub(crate) fn after(before: Before, does: Does) -> Self {
        let is_lost = matches!(before, Before::Crashed | Before::Lapsed) || does.end == End::Lost;
        Self {
            before,
            lapses: before == Before::Crashed,
            unstarted: u32::from(is_lost),
            ..Self::of(does)
        }
    }

    /// What the next execution does.
    pub(crate) fn then(mut self, does: Does) -> Self {
        self.does.push(does);
        self
    }

    pub(crate) fn uploading(self, upload: impl Into<Vec<Step>>) -> Self {
        let upload = upload.into();
        Self { upload, ..self }
    }

    pub(crate) fn ready(self, readiness: impl Into<Vec<Ready>>) -> Self {
        let readiness = readiness.into();
        Self { readiness, ..self }
    }

    pub(crate) fn once(mut self, verb: Verb, fault: Fault) -> Self {
        self.faults.push((verb, Times::Once, fault));
        self
    }

    pub(crate) fn always(mut self, verb: Verb, fault: Fault) -> Self {
        self.faults.push((verb, Times::Always, fault));
        self
    }

    /// The store fails until everything has come to its end.
    pub(crate) fn for_good(self) -> Self {
        let for_good = true;
        Self { for_good, ..self }
    }

    pub(crate) fn ends_as(self, end: End) -> Self {
        let ends_as = Some(end);
        Self { ends_as, ..self }
    }

    /// A claim may be there that nobody has answered, or that could not be given back, until its lease is over.
    pub(crate) fn lapses(self) -> Self {
        Self {
            lapses: true,
            unstarted: self.unstarted + 1,
            ..self
        }
    }

    pub(crate) fn by(self, change: impl Fn(Layer) -> Layer + 'static) -> Self {
        let layer = Box::new(move |layer, _: &Arc<Happened>| change(layer));
        Self { layer, ..self }
    }

    pub(crate) fn waiting(self) -> Self {
        self.by(|layer| layer.in_flight(InFlight::wait(LONG / 3)))
    }

    /// Another thread allocates too, and allocations are counted by thread.
    pub(crate) fn uncounted(self) -> Self {
        let is_counted = false;
        Self { is_counted, ..self }
    }

    pub(crate) fn gets(self, gets: Gets) -> Self {
        Self { gets, ..self }
    }
}

impl Does {
    fn new(end: End, then: Then) -> Self {
        Self {
            end,
            takes: MOMENT,
            commits: false,
            then,
        }
    }

    pub(crate) fn responding(status: u16, end: End) -> Self {
        Self::new(end, Then::Responds(status, "text/plain", Vec::new()))
    }

    pub(crate) fn kept() -> Self {
        Self::responding(201, End::Kept)
    }

    pub(crate) fn freed() -> Self {
        Self::responding(500, End::Freed)
    }

    pub(crate) fn body(end: End, steps: impl Into<Vec<Step>>) -> Self {
        Self::new(end, Then::Responds(201, "text/plain", steps.into()))
    }

    pub(crate) fn stream(steps: impl Into<Vec<Step>>) -> Self {
        let then = Then::Responds(201, "text/event-stream", steps.into());
        Self::new(End::Tombstone, then)
    }

    pub(crate) fn failing() -> Self {
        Self::new(End::Lost, Then::Fails)
    }

    pub(crate) fn panicking() -> Self {
        Self::new(End::Lost, Then::Panics)
    }

    pub(crate) fn panicking_in_call() -> Self {
        Self::new(End::Lost, Then::PanicsInCall)
    }

    pub(crate) fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    /// Passes its point of no return first.
    pub(crate) fn committed(self) -> Self {
        let end = match self.end {
            End::Freed | End::Lost => End::Unknown,
            end => end,
        };
        Self {
            commits: true,
            end,
            ..self
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Ready {
    Now,
    After(Duration),
    Fails,
    Panics,
}

#[derive(Clone, Copy)]
pub(crate) enum Times {
    Once,
    Always,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gets {
    /// 201 of this execution, and all of it.
    Run(usize),
    /// The beginning of it.
    Broken(usize),
    /// The replay of it.
    Replay(usize),
    /// What the handler answers.
    Status(u16),
    Refusal(u16),
    Failure,
    Panic,
}
