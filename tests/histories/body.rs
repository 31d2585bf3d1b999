//! Response bodies by script.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::Sleep;

use crate::QUIET;

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    Pause(Duration),
    Break,
    Panic,
}

pub(crate) struct ScriptedBody {
    pieces: VecDeque<Piece>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl ScriptedBody {
    pub(crate) fn new(pieces: Vec<Piece>) -> Self {
        Self {
            pieces: pieces.into(),
            pause: None,
        }
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let frame = match self.pieces.pop_front() {
                Some(Piece::Pause(time)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
                Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
                Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Piece::Break) => Some(Err("broken")),
                Some(Piece::Panic) => std::panic::panic_any(QUIET),
                None => None,
            };
            return Poll::Ready(frame);
        }
    }
}
