//! Outcomes that a transaction of the handler's commits, together with what else it has written.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::task::unconstrained;

use crate::answer::completed;
use crate::body::{Buffered, ResponseBody};
use crate::capture::{Captured, capture, content_length, flows};
use crate::claiming::panicked;
use crate::context::{Claimed, Idempotency};
use crate::shield::shielded;
use crate::store::error::{BoxError, StoreError};
use crate::store::statement::Statement;
use crate::store::traits::Store;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

impl Idempotency {
    /// The completion of this request's record by `response`, for a transaction of the handler's own: run its
    /// [`statement`](Completion::statement) there, see that it changes one row, commit, and answer with
    /// [`committed`](Completion::committed). By any driver or ORM, in the database of the layer's store.
    ///
    /// The response is recorded as it is, whatever [`Keep`](crate::Keep) says of it, within `max_kept_response` and for
    /// its [`Retention`](crate::Retention). From here on the layer looks what became of the transaction before it settles:
    /// committed, its outcome is the request's, whatever the handler answers; otherwise the handler's answer is settled as
    /// always.
    ///
    /// # Errors
    ///
    /// [`Unprotected`](TransactionError::Unprotected), [`Unsupported`](TransactionError::Unsupported),
    /// [`LeaseLost`](TransactionError::LeaseLost), [`Body`](TransactionError::Body) and
    /// [`Store`](TransactionError::Store): roll back.
    pub fn completion<B>(&self, response: Response<B>) -> Result<Completion<B>, TransactionError>
    where
        B: Body<Data = Bytes>,
    {
        let claim = self.transactional()?;
        let config = claim.core().config();
        let (head, body) = response.into_parts();
        let captured = if flows(head.status, &head.headers) {
            Captured::Flowing(Buffered::default(), Box::pin(body))
        } else {
            // A transaction does not wait for a body: it has to be there at once.
            let told = content_length(&head.headers);
            let capture = capture(body, told, config.max_kept_response, config.hold_for);
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(captured) = pin!(unconstrained(capture)).poll(&mut cx) else {
                return Err(TransactionError::Body);
            };
            captured
        };
        let (completed, body) = match captured {
            Captured::Whole(body) => {
                let completed = completed(config, &head, Some(&body), claim.owner.key());
                (completed, ResponseBody::whole(body))
            }
            Captured::Flowing(held, rest) => {
                let completed = completed(config, &head, None, claim.owner.key());
                (completed, ResponseBody::flowing(held, rest))
            }
            Captured::WrongLength(_) | Captured::Broken(..) => return Err(TransactionError::Body),
        };
        let store = claim.core().store();
        // A store that panics has failed, and must not take the handler with it.
        let statement = shielded(|| Store::completion(&store, &claim.owner, &completed));
        let statement = statement.unwrap_or_else(|| Err(panicked()));
        let statement = statement
            .map_err(TransactionError::Store)?
            .ok_or(TransactionError::Unsupported)?;
        claim.lease.entrusted.hand_out();
        Ok(Completion {
            statement,
            response: Response::from_parts(head, body),
            payload: completed.payload().clone(),
            claim: Arc::clone(claim),
        })
    }

    /// The claim, where it still holds.
    fn transactional<E>(&self) -> Result<&Arc<Claimed>, TransactionError<E>> {
        let claim = self.claimed().ok_or(TransactionError::Unprotected)?;
        if claim.lease.is_lost() {
            return Err(TransactionError::LeaseLost);
        }
        Ok(claim)
    }
}

/// A response, and the statement that records it; from [`Idempotency::completion`].
#[must_use = "the record is completed by a transaction that runs the statement"]
pub struct Completion<B: Body> {
    statement: Statement,
    response: Response<ResponseBody<B>>,
    payload: Bytes,
    claim: Arc<Claimed>,
}

impl<B: Body> Completion<B> {
    /// What to run in the transaction. **It has to change exactly one row**: where it changes none, another attempt may
    /// own the operation, and the transaction has to be rolled back.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The response, once COMMIT has been answered. Where that is not known answer with an error: the layer looks.
    pub fn committed(self) -> Response<ResponseBody<B>> {
        self.claim.lease.entrusted.commit(self.payload);
        self.response
    }

    /// Its transaction was rolled back: it is not run again.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn rolled_back(self) {
        self.claim.lease.entrusted.take_back();
    }
}

impl<B: Body> fmt::Debug for Completion<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("statement", &self.statement)
            .finish_non_exhaustive()
    }
}

/// Why a transaction did not record the outcome of its request. `E` is the error of the closure, where there is one.
///
/// With feature `axum` it is a response: that of the closure's error, 409 for a lease that is lost, 503 where a
/// database failed, 500 for what is wrong in the service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError<E = Infallible> {
    /// The closure's own error. Rolled back.
    #[error("the handler gave up: the transaction was rolled back")]
    Handler(E),
    /// The request runs without a record ([`OnStoreError::RunUnprotected`](crate::OnStoreError::RunUnprotected)).
    /// Nothing was begun.
    #[error(
        "the request runs without protection, because the store failed: there is no record to be completed"
    )]
    Unprotected,
    /// The layer's store is not in a database that the handler could write to.
    #[error(
        "the layer's store takes part in no transactions: use a PostgresStore or a SqliteStore"
    )]
    Unsupported,
    /// Another attempt may own the operation by now. Rolled back.
    #[error("another attempt may own this operation by now: the transaction was rolled back")]
    LeaseLost,
    /// The body of the response is not there at once, has broken, or is not as long as its `Content-Length` says. Rolled
    /// back.
    #[error(
        "the response has a body that would have to be waited for, or that is broken: give one that is complete"
    )]
    Body,
    /// The store cannot write this outcome. Rolled back.
    #[error("the outcome cannot be written")]
    Store(#[source] StoreError),
    /// The database refused, or was not in reach. Rolled back.
    #[error("the database failed: nothing was committed")]
    Database(#[source] BoxError),
    /// COMMIT was not answered, and it could not be read back what became of it. Answer with an error: the layer, and
    /// each retry, looks again.
    #[error("the database did not say whether the transaction was committed")]
    Unknown(#[source] BoxError),
}

impl TransactionError {
    /// The same, of a transaction whose closure has errors.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn of<E>(self) -> TransactionError<E> {
        match self {
            Self::Handler(never) => match never {},
            Self::Unprotected => TransactionError::Unprotected,
            Self::Unsupported => TransactionError::Unsupported,
            Self::LeaseLost => TransactionError::LeaseLost,
            Self::Body => TransactionError::Body,
            Self::Store(error) => TransactionError::Store(error),
            Self::Database(error) => TransactionError::Database(error),
            Self::Unknown(error) => TransactionError::Unknown(error),
        }
    }
}

#[cfg(feature = "axum")]
impl<E: axum::response::IntoResponse> axum::response::IntoResponse for TransactionError<E> {
    fn into_response(self) -> axum::response::Response {
        use http::StatusCode;

        // What a database says is behind the error, and not for clients.
        let text = self.to_string();
        let status = match self {
            Self::Handler(error) => return error.into_response(),
            Self::LeaseLost => StatusCode::CONFLICT,
            Self::Database(_) | Self::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unprotected | Self::Unsupported | Self::Body | Self::Store(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, text).into_response()
    }
}
