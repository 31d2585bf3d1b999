//! Processes of an example on one PostgreSQL, from outside: they behave as one.

use std::process::Output;

use futures_util::future::join_all;

use crate::postgres_servers::Server as Postgres;
use crate::support::{Call, Server, program, within};

const CREATE: &str = "POST /api/v1/sessions";

const SESSION: &str = r#"{"external_ref": "user_abc123", "country": "US"}"#;

async fn start(url: &str) -> Server {
    Server::start("verifa", &[("STORE_URL", url)]).await
}

fn create<'a>(server: &'a Server, key: &str) -> Call<'a> {
    let call = server.post("/api/v1/sessions");
    call.header("x-api-key", "vk_live_your_key_here")
        .key(key)
        .json(SESSION.to_owned())
}

/// They migrate at once, on an empty database.
#[tokio::test]
async fn two_processes_run_a_request_once() {
    let postgres = Postgres::start().await;
    let url = postgres.url();
    let (a, b) = tokio::join!(start(&url), start(&url));

    let first = create(&a, "key").send().await;
    let again = create(&b, "key").send().await;

    first.is_first(201);
    assert!(again.is_replay());
    assert_eq!((again.status, &again.body), (first.status, &first.body));

    let both = [&a, &b].into_iter().cycle().take(40);
    let replies = join_all(both.map(|server| create(server, "storm").send())).await;
    let firsts = replies
        .iter()
        .filter(|reply| reply.status == 201 && !reply.is_replay());
    assert_eq!(firsts.count(), 1);
    for reply in &replies {
        assert!(reply.status == 201 || reply.status == 409, "{reply:?}");
    }
    assert_eq!(a.executions(CREATE).await + b.executions(CREATE).await, 2);
}

#[tokio::test]
async fn a_process_that_is_killed_and_a_server_that_is_restarted_lose_nothing() {
    let postgres = Postgres::with(&["fsync=on"]).await;
    let a = start(&postgres.url()).await;
    let first = create(&a, "key").send().await;
    first.is_first(201);

    a.kill().await;
    postgres.restart().await;
    let b = start(&postgres.url()).await;
    let again = create(&b, "key").send().await;

    assert!(again.is_replay());
    assert_eq!(again.body, first.body);
    // The server goes while a process is up.
    postgres.restart().await;
    assert!(create(&b, "key").send().await.is_replay());
    create(&b, "other").send().await.is_first(201);
}

#[tokio::test]
async fn what_keeps_a_process_from_starting_is_said_in_one_line() {
    let postgres = Postgres::start().await;
    let nowhere = postgres.url().replace("/app", "/nowhere");
    for (url, status, words) in [
        ("postgres://u:secret@host:port/d", 2, "the URL is wrong"),
        ("postgres:secret", 2, "must begin with postgres://"),
        ("postgres://u:secret@127.0.0.1:1/d", 1, "cannot be reached"),
        (&*nowhere, 2, "no such database"),
    ] {
        let mut program = program("verifa", &[("STORE_URL", url)]);
        let Output {
            status: ended,
            stdout,
            stderr,
        } = within(program.output()).await.unwrap();

        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(ended.code(), Some(status), "{url}: {stderr}");
        assert!(
            stderr.starts_with("STORE_URL: ") && stderr.contains(words),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("secret") && stdout.is_empty(), "{stderr}");
    }
}

#[tokio::test]
async fn a_warning_is_one_line() {
    let postgres = Postgres::start().await;
    let server = start(&postgres.url()).await;

    server.terminate();
    let said = within(server.ended()).await.stderr;

    assert!(
        said.starts_with("STORE_URL: warning: `fsync` is off"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
