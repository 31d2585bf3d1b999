//! Renewals that fail, and that come late.

use tower_idempotency::Warning;

use super::*;
use crate::heard::Heard;
use crate::support::Guarded;

/// The warnings since the last look.
fn warnings(heard: &Heard) -> Vec<Warning> {
    let events = heard.take();
    events.iter().filter_map(|event| event.warning()).collect()
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_are_told_of_and_the_loss_of_the_lease_once() {
    for background in [false, true] {
        let (store, layer, handler) = world();
        let heard = Heard::default();
        let layer = match background {
            true => heard.of(layer).renew_in_background(),
            false => heard.of(layer),
        };
        let service = handler.held(&layer);
        store.next(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
        let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));

        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(warnings(&heard), [Warning::NotRenewed], "and then it was");
        store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
        tokio::time::sleep(Duration::from_secs(61)).await;

        let said = warnings(&heard);
        let lost = said.iter().filter(|said| **said == Warning::LeaseLost);
        assert_eq!(lost.count(), 1, "{said:?}");
        assert!(said.len() > 10, "each renewal is told of: {said:?}");
        handler.open();
        owner.await.unwrap().unwrap();
        assert_eq!(warnings(&heard), [], "nobody else has taken the record");
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_beyond_its_time_loses_its_lease_and_that_is_told() {
    for background in [false, true] {
        let (store, layer, handler) = world();
        let heard = Heard::default();
        let layer = heard.of(layer).max_execution(Duration::from_secs(45));
        let layer = match background {
            true => layer.renew_in_background(),
            false => layer,
        };
        let service = handler.held(&layer);
        let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
        tokio::time::sleep(Duration::from_secs(44)).await;
        assert_eq!((warnings(&heard), store.calls(Verb::Renew)), (vec![], 4));

        tokio::time::sleep(Duration::from_secs(30)).await;

        assert_eq!(warnings(&heard), [Warning::LeaseLost]);
        assert_eq!(store.calls(Verb::Renew), 4);
        assert!(!record(&layer).await.unwrap().is_live());
        handler.open();
        owner.await.unwrap().unwrap();
    }
}

/// A handler that sees time jump while nothing else of its task runs, and what it saw of its lease afterwards.
fn jumping(handler: &Handler, layer: &IdempotencyLayer<Arc<Scripted>>, jump: Duration) -> Guarded {
    handler.answering(
        layer,
        move |request: Request<RequestBody<Body>>| async move {
            // One poll moves the clock, and gives nobody else a turn.
            let _ = poll_once(&mut Box::pin(tokio::time::advance(jump)));
            let key = request.extensions().get::<Idempotency>().unwrap();
            created(&key.is_lease_lost().to_string())
        },
    )
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_was_blocked_finds_its_lease_lost_before_the_store_lets_it_go() {
    for (jump, lost) in [(28, false), (29, true)] {
        let (store, layer, handler) = world();
        // The store counts the lease from a second after it was asked for.
        store.next(Verb::Claim, Fault::SlowBefore(Duration::from_secs(1)));
        let service = jumping(&handler, &layer, Duration::from_secs(jump));

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(answer.text(), lost.to_string());
        assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
        assert_eq!(store.calls(Verb::Renew), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_blocks_its_thread_and_then_ends_at_once_is_told_of_too() {
    for (jump, told) in [(28, vec![]), (30, vec![Warning::LeaseLost])] {
        let (_, layer, handler) = world();
        let heard = Heard::default();
        let layer = heard.of(layer);
        let service = jumping(&handler, &layer, Duration::from_secs(jump));

        send(&service, keyed("k", "a")).await;

        assert_eq!(warnings(&heard), told);
    }
}
