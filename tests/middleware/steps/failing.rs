//! Steps that fail, and stores that fail under them.

use tower_idempotency::{Claim, Completed, Owner};

use super::*;
use crate::spy::Spy;

#[tokio::test(start_paused = true)]
async fn an_error_is_not_recorded() {
    let service = stepping(&IdempotencyLayer::default(), |key, execution| async move {
        let work = async || match execution {
            1 => Err("declined"),
            number => Ok(number),
        };
        told(key.try_step("charge", work).await)
    });

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.text()), ("Failed(\"declined\")", "2"));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panicked_or_was_dropped_runs_again() {
    let service = stepping(&IdempotencyLayer::default(), |key, execution| async move {
        let work = async || {
            match execution {
                1 => std::panic::resume_unwind(Box::new("step")),
                2 => std::future::pending().await,
                _ => {}
            }
            execution
        };
        match tokio::time::timeout(SECOND, key.step("charge", work)).await {
            Ok(step) => told(step),
            Err(_) => failed(),
        }
    });

    let first = tokio::spawn(service.clone().oneshot(keyed("k", "x"))).await;
    let second = send(&service, keyed("k", "x")).await;
    let third = send(&service, keyed("k", "x")).await;

    assert!(first.is_err());
    assert_eq!((second.text(), third.text()), ("failed", "3"));
}

#[tokio::test(start_paused = true)]
async fn one_name_is_for_one_type() {
    let service = stepping(&IdempotencyLayer::default(), |key, execution| async move {
        if execution == 1 {
            let number = key.step("a", async || 7_u32).await;
            let other = key.step("a", async || 7_i64).await;
            assert!(matches!(number, Ok(7)));
            return told(other);
        }
        // A release in which the step has changed.
        told(key.step("a", async || "seven".to_owned()).await)
    });

    let [first, second] = [
        send(&service, keyed("k", "x")).await,
        send(&service, keyed("k", "x")).await,
    ];

    assert_eq!((first.text(), second.text()), ("OtherType", "OtherType"));
}

