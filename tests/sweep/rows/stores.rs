//! Requests beside a store that fails, verb by verb: not applied, applied all the same, hanging, panicking; until
//! the request has gone, or for good.

use std::time::Duration;

use tower_idempotency::{InFlight, OnStoreError, StoreErrorKind};

use super::rows;
use crate::model::End;
use crate::row::{Before, Does, Gets, Row};
use crate::scripted::{Fault, Verb};
use crate::world::{LONG, Layer};

const NOT_APPLIED: Fault = Fault::Before(StoreErrorKind::NotApplied);
const AMBIGUOUS: Fault = Fault::Before(StoreErrorKind::Ambiguous);
const APPLIED: Fault = Fault::After(StoreErrorKind::Ambiguous);
const FATAL: Fault = Fault::Before(StoreErrorKind::Fatal);
const UNREADABLE: Fault = Fault::Before(StoreErrorKind::Unreadable);
const SLOW: Fault = Fault::SlowAfter(Duration::from_millis(100));
const HANGS: Fault = Fault::SlowBefore(Duration::from_secs(24 * 60 * 60));
const HANGS_APPLIED: Fault = Fault::SlowAfter(Duration::from_secs(24 * 60 * 60));
const SHORT_LEASE: Fault = Fault::LeaseLeft(Duration::from_millis(500));

/// Whoever waits finds the outcome that is waited for unsettled, and is not refused for it.
fn waiting_beside_unsettled(layer: Layer) -> Layer {
    layer
        .in_flight(InFlight::wait(LONG / 3))
        .max_unsettled(2)
        .max_unsettled_bytes(1_000)
}

mod claim {
    use super::*;

    fn claiming() -> Row {
        Row::of(Does::kept())
    }

    fn unavailable(fault: Fault) -> Row {
        claiming()
            .always(Verb::Claim, fault)
            .gets(Gets::Refusal(503))
    }

    fn unprotected(fault: Fault) -> Row {
        claiming()
            // Half of what may be detached are claims that are given back.
            .by(|layer| {
                layer
                    .on_store_error(OnStoreError::RunUnprotected)
                    .max_detached(4)
            })
            .always(Verb::Claim, fault)
            .ends_as(End::Freed)
    }

    rows! {
        fn slow() => claiming().once(Verb::Claim, SLOW),
        fn not_applied_once() => claiming().once(Verb::Claim, NOT_APPLIED),
        fn not_applied() => unavailable(NOT_APPLIED),
        fn not_applied_for_good() => unavailable(NOT_APPLIED).for_good(),
        fn ambiguous() => unavailable(AMBIGUOUS),
        fn applied_once() => claiming().once(Verb::Claim, APPLIED),
        fn applied() => unavailable(APPLIED),
        fn applied_for_good() => unavailable(APPLIED).for_good().lapses(),
        fn fatal() => unavailable(FATAL),
        fn unreadable() => unavailable(UNREADABLE),
        fn hanging_once() => claiming().once(Verb::Claim, HANGS).gets(Gets::Refusal(503)),
        fn hanging() => unavailable(HANGS),
        fn hanging_for_good() => unavailable(HANGS).for_good(),
        fn applied_and_hanging_once() => {
            claiming().once(Verb::Claim, HANGS_APPLIED).gets(Gets::Refusal(503))
        },
        fn applied_and_hanging() => unavailable(HANGS_APPLIED).lapses(),
        fn applied_and_hanging_for_good() => unavailable(HANGS_APPLIED).for_good().lapses(),
        fn panicking_once() => claiming().once(Verb::Claim, Fault::Panic),
        fn panicking() => unavailable(Fault::Panic),
        fn applied_and_panicking_once() => claiming().once(Verb::Claim, Fault::PanicAfter),
        fn applied_and_panicking() => unavailable(Fault::PanicAfter),
        fn applied_and_panicking_for_good() => unavailable(Fault::PanicAfter).for_good().lapses(),
        fn with_a_short_lease() => claiming().once(Verb::Claim, SHORT_LEASE),
        fn with_a_short_lease_that_is_not_renewed() => {
            claiming()
                .once(Verb::Claim, SHORT_LEASE)
                .always(Verb::Renew, NOT_APPLIED)
                .gets(Gets::Refusal(503))
        },
        fn with_a_short_lease_that_cannot_be_given_back() => {
            claiming()
                .once(Verb::Claim, SHORT_LEASE)
                .always(Verb::Renew, NOT_APPLIED)
                .always(Verb::Release, NOT_APPLIED)
                .for_good()
                .lapses()
                .gets(Gets::Refusal(503))
        },
        fn of_a_second_attempt_applied() => {
            Row::after(Before::Lapsed, Does::kept())
                .always(Verb::Claim, APPLIED)
                .gets(Gets::Refusal(503))
        },
        fn unprotected_not_applied() => unprotected(NOT_APPLIED),
        fn unprotected_applied() => unprotected(APPLIED),
        fn unprotected_hanging() => unprotected(HANGS),
        fn unprotected_applied_and_hanging_for_good() => {
            unprotected(HANGS_APPLIED).for_good().lapses()
        },
    }
}

