//! What is left in the end.

use tower_idempotency::Outcome;

use super::{Entries, Run};
use crate::check::{Check, Checked, Violation, ensure};
use crate::model::Fate;

impl Entries {
    /// Checks that whatever was to be kept is kept, unless its owner was fenced out, or its process has ended, or the
    /// layer has said that it gave up.
    pub(crate) fn outcomes_are_kept(&self) -> Checked {
        for execution in &self.executions {
            let is_due = execution.run == Some(Run::Responded)
                && execution.is_to_be_kept
                && !execution.breaks
                && !execution.is_cut_off;
            let key = &self.model.keys[execution.key];
            let (life, tenure) = key.tenure(execution.fence).expect("it was given");
            let excused = tenure.fate != Fate::Owns
                || self.given_up.contains(&key.record)
                || self.model.may_be_gone(life);
            ensure(!is_due || excused, Check::OutcomeKept, || {
                format!("{execution:?} is not kept")
            })?;
        }
        Ok(())
    }

    /// The body that the record of this key was made by, as far as it is known.
    pub(crate) fn body_of_life(&self, key: usize) -> usize {
        let life = self.model.keys[key].life();
        life.and_then(|life| self.body_of(key, &life.print))
            .unwrap_or(0)
    }

    /// Whether this request was executed or replayed, in calm; otherwise there is a record that an operator may delete.
    pub(crate) fn is_usable(&self, request: usize) -> Result<bool, Violation> {
        let heard = self.requests[request].heard.clone();
        let (outcome, code) = heard.ok_or_else(|| Violation {
            check: Check::KeyUsable,
            text: format!("request {request} was not answered"),
        })?;
        match outcome {
            Outcome::Executed { recorded: true } | Outcome::Replayed => Ok(true),
            Outcome::Mismatch => Ok(false),
            Outcome::Refused if code == "idempotency_outcome_unknown" => Ok(false),
            Outcome::Refused if code == "idempotency_response_unavailable" => Ok(false),
            _ => Err(Violation {
                check: Check::KeyUsable,
                text: format!("request {request}: {outcome} {code}"),
            }),
        }
    }
}
