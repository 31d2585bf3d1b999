//! The wrapped service: it does what a row says, and notes what it has done.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::task::yield_now;
use tower::Service;
use tower_idempotency::{Idempotency, RequestBody};

use crate::frames::{Frames, Step};
use crate::model::{End, Execution};
use crate::row::{Does, Ready, Then};

/// What the executions say, so that they can be told apart.
pub(crate) const RUNS: [&str; 6] = ["run 1.", "run 2.", "run 3.", "run 4.", "run 5.", "run 6."];

/// What the handler has done since the last look.
#[derive(Default)]
pub(crate) struct Happened {
    pub(crate) executions: Mutex<Vec<Execution>>,
    asked_for_readiness: AtomicUsize,
    running: AtomicU32,
    pub(crate) most_at_once: AtomicU32,
    pub(crate) changed_uploads: AtomicU32,
    /// From here on nobody waits for an execution that has not started.
    pub(crate) is_client_gone: AtomicBool,
    pub(crate) started_for_nobody: AtomicU32,
    /// From here on every execution is kept, the service is always ready.
    pub(crate) is_calm: AtomicBool,
}

impl Happened {
    pub(crate) fn executions(&self) -> Vec<Execution> {
        self.executions.lock().unwrap().clone()
    }

    /// The first execution has not ended as it should.
    pub(crate) fn lose_the_first(&self) {
        let first = &mut self.executions.lock().unwrap()[0];
        first.end = match first.end {
            End::Unknown => End::Unknown,
            _ => End::Lost,
        };
    }

    pub(crate) fn forget(&self) {
        self.executions.lock().unwrap().clear();
        self.asked_for_readiness.store(0, Ordering::SeqCst);
        self.most_at_once.store(0, Ordering::SeqCst);
        self.is_calm.store(false, Ordering::SeqCst);
        self.is_client_gone.store(false, Ordering::SeqCst);
    }
}

/// What the executions do, what those find who ask for readiness, and what may be uploaded.
type Script = (Vec<Does>, Vec<Ready>, [Bytes; 2]);

/// The wrapped service. Each clone has to be ready by itself before it is called.
pub(crate) struct Handler {
    script: Arc<Script>,
    happened: Arc<Happened>,
    readying: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_ready: bool,
}

impl Handler {
    pub(crate) fn new(script: Script, happened: Arc<Happened>) -> Self {
        Self {
            script: Arc::new(script),
            happened,
            readying: None,
            is_ready: false,
        }
    }
}

impl Clone for Handler {
    fn clone(&self) -> Self {
        Self {
            script: Arc::clone(&self.script),
            happened: Arc::clone(&self.happened),
            readying: None,
            is_ready: false,
        }
    }
}

impl Service<Request<RequestBody<Frames>>> for Handler {
    type Response = Response<Frames>;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Frames>, &'static str>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if self.is_ready {
            return Poll::Ready(Ok(()));
        }
        if let Some(readying) = &mut self.readying {
            ready!(readying.as_mut().poll(cx));
        } else if !self.happened.is_calm.load(Ordering::SeqCst) {
            let asked = &self.happened.asked_for_readiness;
            let number = asked.fetch_add(1, Ordering::SeqCst);
            match self.script.1.get(number) {
                None | Some(Ready::Now) => {}
                Some(Ready::After(pause)) => {
                    self.readying = Some(Box::pin(tokio::time::sleep(*pause)));
                    return self.poll_ready(cx);
                }
                Some(Ready::Fails) => return Poll::Ready(Err("not ready")),
                Some(Ready::Panics) => resume_unwind(Box::new("not ready")),
            }
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Frames>>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.is_ready),
            "called without being ready"
        );
        let happened = Arc::clone(&self.happened);
        let context = request.extensions().get::<Idempotency>().cloned();
        let attempt = context.as_ref().map_or(0, Idempotency::attempt);
        let (number, does) = {
            let mut executions = happened.executions.lock().unwrap();
            let is_calm = happened.is_calm.load(Ordering::SeqCst);
            let does = self.script.0.get(executions.len()).filter(|_| !is_calm);
            let does = does.cloned().unwrap_or_else(Does::kept);
            executions.push(Execution {
                attempt,
                is_committed: does.commits,
                end: does.end,
            });
            (executions.len(), does)
        };
        if happened.is_client_gone.load(Ordering::SeqCst) {
            happened.started_for_nobody.fetch_add(1, Ordering::SeqCst);
        }
        if let Then::PanicsInCall = does.then {
            resume_unwind(Box::new("lost"));
        }
        let script = Arc::clone(&self.script);
        Box::pin(async move {
            let _running = Running::begin(&happened);
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if !script.2.contains(&body) {
                happened.changed_uploads.fetch_add(1, Ordering::SeqCst);
            }
            if does.commits
                && let Some(context) = context
                && context.point_of_no_return().await.is_err()
            {
                return Ok(response(number, 503, "text/plain", Vec::new()));
            }
            yield_now().await;
            tokio::time::sleep(does.takes).await;
            match does.then {
                Then::Responds(status, kind, steps) => Ok(response(number, status, kind, steps)),
                Then::Fails => Err("lost"),
                Then::Panics | Then::PanicsInCall => resume_unwind(Box::new("lost")),
            }
        })
    }
}

fn response(number: usize, status: u16, kind: &str, mut steps: Vec<Step>) -> Response<Frames> {
    steps.insert(0, Step::Data(RUNS[number - 1]));
    let response = Response::builder()
        .status(status)
        .header("content-type", kind);
    response.body(Frames::new(steps)).unwrap()
}

struct Running(Arc<Happened>);

impl Running {
    fn begin(happened: &Arc<Happened>) -> Self {
        let running = happened.running.fetch_add(1, Ordering::SeqCst) + 1;
        happened.most_at_once.fetch_max(running, Ordering::SeqCst);
        Self(Arc::clone(happened))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
