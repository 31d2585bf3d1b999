//! What [`Cached`] does beside the obligations of every store: which answers it gives itself, and until when.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower_idempotency::{Cached, Owner, Record, RecordKey};

use crate::support::{complete, completed, find, own, request};

use gated::{Gated, Verb};

mod bounds;
mod forgetting;
mod gated;
mod generated;
mod racing;
mod replaying;

/// The default of `max_staleness`.
const STALENESS: Duration = Duration::from_secs(30);

fn gated() -> Cached<Gated> {
    Cached::new(Gated::default())
}

/// Claims and completes through the cache.
async fn done(cached: &Cached<Gated>, key: RecordKey, payload: &'static str) -> Owner {
    let (_, owner) = own(cached, &request(key)).await;
    complete(cached, &owner, &completed(payload)).await;
    owner
}

/// The same, and replays once, so that the record is kept.
async fn kept(cached: &Cached<Gated>, key: RecordKey, payload: &'static str) -> Record {
    done(cached, key, payload).await;
    let record = find(cached, &request(key)).await;
    cached.store().asked();
    assert!(is_kept(cached, key).await, "the store was asked again");
    record
}

/// Whether a completed record is replayed without asking the store.
async fn is_kept(cached: &Cached<Gated>, key: RecordKey) -> bool {
    find(cached, &request(key)).await;
    match &cached.store().asked()[..] {
        [] => true,
        [Verb::Claim] => false,
        asked => panic!("asked {asked:?}"),
    }
}

/// A call on its way.
type Call<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Sends a call, which does not come to its end yet.
fn send<'a, T>(call: impl Future<Output = T> + 'a) -> Call<'a, T> {
    let mut call: Call<'a, T> = Box::pin(call);
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "it was answered at once");
    call
}
