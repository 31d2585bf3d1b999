//! A principal that floods the store with keys, beside one that is calm.

use std::sync::Arc;
use std::time::Duration;

use tower_idempotency::{IdempotencyLayer, MemoryStore, Outcome};

use crate::leaves_nothing;
use crate::support::{Answer, Guarded, Handler, plain, send};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const QUOTA: usize = 1_000;
const MOST: usize = 1 << 20;

async fn ask(service: &Guarded, principal: &str, key: usize) -> Answer {
    let mut request = plain(&format!("k{key}"), "a");
    let headers = request.headers_mut();
    headers.insert("x-api-key", principal.parse().unwrap());
    send(service, request).await
}

#[test]
fn the_calm_one_is_served_all_along() {
    leaves_nothing(20_000, async |size| {
        let store = MemoryStore::new()
            .max_records_per_scope(QUOTA)
            .max_bytes(MOST);
        let store = Arc::new(store);
        let layer = IdempotencyLayer::new(Arc::clone(&store));
        let handler = Handler::default();
        let service = handler.at_once(&layer);
        for day in 1..=2 {
            let mut served = 0;
            for number in 0..size {
                let flood = ask(&service, "flood", number).await;
                match flood.status.as_u16() {
                    201 => served += 1,
                    _ => assert_eq!(flood.code(), "idempotency_quota_exceeded"),
                }
                if number % 100 == 0 {
                    let calm = ask(&service, "calm", number).await;
                    let retry = ask(&service, "calm", number).await;
                    assert_eq!(calm.outcome, Outcome::Executed { recorded: true });
                    assert_eq!((retry.outcome, retry.body), (Outcome::Replayed, calm.body));
                    // Those of the day before go as new ones come.
                    assert!(store.bytes() <= MOST, "{} bytes", store.bytes());
                }
            }
            assert_eq!(served, size.min(QUOTA), "day {day}");
            tokio::time::sleep(DAY).await;
        }

        let executions = 2 * (size.min(QUOTA) + size / 100);
        assert_eq!(handler.executions() as usize, executions);
        // The last ones are due; whoever comes drops some of them.
        for number in 0..size {
            ask(&service, "other", number % QUOTA).await;
        }
        assert!(store.len() <= 2 * QUOTA, "{} records", store.len());
    });
}
