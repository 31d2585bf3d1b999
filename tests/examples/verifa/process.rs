//! From the start of the process to its end.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{CREATE, SESSION, create, failing, raw_create, slow, verifa};
use crate::support::{eventually, exchange, program, within};

#[tokio::test]
async fn a_bad_environment_is_refused_in_one_line() {
    for (name, values) in [
        (
            "ADDR",
            &["", "localhost", "127.0.0.1", "127.0.0.1:70000"][..],
        ),
        (
            "STORE_URL",
            &[
                "",
                "memory",
                "memory:secret",
                "http://:secret@localhost",
                "sqlite",
                "sqlite:",
                "sqlite://",
            ],
        ),
        (
            "RETENTION_SECS",
            &["", "0", "-1", "1.5", "a day", "99999999999999999999"],
        ),
        ("LEASE_SECS", &["", "0", "-1", "30s"]),
        (
            "IN_FLIGHT",
            &[
                "",
                "wait",
                "wait:",
                "wait:0",
                "wait:-1",
                "wait:soon",
                "Reject",
            ],
        ),
        ("ON_LOST", &["", "retry", "Rerun"]),
        ("DRAIN_SECS", &["", "-1", "soon"]),
    ] {
        for value in values {
            let output = within(program("verifa", &[(name, value)]).output())
                .await
                .unwrap();

            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{name}={value:?}: {stderr}");
            assert!(
                stderr.starts_with(&format!("{name} takes ")),
                "{name}={value:?}: {stderr}"
            );
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(!stderr.contains("secret"), "{stderr}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();

    let output = within(program("verifa", &[("ADDR", &address)]).output())
        .await
        .unwrap();

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.starts_with("ADDR: ") && stderr.contains(&address),
        "{stderr}"
    );
}

#[tokio::test]
async fn it_says_nothing_but_its_address() {
    let server = verifa(&[("RUST_LOG", "trace"), ("STORE_URL", "memory:")]).await;
    let first = create(&server, "canary-key", SESSION).send().await;
    create(&server, "canary-key", SESSION)
        .send()
        .await
        .replays(first.is_first(201), "canary-key");
    create(&server, "canary-key", "{}")
        .send()
        .await
        .refuses(422, "idempotency_mismatch");
    create(&server, "canary-key2", failing("panic", 1))
        .send()
        .await
        .refuses(500, "internal_error");

    server.terminate();
    let ended = server.ended().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[tokio::test]
async fn what_is_running_is_answered_before_the_end() {
    for http2 in [false, true] {
        let server = verifa(&[]).await;
        let call = create(&server, "last", slow(1_500));
        let call = if http2 { call.http2(&server) } else { call };
        let running = call.send();
        let stopping = async {
            server.started(CREATE, 1).await;
            server.terminate();
            let refused = async || TcpStream::connect(server.address).await.err();
            eventually("nobody is let in any more", refused).await;
        };

        let (reply, ()) = tokio::join!(running, stopping);
        let ended = server.ended().await;

        reply.is_first(201);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(ended.stderr, "");
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_not_cut() {
    const PADDING: usize = 32 << 20;
    let server = verifa(&[]).await;
    let mut connection = server.connect().await;
    let body =
        json!({ "external_ref": "large", "simulate": { "response_bytes": PADDING } }).to_string();
    let request = raw_create(server.address, "large", &body);
    let mut answer = exchange(&mut connection, request.as_bytes(), "\r\n\r\n")
        .await
        .len();

    server.terminate();
    let refused = async || TcpStream::connect(server.address).await.err();
    eventually("nobody is let in any more", refused).await;
    // A client that takes its time: more than an idle connection has, in steps that are shorter.
    let mut part = vec![0; 2 << 20];
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match within(connection.read(&mut part)).await.unwrap() {
            0 => break,
            read => answer += read,
        }
    }
    let ended = server.ended().await;

    assert!(answer > PADDING, "{answer} bytes");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test]
async fn what_runs_on_without_its_client_is_waited_for() {
    let server = verifa(&[]).await;
    let mut connection = server.connect().await;
    let request = raw_create(server.address, "gone", &slow(2_000));
    connection.write_all(request.as_bytes()).await.unwrap();
    let begin = Instant::now();
    server.started(CREATE, 1).await;

    drop(connection);
    server.terminate();
    let ended = server.ended().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        begin.elapsed() >= Duration::from_secs(2),
        "after {:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn what_takes_too_long_is_counted_at_the_end() {
    for http2 in [false, true] {
        let server = verifa(&[("DRAIN_SECS", "1")]).await;
        let call = |key: &str| {
            let call = create(&server, key, slow(60_000));
            if http2 { call.http2(&server) } else { call }
        };
        // The client of one of them hangs up before the end.
        let (one, two) = (call("one").try_send(), call("two").try_send());
        let three = async {
            tokio::select! {
                reply = call("three").try_send() => panic!("it was answered: {reply:?}"),
                () = server.started(CREATE, 3) => server.terminate(),
            }
        };

        let (one, two, ()) = tokio::join!(one, two, three);
        let ended = server.ended().await;

        assert!(one.is_err() && two.is_err(), "{one:?}, {two:?}");
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(ended.stderr, "DRAIN_SECS have passed; executions left: 3\n");
    }
}

#[tokio::test]
async fn idle_connections_are_in_nobodys_way() {
    let server = verifa(&[]).await;
    let _silent = server.connect().await;
    create(&server, "kept-alive", SESSION)
        .send()
        .await
        .is_first(201);
    create(&server, "kept-alive", SESSION)
        .http2(&server)
        .send()
        .await;

    server.terminate();
    let begin = Instant::now();
    let ended = server.ended().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "after {:?}",
        begin.elapsed()
    );
}
