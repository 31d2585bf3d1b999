//! One row of the table, disturbed in every way after every number of polls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use crate::afterwards::Afterwards;
use crate::client::Got;
use crate::row::Row;
use crate::world::{LEASE, LONG, World};

/// What happens to the request after so many polls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Disturbed {
    /// It is dropped at once.
    Dropped,
    /// It is dropped when it would be polled again: what it waited for is there, and nobody looks at it.
    DroppedWhenWoken,
    /// It is not polled for longer than its lease, then dropped.
    Stalled,
    /// The same, and meanwhile its client tries again.
    Overtaken,
    /// The same, and then it goes on.
    Resumed,
}

impl Disturbed {
    const ALL: [Self; 5] = [
        Self::Dropped,
        Self::DroppedWhenWoken,
        Self::Stalled,
        Self::Overtaken,
        Self::Resumed,
    ];

    /// Whether every limit of time has passed meanwhile.
    pub(crate) fn is_late(self) -> bool {
        matches!(self, Self::Stalled | Self::Overtaken | Self::Resumed)
    }

    /// Whether others could have come in between.
    pub(crate) fn is_overtaken(self) -> bool {
        matches!(self, Self::Overtaken | Self::Resumed)
    }
}

/// More polls than any request takes.
const MOST_POLLS: usize = 300;

/// Disturbs the request of this row in every way after every number of polls; then everything is as before, what
/// is allocated too.
#[track_caller]
pub(crate) fn sweep(row: impl Fn() -> Row) {
    // What is made once per process or thread is there before anything is counted.
    let is_counted = row().is_counted;
    let polls = lifetime(row(), false);
    assert!(polls > 3, "there was nothing to disturb: {polls} polls");
    if is_counted {
        let left = allocation_counter::measure(|| {
            lifetime(row(), true);
        });
        assert_eq!(left.bytes_current, 0, "what is gone leaves {left:?}");
    }
}

/// Of a layer, with its store and its runtime: a round in which things grow to their size, and perhaps one in which
/// nothing grows.
fn lifetime(row: Row, is_counted: bool) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async { World::new(row) });
    let polls = runtime.block_on(round(&world));
    if is_counted {
        runtime.block_on(world.grow());
        let left = allocation_counter::measure(|| {
            runtime.block_on(round(&world));
        });
        assert_eq!(left.bytes_current, 0, "a layer grows by {left:?}");
    }
    polls
}

async fn round(world: &World) -> usize {
    let mut most = 0;
    for disturbed in Disturbed::ALL {
        let mut polls = 0;
        while !disturb(world, disturbed, polls).await {
            polls += 1;
            assert!(polls < MOST_POLLS, "it never ends");
        }
        most = most.max(polls);
    }
    most
}

/// Whether the request came to its end before.
async fn disturb(world: &World, disturbed: Disturbed, polls: usize) -> bool {
    let told = || {
        let executions = world.happened.executions();
        format!("{disturbed:?} after {polls} polls, {executions:?}")
    };
    let other = world.prepare().await;
    world.begin_faults();
    let mut request = Box::pin(world.request());
    let mut afterwards = Afterwards::new(world, &told);

    let until_woken = disturbed == Disturbed::DroppedWhenWoken;
    let ended = in_time(poll_up_to(&mut request, polls, until_woken), &told).await;
    let has_ended = ended.is_some();
    if let Some(got) = ended {
        let gets = got.as_gets();
        assert_eq!(gets, Some(world.row.gets), "{}: {got:?}", told());
        afterwards.got.push(got);
    } else {
        afterwards.disturbed = Some(disturbed);
        if disturbed.is_late() {
            tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
        }
        if disturbed.is_overtaken() {
            afterwards.got.push(in_time(world.again(), &told).await);
        }
        if disturbed == Disturbed::Resumed {
            let resumed = in_time(poll_up_to(&mut request, MOST_POLLS, false), &told).await;
            afterwards.got.push(resumed.expect("it ends"));
        }
    }
    let is_client_gone = &world.happened.is_client_gone;
    is_client_gone.store(true, Ordering::SeqCst);
    drop(request);
    if !world.row.for_good {
        world.store.heal();
    }
    if let Some(other) = other {
        afterwards.got.push(in_time(other, &told).await.unwrap());
    }
    assert_eq!(world.layer.drain(LONG).await.left, 0, "{}", told());
    world.store.heal();

    afterwards.look().await;
    world.has_all_room(&told).await;
    world.forget().await;
    has_ended
}

/// Nobody waits for ever.
async fn in_time<F: Future>(future: F, told: &impl Fn() -> String) -> F::Output {
    let output = timeout(2 * LONG, future).await;
    output.unwrap_or_else(|_| panic!("{}: it never ends", told()))
}

/// Polls a request up to so often, as it is woken; `None` where it has not come to its end.
pub(crate) async fn poll_up_to(
    request: &mut Pin<Box<impl Future<Output = Got>>>,
    most: usize,
    until_woken: bool,
) -> Option<Got> {
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(cx))) {
            Ok(Poll::Ready(got)) => Poll::Ready(Some(got)),
            Ok(Poll::Pending) if polls == most && !until_woken => Poll::Ready(None),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Some(Got::Panic)),
        }
    })
    .await
}
