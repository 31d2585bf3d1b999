//! Requests that meet a lost attempt, where the application is asked what became of it.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Response;
use tokio::task::yield_now;
use tower_idempotency::{OnLost, Reconcile, Reconciled, StoreErrorKind};

use super::rows;
use crate::handler::RUNS;
use crate::model::{End, Execution};
use crate::row::{Before, Does, Gets, Row};
use crate::scripted::{Fault, Verb};
use crate::world::{LONG, MOMENT};

/// What the application says while it is not calm; then always that it was not done.
#[derive(Clone, Copy)]
enum Says {
    Done,
    NotDone,
    Fails,
    Panics,
    Nothing,
}

fn after(before: Before, lost: Does, says: Says) -> Row {
    let mut row = Row::after(before, lost);
    row.layer = Box::new(move |layer, happened| {
        let happened = Arc::clone(happened);
        let hook = Reconcile::new(move |lost| {
            let happened = Arc::clone(&happened);
            async move {
                let is_calm = happened.is_calm.load(Ordering::SeqCst);
                yield_now().await;
                tokio::time::sleep(MOMENT).await;
                match says {
                    Says::Done if !is_calm => {
                        let mut executions = happened.executions.lock().unwrap();
                        // It counts as an execution: nobody may run behind it.
                        executions.push(Execution {
                            attempt: lost.attempt(),
                            is_committed: false,
                            end: End::Kept,
                        });
                        let text = RUNS[executions.len() - 1];
                        let response = Response::builder().status(201).body(text.into());
                        return Ok(Reconciled::Done(response.unwrap()));
                    }
                    Says::Fails if !is_calm => return Err("nobody knows".into()),
                    Says::Panics if !is_calm => resume_unwind(Box::new("nobody knows")),
                    Says::Nothing if !is_calm => tokio::time::sleep(LONG).await,
                    _ => {}
                }
                Ok(Reconciled::NotDone)
            }
        });
        layer.on_lost(OnLost::Reconcile(hook.at_most(Duration::from_secs(1))))
    });
    row
}

fn lapsed(says: Says) -> Row {
    after(Before::Lapsed, Does::kept(), says)
}

rows! {
    fn it_was_done() => lapsed(Says::Done).gets(Gets::Replay(2)),
    fn it_was_done_behind_its_mark() => {
        after(Before::Lapsed, Does::kept().committed(), Says::Done).gets(Gets::Replay(2))
    },
    fn it_was_not_done() => lapsed(Says::NotDone).gets(Gets::Run(2)),
    fn it_was_not_done_behind_its_mark() => {
        after(Before::Lapsed, Does::kept().committed(), Says::NotDone).gets(Gets::Run(2))
    },
    fn it_was_not_done_and_is_not_kept() => {
        let abandoned = Does { end: End::Lost, ..Does::freed() };
        lapsed(Says::NotDone).then(abandoned).gets(Gets::Status(500))
    },
    fn it_is_asked_after_a_failure() => {
        after(Before::Executed, Does::failing(), Says::NotDone).gets(Gets::Run(2))
    },
    fn nobody_knows() => lapsed(Says::Fails).gets(Gets::Refusal(503)),
    fn the_hook_panics() => lapsed(Says::Panics).gets(Gets::Refusal(503)),
    fn the_hook_does_not_answer() => lapsed(Says::Nothing).gets(Gets::Refusal(503)),
    fn it_was_done_and_the_store_fails() => {
        let not_applied = Fault::Before(StoreErrorKind::NotApplied);
        lapsed(Says::Done).once(Verb::Complete, not_applied).gets(Gets::Refusal(503))
    },
}
