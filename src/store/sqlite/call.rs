//! A call on its way through a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::fault::Fault;
use super::records::Records;

/// A call, as the thread has it.
pub(super) trait Call: Send {
    /// Runs it, unless it has been withdrawn. May be called again after a transaction that was rolled back.
    fn run(&mut self, records: &Records<'_>) -> Result<(), Fault>;

    /// Whatever was to be answered, this is.
    fn fail(&mut self, fault: &Fault);

    /// Sends the answer.
    fn answer(self: Box<Self>);
}

/// Whether a call has been begun or withdrawn, whichever came first.
#[derive(Clone, Default)]
pub(super) struct Taken(Arc<AtomicBool>);

impl Taken {
    /// `false` if it has been before.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

/// A call that is answered with `T`.
pub(super) struct Asked<W, T> {
    work: W,
    taken: Taken,
    is_begun: bool,
    answer: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<W, T> Asked<W, T> {
    pub(super) fn new(work: W, taken: Taken, reply: oneshot::Sender<Result<T, Fault>>) -> Self {
        Self {
            work,
            taken,
            is_begun: false,
            answer: None,
            reply,
        }
    }
}

impl<W, T> Call for Asked<W, T>
where
    W: FnMut(&Records<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, records: &Records<'_>) -> Result<(), Fault> {
        self.is_begun = self.is_begun || self.taken.take();
        if !self.is_begun {
            return Ok(());
        }
        let done = (self.work)(records);
        let failed = done.as_ref().err().cloned();
        self.answer = Some(done);
        failed.map_or(Ok(()), Err)
    }

    fn fail(&mut self, fault: &Fault) {
        self.answer = Some(Err(fault.clone()));
    }

    fn answer(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // Whoever has asked may be gone.
            let _ = self.reply.send(answer);
        }
    }
}
