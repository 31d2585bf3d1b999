//! Transfers, and who may ask for them.

use serde_json::{Value, json};

use crate::world::Ledger;

#[tokio::test]
async fn a_transfer_moves_money_once() {
    let ledger = Ledger::start().await;
    let (from, to) = (ledger.account("from").await, ledger.account("to").await);
    ledger.pay("pay", from, 5_000, "visa").await.is_first(201);

    let first = ledger.transfer("move", from, to, 1_500).await;
    let again = ledger.transfer("move", from, to, 1_500).await;
    let other = ledger.transfer("move", from, to, 1_501).await;

    first.is_first(201);
    again.replays(&first, "move");
    other.refuses(422, "idempotency_mismatch");
    let cents = (ledger.cents(from).await, ledger.cents(to).await);
    assert_eq!(cents, (3_500, 1_500));
    ledger.balances(1, 5_000).await;
}

#[tokio::test]
async fn a_refusal_is_kept_with_what_it_left_alone() {
    let ledger = Ledger::start().await;
    let (from, to) = (ledger.account("from").await, ledger.account("to").await);
    ledger.pay("pay", from, 100, "visa").await.is_first(201);

    let refused = ledger.transfer("move", from, to, 101).await;
    ledger.pay("more", from, 100, "visa").await.is_first(201);
    let again = ledger.transfer("move", from, to, 101).await;

    refused.is_first(402);
    // There would be enough by now.
    again.replays(&refused, "move");
    ledger
        .transfer("other key", from, to, 101)
        .await
        .refuses(400, "idempotency_key_invalid");
    ledger
        .transfer("other-key", from, to, 101)
        .await
        .is_first(201);
    assert_eq!(
        (ledger.cents(from).await, ledger.cents(to).await),
        (99, 101)
    );
    ledger.balances(2, 200).await;
}

#[tokio::test]
async fn what_a_retry_cannot_mend_is_kept_and_nothing_is_written() {
    let ledger = Ledger::start().await;
    let account = ledger.account("account").await;

    for (key, to, cents, status) in [
        ("nobody", 77, 1, 404),
        ("none", 2, 0, 400),
        ("self", account, 1, 400),
    ] {
        let first = ledger.transfer(key, account, to, cents).await;
        first.is_first(status);
        ledger
            .transfer(key, account, to, cents)
            .await
            .replays(&first, key);
    }
    ledger.balances(0, 0).await;
}

#[tokio::test]
async fn customers_are_known_and_never_meet() {
    let ledger = Ledger::start().await;
    let alices = ledger
        .post("alice", "/v1/accounts", "k", &Value::Null)
        .send()
        .await;
    let bobs = ledger
        .post("bob", "/v1/accounts", "k", &Value::Null)
        .send()
        .await;
    let (alice, bob) = (
        &alices.is_first(201).json()["id"],
        &bobs.is_first(201).json()["id"],
    );
    assert_ne!(alice, bob);

    let theft = json!({ "from": alice, "to": bob, "cents": 1 });
    ledger
        .post("bob", "/v1/transfers", "theft", &theft)
        .send()
        .await
        .is_first(404);
    let payment = json!({ "account": alice, "cents": 1, "card": "visa" });
    ledger
        .post("bob", "/v1/payments", "theft", &payment)
        .send()
        .await
        .is_first(404);
    assert_eq!(ledger.charges().await, 0);

    // A replay is authenticated, too.
    let stranger = ledger.api().post("/v1/accounts").key("k").send().await;
    stranger.is_first(401);
    let keyless = ledger
        .api()
        .post("/v1/accounts")
        .header("authorization", "Bearer sk_alice");
    keyless.send().await.refuses(400, "idempotency_key_missing");
}

#[tokio::test]
async fn what_fails_midway_leaves_nothing_and_runs_again() {
    let ledger = Ledger::start().await;
    let (from, to) = (ledger.account("from").await, ledger.account("to").await);
    ledger.pay("pay", from, 500, "visa").await.is_first(201);
    ledger
        .sql("ALTER TABLE transfer ADD CONSTRAINT broken CHECK (cents <> 200)")
        .await;

    ledger.transfer("move", from, to, 200).await.is_first(503);
    ledger.balances(1, 500).await;
    assert_eq!(ledger.cents(from).await, 500);
    ledger
        .sql("ALTER TABLE transfer DROP CONSTRAINT broken")
        .await;
    ledger.transfer("move", from, to, 200).await.is_first(201);

    assert_eq!(ledger.cents(from).await, 300);
    ledger.balances(1, 500).await;
}
