//! What the three APIs have in common, over two processes each.

use serde_json::json;

use super::{Redis, executions, is_again, two};
use crate::apis::APIS;

#[tokio::test]
async fn every_api_replays_from_its_other_process() {
    let redis = Redis::start().await;
    for api in APIS {
        let (a, b) = two(api.example, &redis.url(), &[]).await;
        let simulate = json!({ "delay_ms": 1_500 });
        let running = api.call(&a, simulate.clone());
        let meanwhile = async {
            a.started(api.operation, 1).await;
            let same = api.call(&b, simulate.clone()).await.unwrap();
            let other = api.call(&b, json!({})).await.unwrap();
            (same, other)
        };

        let (first, (same, other)) = tokio::join!(running, meanwhile);
        let first = first.unwrap();
        let second = api.call(&b, simulate).await.unwrap();

        first.is_first(api.status);
        (api.refuses)(&same, 409, "idempotency_in_progress");
        (api.refuses)(&other, 422, api.mismatch);
        is_again(&second, &first);
        assert_eq!(executions([&a, &b], api.operation).await, 1);
    }
}
