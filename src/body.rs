//! The bodies that handler and client see in place of the original ones.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The request body that the wrapped service receives.
    ///
    /// The original body where the layer does not apply; otherwise what was read of it: the same bytes and
    /// trailers, at once.
    pub struct RequestBody<B> {
        #[pin]
        inner: RequestInner<B>,
    }
}

pin_project! {
    #[project = RequestProj]
    enum RequestInner<B> {
        Original { #[pin] body: B },
        Read { body: Buffered },
        // Read in part, and handed on all the same.
        Partial { body: Buffered, rest: Pin<Box<B>> },
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn original(body: B) -> Self {
        Self {
            inner: RequestInner::Original { body },
        }
    }

    pub(crate) fn read(body: Buffered) -> Self {
        Self {
            inner: RequestInner::Read { body },
        }
    }

    pub(crate) fn partial(body: Buffered, rest: Pin<Box<B>>) -> Self {
        Self {
            inner: RequestInner::Partial { body, rest },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            RequestProj::Original { body } => body.poll_frame(cx),
            RequestProj::Read { body } => Poll::Ready(body.next().map(Ok)),
            RequestProj::Partial { body, rest } => match body.next() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => rest.as_mut().poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            RequestInner::Original { body } => body.is_end_stream(),
            RequestInner::Read { body } => body.is_empty(),
            RequestInner::Partial { body, rest } => body.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            RequestInner::Original { body } => body.size_hint(),
            RequestInner::Read { body } => body.size_hint(),
            RequestInner::Partial { body, rest } => followed(body, rest.size_hint()),
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody(..)")
    }
}

pin_project! {
    /// The response body of the layer: the service's own, a recorded one, or a refusal.
    ///
    /// Keeps the error type of the service's body.
    pub struct ResponseBody<R: Body> {
        #[pin]
        inner: ResponseInner<R>,
    }
}

pin_project! {
    #[project = ResponseProj]
    enum ResponseInner<R: Body> {
        // Not looked at.
        Original { #[pin] body: R },
        // Known to its end.
        Whole { body: Buffered },
        // Known in part; the rest flows, or is the error that it broke with.
        Partial { body: Buffered, rest: Rest<R> },
    }
}

/// What comes after the part of a response body that was held.
pub(crate) enum Rest<R: Body> {
    Flows(Pin<Box<R>>),
    Broke(R::Error),
    // One yield lies between the last frame and the error: hyper does not flush what is followed at once by
    // an error.
    Breaks(R::Error),
    // Ends where its `Content-Length` does not: nothing is said about its size, so that the server finds out by
    // itself and closes the connection.
    EndsWrong,
    Over,
}

impl<R: Body> ResponseBody<R> {
    pub(crate) fn original(body: R) -> Self {
        Self {
            inner: ResponseInner::Original { body },
        }
    }

    pub(crate) fn whole(body: Buffered) -> Self {
        Self {
            inner: ResponseInner::Whole { body },
        }
    }

    pub(crate) fn flowing(body: Buffered, rest: Pin<Box<R>>) -> Self {
        Self {
            inner: ResponseInner::Partial {
                body,
                rest: Rest::Flows(rest),
            },
        }
    }

    pub(crate) fn wrong_length(body: Buffered) -> Self {
        Self {
            inner: ResponseInner::Partial {
                body,
                rest: Rest::EndsWrong,
            },
        }
    }

    pub(crate) fn broken(body: Buffered, error: R::Error) -> Self {
        Self {
            inner: ResponseInner::Partial {
                body,
                rest: Rest::Broke(error),
            },
        }
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let (body, rest) = match self.project().inner.project() {
            ResponseProj::Original { body } => return body.poll_frame(cx),
            ResponseProj::Whole { body } => return Poll::Ready(body.next().map(Ok)),
            ResponseProj::Partial { body, rest } => (body, rest),
        };
        if let Some(frame) = body.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Rest::Flows(body) = rest {
            return body.as_mut().poll_frame(cx);
        }
        match std::mem::replace(rest, Rest::Over) {
            Rest::Broke(error) => {
                *rest = Rest::Breaks(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Rest::Breaks(error) => Poll::Ready(Some(Err(error))),
            Rest::Flows(_) | Rest::EndsWrong | Rest::Over => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            ResponseInner::Original { body } => body.is_end_stream(),
            ResponseInner::Whole { body } => body.is_empty(),
            ResponseInner::Partial { body, rest } => {
                body.is_empty()
                    && match rest {
                        Rest::Flows(rest) => rest.is_end_stream(),
                        Rest::Broke(_) | Rest::Breaks(_) | Rest::EndsWrong => false,
                        Rest::Over => true,
                    }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            ResponseInner::Original { body } => body.size_hint(),
            ResponseInner::Whole { body } => body.size_hint(),
            ResponseInner::Partial { body, rest } => {
                let rest = match rest {
                    Rest::Flows(rest) => rest.size_hint(),
                    Rest::Broke(_) | Rest::Breaks(_) | Rest::EndsWrong | Rest::Over => {
                        SizeHint::new()
                    }
                };
                followed(body, rest)
            }
        }
    }
}

impl<R: Body> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(..)")
    }
}

/// The size of what is held and what follows it.
fn followed(held: &Buffered, rest: SizeHint) -> SizeHint {
    let mut hint = SizeHint::new();
    let held = held.len() as u64;
    hint.set_lower(rest.lower().saturating_add(held));
    if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
        hint.set_upper(upper);
    }
    hint
}

/// A body, or the first part of one, in memory: data, then perhaps trailers.
#[derive(Default)]
pub(crate) struct Buffered {
    data: Data,
    /// Boxed: few bodies have any, and bodies are moved a lot.
    trailers: Option<Box<HeaderMap>>,
}

/// One frame as it came, or several in one buffer: a client that sends a byte at a time costs no more memory
/// than one that sends all at once.
enum Data {
    One(Bytes),
    Several(BytesMut),
}

impl Buffered {
    pub(crate) fn new(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            data: Data::One(data),
            trailers: trailers.map(Box::new),
        }
    }

    /// The data that has not been taken.
    pub(crate) fn data(&self) -> &[u8] {
        match &self.data {
            Data::One(data) => data,
            Data::Several(data) => data,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.data().len()
    }

    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    pub(crate) fn push(&mut self, frame: Frame<Bytes>) {
        let frame = match frame.into_data() {
            Ok(data) => return self.push_data(data),
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers() {
            self.trailers.get_or_insert_default().extend(trailers);
        }
    }

    fn push_data(&mut self, frame: Bytes) {
        match &mut self.data {
            Data::One(first) if first.is_empty() => *first = frame,
            Data::One(_) if frame.is_empty() => {}
            Data::One(first) => {
                let mut data = BytesMut::with_capacity(first.len() + frame.len());
                data.extend_from_slice(first);
                data.extend_from_slice(&frame);
                self.data = Data::Several(data);
            }
            Data::Several(data) => data.extend_from_slice(&frame),
        }
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = match std::mem::take(&mut self.data) {
            Data::One(data) => data,
            Data::Several(data) => data.freeze(),
        };
        if data.is_empty() {
            return self
                .trailers
                .take()
                .map(|trailers| Frame::trailers(*trailers));
        }
        Some(Frame::data(data))
    }

    /// Whether neither data nor trailers are left.
    fn is_empty(&self) -> bool {
        self.data().is_empty() && self.trailers.is_none()
    }

    /// Exact, so that HTTP/1.1 sends `content-length`; open where trailers follow, which it can send only
    /// in chunks.
    fn size_hint(&self) -> SizeHint {
        let length = self.len() as u64;
        if self.trailers.is_none() {
            return SizeHint::with_exact(length);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(length);
        hint
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    type Wrapped = ResponseBody<Full<Bytes>>;

    #[tokio::test]
    async fn data_comes_before_trailers_and_both_once() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "7".parse().unwrap());
        let body = Wrapped::whole(Buffered::new(
            Bytes::from_static(b"abc"),
            Some(trailers.clone()),
        ));
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), None);

        let collected = body.collect().await.unwrap();

        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "abc");
    }

    #[test]
    fn several_frames_become_one() {
        let mut buffered = Buffered::default();
        for frame in ["", "a", "", "bc", "d"] {
            buffered.push(Frame::data(Bytes::from_static(frame.as_bytes())));
        }

        assert_eq!(buffered.data(), b"abcd");
        assert_eq!(buffered.size_hint().exact(), Some(4));
        assert_eq!(buffered.next().unwrap().into_data().unwrap(), "abcd");
        assert!(buffered.next().is_none() && buffered.is_empty());
    }

    #[test]
    fn a_body_that_was_read_in_part_ends_where_both_parts_do() {
        let buffered =
            |data: &'static str| Buffered::new(Bytes::from_static(data.as_bytes()), None);
        let rest = |data: &'static str| Box::pin(Full::new(Bytes::from_static(data.as_bytes())));

        for (read, left) in [("a", "b"), ("a", ""), ("", "b"), ("", "")] {
            let body = RequestBody::partial(buffered(read), rest(left));

            assert_eq!(body.is_end_stream(), read.is_empty() && left.is_empty());
            assert_eq!(
                body.size_hint().exact(),
                Some((read.len() + left.len()) as u64)
            );
        }
    }

    #[tokio::test]
    async fn an_error_comes_after_the_bytes_and_one_yield_later() {
        type Broken = http_body_util::StreamBody<
            futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>>,
        >;
        let held = Buffered::new(Bytes::from_static(b"abc"), None);
        let mut body = std::pin::pin!(ResponseBody::<Broken>::broken(held, "reset"));
        let mut cx = Context::from_waker(std::task::Waker::noop());

        assert!(matches!(
            body.as_mut().poll_frame(&mut cx),
            Poll::Ready(Some(Ok(_)))
        ));
        assert!(body.as_mut().poll_frame(&mut cx).is_pending());
        assert!(matches!(
            body.as_mut().poll_frame(&mut cx),
            Poll::Ready(Some(Err("reset")))
        ));
        assert!(matches!(
            body.as_mut().poll_frame(&mut cx),
            Poll::Ready(None)
        ));
        assert!(body.is_end_stream());
    }
}
