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

/// A future in a box, made where it stays: `Box::pin` makes it first, and then copies all of it.
pub(crate) fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

/// Drives `future` until `deadline`; `None` when the deadline came first.
///
/// What is ready at the first poll needs no timer, and outside a runtime there is no deadline.
pub(crate) fn until<F: Future>(deadline: Instant, future: F) -> Until<F> {
    Until {
        future,
        timer: Timer::Until(deadline),
    }
}

/// Drives `future` for at most `limit` from its first poll on; see [`until`].
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Until<F> {
    Until {
        future,
        timer: Timer::Within(limit),
    }
}

/// Drives a future of somebody else's; a panic is an answer, and the future is dropped before it is given.
pub(crate) fn caught<F: Future>(future: F) -> Caught<F> {
    Caught {
        future: Some(future),
    }
}

/// Drives `work`, and beside it, for as long as that takes, what `other` makes.
///
/// The work first: what ends at once never makes the other. The other is polled without regard to the budget of the
/// task, which the work may use up at every poll.
pub(crate) fn beside<W, M, O>(work: W, other: M) -> Beside<W, M, O>
where
    W: Future,
    M: FnOnce() -> O,
    O: Future,
{
    Beside {
        work,
        other: Other::Unmade(Some(other)),
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Until<F> {
        #[pin]
        future: F,
        timer: Timer,
    }
}

/// The timer of a deadline, which most futures never need: boxed, because it would be the largest part of many.
enum Timer {
    Until(Instant),
    Within(Duration),
    Started(Pin<Box<Unconstrained<Sleep>>>),
}

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Within(limit) = *self {
            *self = Self::Until(clock::later(Instant::now(), limit));
        }
        if let Self::Until(deadline) = *self
            && clock::has_timers()
        {
            *self = Self::Started(Box::pin(clock::timer(deadline)));
        }
        match self {
            Self::Started(timer) => timer.as_mut().poll(cx),
            Self::Until(_) | Self::Within(_) => Poll::Pending,
        }
    }
}

impl<F: Future> Future for Until<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        this.timer.poll(cx).map(|()| None)
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
    pub(crate) struct Beside<W, M, O> {
        #[pin]
        work: W,
        other: Other<M, O>,
    }
}

/// Boxed: it would be a large part of every request, and most never come to it.
enum Other<M, O> {
    Unmade(Option<M>),
    Made(Pin<Box<Unconstrained<O>>>),
}

impl<W, M, O> Future for Beside<W, M, O>
where
    W: Future,
    M: FnOnce() -> O,
    O: Future,
{
    type Output = W::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        let this = self.project();
        let poll = this.work.poll(cx);
        if poll.is_pending() {
            if let Other::Unmade(make) = this.other
                && let Some(make) = make.take()
            {
                *this.other = Other::Made(Box::pin(tokio::task::unconstrained(make())));
            }
            if let Other::Made(other) = this.other {
                let _ = other.as_mut().poll(cx);
            }
        }
        poll
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
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
    async fn what_ends_at_once_never_makes_the_other() {
        let other = || -> std::future::Ready<()> { panic!("made") };

        assert_eq!(beside(ready(7), other).await, 7);
    }
}
