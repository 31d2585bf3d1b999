//! The request's body: read within bounds before the claim, then the handler's.

use std::future::poll_fn;
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
    /// Until it is read.
    body: Option<B>,
    read: Buffered,
    /// What is beyond a bound, by a layer that refuses nothing.
    rest: Option<Pin<Box<B>>>,
    /// Of the bytes in memory, as soon as there are any.
    share: Share<&'a Bounds>,
}

impl<'a, B: Body<Data = Bytes>> Upload<'a, B> {
    pub(crate) fn new(body: B, bounds: &'a Bounds) -> Self {
        Self {
            body: Some(body),
            read: Buffered::default(),
            rest: None,
            share: bounds.none(|bounds| &bounds.buffered),
        }
    }

    /// What has been read.
    pub(crate) fn data(&self) -> &[u8] {
        self.read.data()
    }

    /// Reads the body to its end, if that has not been done; its bytes go into the fingerprint as they come.
    pub(crate) async fn read(
        &mut self,
        config: &Config,
        headers: &HeaderMap,
        fingerprinter: &mut Fingerprinter<'_>,
    ) -> Result<(), RefusalCode> {
        let Some(hint) = self.body.as_ref().map(B::size_hint) else {
            return Ok(());
        };
        let declared = match hint.exact() {
            Some(length) => length,
            None => content_length(headers).unwrap_or(0).max(hint.lower()),
        };
        if declared > config.max_body() as u64 {
            return Err(RefusalCode::RequestTooLarge);
        }
        let Some(body) = self.body.take() else {
            return Ok(());
        };
        let (read, share) = (&mut self.read, &mut self.share);
        match config.mode {
            Mode::Enforce => fill(read, pin!(body), config, share, fingerprinter).await,
            Mode::Shadow => {
                let mut body = Box::pin(body);
                let ended = fill(read, body.as_mut(), config, share, fingerprinter).await;
                self.rest = ended.is_err().then_some(body);
                ended
            }
        }
    }

    /// The body for the handler. Its share of the bounds is given back when the second part is dropped.
    pub(crate) fn into_body(self) -> (RequestBody<B>, Share<&'a Bounds>) {
        let body = match (self.body, self.rest) {
            (Some(body), _) => RequestBody::original(body),
            (None, Some(rest)) => RequestBody::partial(self.read, rest),
            (None, None) => RequestBody::read(self.read),
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
