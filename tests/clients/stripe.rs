//! Stripe's SDK for Python: it makes the keys up by itself, and retries by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::python::python;
use crate::support::Server;
use crate::wire::{Cut, Wire};

const CHARGE: &str = "POST /v1/charges";
const CUSTOMER: &str = "POST /v1/customers";

async fn stripe() -> Arc<Server> {
    Arc::new(Server::start("stripe", &[]).await)
}

fn params(amount: u64, source: &str) -> Value {
    json!({ "amount": amount, "currency": "usd", "source": source })
}

/// A call with a key of the application's, or with one of the SDK's.
fn charge(key: Option<&str>, params: Value) -> Value {
    let options = key.map_or(json!({}), |key| json!({ "idempotency_key": key }));
    let mut call = json!({ "create": "charges", "options": options });
    call["params"] = params;
    call
}

/// Makes the calls one after the other; the SDK retries so often.
async fn sdk(wire: &Wire, retries: u64, calls: &[Value]) -> Vec<Value> {
    let request = json!({ "retries": retries, "calls": calls });
    sdk_with(wire, &request).await
}

async fn sdk_with(wire: &Wire, request: &Value) -> Vec<Value> {
    let results = python("stripe_sdk.py", &[&wire.url(""), &request.to_string()]).await;
    let Value::Array(results) = results else {
        panic!("{results}")
    };
    results
}

/// The key that all of these requests had.
fn the_only_key(wire: &Wire, requests: usize) -> String {
    let keys = wire.keys();
    assert_eq!(keys.len(), requests, "{keys:?}");
    let different: BTreeSet<_> = keys.into_iter().collect();
    assert_eq!(different.len(), 1, "{different:?}");
    different.into_iter().next().unwrap()
}

async fn retried_by_the_sdk<const CUTS: usize>(cuts: [Cut; CUTS]) {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, cuts).await;

    let made = sdk(&wire, 2, &[charge(None, params(2_000, "tok_visa"))]).await;

    let id = made[0]["id"].as_str().unwrap_or_else(|| panic!("{made:?}"));
    let read = server.get(&format!("/v1/charges/{id}"));
    let read = read.header("authorization", "Bearer sk_test_your_key_here");
    assert_eq!(wire.cuts(), cuts);
    assert_eq!(the_only_key(&wire, CUTS + 1).len(), 36);
    assert_eq!(made[0]["object"], "charge");
    assert_eq!(made[0]["replayed"], "true");
    assert_eq!(server.executions(CHARGE).await, 1);
    assert_eq!(read.send().await.is_first(200).json()["amount"], 2_000);
}

#[tokio::test]
async fn stripes_sdk_charges_once_when_the_answer_is_lost() {
    retried_by_the_sdk([Cut::Answered]).await;
}

#[tokio::test]
async fn stripes_sdk_charges_once_when_the_answer_is_lost_twice() {
    retried_by_the_sdk([Cut::Answered, Cut::Answered]).await;
}

#[tokio::test]
async fn stripes_sdk_asks_until_a_charge_that_lost_its_connection_is_made() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, [Cut::Started]).await;
    let mut slow = params(2_000, "tok_visa");
    slow["metadata"] = json!({ "simulate_delay_ms": 1_500 });

    let made = sdk(&wire, 8, &[charge(None, slow)]).await;

    let statuses = wire.statuses();
    let (last, early) = statuses.split_last().unwrap();
    assert_eq!(wire.cuts(), [Cut::Started]);
    assert_eq!((*last, &made[0]["replayed"]), (200, &json!("true")));
    assert!(early.iter().all(|status| *status == 409), "{statuses:?}");
    the_only_key(&wire, statuses.len() + 1);
    assert_eq!(server.executions(CHARGE).await, 1);
}

#[tokio::test]
async fn half_an_answer_is_an_error_to_stripes_sdk_and_its_application_asks_again() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, [Cut::Body]).await;
    let call = charge(Some("order_456"), params(2_000, "tok_visa"));

    let made = sdk(&wire, 2, &[call.clone(), call]).await;

    assert_eq!(wire.cuts(), [Cut::Body]);
    assert_eq!(made[0]["error"], "APIConnectionError");
    assert_eq!(made[1]["object"], "charge");
    assert_eq!(made[1]["replayed"], "true");
    assert_eq!(server.executions(CHARGE).await, 1);
}

#[tokio::test]
async fn two_calls_at_once_are_one_charge() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, []).await;
    let mut slow = params(2_000, "tok_visa");
    slow["metadata"] = json!({ "simulate_delay_ms": 2_000 });
    let call = charge(Some("double-click"), slow);
    let ledger = format!("http://{}/_ledger", server.address);

    let request = json!({ "retries": 8, "calls": [call, call], "ledger": ledger });
    let made = sdk_with(&wire, &request).await;

    assert_eq!(made[0]["replayed"], json!(null));
    assert_eq!(made[1]["replayed"], "true");
    assert_eq!(made[0]["id"], made[1]["id"]);
    assert!(wire.statuses().contains(&409), "{:?}", wire.statuses());
    assert_eq!(server.executions(CHARGE).await, 1);
}