#[tokio::test(start_paused = true)]
async fn a_freed_key_with_other_parameters_does_not_get_the_value() {
    let provider = Provider::default();
    let charges = provider.clone();
    let service = stepping(&IdempotencyLayer::default(), move |key, execution| {
        let provider = provider.clone();
        async move {
            let step = key.step("a", async || provider.charge()).await;
            if execution == 1 { failed() } else { told(step) }
        }
    });

    send(&service, plain("k", "1 Euro")).await;
    let other = send(&service, plain("k", "2 Euro")).await;
    let first = send(&service, plain("k", "1 Euro")).await;

    assert_eq!((other.text(), first.text()), ("OtherRequest", "1"));
    assert_eq!(charges.charges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_too_large_is_told_of_and_the_step_is_not_run_again() {
    // Two quotes are part of the JSON.
    for (length, said) in [(98, "Ok"), (99, "TooLarge")] {
        let provider = Provider::default();
        let charges = provider.clone();
        let layer = IdempotencyLayer::default().max_kept_response(100);
        let service = stepping(&layer, move |key, _| {
            let provider = provider.clone();
            async move {
                let work = async || {
                    provider.charge();
                    "x".repeat(length)
                };
                let step = key.step("a", work).await;
                let mut response = told(step.map(|_| "Ok"));
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
                response
            }
        });

        for _ in 0..2 {
            assert_eq!(send(&service, keyed("k", "x")).await.text(), said);
        }
        assert_eq!(charges.charges(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_no_json_is_told_of_and_the_step_is_not_run_again() {
    let provider = Provider::default();
    let charges = provider.clone();
    let service = stepping(&IdempotencyLayer::default(), move |key, _| {
        let provider = provider.clone();
        async move {
            let work = async || {
                provider.charge();
                std::collections::BTreeMap::from([(vec![1], 1)])
            };
            told(key.step("a", work).await.map(|_| "Ok"))
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert!(first.text().starts_with("Value("), "{}", first.text());
    assert_eq!((second.text(), charges.charges()), ("TooLarge", 1));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_read_again_is_told_of_at_once() {
    let service = stepping(&IdempotencyLayer::default(), |key, execution| async move {
        let step = key.step("a", async || (execution, f64::NAN)).await;
        let told = match step {
            Ok(_) => "a value",
            Err(StepError::Value(_)) => "no JSON",
            Err(StepError::TooLarge) => "is done",
            Err(_) => "another error",
        };
        let mut response = created(told);
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    });

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.text()), ("no JSON", "is done"));
}

/// A type that does not write all that it is.
#[derive(serde::Serialize, serde::Deserialize)]
struct Receipt {
    number: u32,
    #[serde(skip)]
    note: String,
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_has_the_value_that_later_ones_have() {
    let service = stepping(&IdempotencyLayer::default(), |key, number| async move {
        let note = "noted".to_owned();
        let work = async || Receipt { number, note };
        let receipt = key.step("a", work).await.unwrap();
        let mut response = created(&format!("{} {:?}", receipt.number, receipt.note));
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    });

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.text()), ("1 \"\"", "1 \"\""));
}

#[tokio::test(start_paused = true)]
async fn where_the_store_fails_first_the_work_is_not_run() {
    let store = Scripted::new();
    let (scripted, provider) = (store.clone(), Provider::default());
    let charges = provider.clone();
    let service = stepping(
        &IdempotencyLayer::new(store.clone()),
        move |key, execution| {
            let (store, provider) = (scripted.clone(), provider.clone());
            async move {
                if execution == 1 {
                    store.always(Verb::Claim, Fault::Before(StoreErrorKind::NotApplied));
                }
                let step = key.step("a", async || provider.charge()).await;
                store.heal();
                told(step)
            }
        },
    );

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.text()), ("Store(\"scripted\")", "1"));
    assert_eq!(charges.charges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_applied_and_not_answered_is_given_back() {
    let store = Scripted::new();
    let scripted = store.clone();
    let service = stepping(
        &IdempotencyLayer::new(store.clone()),
        move |key, execution| {
            let store = scripted.clone();
            async move {
                if execution == 1 {
                    store.always(Verb::Claim, Fault::After(StoreErrorKind::Ambiguous));
                }
                let step = key.step("a", async || execution).await;
                store.heal();
                told(step)
            }
        },
    );

    let first = send(&service, keyed("k", "x")).await;
    tokio::time::sleep(SECOND).await;
    let start = tokio::time::Instant::now();
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.text()), ("Store(\"scripted\")", "2"));
    // It did not have to wait for the end of a lease.
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_the_store_did_not_take_is_recorded_later() {
    let store = Scripted::new();
    let (scripted, provider) = (store.clone(), Provider::default());
    let charges = provider.clone();
    let service = stepping(
        &IdempotencyLayer::new(store.clone()),
        move |key, execution| {
            let (store, provider) = (scripted.clone(), provider.clone());
            async move {
                if execution == 1 {
                    store.next(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
                }
                told(key.step("a", async || provider.charge()).await)
            }
        },
    );

    let first = send(&service, keyed("k", "x")).await;
    tokio::time::sleep(SECOND).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.text()), ("NotRecorded", "1"));
    assert_eq!(charges.charges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_room_is_told_of() {
    let layer = IdempotencyLayer::new(MemoryStore::new().max_records(1));
    let service = stepping(&layer, |key, _| async move {
        told(key.step("a", async || 1).await)
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "Full");
}

#[tokio::test(start_paused = true)]
async fn without_protection_there_are_no_steps() {
    let store = Scripted::new();
    store.always(Verb::Claim, Fault::Before(StoreErrorKind::NotApplied));
    let layer = IdempotencyLayer::new(store).on_store_error(OnStoreError::RunUnprotected);
    let service = stepping(&layer, |key, _| async move {
        told(key.step("a", async || 1).await)
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "Unprotected");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_read_is_not_taken_for_an_absent_one() {
    let spy = Spy::new();
    let service = stepping(
        &IdempotencyLayer::new(spy.clone()),
        |key, execution| async move {
            let step = key.step("a", async || 1).await;
            if execution == 1 { failed() } else { told(step) }
        },
    );
    send(&service, keyed("k", "x")).await;
    // The record of the step, written by something else.
    let step = spy.claims().pop().unwrap();
    spy.forget(step.key(), true).await.unwrap();
    let Claim::Owned(owned) = spy.claim(&step).await.unwrap() else {
        panic!("it is there again");
    };
    let owner = Owner::new(*step.key(), owned.fence(), step.claim_id());
    let garbage = Completed::new("garbage".into(), "garbage".into(), 60 * SECOND);
    spy.complete(&owner, &garbage).await.unwrap();

    let answer = send(&service, keyed("k", "x")).await;

    assert_eq!(
        answer.text(),
        "Store(\"the record of the step cannot be read\")"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_another_release_has_begun_is_begun_again() {
    let layer = IdempotencyLayer::default();
    let service = stepping(&layer, |key, execution| async move {
        told(key.step("a", async || execution).await)
    });
    let (parts, _) = keyed("k", "x").into_parts();
    let step = layer.record_key_for(&parts, "k").unwrap().step("a");
    let other = Fingerprint::from_parts(7, [7; 32]);
    let claim = ClaimRequest::new(
        step,
        ClaimId::from_bytes([7; 16]),
        other,
        SECOND,
        3600 * SECOND,
    );
    let claimed = layer.store().claim(&claim).await.unwrap();
    assert!(matches!(claimed, Claim::Owned(_)));

    let answer = tokio::time::timeout(60 * SECOND, send(&service, keyed("k", "x"))).await;

    assert_eq!(answer.expect("it does not wait for ever").text(), "1");
}

/// In a slow store, at each of its calls.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_dropped_does_not_keep_the_next_attempt_waiting() {
    for slow in [Verb::Claim, Verb::Complete, Verb::Abandon] {
        let store = Scripted::new();
        let slowing = store.clone();
        let service = stepping(&IdempotencyLayer::new(store), move |key, execution| {
            let store = slowing.clone();
            async move {
                if execution == 1 {
                    store.always(slow, Fault::SlowBefore(SECOND / 2));
                    let work = async || {
                        if matches!(slow, Verb::Abandon) {
                            std::future::pending::<()>().await;
                        }
                        execution
                    };
                    let step = tokio::time::timeout(SECOND / 4, key.step("a", work)).await;
                    assert!(step.is_err());
                    // Those of the operation itself are no concern of this test.
                    store.heal();
                    return failed();
                }
                told(key.step("a", async || execution).await)
            }
        });

        send(&service, keyed("k", "x")).await;
        tokio::time::sleep(SECOND).await;
        let begun = tokio::time::Instant::now();
        let second = send(&service, keyed("k", "x")).await;

        let value = if matches!(slow, Verb::Complete) {
            "1"
        } else {
            "2"
        };
        assert_eq!(second.text(), value, "{slow:?}");
        assert!(begun.elapsed() < SECOND, "{slow:?} {:?}", begun.elapsed());
    }
}
