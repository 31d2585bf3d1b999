//! Many retries at once of what was lost.

use super::*;

const MANY: usize = 50;

/// The answers to many retries, of which one asks.
async fn retries(provider: &Provider, service: &Guarded) -> Vec<Answer> {
    let retries = (0..MANY).map(|_| tokio::spawn(send(service, keyed("k", "x"))));
    let retries = retries.collect::<Vec<_>>();
    settle().await;
    assert_eq!(provider.asked(), 1);
    // Longer than two leases: they are renewed meanwhile.
    tokio::time::sleep(9 * SECOND).await;
    provider.open();
    let answers = join_all(retries).await;
    assert_eq!(provider.asked(), 1);
    answers.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn of_many_retries_one_asks_and_one_runs() {
    let provider = Provider::who_says([Says::Held, Says::NotDone]);
    let (handler, service) = service(&layer(Spy::new(), provider.on_lost()));
    lose(&service).await;

    let answers = retries(&provider, &service).await;

    let ran = |answer: &&Answer| answer.outcome == Outcome::Executed { recorded: true };
    assert_eq!(answers.iter().filter(ran).count(), 1);
    let refused = |answer: &&Answer| answer.outcome == Outcome::InProgress;
    assert_eq!(answers.iter().filter(refused).count(), MANY - 1);
    assert_eq!(handler.executions(), 2);
    assert_eq!(again(&service).await.text(), "attempt 2");
}

#[tokio::test(start_paused = true)]
async fn of_many_retries_that_wait_all_get_what_was_done() {
    let provider = Provider::who_says([Says::Held, Says::Done("charged")]);
    let layer = layer(Spy::new(), provider.on_lost()).in_flight(InFlight::wait(LONG));
    let (handler, service) = service(&layer);
    lose(&service).await;

    let answers = retries(&provider, &service).await;

    assert!(answers.iter().all(|answer| answer.text() == "charged"));
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_many_retries_that_wait_one_runs_and_all_get_its_answer() {
    let provider = Provider::who_says([Says::Held, Says::NotDone]);
    let layer = layer(Spy::new(), provider.on_lost()).in_flight(InFlight::wait(LONG));
    let (handler, service) = service(&layer);
    lose(&service).await;

    let answers = retries(&provider, &service).await;

    assert!(answers.iter().all(|answer| answer.text() == "attempt 2"));
    let replays = answers.iter().filter(|answer| answer.is_replay()).count();
    assert_eq!((replays, handler.executions()), (MANY - 1, 2));
}

#[tokio::test(start_paused = true)]
async fn of_those_who_wait_for_a_hook_that_fails_the_next_one_asks() {
    let provider = Provider::who_says([Says::Held, Says::Fails, Says::Done("charged")]);
    let layer = layer(Spy::new(), provider.on_lost()).in_flight(InFlight::wait(LONG));
    let (_, service) = service(&layer);
    lose(&service).await;
    let first = tokio::spawn(send(&service, keyed("k", "x")));
    settle().await;
    let others = join_all((0..MANY).map(|_| send(&service, keyed("k", "x"))));

    let open = async {
        settle().await;
        provider.open();
    };
    let (first, others, ()) = tokio::join!(first, others, open);

    assert_eq!(first.unwrap().code(), "idempotency_reconcile_failed");
    assert!(others.iter().all(|answer| answer.text() == "charged"));
    assert_eq!(provider.asked(), 2);
}