#[tokio::test]
async fn other_parameters_under_a_key_raise_the_sdks_own_error() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, []).await;
    let call = |amount| charge(Some("order_456"), params(amount, "tok_visa"));

    let made = sdk(&wire, 2, &[call(2_000), call(3_000), call(2_000)]).await;

    let refused = json!({
        "error": "IdempotencyError",
        "status": 400,
        "code": "idempotency_mismatch",
        "replayed": null,
    });
    assert_eq!(made[1], refused);
    assert_eq!(made[2]["replayed"], "true");
    assert_eq!(made[2]["id"], made[0]["id"]);
    // Nobody asked twice for what will not change.
    assert_eq!(wire.statuses(), [200, 400, 200]);
    assert_eq!(server.executions(CHARGE).await, 1);
}

#[tokio::test]
async fn a_declined_card_is_declined_again() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, [Cut::Answered]).await;
    let call = charge(Some("order_456"), params(2_000, "tok_chargeDeclined"));

    let made = sdk(&wire, 2, &[call.clone(), call]).await;

    let declined = json!({
        "error": "CardError",
        "status": 402,
        "code": "card_declined",
        "replayed": "true",
    });
    assert_eq!(made, [declined.clone(), declined]);
    assert_eq!(server.executions(CHARGE).await, 1);
}

#[tokio::test]
async fn a_failure_is_kept_like_stripe_keeps_it() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, []).await;
    let call = charge(None, params(2_000, "tok_serverError"));

    let made = sdk(&wire, 1, &[call]).await;

    assert_eq!(made[0]["error"], "APIError");
    assert_eq!(made[0]["replayed"], "true");
    assert_eq!(wire.statuses(), [500, 500]);
    assert_eq!(server.executions(CHARGE).await, 1);
}

#[tokio::test]
async fn what_was_not_valid_leaves_its_key_free() {
    let server = stripe().await;
    let wire = Wire::to(&server, CHARGE, []).await;
    let call = |params| charge(Some("order_456"), params);
    let calls = [
        call(json!({ "amount": 2_000 })),
        call(params(2_000, "tok_visa")),
        call(params(2_000, "tok_visa")),
    ];

    let made = sdk(&wire, 2, &calls).await;

    assert_eq!(made[0]["error"], "InvalidRequestError");
    assert_eq!(made[1]["object"], "charge");
    assert_eq!(made[1]["replayed"], json!(null));
    assert_eq!(made[2]["replayed"], "true");
    assert_eq!(made[2]["id"], made[1]["id"]);
}

#[tokio::test]
async fn a_key_is_of_one_endpoint_and_of_one_account() {
    let server = stripe().await;
    let wire = Wire::to(&server, CUSTOMER, [Cut::Answered]).await;
    let options = json!({ "idempotency_key": "order_456" });
    let customer = json!({ "create": "customers", "params": { "email": "a@example.com" }, "options": options });
    let calls = [
        customer,
        charge(Some("order_456"), params(2_000, "tok_visa")),
    ];

    let made = sdk(&wire, 2, &calls).await;
    let other = server.post("/v1/charges").key("order_456");
    let other = other.header("authorization", "Bearer sk_test_other");
    let other = other.header("content-type", "application/x-www-form-urlencoded");
    let other = other
        .body("amount=2000&currency=usd&source=tok_visa")
        .send()
        .await;

    assert_eq!(
        (&made[0]["object"], &made[0]["replayed"]),
        (&json!("customer"), &json!("true"))
    );
    assert_eq!(
        (&made[1]["object"], &made[1]["replayed"]),
        (&json!("charge"), &json!(null))
    );
    assert_ne!(other.is_first(200).json()["id"], made[1]["id"]);
    assert_eq!(server.executions(CUSTOMER).await, 1);
    assert_eq!(server.executions(CHARGE).await, 2);
}

#[tokio::test]
async fn who_has_no_secret_key_is_nobody() {
    let server = stripe().await;
    let call = |authorization: &str| {
        let call = server.post("/v1/charges").key("order_456");
        call.header("authorization", authorization).send()
    };

    for authorization in [
        "Bearer pk_test",
        "Basic c2tfdGVzdDo=",
        "Digest sk_test",
        "sk_test",
    ] {
        let reply = call(authorization).await;

        assert_eq!(
            reply.is_first(401).json()["error"]["type"],
            "invalid_request_error"
        );
    }
    assert_eq!(server.executions(CHARGE).await, 0);
}
