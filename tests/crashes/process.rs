//! The service under test, in a process of its own.

use std::env;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tower_idempotency::{BoxError, Idempotency, IdempotencyLayer, Lost, OnLost, Reconciled};

use crate::remote::Remote;
use crate::world::{LEASE, PATIENCE, World, within};

const STORE: &str = "CRASHES_STORE";
const ON_LOST: &str = "CRASHES_ON_LOST";

/// What becomes of lost keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Policy {
    Rerun,
    Refuse,
    Reconcile,
}

pub(crate) const POLICIES: [Policy; 3] = [Policy::Rerun, Policy::Refuse, Policy::Reconcile];

/// A running process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

/// What a client gets: status, whether it is a replay, and the body.
pub(crate) type Reply = (u16, bool, String);

impl Process {
    pub(crate) async fn start(world: &World, policy: Policy) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "process::the_service_under_test_serves_until_it_is_killed",
            ])
            .arg("--nocapture")
            .env(STORE, world.address.to_string())
            .env(ON_LOST, format!("{policy:?}"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = within(async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, address)) = line.split_once("listening on ") {
                    return address.parse().unwrap();
                }
            }
            panic!("the process has ended");
        });
        let address = address.await;
        Self { child, address }
    }

    /// Sends a request with this key; `None` where the connection broke.
    pub(crate) fn post(
        &self,
        key: &str,
        body: &str,
    ) -> impl Future<Output = Option<Reply>> + Send + 'static + use<> {
        let request = Request::post(format!("http://{}/charges", self.address))
            .header("idempotency-key", key)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        async move {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let response: Response<_> = client.request(request).await.ok()?;
            let replayed = response.headers().contains_key("idempotent-replayed");
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some((
                status,
                replayed,
                String::from_utf8_lossy(&body).into_owned(),
            ))
        }
    }

    /// The same, and waits for an answer.
    pub(crate) async fn ask(&self, key: &str, body: &str) -> Reply {
        within(self.post(key, body)).await.unwrap()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) async fn signal(&self, signal: &str) {
        let process = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").arg(signal).arg(process).status();
        assert!(within(kill).await.unwrap().success());
    }
}

async fn charge(
    State(remote): State<Remote>,
    key: Idempotency,
    body: String,
) -> (StatusCode, String) {
    let (name, attempt) = (key.key().as_str().to_owned(), key.attempt());
    remote.tell("started", &name, attempt).await;
    if body.contains("mark") {
        if key.point_of_no_return().await.is_err() {
            return (StatusCode::SERVICE_UNAVAILABLE, "not marked".to_owned());
        }
        remote.tell("marked", &name, attempt).await;
    }
    (StatusCode::CREATED, format!("attempt {attempt}"))
}

/// Asks the test what became of the lost attempt.
async fn reconcile(remote: Remote, lost: Lost) -> Result<Reconciled, BoxError> {
    let key = lost.key().as_str();
    match remote.tell("asked", key, lost.attempt()).await.as_str() {
        "done" => {
            let mut response = Response::new(Bytes::from("found"));
            *response.status_mut() = StatusCode::CREATED;
            Ok(Reconciled::Done(response))
        }
        "not done" => Ok(Reconciled::NotDone),
        _ => Err("nobody knows".into()),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the process that has started it reads the address there"
)]
async fn serve(store: SocketAddr, policy: &str) {
    let remote = Remote(store);
    let on_lost = match policy {
        "Rerun" => OnLost::Rerun,
        "Refuse" => OnLost::Refuse,
        _ => OnLost::reconcile(move |lost| reconcile(remote, lost)),
    };
    let layer = IdempotencyLayer::new(remote)
        .lease(LEASE)
        .max_execution(None)
        .store_timeout(PATIENCE)
        .on_lost(on_lost);
    let app = Router::new()
        .route("/charges", post(charge))
        .layer(layer)
        .with_state(remote);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    println!("listening on {address}");
    axum::serve(listener, app).await.unwrap();
}

/// This is the service as well: where the store is named, it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_under_test_serves_until_it_is_killed() {
    if let (Ok(store), Ok(policy)) = (env::var(STORE), env::var(ON_LOST)) {
        serve(store.parse().unwrap(), &policy).await;
        return;
    }
    let world = World::start().await;
    let process = Process::start(&world, Policy::Rerun).await;

    let first = process.ask("k", "x").await;
    let retry = process.ask("k", "x").await;
    let gone = process.post("k", "x");
    process.kill().await;

    assert_eq!(first, (201, false, "attempt 1".to_owned()));
    assert_eq!(retry, (201, true, "attempt 1".to_owned()));
    assert_eq!(within(gone).await, None);
    let started = ("started".to_owned(), "k".to_owned(), 1, Duration::ZERO);
    assert_eq!(world.told(), [started]);
}
