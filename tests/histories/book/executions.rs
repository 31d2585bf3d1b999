//! What handlers do.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tower_idempotency::Idempotency;

use super::Entries;
use crate::check::{Check, Checked, Violation, ensure};
use crate::model::{Fate, Lapse};
use crate::script::Reply;
use crate::settings::Lost;

/// One run of the handler.
pub(crate) struct Execution {
    pub(crate) key: usize,
    pub(crate) request: usize,
    pub(crate) process: usize,
    pub(crate) fence: u64,
    pub(crate) body: usize,
    /// It is a hook that is asked, not the handler.
    pub(crate) is_hook: bool,
    /// How it ended; `None` while it runs.
    pub(crate) run: Option<Run>,
    pub(crate) given: Option<Given>,
    /// Whether the rule keeps what it gave.
    pub(crate) is_to_be_kept: bool,
    /// Whether the body that it gave breaks off.
    pub(crate) breaks: bool,
    /// Whether its response may be too long, or take too long, to be kept whole.
    pub(crate) may_be_tombstone: bool,
    /// Whether its process ended while its body was held.
    pub(crate) is_cut_off: bool,
    /// It has asked for the point of no return, and got it.
    pub(crate) marked: bool,
    pub(crate) is_behind_mark: bool,
    /// The layer has heard from the store that its outcome is kept.
    pub(crate) is_told: bool,
    context: Option<Idempotency>,
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// With its process.
    Dropped,
    Failed,
    /// A hook says that it was not done.
    NotDone,
    Panicked,
    Responded,
}

/// What a handler gave.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("request", &self.request)
            .field("fence", &self.fence)
            .field("run", &self.run)
            .field("is_to_be_kept", &self.is_to_be_kept)
            .field("breaks", &self.breaks)
            .field("marked", &self.marked)
            .finish_non_exhaustive()
    }
}

impl Entries {
    /// A handler starts for this request; gives its number.
    pub(crate) fn starts(
        &mut self,
        request: usize,
        context: Option<&Idempotency>,
    ) -> Result<usize, Violation> {
        let asked = &self.requests[request];
        let (key, process, again) = (asked.key, asked.process, asked.execution);
        let context = context.filter(|context| context.is_protected());
        ensure(context.is_some(), Check::HandlerOwns, || {
            format!("request {request} runs unprotected")
        })?;
        let context = context.expect("it was checked").clone();
        let (fence, attempt) = (context.fence().get(), context.attempt());
        let number = self.executions.len();
        let name = self.model.keys[key].name.clone();
        self.note(|| format!("p{process} request {request} runs as {number}: {name} fence {fence} attempt {attempt}"));

        ensure(again.is_none(), Check::HandlerOnce, || {
            format!("request {request} runs twice")
        })?;
        let before = self
            .execution_of(key, fence)
            .map(|number| &self.executions[number]);
        ensure(
            before.is_none_or(|before| before.is_hook),
            Check::HandlerOnce,
            || format!("fence {fence} runs twice"),
        )?;
        let allowed = match self.settings.lost {
            Lost::Reconcile => before.is_some_and(|hook| hook.run == Some(Run::NotDone)),
            Lost::Refuse => false,
            Lost::Rerun => true,
        };
        ensure(attempt == 1 || allowed, Check::CommittedStays, || {
            format!("attempt {attempt} although none is allowed")
        })?;
        self.begins(request, fence, attempt, Some(context))?;
        self.requests[request].execution = Some(number);
        Ok(number)
    }

    /// A hook is asked for this request what became of the attempt before; gives its number.
    pub(crate) fn is_asked(&mut self, request: usize, attempt: u32) -> Result<usize, Violation> {
        let asked = &self.requests[request];
        let (key, process, began, again) = (asked.key, asked.process, asked.began, asked.hook);
        let number = self.executions.len();
        // It is not told its fence: it is that of the latest claim of this attempt.
        let lives = self.model.keys[key].lives.iter();
        let mut tenures = lives.flat_map(|life| &life.tenures).rev();
        let tenure = tenures.find(|tenure| tenure.attempt == attempt && tenure.began >= began);
        let Some(fence) = tenure.map(|tenure| tenure.fence) else {
            return Err(Violation {
                check: Check::HandlerOwns,
                text: format!("attempt {attempt} was never given"),
            });
        };
        let name = self.model.keys[key].name.clone();
        self.note(|| format!("p{process} request {request} asks as {number}: {name} fence {fence} attempt {attempt}"));
        let fits = attempt > 1 && again.is_none() && self.execution_of(key, fence).is_none();
        ensure(fits, Check::HandlerOnce, || {
            format!("fence {fence} asks again, attempt {attempt}")
        })?;
        self.begins(request, fence, attempt, None)?;
        self.executions[number].is_hook = true;
        self.requests[request].hook = Some(number);
        Ok(number)
    }

