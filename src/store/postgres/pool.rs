//! The store's own connections, of which none is held but for a call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;

/// Up to so many connections, made when they are needed.
///
/// Not the pool of sqlx: that one asks the server once more whenever a connection is given back, and panics where it is
/// given back outside of a runtime.
pub(super) struct Pool {
    options: PgConnectOptions,
    places: Semaphore,
    /// The one that was used last is used first.
    idle: Mutex<Vec<PgConnection>>,
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions, at_most: usize) -> Self {
        Self {
            options,
            places: Semaphore::new(at_most),
            idle: Mutex::default(),
        }
    }

    /// A place for one call. Who has none takes no connection.
    pub(super) async fn place(&self, until: Instant) -> Result<SemaphorePermit<'_>, Fault> {
        match timeout_at(until, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Fault::busy()),
        }
    }

    /// A connection that is idle, or a new one. Where it is dropped it is closed.
    pub(super) async fn take(&self, until: Instant) -> Result<PgConnection, Fault> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        match timeout_at(until, self.options.connect()).await {
            Ok(made) => made.map_err(|error| Fault::of_connecting(&error)),
            Err(_) => Err(Fault::unreached()),
        }
    }

    /// Takes back a connection whose call is over.
    pub(super) fn give_back(&self, connection: PgConnection) {
        self.idle().push(connection);
    }

    /// Closes what is idle: where one connection has broken, the others have too, or lead to a server that is none now.
    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
