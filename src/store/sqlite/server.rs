//! What the thread does: it takes a call, and those that have come meanwhile, runs all of them in one transaction, and
//! answers when that is committed, so that many calls share one wait for the disk. It never waits for more to come.

use std::cell::RefCell;
use std::fs;
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::call::Call;
use super::connection::{self, Role};
use super::fault::{Class, Fault};
use super::records::{PURGED_AT_ONCE, Records};
use super::settings::Settings;
use super::waiters::{Ended, Waiters};

/// A log that is longer, in bytes, has been kept from beginning anew by those who read.
const LONG_LOG: u64 = 16 << 20;
/// So long they are waited for then, and so long they are left alone where that was in vain.
const LOG_WAIT: Duration = Duration::from_millis(100);
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// So many calls share a transaction: the first, and those that have come meanwhile.
const AT_ONCE: usize = 1 + 256;

pub(super) struct Server {
    pub(super) role: Role,
    pub(super) settings: Arc<Settings>,
    waiters: Arc<Waiters>,
    may_create: bool,
    connection: Option<Connection>,
    /// The file that it leads to.
    file: Option<(u64, u64)>,
    /// When expired records are dropped next.
    purge_at: Option<Instant>,
    /// When the log is looked at next.
    log_at: Instant,
}

impl Server {
    pub(super) fn new(
        role: Role,
        settings: &Arc<Settings>,
        waiters: &Arc<Waiters>,
        may_create: bool,
    ) -> Self {
        let purge_at = match role {
            Role::Reader => None,
            Role::Writer => Instant::now().checked_add(settings.purge_every),
        };
        Self {
            role,
            settings: Arc::clone(settings),
            waiters: Arc::clone(waiters),
            may_create,
            connection: None,
            file: None,
            purge_at,
            log_at: Instant::now(),
        }
    }

    /// Serves until nobody is left who could call.
    pub(super) fn serve(mut self, calls: &Receiver<Box<dyn Call>>) {
        loop {
            let idle = self.purge_at.map_or(Duration::MAX, |at| {
                at.saturating_duration_since(Instant::now())
            });
            let first = match calls.recv_timeout(idle) {
                Ok(call) => Some(call),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let calls = first.into_iter().chain(calls.try_iter());
            self.answer(calls.take(AT_ONCE).collect());
            if self.purge_at.is_some_and(|at| at <= Instant::now()) {
                self.purge();
            }
            self.shorten_log();
        }
    }

    /// Where there is always somebody who reads, SQLite never begins its log anew: it waits for nobody. Here the next
    /// calls wait for those, and what they read then is in the file.
    fn shorten_log(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        if self.role == Role::Reader || Instant::now() < self.log_at {
            return;
        }
        let log = connection.path().map(|path| format!("{path}-wal"));
        let length = log
            .and_then(|log| fs::metadata(log).ok())
            .map(|it| it.len());
        if length.is_none_or(|length| length <= LONG_LOG) {
            return;
        }
        // Where it fails, nothing is lost.
        let _ = connection.busy_timeout(LOG_WAIT);
        let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, bool>(0)
        });
        if !matches!(is_busy, Ok(false)) {
            self.log_at = Instant::now() + LOG_PAUSE;
        }
        if connection.busy_timeout(self.settings.busy_timeout).is_err() {
            self.connection = None;
        }
    }

    fn answer(&mut self, mut calls: Vec<Box<dyn Call>>) {
        if calls.is_empty() {
            return;
        }
        match self.run(&mut calls) {
            Ok(()) => {}
            Err(fault) if fault.class == Class::Full => {
                self.make_room();
                // What needs no room goes on.
                for call in &mut calls {
                    if let Err(fault) = self.run(slice::from_mut(call)) {
                        call.fail(&fault);
                    }
                }
            }
            Err(fault) => calls.iter_mut().for_each(|call| call.fail(&fault)),
        }
        calls.into_iter().for_each(Call::answer);
    }

    /// Runs these in one transaction. One that fails fails alone, unless SQLite rolls back all of them.
    fn run(&mut self, calls: &mut [Box<dyn Call>]) -> Result<(), Fault> {
        let settings = Arc::clone(&self.settings);
        let failed = self.transact(|connection, ended| {
            let mut failed = None;
            for call in calls {
                let now = settings.clock.now();
                let records = Records::new(connection, &settings.sql, now, ended);
                if let Err(fault) = call.run(&records) {
                    if connection.is_autocommit() {
                        return Err(fault);
                    }
                    failed = Some(fault);
                }
            }
            Ok(failed)
        })?;
        match failed {
            Some(fault) if fault.class == Class::Full => self.make_room(),
            Some(fault) if fault.is_of_connection => self.connection = None,
            _ => {}
        }
        Ok(())
    }

    /// What can be done about a disk that is full: the log begins anew, and what has expired goes.
    fn make_room(&mut self) {
        if let Some(connection) = &self.connection {
            // Without waiting for anybody. Where it fails, nothing is lost.
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        self.purge();
    }

    /// Drops some of what has expired, and more of it soon: a quarter of the time at most.
    fn purge(&mut self) {
        let (settings, began) = (Arc::clone(&self.settings), Instant::now());
        let purged = self.transact(|connection, ended| {
            let now = settings.clock.now();
            Records::new(connection, &settings.sql, now, ended).purge_some()
        });
        let pause = match purged {
            Ok(purged) if purged == PURGED_AT_ONCE => began.elapsed() * 3,
            _ => settings.purge_every,
        };
        self.purge_at = Instant::now().checked_add(pause);
    }

    /// Runs this in a transaction; wakes those who have waited for what it has ended.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection, &RefCell<Vec<Ended>>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // What is written to a file that is no longer there is lost, and nobody else sees it.
        let file = connection::file_at(&self.settings.path);
        let connection = match self.connection.take() {
            Some(opened) if file == self.file => opened,
            _ => {
                let opened = connection::open(&self.settings, self.role, self.may_create)?;
                self.file = connection::file_at(&self.settings.path);
                opened
            }
        };
        self.may_create = false;
        let ended = RefCell::default();
        let done = self.committed(&connection, |connection| work(connection, &ended));
        let is_good = match &done {
            Ok(_) => {
                self.waiters.wake(ended.into_inner());
                true
            }
            Err(fault) => {
                let is_over =
                    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
                is_over && !fault.is_of_connection
            }
        };
        if is_good {
            self.connection = Some(connection);
        }
        done
    }

    fn committed<T>(
        &self,
        connection: &Connection,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        connection.execute_batch(match self.role {
            Role::Reader => "BEGIN",
            Role::Writer => "BEGIN IMMEDIATE",
        })?;
        let done = work(connection)?;
        match (connection.execute_batch("COMMIT"), self.role) {
            (Ok(()), _) => Ok(done),
            (Err(error), Role::Reader) => Err(error.into()),
            (Err(error), Role::Writer) => Err(Fault::from(error).of_commit()),
        }
    }
}
