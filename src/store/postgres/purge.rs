//! Deletes in the background what has expired, as long as the store is there.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::store::Inner;
use crate::clock::FOREVER;

/// A task that ends when this is dropped.
pub(super) struct Purge(Option<AbortHandle>);

impl Purge {
    /// Begins, where there is a runtime.
    pub(super) fn start(inner: &Arc<Inner>, every: Duration) -> Self {
        let task = purge(Arc::clone(inner), every.min(FOREVER));
        let runtime = Handle::try_current();
        Self(
            runtime
                .ok()
                .map(|runtime| runtime.spawn(task).abort_handle()),
        )
    }
}

impl Drop for Purge {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

async fn purge(inner: Arc<Inner>, every: Duration) {
    loop {
        sleep(jittered(every)).await;
        // A server that fails is asked again: nothing depends on when it is done.
        let _ = inner.purge().await;
    }
}

/// Half as much to as much, so that processes do not do it all at once.
fn jittered(every: Duration) -> Duration {
    let percent = 50 + RandomState::new().hash_one(()) % 51;
    every / 100 * percent as u32
}
