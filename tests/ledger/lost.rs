//! Attempts that were lost: the API is killed between the charge and the books, and the provider is asked.

use crate::support::{Reply, eventually};
use crate::world::Ledger;

/// A ledger whose API was killed while a payment by this card was at the provider, which has decided on it.
async fn lost(card: &str) -> (Ledger, i64) {
    let mut ledger = Ledger::start().await;
    let account = ledger.account("account").await;
    let body = serde_json::json!({ "account": account, "cents": 700, "card": card });
    let payment = ledger.post("alice", "/v1/payments", "pay", &body);
    tokio::select! {
        reply = payment.try_send() => panic!("it was answered: {reply:?}"),
        () = ledger.charged(1) => {}
    }
    ledger.kill_api().await;
    ledger.start_api().await;
    (ledger, account)
}

/// The first answer that is none of the layer's while the lost attempt still has its lease.
async fn retried(ledger: &Ledger, account: i64, card: &str) -> Reply {
    let answered = async || {
        let reply = ledger.pay("pay", account, 700, card).await;
        (reply.status != 409).then_some(reply)
    };
    eventually("the lost attempt is taken over", answered).await
}

#[tokio::test]
async fn a_charge_of_a_lost_attempt_is_booked_by_the_next_one() {
    let (ledger, account) = lost("silent").await;
    assert!(
        ledger
            .books()
            .await
            .contains("PROBLEM: a charge of 700 cents was not booked")
    );

    let reply = retried(&ledger, account, "silent").await;

    // The handler ran: what the provider has told to the hook would not have been booked.
    reply.is_first(201);
    ledger
        .pay("pay", account, 700, "silent")
        .await
        .replays(&reply, "pay");
    assert_eq!(
        (ledger.charges().await, ledger.cents(account).await),
        (1, 700)
    );
    ledger.balances(1, 700).await;
}

#[tokio::test]
async fn what_the_provider_declined_is_answered_without_another_call() {
    let (ledger, account) = lost("declined, silent").await;

    let reply = retried(&ledger, account, "declined, silent").await;

    // Recorded by the hook, and answered from the record: the handler did not run.
    assert_eq!(reply.status, 402);
    assert!(reply.is_replay());
    let again = ledger.pay("pay", account, 700, "declined, silent").await;
    again.replays(&reply, "pay");
    assert_eq!(ledger.charges().await, 1);
    ledger.balances(0, 0).await;
}

#[tokio::test]
async fn a_provider_out_of_reach_is_asked_again_later() {
    let (mut ledger, account) = lost("slow").await;
    let address = ledger.kill_provider().await;

    let refused = retried(&ledger, account, "slow").await;
    refused.refuses(503, "idempotency_reconcile_failed");
    ledger.start_provider(&address).await;
    let asked_again = async || {
        let reply = ledger.pay("pay", account, 700, "slow").await;
        (reply.status == 201).then_some(reply)
    };
    eventually("the provider is asked again", asked_again)
        .await
        .is_first(201);

    assert_eq!(ledger.charges().await, 1);
    ledger.balances(1, 700).await;
}
