//! Both protocols on one port, until a signal; then what was begun is ended.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tower_idempotency::{IdempotencyLayer, Store};

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
    let mut server = auto::Builder::new(tasks.clone());
    // A head that never ends shall not use up the time for draining.
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10));
    server.http2().timer(TokioTimer::new());

    loop {
        let stream = tokio::select! {
            (stream, _) = Listener::accept(&mut listener) => TokioIo::new(stream),
            () = &mut stop => break,
        };
        // A request's future lives in its connection and is dropped with it when the client hangs
        // up: the idempotency layer sees to it that the execution goes on.
        let service = TowerToHyperService::new(app.clone());
        let connection = server.serve_connection(stream, service).into_owned();
        tasks.execute(graceful.watch(connection));
    }

    drop(listener);
    let deadline = Instant::now() + drain;
    let in_time = timeout_at(deadline, graceful.shutdown()).await.is_ok();
    tasks.cut().await;
    let rest = deadline.saturating_duration_since(Instant::now());
    let left = idempotency.drain(rest).await.left;
    if in_time && left == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("DRAIN_SECS have passed; executions left: {left}");
    ExitCode::FAILURE
}

/// Listens to the signals, then on the address, and says so.
async fn listen(address: SocketAddr) -> io::Result<(TcpListener, impl Future<Output = ()>)> {
    let stop = stop_signal()?;
    let listener = TcpListener::bind(address).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    Ok((listener, stop))
}

#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        let _ = interrupt.recv().await;
    })
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
