//! Stores that panic: a defect of theirs costs a record and never a handler or its answer.

use tower_idempotency::InFlight;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_renewals_does_not_cut_the_handler_off() {
    let (store, layer, handler) = world();
    let service = handler.answering(&layer, |_| async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        created("done")
    });
    store.always(Verb::Renew, Fault::Panic);

    let answer = send(&service, keyed("k", "a")).await;

    assert!(store.calls(Verb::Renew) >= 1);
    assert_eq!(
        (answer.text(), answer.outcome),
        ("done", Outcome::Executed { recorded: true })
    );
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn renewals_that_panicked_are_repeated_like_those_that_failed() {
    let (store, layer, handler) = world();
    let service = handler.held(&layer);
    for _ in 0..4 {
        store.next(Verb::Renew, Fault::Panic);
    }
    let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));

    tokio::time::sleep(Duration::from_secs(40)).await;

    assert!(record(&layer).await.unwrap().is_live());
    handler.open();
    let answer = read(owner.await.unwrap().unwrap()).await;
    assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_settling_costs_the_record_and_never_the_answer() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    for _ in 0..3 {
        store.next(Verb::Complete, Fault::Panic);
    }

    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (201, "execution 1")
    );
    assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
    assert_eq!(store.calls(Verb::Complete), 1);
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(store.calls(Verb::Complete), 4);
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_release_costs_the_key_and_never_the_answer() {
    let (store, layer, handler) = world();
    let service = handler.statuses(&layer, &[500, 201]);
    store.next(Verb::Release, Fault::Panic);

    assert_eq!(send(&service, keyed("k", "a")).await.status, 500);

    assert_eq!(
        send(&service, keyed("k", "a")).await.outcome,
        Outcome::InProgress
    );
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    assert_eq!(handler.last_attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_the_claim_refuses_the_request() {
    for fault in [Fault::Panic, Fault::PanicAfter] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        for _ in 0..3 {
            store.next(Verb::Claim, fault);
        }

        let refused = send(&service, keyed("k", "a")).await;

        assert_eq!(refused.code(), "idempotency_store_unavailable");
        assert_eq!(layer.drain(LONG).await.left, 0);
        assert_eq!((handler.executions(), store.calls(Verb::Claim)), (0, 4));
        assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_while_it_is_watched_does_not_cut_off_who_waits() {
    let (store, layer, handler) = world();
    let layer = layer.in_flight(InFlight::wait(LONG));
    let service = handler.held(&layer);
    store.always(Verb::Settled, Fault::Panic);
    let first = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
    settle().await;
    let waiters = [(); 3].map(|()| tokio::spawn(send(&service, keyed("k", "a"))));
    settle().await;
    assert!(store.calls(Verb::Settled) >= 1);

    handler.open();

    assert_eq!(first.await.unwrap().unwrap().status(), 201);
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_replay());
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_mark_does_not_cut_the_handler_off() {
    for panics in [1, 2] {
        let (store, layer, handler) = world();
        let service = handler.answering(&layer, |request| async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            match key.point_of_no_return().await {
                Ok(()) => created("marked"),
                Err(lost) => created(&lost.to_string()),
            }
        });
        for _ in 0..panics {
            store.next(Verb::Renew, Fault::Panic);
        }

        let answer = send(&service, keyed("k", "a")).await;

        let told = ["marked", "the store did not confirm the mark in time"][panics - 1];
        assert_eq!(answer.text(), told);
        assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
    }
}
