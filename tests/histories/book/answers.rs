//! What clients hear.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tower_idempotency::Outcome;

use super::{Entries, Execution, Given, Run};
use crate::check::{Check, Checked, Violation, ensure};
use crate::model::{Fate, Life};
use crate::settings::Lost;

/// A response, as far as its client has read it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) outcome: Outcome,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// The body ended in an error.
    pub(crate) is_broken: bool,
}

/// How a call of the service ended otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The service has failed.
    Failed,
    /// The service was not ready.
    NotReady,
    Panicked,
}

const REPLAYED: &str = "idempotent-replayed";
/// What of a handler's response is not replayed.
const NOT_KEPT: [&str; 2] = ["date", "set-cookie"];

impl Entries {
    /// The head of a response arrives: what it says of the store is so.
    pub(crate) fn hears(&self, request: usize, outcome: Outcome) -> Checked {
        let asked = &self.requests[request];
        let key = &self.model.keys[asked.key];
        let Outcome::Executed { recorded } = outcome else {
            return Ok(());
        };
        let execution = asked.execution.map(|number| &self.executions[number]);
        let Some(execution) = execution else {
            return ensure(false, Check::AnswerFits, || {
                format!("{request} was not executed")
            });
        };
        let (life, tenure) = key.tenure(execution.fence).expect("it was given");
        let kept = life.kept.as_ref().map(|kept| kept.fence) == Some(execution.fence);
        ensure(!recorded || kept, Check::RecordedFirst, || {
            format!("{execution:?} is not kept")
        })?;
        // In a gentle history nothing but time and operators takes a record from its owner.
        let is_due = execution.is_to_be_kept && !execution.breaks;
        let lost = self.settings.is_gentle
            && is_due
            && tenure.fate == Fate::Owns
            && !self.model.may_be_gone(life);
        ensure(
            recorded || !execution.is_told && !lost,
            Check::RecordedFirst,
            || format!("{execution:?} was not recorded, or is and it is not said"),
        )
    }

    /// A whole response.
    pub(crate) fn is_answered(&mut self, request: usize, heard: &Heard) -> Checked {
        let (outcome, status) = (heard.outcome, heard.status.as_u16());
        let code = heard.code();
        self.note(|| format!("request {request} is answered: {status} {outcome} {code}"));
        self.requests[request].heard = Some((outcome, code.clone()));
        let asked = &self.requests[request];
        let key = &self.model.keys[asked.key];
        match outcome {
            Outcome::Executed { .. } => {
                let execution = asked.execution.map(|number| &self.executions[number]);
                let given = execution.and_then(|execution| execution.given.as_ref());
                let given = given.ok_or_else(|| not(Check::AnswerFits, "nothing was given"))?;
                heard.is_first(given)
            }
            Outcome::Replayed => self.is_replay(request, heard),
            Outcome::Mismatch => {
                let known = |life: &Life| match self.body_of(asked.key, &life.print) {
                    Some(body) => body != asked.body,
                    None => true,
                };
                let differs = key.lives_since(asked.began).any(known);
                ensure(differs, Check::AnswerFits, || {
                    format!("{request} mismatches nothing")
                })
            }
            Outcome::InProgress => {
                let in_flight = |life: &Life| match &life.kept {
                    Some(kept) => kept.since >= asked.began,
                    None => true,
                };
                let busy = key.lives_since(asked.began).any(in_flight);
                ensure(busy, Check::AnswerFits, || {
                    format!("nothing of {request} is in progress")
                })
            }
            Outcome::Refused => self.is_refused(request, &code),
            _ => ensure(false, Check::AnswerFits, || format!("{request}: {outcome}")),
        }
    }

    fn is_refused(&self, request: usize, code: &str) -> Checked {
        let asked = &self.requests[request];
        let mut lives = self.model.keys[asked.key].lives_since(asked.began);
        let fits = match code {
            "idempotency_outcome_unknown" => lives.any(|life| match self.settings.lost {
                Lost::Reconcile => false,
                Lost::Refuse => true,
                Lost::Rerun => life.committed,
            }),
            "idempotency_response_unavailable" => lives.any(|life| {
                let kept = life.kept.as_ref().map(|kept| kept.fence);
                let mut executions = self.executions.iter();
                executions.any(|execution| {
                    Some(execution.fence) == kept
                        && execution.key == asked.key
                        && execution.may_be_tombstone
                })
            }),
            "idempotency_reconcile_failed" => {
                let run = asked.hook.and_then(|number| self.executions[number].run);
                matches!(run, Some(Run::Dropped | Run::Failed | Run::Panicked))
            }
            "idempotency_store_unavailable" => !self.settings.is_gentle,
            "idempotency_overloaded" => self.settings.max_detached < 100,
            _ => false,
        };
        ensure(fits, Check::AnswerFits, || {
            format!("{request} is refused without a reason: {code}")
        })
    }

