//! Requests whose lease is over before they are: while their service gets ready, while they run, while their response
//! is held, while they settle. What else may come in between, the sweep itself sees to.

use std::time::Duration;

use tower_idempotency::StoreErrorKind;

use super::rows;
use crate::frames::Step;
use crate::model::End;
use crate::row::{Before, Does, Gets, Ready, Row};
use crate::scripted::{Fault, Verb};
use crate::world::LEASE;

const NOT_APPLIED: Fault = Fault::Before(StoreErrorKind::NotApplied);
const BEYOND: Duration = Duration::from_secs(LEASE.as_secs() + 1);

fn not_renewed(row: Row) -> Row {
    row.always(Verb::Renew, NOT_APPLIED).for_good()
}

fn in_background(row: Row) -> Row {
    row.by(|layer| layer.renew_in_background()).uncounted()
}

rows! {
    fn before_the_handler() => {
        let does = Does::freed().taking(Duration::from_millis(50));
        let row = Row::after(Before::Running, does).waiting();
        not_renewed(row.ready([Ready::Now, Ready::Now, Ready::After(BEYOND)]))
            .lapses()
            .gets(Gets::Refusal(409))
    },
    fn in_the_handler() => not_renewed(Row::of(Does::kept().taking(BEYOND))),
    fn in_a_handler_that_fails() => {
        not_renewed(Row::of(Does::failing().taking(BEYOND))).gets(Gets::Failure)
    },
    fn renewed_in_the_background() => in_background(Row::of(Does::kept().taking(BEYOND))),
    fn failing_beside_the_background() => {
        in_background(Row::of(Does::failing().taking(BEYOND))).gets(Gets::Failure)
    },
    fn not_renewed_in_the_background() => {
        not_renewed(in_background(Row::of(Does::kept().taking(BEYOND))))
    },
    fn behind_a_mark() => {
        let does = Does::kept().committed().taking(BEYOND);
        Row::of(does).by(|layer| layer.max_execution(Duration::from_secs(1)))
    },
    fn while_the_response_is_held() => {
        let slowly = [Step::Wait(BEYOND), Step::Data("end")];
        not_renewed(Row::of(Does::body(End::Kept, slowly))).by(|layer| layer.hold_for(2 * BEYOND))
    },
    fn while_it_settles() => {
        not_renewed(Row::of(Does::kept()))
            .once(Verb::Complete, Fault::SlowAfter(BEYOND))
            .by(|layer| layer.store_timeout(2 * BEYOND))
    },
    fn while_it_settles_in_vain() => {
        let row = not_renewed(Row::of(Does::kept())).always(Verb::Complete, NOT_APPLIED);
        row.lapses().ends_as(End::Lost)
    },
    fn while_it_is_abandoned() => {
        not_renewed(Row::of(Does::failing()))
            .once(Verb::Abandon, Fault::SlowBefore(BEYOND))
            .by(|layer| layer.store_timeout(2 * BEYOND))
            .gets(Gets::Failure)
    },
    fn while_it_is_released() => {
        not_renewed(Row::of(Does::freed()))
            .once(Verb::Release, Fault::SlowBefore(BEYOND))
            .by(|layer| layer.store_timeout(2 * BEYOND))
            .gets(Gets::Status(500))
    },
}
