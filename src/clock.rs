//! Time that costs nothing until it is needed, and that never panics outside a runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// Longer than any timer has to run; keeps `Instant + Duration` from overflowing.
pub(crate) const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The moment `after` from `start`, at most thirty years away.
pub(crate) fn later(start: Instant, after: Duration) -> Instant {
    start + after.min(FOREVER)
}

/// Whether a timer can be made here: tokio's panic outside a runtime.
pub(crate) fn has_timers() -> bool {
    Handle::try_current().is_ok()
}

/// Waits until `deadline`; for ever where no timer can be made.
pub(crate) async fn sleep_until(deadline: Instant) {
    if has_timers() {
        // Unconstrained: what runs beside the timer may have used up the budget of the task at every poll, and a
        // timer without budget never ends.
        tokio::task::unconstrained(tokio::time::sleep_until(deadline)).await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// Drives `future` until `deadline`; `None` when the deadline came first.
///
/// What is ready at the first poll needs no timer, and outside a runtime there is no deadline.
pub(crate) async fn until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let at_once = poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    });
    if let Some(output) = at_once.await {
        return Some(output);
    }
    tokio::select! {
        biased;
        output = future => Some(output),
        () = sleep_until(deadline) => None,
    }
}

/// Drives `future` for at most `limit`; see [`until`].
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    until(later(Instant::now(), limit), future).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_is_not_ready() {
        let slow = tokio::time::sleep(Duration::from_secs(2));

        assert!(within(Duration::from_secs(1), slow).await.is_none());
    }

    #[test]
    fn outside_a_runtime_what_is_ready_is_answered() {
        let mut answer = pin!(within(Duration::from_secs(1), std::future::ready(7)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());

        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        assert!(later(Instant::now(), Duration::MAX) > Instant::now());
    }
}
