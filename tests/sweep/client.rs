//! Clients, and what they get.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderMap, Request};
use http_body::Body;
use tokio::task::yield_now;
use tower::ServiceExt;
use tower_idempotency::{IdempotencyService, Outcome};

use crate::frames::{Frames, Step};
use crate::handler::{Handler, RUNS};
use crate::row::Gets;
use crate::scripted::Scripted;
use crate::support::plain;

pub(crate) type Service = IdempotencyService<Handler, Arc<Scripted>>;

/// What a client has got.
#[derive(Debug)]
pub(crate) enum Got {
    Answer(Answer),
    Failure,
    Panic,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) broke: bool,
}

impl Answer {
    /// Which execution it is of, counted from 1.
    pub(crate) fn of(&self) -> Option<usize> {
        let number = RUNS.iter().position(|run| self.text.starts_with(run));
        number.map(|number| number + 1)
    }
}

impl Got {
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Answer(answer) => Some(answer.outcome),
            Self::Failure | Self::Panic => None,
        }
    }

    /// Whether it is the same answer, whatever became of the request.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let parts = |got: &Self| match got {
            Self::Answer(it) => Some((it.status, it.text.clone(), it.trailers.clone())),
            Self::Failure | Self::Panic => None,
        };
        parts(self) == parts(other)
    }

    /// In the words of the table.
    pub(crate) fn as_gets(&self) -> Option<Gets> {
        let answer = match self {
            Self::Answer(answer) => answer,
            Self::Failure => return Some(Gets::Failure),
            Self::Panic => return Some(Gets::Panic),
        };
        Some(match (answer.outcome, answer.status) {
            (Outcome::Executed { .. } | Outcome::Unprotected, 201) if answer.broke => {
                Gets::Broken(answer.of()?)
            }
            (Outcome::Executed { .. } | Outcome::Unprotected, 201) => Gets::Run(answer.of()?),
            (Outcome::Executed { .. } | Outcome::Unprotected, status) => Gets::Status(status),
            (Outcome::Replayed, 201) => Gets::Replay(answer.of()?),
            (Outcome::Mismatch | Outcome::InProgress | Outcome::Refused, status) => {
                Gets::Refusal(status)
            }
            _ => return None,
        })
    }
}

pub(crate) fn post(key: &str, body: Vec<Step>) -> Request<Frames> {
    plain(key, "").map(|_| Frames::new(body))
}

/// Sends a request and reads the answer frame by frame, as far as there are some.
pub(crate) async fn client(service: Service, request: Request<Frames>) -> Got {
    let Ok(response) = service.oneshot(request).await else {
        return Got::Failure;
    };
    let (head, body) = response.into_parts();
    let mut body = Box::pin(body);
    let mut answer = Answer {
        status: head.status.as_u16(),
        outcome: Outcome::of(&head.extensions),
        text: String::new(),
        trailers: None,
        broke: false,
    };
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => answer.text.push_str(std::str::from_utf8(&data).unwrap()),
            Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
            Err(_) => {
                answer.broke = true;
                break;
            }
        }
        yield_now().await;
    }
    Got::Answer(answer)
}

pub(crate) async fn caught(client: impl Future<Output = Got>) -> Got {
    AssertUnwindSafe(client)
        .catch_unwind()
        .await
        .unwrap_or(Got::Panic)
}
