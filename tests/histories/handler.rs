//! The service behind the layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tower::Service;
use tower_idempotency::{Idempotency, RequestBody};

use crate::QUIET;
use crate::body::ScriptedBody;
use crate::book::{Book, Run};
use crate::broken::Bug;
use crate::check::{Check, ensure};
use crate::random::Random;
use crate::script::{Ending, Reply, Script, Step};

/// What tells handlers that the history calms down: from then on they answer at once.
#[derive(Default)]
pub(crate) struct Calm {
    is_calm: AtomicBool,
    came: Notify,
}

impl Calm {
    pub(crate) fn comes(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        self.came.notify_waiters();
    }

    pub(crate) fn is_here(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    pub(crate) async fn wait(&self) {
        let came = self.came.notified();
        if !self.is_here() {
            came.await;
        }
    }
}

#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) seed: u64,
    pub(crate) book: Book,
    pub(crate) calm: Arc<Calm>,
    /// How often it was asked whether it is ready.
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) bug: Bug,
}

pub(crate) const NOT_READY: &str = "not ready";

type Answer = Result<Response<ScriptedBody>, &'static str>;

impl Service<Request<RequestBody<Full<Bytes>>>> for Handler {
    type Response = Response<ScriptedBody>;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let fails = Random::of(self.seed, "ready", asked).percent(2) && !self.calm.is_here();
        Poll::Ready(if fails { Err(NOT_READY) } else { Ok(()) })
    }

    fn call(&mut self, request: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
        let number = request.headers()["x-request"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let context = request.extensions().get::<Idempotency>().cloned();
        let context = context.filter(|_| self.bug != Bug::RunsUnclaimed);
        let started = self
            .book
            .enter(|book| book.starts(number, context.as_ref()));
        let (Some(execution), Some(context)) = (started, context) else {
            return Box::pin(async { Err("the history has failed") });
        };
        if self.bug == Bug::RunsTwice {
            (self.book).enter(|book| book.starts(number, Some(&context)));
        }
        let (text, script) = self.script(execution);
        let running = Running {
            book: self.book.clone(),
            execution,
        };
        if script.panics_at_once {
            running.ends(Run::Panicked);
            std::panic::panic_any(QUIET);
        }
        let calm = Arc::clone(&self.calm);
        let work = async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let book = &running.book;
            book.enter(|_| {
                let same = text.starts_with(&*String::from_utf8_lossy(&body));
                ensure(same, Check::AnswerFits, || {
                    format!("{body:?} in place of {text}")
                })
            });
            let end = play(&running, &script, &context, &calm).await;
            running.give(end)
        };
        let work = Watched {
            work,
            book: self.book.clone(),
            execution,
        };
        if self.bug == Bug::Cancels {
            let limit = tokio::time::timeout(Duration::from_millis(100), work);
            return Box::pin(async { limit.await.unwrap_or(Err("cancelled")) });
        }
        Box::pin(work)
    }
}

impl Handler {
    /// What the response of an execution says, and what it does.
    fn script(&self, execution: usize) -> (String, Script) {
        let book = self.book.look();
        let entry = &book.executions[execution];
        let key = &book.model.keys[entry.key];
        let (body, fence) = (entry.body, entry.fence);
        let text = format!(
            "body {body} of {} by execution {execution}, fence {fence} in scope {}",
            key.name.split('/').next_back().unwrap(),
            key.scope
        );
        let script = match self.calm.is_here() {
            true => Script::plain(execution, &text),
            false => Script::draw(self.seed, execution, &text, &book.settings),
        };
        (text, script)
    }
}

/// Goes through the steps; says how it ends.
async fn play<'a>(
    running: &Running,
    script: &'a Script,
    context: &Idempotency,
    calm: &Calm,
) -> End<'a> {
    let (book, number) = (&running.book, running.execution);
    for step in &script.steps {
        match step {
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::UntilLost(most) => {
                let _ = tokio::time::timeout(*most, context.lease_lost()).await;
            }
            Step::Mark => {
                book.enter(|book| {
                    book.marks(number);
                    Ok(())
                });
                let marked = context.point_of_no_return().await.is_ok();
                book.enter(|book| book.is_marked(number, marked));
                if !marked {
                    // As documented: it does not go on.
                    return End::Error;
                }
            }
        }
    }
    match &script.end {
        Ending::Error => End::Error,
        Ending::Panic => End::Panic,
        Ending::Hang(reply) => {
            calm.wait().await;
            End::Reply(reply)
        }
        Ending::Reply(reply) => End::Reply(reply),
    }
}

#[derive(Clone, Copy)]
enum End<'a> {
    Error,
    Panic,
    Reply(&'a Reply),
}

/// An execution; dropped without an end it was cut off.
struct Running {
    book: Book,
    execution: usize,
}

impl Running {
    fn ends(&self, run: Run) {
        self.book.enter(|book| book.ends(self.execution, run));
    }

    fn give(&self, end: End<'_>) -> Answer {
        let reply = match end {
            End::Error => {
                self.ends(Run::Failed);
                return Err("failed");
            }
            End::Panic => {
                self.ends(Run::Panicked);
                std::panic::panic_any(QUIET);
            }
            End::Reply(reply) => reply,
        };
        self.book.enter(|book| {
            book.gives(self.execution, reply);
            Ok(())
        });
        self.ends(Run::Responded);
        let mut response = Response::new(ScriptedBody::new(reply.pieces.clone()));
        *response.status_mut() = reply.given.status;
        *response.headers_mut() = reply.given.headers.clone();
        if let Some(keep) = &reply.keep {
            response.extensions_mut().insert(keep.clone());
        }
        if let Some(retention) = reply.retention {
            response.extensions_mut().insert(retention);
        }
        Ok(response)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ends(Run::Dropped);
    }
}

pin_project! {
    /// Looks at the book whenever the handler is polled.
    struct Watched<F> {
        #[pin]
        work: F,
        book: Book,
        execution: usize,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.book.enter(|book| book.is_polled(*this.execution));
        this.work.poll(cx)
    }
}
