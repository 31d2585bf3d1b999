//! Futures that drive others where they stand: until a deadline, past a panic, beside another one.
//!
//! Each holds what it drives once; an async function would hold its argument and the pinned copy of it.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::Unconstrained;
use tokio::time::{Instant, Sleep};

use crate::clock;

/// What a panic was thrown with.
pub(crate) type Panic = Box<dyn Any + Send>;

/// Drives `future` until `deadline`; `None` when the deadline came first.
///
/// What is ready at the first poll needs no timer, and outside a runtime there is no deadline.
pub(crate) fn until<F: Future>(deadline: Instant, future: F) -> Until<F> {
    Until {
        future,
        timer: None,
        deadline,
    }
}

/// Drives `future` for at most `limit` from now; see [`until`].
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Until<F> {
    until(clock::later(Instant::now(), limit), future)
}

/// Drives a future of somebody else's; a panic is an answer, and the future is dropped before it is given.
pub(crate) fn caught<F: Future>(future: F) -> Caught<F> {
    Caught {
        future: Some(future),
    }
}

/// Drives `work`, and `other` beside it for as long as that takes.
///
/// The work first: what ends at once never starts the other. The other is polled without regard to the budget of the
/// task, which the work may use up at every poll.
pub(crate) fn beside<W: Future, O: Future>(work: W, other: O) -> Beside<W, O> {
    Beside {
        work,
        other: tokio::task::unconstrained(other),
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Until<F> {
        #[pin]
        future: F,
        #[pin]
        timer: Option<Unconstrained<Sleep>>,
        deadline: Instant,
    }
}

impl<F: Future> Future for Until<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.timer.is_none() && clock::has_timers() {
            this.timer.set(Some(clock::timer(*this.deadline)));
        }
        match this.timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Caught<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let running = future.as_mut().as_pin_mut();
        let running = running.expect("`Caught` polled after it gave a panic");
        match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                // What panics while it is dropped has nothing to add.
                let _ = catch_unwind(AssertUnwindSafe(|| future.set(None)));
                Poll::Ready(Err(panic))
            }
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Beside<W, O> {
        #[pin]
        work: W,
        #[pin]
        other: Unconstrained<O>,
    }
}

impl<W: Future, O: Future> Future for Beside<W, O> {
    type Output = W::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        let this = self.project();
        let poll = this.work.poll(cx);
        if poll.is_pending() {
            let _ = this.other.poll(cx);
        }
        poll
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_is_not_ready() {
        let slow = tokio::time::sleep(Duration::from_secs(2));

        assert!(within(Duration::from_secs(1), slow).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_uses_up_the_budget_of_its_task() {
        let greedy = async {
            loop {
                tokio::task::consume_budget().await;
            }
        };
        let greedy = tokio::spawn(within(Duration::from_secs(1), greedy));
        while !greedy.is_finished() {
            tokio::time::advance(Duration::from_millis(100)).await;
        }

        assert_eq!(greedy.await.unwrap(), None::<()>);
    }

    #[test]
    fn outside_a_runtime_what_is_ready_is_answered() {
        let mut cx = Context::from_waker(Waker::noop());

        let answer = pin!(within(Duration::ZERO, ready(7))).poll(&mut cx);
        let open = pin!(within(Duration::ZERO, pending::<()>())).poll(&mut cx);

        assert_eq!((answer, open), (Poll::Ready(Some(7)), Poll::Pending));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let panic = caught(async { std::panic::panic_any(7) }).await;

        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&7));
    }

    #[tokio::test]
    async fn what_ends_at_once_never_starts_the_other() {
        let other = poll_fn(|_| -> Poll<()> { panic!("polled") });

        assert_eq!(beside(ready(7), other).await, 7);
    }
}
