//! Bodies that do, frame by frame, what a test says; neither `Sync` nor `Unpin`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, ServiceExt};
use tower_idempotency::{IdempotencyLayer, RequestBody, ResponseBody, Store};

use crate::support::keyed;

pub(crate) type Streamed =
    BoxCloneService<Request<Frames>, Response<ResponseBody<Frames>>, Infallible>;

/// One thing that a body does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(&'static str),
    Trailers(HeaderMap),
    /// Breaks with this reason.
    Break(&'static str),
    Panic(&'static str),
    Wait(Duration),
    /// Waits until it is notified.
    Gate(Arc<Notify>),
    /// Never ends, and never says anything.
    EmptyForEver,
    /// Never ends, one byte at a time, each after a second.
    ByteForEver,
}

/// The error of [`Step::Break`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broke(pub(crate) &'static str);

impl std::fmt::Display for Broke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broke {}

pin_project! {
    /// A body made of steps.
    pub(crate) struct Frames {
        steps: VecDeque<Step>,
        pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
        hint: Option<SizeHint>,
        polls: Arc<AtomicU32>,
        not_sync: PhantomData<Cell<()>>,
        #[pin]
        not_unpin: PhantomPinned,
    }
}

impl Frames {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            pause: None,
            hint: None,
            polls: Arc::default(),
            not_sync: PhantomData,
            not_unpin: PhantomPinned,
        }
    }

    /// One frame of data for each text.
    pub(crate) fn data<const N: usize>(frames: [&'static str; N]) -> Self {
        Self::new(frames.map(Step::Data))
    }

    pub(crate) fn empty() -> Self {
        Self::new([])
    }

    /// Says this of its size, true or not.
    pub(crate) fn hint(mut self, lower: u64, upper: Option<u64>) -> Self {
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        self.hint = Some(hint);
        self
    }

    /// How often it has been polled, for later.
    pub(crate) fn polls(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.polls)
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        let this = self.project();
        this.polls.fetch_add(1, Ordering::SeqCst);
        loop {
            if let Some(pause) = this.pause {
                ready!(pause.as_mut().poll(cx));
                *this.pause = None;
            }
            let Some(step) = this.steps.pop_front() else {
                return Poll::Ready(None);
            };
            let frame = match step {
                Step::Data(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
                Step::Trailers(trailers) => Ok(Frame::trailers(trailers)),
                Step::Break(reason) => Err(Broke(reason)),
                // Without the report on stderr that `panic!` makes: it is no surprise.
                Step::Panic(reason) => std::panic::resume_unwind(Box::new(reason)),
                Step::Wait(pause) => {
                    *this.pause = Some(Box::pin(tokio::time::sleep(pause)));
                    continue;
                }
                Step::Gate(gate) => {
                    *this.pause = Some(Box::pin(opened(gate)));
                    continue;
                }
                Step::EmptyForEver => {
                    this.steps.push_front(Step::EmptyForEver);
                    Ok(Frame::data(Bytes::new()))
                }
                Step::ByteForEver => {
                    let wait = Step::Wait(Duration::from_secs(1));
                    this.steps
                        .extend([wait, Step::Data("."), Step::ByteForEver]);
                    continue;
                }
            };
            return Poll::Ready(Some(frame));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint.unwrap_or_default()
    }
}

/// A gate that nobody opens fails its test instead of hanging it.
async fn opened(gate: Arc<Notify>) {
    let day = Duration::from_secs(24 * 60 * 60);
    let _ = tokio::time::timeout(day, gate.notified()).await;
}

/// How often a handler has started.
#[derive(Clone, Default)]
pub(crate) struct Executions(Arc<AtomicU32>);

impl Executions {
    /// Counts one more; its number.
    pub(crate) fn begin(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A service over such bodies: `answer` gets the number of the execution and the request.
pub(crate) fn streaming<St, F, Fut>(
    layer: &IdempotencyLayer<St>,
    answer: F,
) -> (Streamed, Executions)
where
    St: Store,
    F: Fn(u32, Request<RequestBody<Frames>>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Frames>> + Send + 'static,
{
    let executions = Executions::default();
    let counted = executions.clone();
    let inner = service_fn(move |request: Request<RequestBody<Frames>>| {
        let number = counted.begin();
        let answer = answer(number, request);
        async move { Ok(answer.await) }
    });
    (layer.layer(inner).boxed_clone(), executions)
}

/// A service whose handler answers at once with what `answer` makes of the execution's number.
pub(crate) fn responding<St: Store>(
    layer: &IdempotencyLayer<St>,
    answer: impl Fn(u32) -> Response<Frames> + Clone + Send + 'static,
) -> (Streamed, Executions) {
    streaming(layer, move |number, _| std::future::ready(answer(number)))
}

/// A keyed POST with such a body.
pub(crate) fn upload(key: &str, body: Frames) -> Request<Frames> {
    keyed(key, "").map(|_| body)
}
