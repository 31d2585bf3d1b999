//! A thread with a connection of its own, as those see it that ask.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::call::{Asked, Call, Taken};
use super::connection::Role;
use super::fault::{Class, Fault};
use super::records::Records;
use super::server::Server;
use super::settings::Settings;
use super::waiters::Waiters;
use crate::drive;
use crate::lock::Lock;

type Calls = SyncSender<Box<dyn Call>>;

/// The way to the thread, which ends with this.
pub(super) struct Thread {
    role: Role,
    settings: Arc<Settings>,
    waiters: Arc<Waiters>,
    calls: Mutex<Calls>,
}

impl Thread {
    /// Starts it; it opens the file at its first call, and may make a new one then.
    pub(super) fn start(
        role: Role,
        settings: &Arc<Settings>,
        waiters: &Arc<Waiters>,
    ) -> Result<Self, Fault> {
        let server = Server::new(role, settings, waiters, true);
        Ok(Self {
            role,
            settings: Arc::clone(settings),
            waiters: Arc::clone(waiters),
            calls: Mutex::new(started(server)?),
        })
    }

    /// Has this done in a transaction, once or, where that is rolled back, again; answers when it is committed.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnMut(&Records<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (taken, (reply, answer)) = (Taken::default(), oneshot::channel());
        let call = Asked::new(work, taken.clone(), reply);
        self.send(Box::new(call))?;
        let answered = match drive::until(deadline, answer).await {
            Some(Ok(answered)) => answered,
            Some(Err(_)) => Err(self.unanswered(&taken, "a thread of the store has ended")),
            None => Err(self.unanswered(&taken, "the file has not been free in time")),
        };
        answered.map_err(|fault| fault.at(&self.settings.path))
    }

    fn send(&self, call: Box<dyn Call>) -> Result<(), Fault> {
        self.calls.with(|calls| match calls.try_send(call) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                let said = "too many calls wait for the file";
                Err(Fault::new(Class::NotApplied, said))
            }
            // It has panicked, in a clock that is not ours.
            Err(TrySendError::Disconnected(call)) => {
                let server = Server::new(self.role, &self.settings, &self.waiters, false);
                *calls = started(server)?;
                let sent = calls.try_send(call);
                sent.map_err(|_| Fault::new(Class::NotApplied, "a thread of the store ends"))
            }
        })
    }

    /// A call that is not waited for any longer.
    fn unanswered(&self, taken: &Taken, said: &str) -> Fault {
        // What has not been begun never is, then.
        let class = match taken.take() {
            true => Class::NotApplied,
            false if self.role == Role::Reader => Class::NotApplied,
            false => Class::Ambiguous,
        };
        Fault::new(class, said)
    }
}

fn started(server: Server) -> Result<Calls, Fault> {
    let (calls, to_serve) = sync_channel(server.settings.queue);
    let name = match server.role {
        Role::Reader => "idem-reader",
        Role::Writer => "idem-writer",
    };
    let started = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || server.serve(&to_serve));
    let unable = |error: io::Error| {
        let said = format!("no thread can be started: {error}");
        Fault::new(Class::NotApplied, said)
    };
    started.map_err(unable)?;
    Ok(calls)
}
