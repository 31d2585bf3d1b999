//! What an API keeps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::response::Response;

use super::{Account, Sandbox};

/// The state of an API: its sessions, in memory, and the sandbox around them.
#[derive(Clone)]
pub(crate) struct Api<Session> {
    pub(crate) sandbox: Sandbox,
    sessions: Arc<Mutex<Vec<(Account, Session)>>>,
}

impl<Session> Api<Session> {
    /// The sessions of all accounts, oldest first.
    pub(crate) fn sessions(&self) -> MutexGuard<'_, Vec<(Account, Session)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `GET /_ledger`: how often each handler really ran.
    pub(crate) async fn ledger(State(api): State<Self>) -> Response {
        api.sandbox.answer()
    }
}

impl<Session> Default for Api<Session> {
    fn default() -> Self {
        Self {
            sandbox: Sandbox::default(),
            sessions: Arc::default(),
        }
    }
}
