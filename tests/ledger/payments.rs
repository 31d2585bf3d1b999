//! Payments, and what a provider may do to them.

use futures_util::future::join_all;

use crate::world::Ledger;

#[tokio::test]
async fn a_payment_is_charged_once() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    let first = ledger.pay("pay", account, 700, "visa").await;
    let again = ledger.pay("pay", account, 700, "visa").await;

    first.is_first(201);
    again.replays(&first, "pay");
    assert_eq!(
        (ledger.charges().await, ledger.cents(account).await),
        (1, 700)
    );
    ledger.balances(1, 700).await;
}

#[tokio::test]
async fn many_at_once_are_one() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    let all = join_all((0..8).map(|_| ledger.pay("pay", account, 700, "slow"))).await;

    let (replays, firsts): (Vec<_>, Vec<_>) = all.iter().partition(|reply| reply.is_replay());
    assert_eq!(firsts.len(), 1);
    firsts[0].is_first(201);
    for replay in replays {
        replay.replays(firsts[0], "pay");
    }
    ledger.balances(1, 700).await;
}

#[tokio::test]
async fn a_declined_card_is_kept() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    let first = ledger.pay("pay", account, 700, "declined").await;
    let again = ledger.pay("pay", account, 700, "declined").await;

    first.is_first(402);
    again.replays(&first, "pay");
    assert_eq!(ledger.charges().await, 1);
    ledger.balances(0, 0).await;
}

#[tokio::test]
async fn nothing_is_charged_for_what_is_refused() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    for (key, account, cents, status) in [("none", account, 0, 400), ("nobody", 77, 700, 404)] {
        let first = ledger.pay(key, account, cents, "visa").await;
        first.is_first(status);
        ledger
            .pay(key, account, cents, "visa")
            .await
            .replays(&first, key);
    }

    assert_eq!(ledger.charges().await, 0);
}

#[tokio::test]
async fn a_provider_that_charges_and_never_says_so_charges_once() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    ledger
        .pay("pay", account, 700, "silent")
        .await
        .is_first(502);
    assert_eq!(
        (ledger.charges().await, ledger.cents(account).await),
        (1, 0)
    );
    assert!(
        ledger
            .books()
            .await
            .contains("PROBLEM: a charge of 700 cents was not booked")
    );
    let retried = ledger.pay("pay", account, 700, "silent").await;

    retried.is_first(201);
    ledger
        .pay("pay", account, 700, "silent")
        .await
        .replays(&retried, "pay");
    assert_eq!(ledger.charges().await, 1);
    ledger.balances(1, 700).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    ledger
        .pay("pay", account, 700, "failing")
        .await
        .is_first(502);
    assert_eq!(ledger.charges().await, 0);
    ledger
        .pay("pay", account, 700, "failing")
        .await
        .is_first(201);

    ledger.balances(1, 700).await;
}

#[tokio::test]
async fn a_provider_that_was_killed_remembers() {
    let mut ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    ledger
        .pay("pay", account, 700, "silent")
        .await
        .is_first(502);
    let address = ledger.kill_provider().await;
    ledger
        .pay("pay", account, 700, "silent")
        .await
        .is_first(502);
    ledger.start_provider(&address).await;
    ledger
        .pay("pay", account, 700, "silent")
        .await
        .is_first(201);

    assert_eq!(ledger.charges().await, 1);
    ledger.balances(1, 700).await;
}

#[tokio::test]
async fn a_charge_that_is_recorded_needs_no_provider() {
    let mut ledger = Ledger::start().await;
    let account = ledger.account("account").await;
    ledger
        .sql("ALTER TABLE payment ADD CONSTRAINT broken CHECK (cents <> 700)")
        .await;

    // Charged, recorded as a step, and not booked.
    ledger.pay("pay", account, 700, "visa").await.is_first(503);
    assert_eq!(ledger.cents(account).await, 0);
    ledger
        .sql("ALTER TABLE payment DROP CONSTRAINT broken")
        .await;
    let address = ledger.kill_provider().await;
    let retried = ledger.pay("pay", account, 700, "visa").await;

    retried.is_first(201);
    ledger.start_provider(&address).await;
    assert_eq!(ledger.charges().await, 1);
    ledger.balances(1, 700).await;
}
