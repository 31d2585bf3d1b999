//! Services that panic when they are asked whether they are ready.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt;
use tower_idempotency::OnLost;

use super::*;

/// Panics in `poll_ready` while it is armed. Its first execution is held and answers 502.
#[derive(Clone, Default)]
struct Explosive {
    armed: Arc<AtomicBool>,
    handler: Handler,
}

impl Service<Inner> for Explosive {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        assert!(!self.armed.load(Ordering::SeqCst), "not ready to be asked");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Inner) -> Self::Future {
        let handler = self.handler.clone();
        let number = handler.begin(request.extensions());
        Box::pin(async move {
            let mut response = created(&format!("execution {number}"));
            if number == 1 {
                handler.opened().await;
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            }
            Ok(response)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_service_panics_before_it_is_ready_has_made_no_attempt() {
    for on_lost in [OnLost::Rerun, OnLost::Refuse] {
        let layer = waiting().on_lost(on_lost);
        let explosive = Explosive::default();
        let service = layer.layer(explosive.clone());
        let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
        settle().await;
        let waiter = service.clone().oneshot(keyed("k", "a"));
        let waiter = tokio::spawn(AssertUnwindSafe(waiter).catch_unwind());
        settle().await;

        explosive.armed.store(true, Ordering::SeqCst);
        explosive.handler.open();
        assert_eq!(owner.await.unwrap().unwrap().status(), 502);
        let panic = waiter.await.unwrap().unwrap_err();
        explosive.armed.store(false, Ordering::SeqCst);

        assert_eq!(panic.downcast_ref(), Some(&"not ready to be asked"));
        assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
        let record = layer.store().inspect(&record_key(&layer)).await.unwrap();
        assert!(record.is_none(), "{record:?}");
        let next = read(service.oneshot(keyed("k", "a")).await.unwrap()).await;
        assert_eq!(next.text(), "execution 2");
        assert_eq!(next.outcome, Outcome::Executed { recorded: true });
        assert_eq!(explosive.handler.last_attempt(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_handler_starts_keeps_the_count_of_those_that_did() {
    let layer = waiting();
    let explosive = Explosive::default();
    let service = layer.layer(explosive.clone());
    let mut lost = Box::pin(service.clone().oneshot(keyed("k", "a")));
    // An owner that is never polled again.
    assert!(poll_once(&mut lost).is_pending());
    tokio::time::sleep(Duration::from_secs(15)).await;
    let waiter = service.clone().oneshot(keyed("k", "a"));
    let waiter = tokio::spawn(AssertUnwindSafe(waiter).catch_unwind());
    settle().await;

    explosive.armed.store(true, Ordering::SeqCst);
    tokio::time::sleep(WAIT).await;
    assert!(waiter.await.unwrap().is_err());
    explosive.armed.store(false, Ordering::SeqCst);

    let record = layer.store().inspect(&record_key(&layer)).await.unwrap();
    assert!(is_abandoned(record.as_ref().unwrap()), "{record:?}");
    let next = read(service.oneshot(keyed("k", "a")).await.unwrap()).await;
    assert_eq!(next.text(), "execution 2");
    assert_eq!(explosive.handler.last_attempt(), 3);
}
