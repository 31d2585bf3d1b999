//! The connection of a store: made when it is needed, shared by all verbs, and made anew where it has failed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
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
    Made(Maker),
}

/// Connects, once at a time.
pub(super) struct Maker {
    connector: Connector,
    /// For each attempt.
    at_most: Duration,
    current: Mutex<Option<Arc<Attempt>>>,
}

/// An attempt to connect. It goes on by itself: who waits for it may give up, and leaves it to the others.
struct Attempt {
    made: watch::Receiver<Option<Result<Connection, Failed>>>,
    /// For so long nobody tries again where it fails.
    pause: Duration,
}

struct Failed {
    fault: Fault,
    until: Instant,
}

/// A connection to send by, and where it is from.
pub(super) struct Lent {
    pub(super) connection: Connection,
    attempt: Option<Arc<Attempt>>,
}

impl Link {
    /// Connects by `connector`, which may take so long each time.
    pub(super) fn made_by(connector: Connector, at_most: Duration) -> Self {
        Self::Made(Maker {
            connector,
            at_most,
            current: Mutex::new(None),
        })
    }

    /// The connection of now, or the one that is being made.
    pub(super) async fn get(&self) -> Result<Lent, Fault> {
        let (connection, attempt) = match self {
            Self::Given(connection) => (connection.clone(), None),
            Self::Made(maker) => {
                let attempt = maker.attempt();
                (attempt.made().await?, Some(attempt))
            }
        };
        Ok(Lent {
            connection,
            attempt,
        })
    }

    /// After a fault that another connection may mend, sees to it that the next verb has one. Verbs under way keep theirs.
    pub(super) fn look_at(&self, fault: &Fault, lent: &Lent) {
        if let (Self::Made(maker), Some(attempt)) = (self, &lent.attempt)
            && lent.connection.is_spent(fault)
        {
            let mut current = maker.lock();
            if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, attempt)) {
                *current = None;
            }
        }
    }
}

impl Maker {
    /// The attempt of now: the last one, also during the pause after it has failed.
    fn attempt(&self) -> Arc<Attempt> {
        let mut current = self.lock();
        let pause = match &*current {
            Some(attempt) if !attempt.is_over() => return Arc::clone(attempt),
            Some(attempt) => (attempt.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let begun = Attempt::begin(Arc::clone(&self.connector), self.at_most, pause);
        Arc::clone(current.insert(Arc::new(begun)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Attempt>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn begin(connector: Connector, at_most: Duration, pause: Duration) -> Self {
        let (tell, made) = watch::channel(None);
        tokio::spawn(async move {
            let made = timeout(at_most, async { connector().await }).await;
            let made = made.unwrap_or_else(|_| Err(Fault::unreached()));
            tell.send_replace(Some(made.map_err(|fault| Failed {
                fault: fault.unsent(),
                until: Instant::now() + pause,
            })));
        });
        Self { made, pause }
    }

    /// Whether another one may begin: it has failed, or its runtime is gone.
    fn is_over(&self) -> bool {
        match &*self.made.borrow() {
            Some(Ok(_)) => false,
            Some(Err(failed)) => Instant::now() >= failed.until,
            None => self.made.has_changed().is_err(),
        }
    }

    /// What it has made, once it has.
    async fn made(&self) -> Result<Connection, Fault> {
        let mut made = self.made.clone();
        let Ok(made) = made.wait_for(Option::is_some).await else {
            return Err(Fault::unreached());
        };
        match &*made {
            Some(Ok(connection)) => Ok(connection.clone()),
            Some(Err(failed)) => Err(failed.fault.clone()),
            None => Err(Fault::unreached()),
        }
    }
}
