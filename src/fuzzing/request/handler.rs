//! A service that does what each request's plan says, and tells the world of it.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tower::Service;

use super::world::World;
use crate::body::RequestBody;
use crate::context::Idempotency;

/// So many bytes of a response are kept.
pub(super) const MOST_KEPT: usize = 64;

/// What went wrong on purpose.
#[derive(Debug)]
pub(super) struct Lost;

/// A body of frames; one may be an error.
#[derive(Default)]
pub(super) struct Frames(pub(super) VecDeque<Result<Frame<Bytes>, Lost>>);

impl Frames {
    pub(super) fn of(data: &[&[u8]], trailers: Option<&HeaderMap>) -> Self {
        let data = data.iter().map(|data| Bytes::copy_from_slice(data));
        let mut frames: VecDeque<_> = data.map(|data| Ok(Frame::data(data))).collect();
        frames.extend(trailers.map(|trailers| Ok(Frame::trailers(trailers.clone()))));
        Self(frames)
    }

    pub(super) fn breaking(mut self) -> Self {
        self.0.push_back(Err(Lost));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A body, read to its end or to where it broke.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) data: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) is_broken: bool,
}

pub(super) async fn read<B: Body<Data = Bytes>>(body: B) -> Read {
    let mut body = Box::pin(body);
    let mut read = Read::default();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else {
            read.is_broken = true;
            break;
        };
        match frame.into_data() {
            Ok(data) => read.data.extend_from_slice(&data),
            Err(frame) => read.trailers = frame.into_trailers().ok(),
        }
    }
    read
}

/// What a request is sent with: its number, and what its execution does.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) sent: usize,
    pub(super) behaviour: u8,
    /// What the handler must read.
    pub(super) body: Vec<u8>,
}

/// What an execution answers with.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Read,
    /// Whether it can be replayed, if it is kept.
    pub(super) is_whole: bool,
}

#[derive(Clone)]
pub(super) struct Handler(pub(super) Arc<World>);

impl Service<Request<RequestBody<Frames>>> for Handler {
    type Response = Response<Frames>;
    type Error = Lost;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Frames>, Lost>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Frames>>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let Some(plan) = parts.extensions.get::<Plan>().cloned() else {
            panic!("an extension is lost");
        };
        let context = parts.extensions.get::<Idempotency>().cloned();
        let running = self.0.begins(&plan, context.clone());
        let world = Arc::clone(&self.0);
        Box::pin(async move {
            let body = read(body).await;
            if !body.is_broken && body.data != plan.body {
                world.wrong("the handler reads another body than was sent");
            }
            let commits = matches!(plan.behaviour, 7..=9);
            let mut behaviour = plan.behaviour;
            if let Some(context) = context.filter(|_| commits)
                && context.point_of_no_return().await.is_err()
            {
                behaviour = 2;
            }
            match behaviour {
                4 => return Err(Lost),
                // Not `panic!`: it is no fault, and hooks need not hear of it.
                5 | 9 => resume_unwind(Box::new(Lost)),
                6 => tokio::time::sleep(Duration::from_secs(5)).await,
                15 => tokio::time::sleep(Duration::from_secs(100)).await,
                _ => {}
            }
            let (made, frames) = make(behaviour, running.number);
            let mut response = Response::new(frames);
            *response.status_mut() = made.status;
            *response.headers_mut() = made.headers.clone();
            running.made(made);
            Ok(response)
        })
    }
}

/// The response of a behaviour, with the number of its execution.
pub(super) fn make(behaviour: u8, number: usize) -> (Made, Frames) {
    let text = format!("made {number}");
    let mut headers = HeaderMap::new();
    headers.insert("x-run", HeaderValue::from(number));
    let status = match behaviour {
        1 => 200,
        2 | 8 => 500,
        3 => 402,
        14 => 204,
        _ => 201,
    };
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let (mut trailers, mut is_whole, mut is_broken) = (None, true, false);
    let large = [b'x'; MOST_KEPT];
    let mut data = vec![text.as_bytes()];
    match behaviour {
        1 => {
            for (name, value) in RICH {
                headers.append(name, HeaderValue::from_static(value));
            }
            trailers = Some(HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                HeaderValue::from_static("7"),
            )]));
            data.push(b"");
            data.push(b" and more");
        }
        10 => (is_whole, is_broken) = (false, true),
        11 => {
            is_whole = false;
            data.push(&large);
        }
        12 => {
            is_whole = false;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        }
        13 => {
            is_whole = false;
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("999"));
        }
        14 => data.clear(),
        _ => {}
    }
    let mut frames = Frames::of(&data, trailers.as_ref());
    if is_broken {
        frames = frames.breaking();
    }
    let body = Read {
        data: data.concat(),
        trailers,
        is_broken,
    };
    let made = Made {
        status,
        headers,
        body,
        is_whole,
    };
    (made, frames)
}

/// Headers of which some are kept.
const RICH: [(&str, &str); 9] = [
    ("content-type", "text/plain"),
    ("location", "/made/7"),
    ("link", "</a>"),
    ("link", "</b>"),
    ("set-cookie", "s=1"),
    ("date", "then"),
    ("connection", "x-hop"),
    ("x-hop", "1"),
    ("idempotent-replayed", "true"),
];