    /// Something begins that runs as the owner with this fence.
    fn begins(
        &mut self,
        request: usize,
        fence: u64,
        attempt: u32,
        context: Option<Idempotency>,
    ) -> Checked {
        let asked = &self.requests[request];
        let (key, body, process, began) = (asked.key, asked.body, asked.process, asked.began);
        let Some((life, tenure)) = self.model.keys[key].tenure(fence) else {
            return ensure(false, Check::HandlerOwns, || {
                format!("fence {fence} was never given")
            });
        };
        let (print, life_began) = (life.print, life.began);
        // It may have been superseded by the time that it starts, but it has not ended by itself.
        let owned = matches!(
            tenure.fate,
            Fate::Owns | Fate::TakenOver(_) | Fate::Forgotten | Fate::Expired
        );
        ensure(owned && tenure.began >= began, Check::HandlerOwns, || {
            format!("fence {fence} of event {}: {:?}", tenure.began, tenure.fate)
        })?;
        let lapsed = self.model.has_lapsed_by_time(life, tenure);
        ensure(!lapsed, Check::SignalFirst, || {
            format!("fence {fence} begins after its lease")
        })?;
        let is_superseded = tenure.fate != Fate::Owns;
        let given = tenure.attempt;
        ensure(given == attempt, Check::AttemptsCount, || {
            format!("attempt {attempt}, given {given}")
        })?;
        if !is_superseded {
            self.nothing_is_marked(key, fence, life_began)?;
        }
        self.others_are_apart(key, fence)?;
        self.prints_agree(key, print, body)?;
        self.executions.push(Execution {
            key,
            request,
            process,
            fence,
            body,
            is_hook: false,
            run: None,
            given: None,
            is_to_be_kept: false,
            breaks: false,
            may_be_tombstone: false,
            is_cut_off: false,
            marked: false,
            is_behind_mark: false,
            is_told: false,
            context,
        });
        Ok(())
    }

    /// The latest that ran with this fence: a handler after its hook.
    pub(super) fn execution_of(&self, key: usize, fence: u64) -> Option<usize> {
        let mut executions = self.executions.iter();
        executions.rposition(|execution| execution.key == key && execution.fence == fence)
    }

    /// Checks that no execution of this life has passed its point of no return when another one begins.
    fn nothing_is_marked(&self, key: usize, fence: u64, life_began: u64) -> Checked {
        let executions = self.executions.iter();
        let mut others = executions.filter(|other| other.key == key && other.fence != fence);
        let may_ask = self.settings.lost == Lost::Reconcile;
        let marked = others.find(|other| {
            let tenure = self.model.keys[key].tenure(other.fence);
            other.is_behind_mark && tenure.is_some_and(|(life, _)| life.began == life_began)
        });
        ensure(marked.is_none() || may_ask, Check::CommittedStays, || {
            format!("runs again behind the mark of {marked:?}")
        })
    }

    /// Checks the other executions of this key when one begins.
    fn others_are_apart(&self, key: usize, fence: u64) -> Checked {
        let executions = self.executions.iter();
        let others = executions.filter(|other| other.key == key && other.fence != fence);
        for other in others {
            let (_, tenure) = self.model.keys[key]
                .tenure(other.fence)
                .expect("it was given");
            if other.run.is_some() {
                continue;
            }
            let apart = match tenure.fate {
                Fate::TakenOver(Lapse::Abandoned) | Fate::Completed | Fate::Released => false,
                Fate::TakenOver(Lapse::ByTime) => {
                    !self.settings.is_gentle || self.settings.max_execution.is_some()
                }
                Fate::TakenOver(Lapse::Tampered) | Fate::Forgotten | Fate::Expired => true,
                // Then the one that starts was superseded before.
                Fate::Owns => tenure.fence > fence,
            };
            ensure(apart, Check::HandlersApart, || {
                format!("beside {other:?}, {:?}", tenure.fate)
            })?;
        }
        Ok(())
    }

    /// What a handler or a hook gives.
    pub(crate) fn gives(&mut self, number: usize, reply: &Reply) {
        let execution = &mut self.executions[number];
        execution.given = Some(reply.given.clone());
        execution.is_to_be_kept = reply.is_to_be_kept;
        execution.breaks = reply.breaks;
        execution.may_be_tombstone = reply.may_be_tombstone;
    }

    /// A handler is polled: it knows by now whether its lease has ended.
    pub(crate) fn is_polled(&self, number: usize) -> Checked {
        let execution = &self.executions[number];
        let (life, tenure) = self.model.keys[execution.key]
            .tenure(execution.fence)
            .expect("it was given");
        let lapsed = self.model.has_lapsed_by_time(life, tenure);
        let knows = (execution.context.as_ref()).is_none_or(Idempotency::is_lease_lost);
        ensure(!lapsed || knows, Check::SignalFirst, || {
            format!("{execution:?} was not told")
        })
    }

    pub(crate) fn marks(&mut self, number: usize) {
        self.executions[number].marked = true;
        self.note(|| format!("execution {number} asks for the point of no return"));
    }

    pub(crate) fn is_marked(&mut self, number: usize, marked: bool) -> Checked {
        let execution = &mut self.executions[number];
        execution.is_behind_mark = marked;
        let (key, fence) = (execution.key, execution.fence);
        self.note(|| format!("execution {number} has got it: {marked}"));
        let (life, _) = self.model.keys[key].tenure(fence).expect("it was given");
        ensure(!marked || life.committed, Check::CommittedStays, || {
            format!("execution {number} is behind a mark that is not in the store")
        })
    }

    pub(crate) fn ends(&mut self, number: usize, run: Run) -> Checked {
        let execution = &mut self.executions[number];
        if execution.run.is_some() {
            return Ok(());
        }
        execution.run = Some(run);
        if run == Run::Dropped && execution.is_cut_off {
            // Not noted: a runtime drops its tasks in any order.
            return Ok(());
        }
        self.note(|| format!("execution {number} ends: {run:?}"));
        // A hook only has its time.
        let is_cancelled = run == Run::Dropped && !self.executions[number].is_hook;
        ensure(!is_cancelled, Check::OutcomeKept, || {
            format!("execution {number} was cancelled")
        })
    }

    /// What this process has not ended yet is cut off.
    pub(crate) fn is_cut_off(&mut self, process: usize) {
        let of_process = self
            .executions
            .iter_mut()
            .filter(|execution| execution.process == process);
        of_process.for_each(|execution| execution.is_cut_off = true);
    }
}