    /// Checks a replay against what its handler gave.
    fn is_replay(&self, request: usize, heard: &Heard) -> Checked {
        let asked = &self.requests[request];
        let number = heard
            .headers
            .get("x-execution")
            .and_then(|number| number.to_str().ok());
        let number = number.and_then(|number| number.parse::<usize>().ok());
        let execution: Option<&Execution> = number.and_then(|number| self.executions.get(number));
        let execution = execution.ok_or_else(|| not(Check::ReplayIsKept, "nobody has given it"))?;
        ensure(execution.key == asked.key, Check::ScopeIsOwn, || {
            format!("request {request} reads {execution:?}")
        })?;
        ensure(execution.body == asked.body, Check::AnotherRequest, || {
            format!("request {request} reads {execution:?}")
        })?;
        let key = &self.model.keys[asked.key];
        let mut lives = key.lives_since(asked.began);
        let kept = lives.any(|life| {
            life.kept
                .as_ref()
                .is_some_and(|kept| kept.fence == execution.fence)
        });
        ensure(kept, Check::ReplayIsKept, || {
            format!("{execution:?} is not what is kept")
        })?;
        let given = execution
            .given
            .as_ref()
            .ok_or_else(|| not(Check::ReplayIsKept, "nothing was given"))?;
        heard.is_replay_of(given)
    }

    pub(crate) fn is_unanswered(&mut self, request: usize, unanswered: Unanswered) -> Checked {
        self.note(|| format!("request {request} ends: {unanswered:?}"));
        let execution = self.requests[request].execution;
        let run = execution.and_then(|number| self.executions[number].run);
        let broken = execution.is_some_and(|number| self.executions[number].breaks);
        let fits = match unanswered {
            Unanswered::Failed => run == Some(Run::Failed),
            Unanswered::NotReady => run.is_none(),
            Unanswered::Panicked => run == Some(Run::Panicked) || broken,
        };
        ensure(fits, Check::AnswerFits, || {
            format!("{unanswered:?}, {execution:?} ended {run:?}")
        })
    }
}

fn not(check: Check, text: &str) -> Violation {
    let text = text.to_owned();
    Violation { check, text }
}

impl Heard {
    /// The code of a refusal.
    fn code(&self) -> String {
        match self.outcome {
            Outcome::Executed { .. } | Outcome::Replayed => String::new(),
            _ => {
                let body: serde_json::Value =
                    serde_json::from_slice(&self.body).unwrap_or_default();
                body["error"].as_str().unwrap_or_default().to_owned()
            }
        }
    }

    fn is_first(&self, given: &Given) -> Checked {
        let mut headers = given.headers.clone();
        headers.remove(REPLAYED);
        let body = match self.is_broken {
            true => given.body.starts_with(&self.body),
            false => given.body == self.body,
        };
        let trailers = self.is_broken || given.trailers == self.trailers;
        let same = self.status == given.status && self.headers == headers && body && trailers;
        ensure(same, Check::AnswerFits, || {
            format!("{self:?} in place of {given:?}")
        })
    }

    fn is_replay_of(&self, given: &Given) -> Checked {
        let mut headers = given.headers.clone();
        for name in NOT_KEPT {
            headers.remove(name);
        }
        headers.insert(REPLAYED, http::HeaderValue::from_static("true"));
        if let Some(key) = self.headers.get("idempotency-key") {
            headers.insert("idempotency-key", key.clone());
        }
        let same = self.status == given.status
            && self.headers == headers
            && self.body == given.body
            && self.trailers == given.trailers
            && !self.is_broken;
        ensure(same, Check::ReplayIsKept, || {
            format!("{self:?} in place of {given:?}")
        })
    }
}
