//! The request's body: read within bounds before the claim, then the handler's.

use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::body::{Buffered, RequestBody};
use crate::bounds::{Bounds, Share};
use crate::capture::content_length;
use crate::config::Config;
use crate::framing::Fingerprinter;
use crate::policy::Mode;
use crate::refusal::RefusalCode;

/// A request body, read as far as it had to be.
pub(crate) struct Upload<'a, B> {
    state: State<B>,
    /// Of the bytes in memory, as soon as there are any.
    share: Share<&'a Bounds>,
}

enum State<B> {
    Unread(B),
    Read(Buffered),
    /// Beyond a bound, by a layer that refuses nothing.
    Partial(Buffered, Pin<Box<B>>),
}

impl<'a, B: Body<Data = Bytes>> Upload<'a, B> {
    pub(crate) fn new(body: B, bounds: &'a Bounds) -> Self {
        Self {
            state: State::Unread(body),
            share: bounds.none(|bounds| &bounds.buffered),
        }
    }

    /// What has been read.
    pub(crate) fn data(&self) -> &[u8] {
        match &self.state {
            State::Unread(_) => &[],
            State::Read(read) | State::Partial(read, _) => read.data(),
        }
    }

    /// Reads the body to its end, if that has not been done; its bytes go into the fingerprint as they come.
    pub(crate) async fn read(
        &mut self,
        config: &Config,
        headers: &HeaderMap,
        fingerprinter: &mut Fingerprinter<'_>,
    ) -> Result<(), RefusalCode> {
        let body = match mem::replace(&mut self.state, State::Read(Buffered::default())) {
            State::Unread(body) => body,
            read => {
                self.state = read;
                return Ok(());
            }
        };
        let hint = body.size_hint();
        let declared = match hint.exact() {
            Some(length) => length,
            None => content_length(headers).unwrap_or(0).max(hint.lower()),
        };
        if declared > config.max_body() as u64 {
            self.state = State::Unread(body);
            return Err(RefusalCode::RequestTooLarge);
        }
        let mut read = Buffered::default();
        let share = &mut self.share;
        let ended = match config.mode {
            Mode::Enforce => fill(&mut read, pin!(body), config, share, fingerprinter).await,
            Mode::Shadow => {
                let mut body = Box::pin(body);
                let ended = fill(&mut read, body.as_mut(), config, share, fingerprinter).await;
                if ended.is_err() {
                    self.state = State::Partial(read, body);
                    return ended;
                }
                ended
            }
        };
        self.state = State::Read(read);
        ended
    }

    /// The body for the handler. Its share of the bounds is given back when the second part is dropped.
    pub(crate) fn into_body(self) -> (RequestBody<B>, Share<&'a Bounds>) {
        let body = match self.state {
            State::Unread(body) => RequestBody::original(body),
            State::Read(read) => RequestBody::read(read),
            State::Partial(read, rest) => RequestBody::partial(read, rest),
        };
        (body, self.share)
    }
}

async fn fill<B: Body<Data = Bytes>>(
    read: &mut Buffered,
    mut body: Pin<&mut B>,
    config: &Config,
    share: &mut Share<&Bounds>,
    fingerprinter: &mut Fingerprinter<'_>,
) -> Result<(), RefusalCode> {
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| RefusalCode::RequestBodyUnreadable)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let (length, before) = (data.len(), read.len());
        fingerprinter.frame(data);
        read.push(frame);
        if length > config.max_body() - before {
            return Err(RefusalCode::RequestTooLarge);
        }
        if length > 0 && !share.grow_within(length, config.max_buffered_bytes) {
            return Err(RefusalCode::Overloaded);
        }
    }
    Ok(())
}
