//! Clients: one request each, and how long they stay.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_idempotency::{Outcome, ResponseBody};

use crate::body::ScriptedBody;
use crate::book::{Book, Heard, Unanswered};
use crate::broken::Bug;
use crate::handler::NOT_READY;
use crate::process::Guarded;
use crate::random::Random;
use crate::settings::Principal;

/// When a client hangs up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stays {
    ForEver,
    For(Duration),
    /// So many polls.
    Polls(u64),
}

impl Stays {
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.within(0..10) {
            0 | 1 => Self::For(Duration::from_millis(random.within(0..30))),
            2 => Self::For(Duration::from_millis(random.within(0..3_000))),
            3 => Self::Polls(random.within(1..12)),
            _ => Self::ForEver,
        }
    }
}

/// The request with this number, as its client sends it.
pub(crate) fn request(book: &Book, number: usize) -> Request<Full<Bytes>> {
    let book = book.look();
    let asked = &book.requests[number];
    let key = &book.model.keys[asked.key];
    let key_sent = key.name.split('/').next_back().unwrap();
    // The same in every scope.
    let body = format!("body {} of {key_sent}", asked.body);
    let mut request = Request::post("/charges")
        .header("idempotency-key", key_sent)
        .header("x-request", number)
        .body(Full::from(body))
        .unwrap();
    request.extensions_mut().insert(Principal(key.scope));
    request
}

/// Sends one request, and enters what is heard.
pub(crate) async fn client(book: Book, service: Guarded, number: usize, stays: Stays, bug: Bug) {
    let request = request(&book, number);
    let call = converse(&book, service, request, number);
    let heard = match stays {
        Stays::ForEver => Some(call.await),
        Stays::For(time) => tokio::time::timeout(time, call).await.ok(),
        Stays::Polls(most) => polled(call, most).await,
    };
    match heard {
        Some(Ok(mut heard)) => {
            bug.distort(&mut heard);
            book.enter(|book| book.is_answered(number, &heard))
        }
        Some(Err(unanswered)) => book.enter(|book| book.is_unanswered(number, unanswered)),
        None => {
            book.note(|| format!("request {number}: the client has gone"));
            None
        }
    };
}

async fn converse(
    book: &Book,
    service: Guarded,
    request: Request<Full<Bytes>>,
    number: usize,
) -> Result<Heard, Unanswered> {
    let talk = async {
        let response = service
            .oneshot(request)
            .await
            .map_err(|error| match error {
                NOT_READY => Unanswered::NotReady,
                _ => Unanswered::Failed,
            })?;
        let outcome = Outcome::of(response.extensions());
        book.enter(|book| book.hears(number, outcome));
        Ok(read(response, outcome).await)
    };
    let caught = AssertUnwindSafe(talk).catch_unwind().await;
    caught.unwrap_or(Err(Unanswered::Panicked))
}

async fn read(response: Response<ResponseBody<ScriptedBody>>, outcome: Outcome) -> Heard {
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let (mut data, mut trailers, mut is_broken) = (BytesMut::new(), None, false);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(bytes)) => data.extend_from_slice(&bytes),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(_) => {
                is_broken = true;
                break;
            }
        }
    }
    Heard {
        outcome,
        status: head.status,
        headers: head.headers,
        body: data.freeze(),
        trailers,
        is_broken,
    }
}

/// Drops the future after so many polls.
async fn polled<F: Future>(future: F, most: u64) -> Option<F::Output> {
    let (mut future, mut polls) = (Box::pin(future), 0);
    poll_fn(move |cx| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        let poll = future.as_mut().poll(cx).map(Some);
        if poll.is_pending() && polls == most {
            return Poll::Ready(None);
        }
        poll
    })
    .await
}
