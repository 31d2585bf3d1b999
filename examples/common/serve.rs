//! Both protocols on one port, until a signal; then what was begun is ended.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::Listener;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use tower_idempotency::{IdempotencyLayer, Store};

use super::stop;
use super::watched::Watched;

/// How long a connection may take none of the last answers, nor hear that it is to go.
const GRACE: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or Ctrl-C, and then for at most `drain` what is still running.
///
/// Ends with 0 if all of it came to its end, with 1 if not, with 2 if the address is of no use.
pub(crate) async fn serve<St: Store>(
    address: SocketAddr,
    app: Router,
    idempotency: IdempotencyLayer<St>,
    drain: Duration,
) -> ExitCode {
    let (mut listener, stop) = match listen(address).await {
        Ok(listening) => listening,
        Err(problem) => {
            eprintln!("ADDR: cannot listen on {address}: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut stop = pin!(stop);
    let (tasks, graceful) = (Tasks::default(), GracefulShutdown::new());
    let requests = Requests::default();
    let app = app.layer(from_fn_with_state(requests.clone(), Requests::count));
    let mut server = auto::Builder::new(tasks.clone());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(60));
    server.http2().timer(TokioTimer::new());

    loop {
        let stream = tokio::select! {
            (stream, _) = Listener::accept(&mut listener) => stream,
            () = &mut stop => break,
        };
        // A request's future lives in its connection and is dropped with it when the client hangs
        // up: the idempotency layer sees to it that the execution goes on.
        let service = TowerToHyperService::new(app.clone());
        let stream = TokioIo::new(Watched::new(stream, requests.written.clone()));
        let connection = server.serve_connection(stream, service).into_owned();
        tasks.execute(graceful.watch(connection));
    }

    drop(listener);
    let deadline = Instant::now() + drain;
    // Connections end by themselves, or are cut when they only stay open.
    tokio::select! {
        () = graceful.shutdown() => {}
        () = requests.none() => {}
        () = sleep_until(deadline) => {}
    }
    let cut = requests.running();
    tasks.cut().await;
    let rest = deadline.saturating_duration_since(Instant::now());
    // What is cut while it is guarded goes on, and is among these.
    let left = idempotency.drain(rest).await.left.max(cut);
    if left == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("DRAIN_SECS have passed; executions left: {left}");
    ExitCode::FAILURE
}

/// How many requests are running, from their head to the end of their answer.
#[derive(Clone, Default)]
struct Requests {
    running: watch::Sender<usize>,
    /// The end of an answer is on its way even after it was handed to its connection.
    written: watch::Sender<()>,
}

impl Requests {
    async fn count(State(requests): State<Self>, request: Request, next: Next) -> Response {
        requests.running.send_modify(|running| *running += 1);
        let running = Running(requests);
        next.run(request)
            .await
            .map(|body| Body::new(Answer { body, running }))
    }

    fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Returns when none has been running, and nothing been written, for a while.
    async fn none(&self) {
        let (mut running, mut written) = (self.running.subscribe(), self.written.subscribe());
        loop {
            let _ = running.wait_for(|running| *running == 0).await;
            tokio::select! {
                _ = running.wait_for(|running| *running > 0) => {}
                _ = written.changed() => {}
                () = sleep(GRACE) => return,
            }
        }
    }
}

/// The body of an answer, as it is: its request is running until it is dropped.
struct Answer {
    body: Body,
    #[expect(dead_code, reason = "held")]
    running: Running,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Running(Requests);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

/// Listens to the signals, then on the address, and says so.
async fn listen(address: SocketAddr) -> io::Result<(TcpListener, impl Future<Output = ()>)> {
    let stop = stop::signal()?;
    let listener = TcpListener::bind(address).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    Ok((listener, stop))
}

/// Runs connections, and the streams of HTTP/2 ones; all of them can be cut at once.
#[derive(Clone, Default)]
struct Tasks(watch::Sender<bool>);

impl Tasks {
    /// Drops what is still running, and returns when it is gone.
    async fn cut(&self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let mut cut = self.0.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = task => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}
