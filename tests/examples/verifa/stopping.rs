//! A server that is asked to stop under load: what it has accepted it answers, and no handler runs for nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{CREATE, REDACT, create, post, raw_create, slow, verifa};
use crate::support::{Server, eventually, exchange, within};

/// A connection on which the head of `GET /_ledger` has begun: a server that stops waits for the rest of it, as long as
/// it has something else to do. So the ledger can be asked when nobody is let in any more.
struct Ledger(TcpStream);

impl Ledger {
    async fn begin(server: &Server) -> Self {
        let mut connection = server.connect().await;
        let head = format!("GET /_ledger HTTP/1.1\r\nhost: {}\r\n", server.address);
        connection.write_all(head.as_bytes()).await.unwrap();
        Self(connection)
    }

    async fn end(mut self) -> u64 {
        let answer = exchange(&mut self.0, b"connection: close\r\n\r\n", "\0").await;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{answer:?}"));
        let ledger: serde_json::Value = serde_json::from_str(body).unwrap();
        ledger["executions"][CREATE].as_u64().unwrap_or(0)
    }
}

/// Sends request after request, each with a key of its own, until it is not let in any more; the ids that it got.
async fn client(server: &Server, name: usize, http2: bool, answered: &AtomicU64) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0.. {
        let key = format!("client{name}-{number}");
        // Not all in step.
        let body = json!({
            "external_ref": key,
            "simulate": { "delay_ms": (7 * name + 3 * number) % 20 },
        });
        let call = create(server, &key, body.to_string());
        let call = if http2 { call.http2(server) } else { call };
        let Ok(reply) = call.try_send().await else {
            break;
        };
        let id = reply.is_first(201).json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        ids.push(id);
        answered.fetch_add(1, Ordering::SeqCst);
    }
    ids
}

async fn stops_under_load(http2: bool) {
    const CLIENTS: usize = 8;
    let server = verifa(&[]).await;
    let ledger = Ledger::begin(&server).await;
    // These hang up before the server is asked to stop, and their work goes on.
    let mut gone = Vec::new();
    for key in ["gone1", "gone2", "gone3"] {
        let mut connection = server.connect().await;
        let request = raw_create(server.address, key, &slow(3_000));
        connection.write_all(request.as_bytes()).await.unwrap();
        gone.push(connection);
    }
    server.started(CREATE, 3).await;
    let answered = AtomicU64::new(0);
    let clients = (0..CLIENTS).map(|name| client(&server, name, http2, &answered));
    let clients = futures_util::future::join_all(clients);
    // It keeps the server at work until the ledger has been asked.
    let (begin_last, last_begins) = oneshot::channel();
    let last = async {
        last_begins.await.unwrap();
        let slow = json!({ "session_ids": [], "simulate": { "delay_ms": 5_000 } });
        let call = post(&server, "/api/v1/sessions/bulk-redact").key("last");
        call.json(slow.to_string()).send().await.is_first(200);
    };
    let stopping = async {
        let enough = async || (answered.load(Ordering::SeqCst) >= 100).then_some(());
        eventually("there is load", enough).await;
        drop(gone);
        begin_last.send(()).unwrap();
        server.started(REDACT, 1).await;
        server.terminate();
    };
    let asking = async {
        let (ids, ()) = tokio::join!(clients, stopping);
        (ids.concat(), ledger.end().await)
    };

    let ((), (ids, executions)) = tokio::join!(last, asking);
    let ended = server.ended().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    // Those who got an answer, and those who hung up: nothing else has run.
    assert_eq!(executions, ids.len() as u64 + 3);
}

#[tokio::test]
async fn under_load_all_that_was_accepted_is_answered_and_nothing_else_has_run() {
    stops_under_load(false).await;
}

#[tokio::test]
async fn under_load_of_http2_all_that_was_accepted_is_answered_and_nothing_else_has_run() {
    stops_under_load(true).await;
}

#[tokio::test]
async fn asked_a_second_time_it_goes_on_stopping() {
    let server = verifa(&[]).await;
    let running = create(&server, "running", slow(2_000)).send();
    let stopping = async {
        server.started(CREATE, 1).await;
        for _ in 0..3 {
            server.terminate();
            let refused = async || TcpStream::connect(server.address).await.err();
            eventually("nobody is let in any more", refused).await;
        }
    };

    let (reply, ()) = within(async { tokio::join!(running, stopping) }).await;
    let ended = server.ended().await;

    reply.is_first(201);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
}
