//! The suite notices what is wrong with a store, and finds nothing where nothing is.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tower_idempotency::conformance::{Candidate, Clock, all};

use crate::reference::Reference;
use crate::wrong::{Flaw, Wrong};

fn candidate(flaw: Option<Flaw>, right: fn() -> Reference) -> Candidate<Wrong> {
    Candidate::new(move || Wrong::new(right(), flaw))
        .quota(move |records: usize| Wrong::new(right().quota(records), flaw))
        .room(move |records: usize| Wrong::new(right().room(records), flaw))
        .limit(move |bytes: usize| Wrong::new(right().limit(bytes), flaw))
        .corrupt(async |store: &Wrong, key| store.corrupt(key))
}

/// What an obligation says of the reference store with this flaw.
fn verdict(
    flaw: Option<Flaw>,
    follows_tokio: bool,
    (part, name): (&str, &str),
) -> Result<(), String> {
    let right = if follows_tokio {
        Reference::new
    } else {
        Reference::by_its_own_clock
    };
    let (candidate, clock) = (
        candidate(flaw, right),
        Clock::that_follows_tokio(follows_tokio),
    );
    let examined = catch_unwind(AssertUnwindSafe(|| candidate.check(&clock, part, name)));
    examined.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default()
    })
}

#[test]
fn every_obligation_has_a_store_that_breaks_it() {
    let obligations: BTreeSet<_> = all().map(|all| (all.part(), all.name())).collect();
    let broken = Flaw::ALL
        .iter()
        .map(|(_, part, name)| (*part, *name))
        .collect::<BTreeSet<_>>();

    assert_eq!(
        obligations.difference(&broken).collect::<Vec<_>>(),
        Vec::<&(&str, &str)>::new()
    );
    assert_eq!(
        broken.difference(&obligations).collect::<Vec<_>>(),
        Vec::<&(&str, &str)>::new()
    );
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for obligation in all() {
        let said = verdict(None, true, (obligation.part(), obligation.name()));

        assert_eq!(said, Ok(()), "{}::{}", obligation.part(), obligation.name());
    }
}

#[test]
fn every_flaw_is_noticed_by_the_obligation_that_it_breaks() {
    let missed = Flaw::ALL
        .iter()
        .filter(|(flaw, part, name)| verdict(Some(*flaw), true, (part, name)).is_ok());

    assert_eq!(
        missed.collect::<Vec<_>>(),
        Vec::<&(Flaw, &str, &str)>::new()
    );
}

/// So that none is noticed only because its store does nothing at all.
#[test]
fn every_flaw_leaves_a_store_that_does_something_right() {
    const SIMPLE: [(&str, &str); 2] = [
        ("completing", "a_payload_is_kept_byte_for_byte"),
        ("forgetting", "an_unknown_record_cannot_be_forgotten"),
    ];
    for (flaw, ..) in Flaw::ALL {
        let mut said = SIMPLE
            .iter()
            .map(|simple| verdict(Some(*flaw), true, *simple));

        assert!(said.any(|said| said.is_ok()), "{flaw:?} does nothing right");
    }
}

#[test]
fn every_flaw_is_noticed_by_a_real_clock_too() {
    // Of moments that are shorter than what a real clock is allowed.
    const TOO_FINE: [Flaw; 2] = [Flaw::TakesOverAMomentTooEarly, Flaw::TakesOverLate];
    let flaws = || {
        Flaw::ALL
            .iter()
            .filter(|(flaw, ..)| !TOO_FINE.contains(flaw))
    };

    // Side by side: they sleep most of the time.
    let missed = thread::scope(|scope| {
        let verdicts = flaws().map(|(flaw, part, name)| {
            let verdict = scope.spawn(move || verdict(Some(*flaw), false, (part, name)));
            (flaw, verdict)
        });
        let verdicts: Vec<_> = verdicts.collect();
        let missed = verdicts.into_iter().filter_map(|(flaw, verdict)| {
            let verdict = verdict.join().expect("a panic is a verdict");
            verdict.is_ok().then_some(flaw)
        });
        missed.collect::<Vec<_>>()
    });

    assert_eq!(missed, Vec::<&Flaw>::new());
}

#[test]
fn a_clock_is_found_out_at_the_first_obligation() {
    for (right, follows_tokio) in [
        (Reference::new as fn() -> Reference, true),
        (Reference::by_its_own_clock, false),
    ] {
        let clock = Clock::new();

        candidate(None, right).check(&clock, "fencing", "fences_increase_across_release");

        let known = Clock::that_follows_tokio(follows_tokio);
        assert_eq!(format!("{clock:?}"), format!("{known:?}"));
    }
}

/// How many stores are made until an obligation has its verdict, and whether that is a good one.
fn stores_for(
    wrong: impl Fn(usize) -> Wrong + 'static,
    follows_tokio: bool,
    name: &str,
) -> (usize, bool) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let candidate = Candidate::new(move || wrong(count.fetch_add(1, Ordering::SeqCst)));
    let clock = Clock::that_follows_tokio(follows_tokio);
    let check = || candidate.check(&clock, "claiming", name);
    let passed = catch_unwind(AssertUnwindSafe(check)).is_ok();
    (made.load(Ordering::SeqCst), passed)
}

#[test]
fn a_failure_counts_at_once_where_the_store_is_quick() {
    let wrong = |_| Wrong::new(Reference::new(), Some(Flaw::CountsToTwo));

    let name = "taking_over_counts_the_attempt_and_keeps_the_rest";
    assert_eq!(stores_for(wrong, true, name), (1, false));
}

/// Longer than a lease.
const SLOW: Duration = Duration::from_millis(700);

#[test]
fn a_failure_does_not_count_where_the_store_is_slow() {
    let wrong = |number| {
        let slow = if number == 0 { SLOW } else { Duration::ZERO };
        Wrong::new(Reference::by_its_own_clock(), None).slow(slow)
    };

    let (stores, passed) = stores_for(wrong, false, "a_live_record_is_returned_as_it_is");
    assert!(passed && stores > 1, "{stores} stores");
}

#[test]
fn a_failure_counts_in_the_end_where_the_store_is_always_slow() {
    let wrong = |_| Wrong::new(Reference::by_its_own_clock(), None).slow(SLOW);

    let name = "a_new_record_is_the_first_attempt_with_its_whole_lease";
    assert_eq!(stores_for(wrong, false, name), (4, false));
}
