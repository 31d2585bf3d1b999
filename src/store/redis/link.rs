//! The connection of a store: made when it is needed, shared by all verbs, and made anew where it has failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::fault::Fault;
use crate::store::traits::Boxed;

/// Makes a connection.
pub(super) type Connector =
    Arc<dyn Fn() -> Boxed<'static, Result<Connection, Fault>> + Send + Sync>;

/// The pauses between attempts to connect that fail.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The way to the server.
pub(super) enum Link {
    /// A connection of the user's, who sees to it that it is there.
    Given(Connection),
    /// One that is made at the first use, and anew after a failure.
    Made {
        connector: Connector,
        at_most: Duration,
        current: Mutex<Arc<Slot>>,
    },
}

/// One connection, or the attempts to make it.
pub(super) struct Slot {
    connection: OnceCell<Connection>,
    failed: Mutex<Option<Failed>>,
}

struct Failed {
    fault: Fault,
    pause: Duration,
    until: Instant,
}

/// A connection to send by, and where it is from.
pub(super) struct Lent {
    pub(super) connection: Connection,
    slot: Option<Arc<Slot>>,
}

impl Link {
    /// Connects by `connector`, which may take so long each time.
    pub(super) fn made_by(connector: Connector, at_most: Duration) -> Self {
        Self::Made {
            connector,
            at_most,
            current: Mutex::new(Slot::empty()),
        }
    }

    /// The connection of now. Whoever comes first makes it; the others wait for that, and go on with it where the first
    /// gives up.
    pub(super) async fn get(&self) -> Result<Lent, Fault> {
        match self {
            Self::Given(connection) => Ok(Lent {
                connection: connection.clone(),
                slot: None,
            }),
            Self::Made {
                connector,
                at_most,
                current,
            } => {
                let slot = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
                let made = slot
                    .connection
                    .get_or_try_init(|| slot.connect(connector, *at_most));
                let connection = made.await?.clone();
                let slot = Some(slot);
                Ok(Lent { connection, slot })
            }
        }
    }

    /// After a fault that another connection may mend, sees to it that the next verb has one. Verbs under way keep theirs.
    pub(super) fn look_at(&self, fault: &Fault, lent: &Lent) {
        if !lent.connection.is_spent(fault) {
            return;
        }
        if let (Self::Made { current, .. }, Some(slot)) = (self, &lent.slot) {
            let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&current, slot) {
                *current = Slot::empty();
            }
        }
    }
}

impl Slot {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            connection: OnceCell::new(),
            failed: Mutex::new(None),
        })
    }

    /// Makes the connection; during the pause after a failure, fails in the same way at once.
    async fn connect(&self, connector: &Connector, at_most: Duration) -> Result<Connection, Fault> {
        let pause = match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failed) if Instant::now() < failed.until => return Err(failed.fault.clone()),
            Some(failed) => (failed.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let made = timeout(at_most, connector()).await;
        made.unwrap_or_else(|_| Err(Fault::unreached()))
            .inspect_err(|fault| {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Failed {
                    fault: fault.clone(),
                    pause,
                    until: Instant::now() + pause,
                });
            })
    }
}
