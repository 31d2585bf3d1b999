//! Those in this process who wait for a record to leave its flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::key::RecordKey;
use crate::lock::Lock;

/// What a transaction has ended, once it is committed.
pub(super) enum Ended {
    Key(RecordKey),
    Scope([u8; 16]),
}

/// All of them, by what they wait for.
#[derive(Default)]
pub(super) struct Waiters(Mutex<HashMap<RecordKey, Arc<Notify>>>);

impl Waiters {
    pub(super) fn join(&self, key: &RecordKey) -> Waiter<'_> {
        let notify = self
            .0
            .with(|waiting| Arc::clone(waiting.entry(*key).or_default()));
        Waiter {
            all: self,
            key: *key,
            notify,
        }
    }

    pub(super) fn wake(&self, ended: Vec<Ended>) {
        for ended in ended {
            let woken: Vec<Arc<Notify>> = self.0.with(|waiting| match ended {
                Ended::Key(key) => waiting.get(&key).cloned().into_iter().collect(),
                Ended::Scope(scope) => {
                    let of_scope = waiting.iter().filter(|(key, _)| *key.scope() == scope);
                    of_scope.map(|(_, notify)| Arc::clone(notify)).collect()
                }
            });
            woken.iter().for_each(|notify| notify.notify_waiters());
        }
    }
}

/// One of them.
pub(super) struct Waiter<'a> {
    all: &'a Waiters,
    key: RecordKey,
    notify: Arc<Notify>,
}

impl Waiter<'_> {
    /// Ends with what ends from now on.
    pub(super) fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.all.0.with(|waiting| {
            // The map's and this one: nobody else can join meanwhile.
            if Arc::strong_count(&self.notify) <= 2 {
                waiting.remove(&self.key);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_waiter_leaves_nothing_behind() {
        let (waiters, key) = (Waiters::default(), RecordKey::from_parts([1; 16], [2; 32]));
        let (one, other) = (waiters.join(&key), waiters.join(&key));

        drop(one);
        assert_eq!(waiters.0.with(|waiting| waiting.len()), 1);
        drop(other);
        assert_eq!(waiters.0.with(|waiting| waiting.len()), 0);
    }
}