mod renew {
    use super::*;

    /// An execution that has to be renewed, often.
    fn renewing(fault: Fault) -> Row {
        Row::of(Does::kept().taking(Duration::from_secs(4))).always(Verb::Renew, fault)
    }

    fn marking(fault: Fault) -> Row {
        Row::of(Does::kept().committed()).always(Verb::Renew, fault)
    }

    rows! {
        fn not_applied_once() => {
            Row::of(Does::kept().taking(Duration::from_secs(4))).once(Verb::Renew, NOT_APPLIED)
        },
        fn not_applied() => renewing(NOT_APPLIED),
        fn not_applied_for_good() => renewing(NOT_APPLIED).for_good(),
        fn applied() => renewing(APPLIED).for_good(),
        fn hanging() => renewing(HANGS).for_good(),
        fn applied_and_hanging() => renewing(HANGS_APPLIED).for_good(),
        fn panicking() => renewing(Fault::Panic).for_good(),
        fn of_what_fails() => {
            Row::of(Does::failing().taking(Duration::from_secs(4)))
                .always(Verb::Renew, NOT_APPLIED)
                .for_good()
                .gets(Gets::Failure)
        },
        fn a_mark_once() => Row::of(Does::kept().committed()).once(Verb::Renew, NOT_APPLIED),
        fn a_mark_applied_once() => Row::of(Does::kept().committed()).once(Verb::Renew, APPLIED),
        fn a_mark_not_applied() => {
            marking(NOT_APPLIED).for_good().lapses().ends_as(End::Lost).gets(Gets::Status(503))
        },
        fn a_mark_applied() => {
            marking(APPLIED).for_good().lapses().ends_as(End::Unknown).gets(Gets::Status(503))
        },
        fn a_mark_hanging() => {
            marking(HANGS).for_good().lapses().ends_as(End::Lost).gets(Gets::Status(503))
        },
    }
}

mod complete {
    use super::*;

    fn completing(fault: Fault) -> Row {
        Row::of(Does::kept()).always(Verb::Complete, fault)
    }

    rows! {
        fn slow() => completing(SLOW),
        fn not_applied_once() => Row::of(Does::kept()).once(Verb::Complete, NOT_APPLIED),
        fn not_applied() => completing(NOT_APPLIED),
        fn not_applied_for_good() => completing(NOT_APPLIED).for_good().lapses().ends_as(End::Lost),
        fn applied() => completing(APPLIED).for_good(),
        fn hanging() => completing(HANGS),
        fn hanging_for_good() => completing(HANGS).for_good().lapses().ends_as(End::Lost),
        fn applied_and_hanging() => completing(HANGS_APPLIED).for_good(),
        fn panicking() => completing(Fault::Panic),
        fn panicking_for_good() => completing(Fault::Panic).for_good().lapses().ends_as(End::Lost),
        fn applied_and_panicking() => completing(Fault::PanicAfter).for_good(),
        fn of_a_stream() => {
            Row::of(Does::stream([])).always(Verb::Complete, NOT_APPLIED)
        },
        fn of_what_is_committed_for_good() => {
            Row::of(Does::kept().committed())
                .always(Verb::Complete, NOT_APPLIED)
                .for_good()
                .lapses()
                .ends_as(End::Unknown)
        },
        fn and_renew() => completing(NOT_APPLIED).always(Verb::Renew, NOT_APPLIED),
        fn and_renew_for_good() => {
            completing(NOT_APPLIED)
                .always(Verb::Renew, NOT_APPLIED)
                .for_good()
                .lapses()
                .ends_as(End::Lost)
        },
        fn of_what_is_waited_for() => {
            let does = Does::kept().taking(Duration::from_millis(50));
            Row::after(Before::Running, does)
                .once(Verb::Complete, NOT_APPLIED)
                .by(waiting_beside_unsettled)
                .gets(Gets::Replay(1))
        },
    }
}

