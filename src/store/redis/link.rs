//! The connection of a store: made when it is needed, shared by all verbs, and made anew where it has failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Cure};
use super::fault::Fault;
use crate::store::traits::Boxed;

/// Makes a connection.
pub(super) type Connector =
    Arc<dyn Fn() -> Boxed<'static, Result<Connection, Fault>> + Send + Sync>;

/// The pauses between attempts that fail, or whose connection serves for less than the longest.
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
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    current: Option<Arc<Attempt>>,
    /// What takes the place of the current one when it is made.
    next: Option<Arc<Attempt>>,
}

/// An attempt to connect. It goes on by itself: who waits for it may give up, and leaves it to the others.
struct Attempt {
    made: watch::Receiver<Option<Result<Connection, Failed>>>,
    begun: Instant,
    /// After so long without a result nobody drives it any more.
    patience: Duration,
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
            attempts: Mutex::default(),
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

    /// After a fault that another connection may mend, sees to it that there will be one. Verbs under way keep theirs.
    pub(super) fn look_at(&self, fault: &Fault, lent: &Lent) {
        if let (Self::Made(maker), Some(attempt)) = (self, &lent.attempt) {
            match lent.connection.cure(fault) {
                Cure::None => {}
                Cure::Replace => maker.replace(attempt),
                Cure::Renew => maker.renew(attempt),
            }
        }
    }
}

impl Maker {
    /// The attempt of now: the last one, also during the pause after it has failed.
    fn attempt(&self) -> Arc<Attempt> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.next.as_ref().is_some_and(|next| next.has_made()) {
            attempts.current = attempts.next.take();
        }
        let pause = match &attempts.current {
            Some(attempt) if !attempt.is_over() => return Arc::clone(attempt),
            Some(attempt) => attempt.longer_pause(),
            None => FIRST_PAUSE,
        };
        let begun = self.begin(Duration::ZERO, pause);
        Arc::clone(attempts.current.insert(begun))
    }

    /// The connection of this attempt serves nobody any more: the next verb waits for another.
    fn replace(&self, spent: &Arc<Attempt>) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts
            .current
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, spent))
        {
            // One that has not served for long is no reason to try at once.
            let (delay, pause) = match spent.begun.elapsed() < LONGEST_PAUSE {
                true => (spent.pause, spent.longer_pause()),
                false => (Duration::ZERO, FIRST_PAUSE),
            };
            attempts.current = Some(self.begin(delay, pause));
        }
    }

    /// The connection of this attempt serves some: it is used until there is another, which is not tried too often.
    fn renew(&self, spent: &Arc<Attempt>) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let Attempts { current, next } = &mut *attempts;
        let is_current = current.as_ref().is_some_and(|it| Arc::ptr_eq(it, spent));
        let is_time = |attempt: &Arc<Attempt>| attempt.begun.elapsed() >= LONGEST_PAUSE;
        if is_current
            && is_time(spent)
            && next.as_ref().is_none_or(|it| it.is_over() && is_time(it))
        {
            *next = Some(self.begin(Duration::ZERO, FIRST_PAUSE));
        }
    }

    fn begin(&self, delay: Duration, pause: Duration) -> Arc<Attempt> {
        let (tell, made) = watch::channel(None);
        let (connector, at_most) = (Arc::clone(&self.connector), self.at_most);
        tokio::spawn(async move {
            sleep(delay).await;
            let made = timeout(at_most, async { connector().await }).await;
            let made = made.unwrap_or_else(|_| Err(Fault::unreached()));
            tell.send_replace(Some(made.map_err(|fault| Failed {
                fault: fault.unsent(),
                until: Instant::now() + pause,
            })));
        });
        Arc::new(Attempt {
            made,
            begun: Instant::now() + delay,
            patience: at_most.saturating_add(LONGEST_PAUSE),
            pause,
        })
    }
}

impl Attempt {
    fn has_made(&self) -> bool {
        matches!(*self.made.borrow(), Some(Ok(_)))
    }

    fn longer_pause(&self) -> Duration {
        (self.pause * 2).min(LONGEST_PAUSE)
    }

    /// Whether another one may begin: it has failed, or its runtime is gone or does nothing.
    fn is_over(&self) -> bool {
        match &*self.made.borrow() {
            Some(Ok(_)) => false,
            Some(Err(failed)) => Instant::now() >= failed.until,
            None => self.made.has_changed().is_err() || self.begun.elapsed() > self.patience,
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
