//! Requests whose key has been used before.

use std::time::Duration;

use tower_idempotency::{InFlight, OnLost};

use super::rows;
use crate::model::End;
use crate::row::{Before, Does, Gets, Ready, Row};

/// Waits for an execution that takes a while.
fn waits(does: Does) -> Row {
    let does = does.taking(Duration::from_millis(50));
    Row::after(Before::Running, does).waiting()
}

/// Runs once the key is free, when the service is ready again.
fn takes_over(readiness: Ready) -> Row {
    waits(Does::freed())
        .ready([Ready::Now, Ready::Now, readiness])
        .gets(Gets::Run(2))
}

rows! {
    fn it_is_a_replay() => Row::after(Before::Executed, Does::kept()).gets(Gets::Replay(1)),
    fn it_is_a_mismatch() => Row::after(Before::Different, Does::kept()).gets(Gets::Refusal(422)),
    fn it_is_a_mismatch_with_what_runs() => {
        Row::after(Before::RunningDifferent, Does::kept()).gets(Gets::Refusal(422))
    },
    fn it_is_a_mismatch_with_what_was_lost() => {
        let row = Row::after(Before::Different, Does::failing());
        row.gets(Gets::Refusal(422))
    },
    fn its_response_is_not_available() => {
        Row::after(Before::Executed, Does::stream([])).gets(Gets::Refusal(409))
    },
    fn its_outcome_is_unknown() => {
        let does = Does::panicking().committed();
        Row::after(Before::Executed, does).gets(Gets::Refusal(409))
    },
    fn it_comes_beside_what_runs() => {
        let slow = Does::kept().taking(Duration::from_millis(50));
        Row::after(Before::Running, slow).gets(Gets::Refusal(409))
    },
    fn it_comes_after_a_lost_attempt() => {
        Row::after(Before::Executed, Does::failing()).gets(Gets::Run(2))
    },
    fn it_takes_a_lapsed_record_over() => Row::after(Before::Lapsed, Does::kept()).gets(Gets::Run(2)),
    fn it_takes_over_and_fails_too() => {
        let row = Row::after(Before::Lapsed, Does::kept()).then(Does::failing());
        row.gets(Gets::Failure)
    },
    fn it_takes_over_and_is_freed() => {
        let row = Row::after(Before::Lapsed, Does::kept()).then(Does::freed());
        row.gets(Gets::Status(500))
    },
    fn it_must_not_take_over() => {
        Row::after(Before::Lapsed, Does::kept())
            .by(|layer| layer.on_lost(OnLost::Refuse))
            .ends_as(End::Unknown)
            .gets(Gets::Refusal(409))
    },
    fn it_waits_for_the_answer() => waits(Does::kept()).gets(Gets::Replay(1)),
    fn it_waits_until_the_key_is_free() => waits(Does::freed()).gets(Gets::Run(2)),
    fn it_waits_until_the_key_is_free_and_fails() => {
        waits(Does::freed()).then(Does::failing()).gets(Gets::Failure)
    },
    fn it_waits_for_what_fails() => waits(Does::failing()).gets(Gets::Run(2)),
    fn it_waits_for_what_panics() => waits(Does::panicking()).gets(Gets::Run(2)),
    fn it_waits_for_a_tombstone() => waits(Does::stream([])).gets(Gets::Refusal(409)),
    fn it_waits_for_what_is_lost_behind_its_mark() => {
        waits(Does::panicking().committed()).gets(Gets::Refusal(409))
    },
    fn it_waits_for_an_owner_that_is_gone() => {
        Row::after(Before::Crashed, Does::kept()).waiting().gets(Gets::Run(2))
    },
    fn it_waits_in_vain() => {
        let slow = Does::kept().taking(Duration::from_secs(4));
        Row::after(Before::Running, slow)
            .by(|layer| layer.in_flight(InFlight::wait(Duration::from_secs(1))))
            .gets(Gets::Refusal(409))
    },
    fn its_service_gets_ready_a_little_later() => takes_over(Ready::After(Duration::from_millis(50))),
    fn its_service_gets_ready_after_its_lease() => takes_over(Ready::After(Duration::from_secs(4))),
    fn its_service_does_not_get_ready() => takes_over(Ready::Fails).gets(Gets::Failure),
    fn its_service_panics_while_it_gets_ready() => takes_over(Ready::Panics).gets(Gets::Panic),
}