mod abandon {
    use super::*;

    fn abandoning(fault: Fault) -> Row {
        Row::of(Does::failing())
            .always(Verb::Abandon, fault)
            .gets(Gets::Failure)
    }

    rows! {
        fn slow() => abandoning(SLOW),
        fn not_applied() => abandoning(NOT_APPLIED),
        fn not_applied_for_good() => abandoning(NOT_APPLIED).for_good().lapses(),
        fn applied() => abandoning(APPLIED).for_good(),
        fn hanging() => abandoning(HANGS).for_good().lapses(),
        fn applied_and_hanging() => abandoning(HANGS_APPLIED).for_good(),
        fn panicking() => abandoning(Fault::Panic).for_good().lapses(),
        fn applied_and_panicking() => abandoning(Fault::PanicAfter).for_good(),
        fn behind_a_panic() => {
            Row::of(Does::panicking())
                .always(Verb::Abandon, Fault::Panic)
                .gets(Gets::Panic)
        },
        fn behind_a_mark() => {
            Row::of(Does::failing().committed())
                .always(Verb::Abandon, NOT_APPLIED)
                .for_good()
                .lapses()
                .gets(Gets::Failure)
        },
        fn of_what_is_waited_for() => {
            let does = Does::failing().taking(Duration::from_millis(50));
            Row::after(Before::Running, does)
                .always(Verb::Abandon, NOT_APPLIED)
                .for_good()
                .lapses()
                .by(waiting_beside_unsettled)
                .gets(Gets::Run(2))
        },
    }
}

mod release {
    use super::*;

    fn releasing(fault: Fault) -> Row {
        Row::of(Does::freed())
            .always(Verb::Release, fault)
            .gets(Gets::Status(500))
    }

    rows! {
        fn slow() => releasing(SLOW),
        fn not_applied() => releasing(NOT_APPLIED),
        fn not_applied_for_good() => releasing(NOT_APPLIED).for_good().lapses().ends_as(End::Lost),
        fn applied() => releasing(APPLIED).for_good(),
        fn hanging() => releasing(HANGS).for_good().lapses().ends_as(End::Lost),
        fn applied_and_hanging() => releasing(HANGS_APPLIED).for_good(),
        fn panicking() => releasing(Fault::Panic).for_good().lapses().ends_as(End::Lost),
        fn applied_and_panicking() => releasing(Fault::PanicAfter).for_good(),
    }
}

mod settled {
    use super::*;

    fn waiting(fault: Fault) -> Row {
        let does = Does::kept().taking(Duration::from_millis(50));
        Row::after(Before::Running, does)
            .waiting()
            .always(Verb::Settled, fault)
            .gets(Gets::Replay(1))
    }

    rows! {
        fn early() => waiting(Fault::Early),
        fn late() => waiting(Fault::SlowBefore(Duration::from_secs(1))),
        fn hanging() => waiting(HANGS),
        fn panicking() => waiting(Fault::Panic),
        fn panicking_once() => {
            let does = Does::freed().taking(Duration::from_millis(50));
            Row::after(Before::Running, does)
                .waiting()
                .once(Verb::Settled, Fault::Panic)
                .gets(Gets::Run(2))
        },
    }
}
