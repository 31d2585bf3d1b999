//! The response's body, held within bounds before the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};

use crate::body::Buffered;
use crate::drive::within;
use crate::lines::line;

/// A response body, held as long as that is reasonable.
pub(crate) enum Captured<R: Body> {
    /// It has ended, as it should.
    Whole(Buffered),
    /// It is too large, too slow or meant to flow.
    Flowing(Buffered, Pin<Box<R>>),
    /// It has ended, and not as its `Content-Length` says; `None` where it was over before it began, which
    /// servers put right by themselves.
    WrongLength(Option<Buffered>),
    /// It broke.
    Broken(Buffered, R::Error),
}

/// Holds a response body until it ended, grew beyond `most` bytes, or `hold_for` has passed. `told` is the length
/// that its head tells.
pub(crate) async fn capture<R: Body<Data = Bytes>>(
    body: R,
    told: Option<u64>,
    most: usize,
    hold_for: Duration,
) -> Captured<R> {
    let mut held = Buffered::default();
    if body.is_end_stream() {
        return match told {
            Some(1..) => Captured::WrongLength(None),
            _ => Captured::Whole(held),
        };
    }
    let mut body = Box::pin(body);
    if body.size_hint().lower() > most as u64 {
        return Captured::Flowing(held, body);
    }
    let holding = async {
        while let Some(frame) = next_frame(body.as_mut()).await {
            held.push(frame?);
            if held.len() > most {
                return Ok(false);
            }
            // A body that is always ready must not starve its own deadline.
            tokio::task::consume_budget().await;
        }
        Ok(true)
    };
    match within(hold_for, holding).await {
        Some(Ok(true)) => match told {
            Some(told) if told != held.len() as u64 => Captured::WrongLength(Some(held)),
            _ => Captured::Whole(held),
        },
        Some(Ok(false)) | None => Captured::Flowing(held, body),
        Some(Err(error)) => Captured::Broken(held, error),
    }
}

/// Whether a response is meant to flow: it is not held at all.
pub(crate) fn flows(status: StatusCode, headers: &HeaderMap) -> bool {
    const FLOWING: [&[u8]; 3] = [
        b"text/event-stream",
        b"multipart/x-mixed-replace",
        b"application/x-ndjson",
    ];
    let content_type =
        line(headers, &CONTENT_TYPE).map(|value| value.as_bytes().trim_ascii_start());
    let is_of = |media_type: &[u8], content_type: &[u8]| {
        content_type
            .split_at_checked(media_type.len())
            .is_some_and(|(begin, rest)| {
                begin.eq_ignore_ascii_case(media_type)
                    && matches!(rest.trim_ascii_start(), [] | [b';', ..])
            })
    };
    status == StatusCode::SWITCHING_PROTOCOLS
        || content_type.is_some_and(|it| FLOWING.iter().any(|flowing| is_of(flowing, it)))
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    line(headers, &CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn next_frame<B: Body>(mut body: Pin<&mut B>) -> Option<Result<Frame<B::Data>, B::Error>> {
    poll_fn(|cx| body.as_mut().poll_frame(cx)).await
}
