//! An example on an SQLite file, from outside: what was answered outlives the process, and two behave as one.

#[path = "../support/scratch.rs"]
mod scratch;

use crate::redis::storms::everybody_gets_the_one_answer;
use crate::redis::{CREATE, SESSION, create, is_again, slow};
use crate::support::{Server, eventually, program, within};

use scratch::Scratch;

fn url(scratch: &Scratch) -> String {
    format!("sqlite:{}", scratch.file("records.db").display())
}

#[tokio::test]
async fn what_was_answered_outlives_the_process() {
    let scratch = Scratch::new();
    let url = url(&scratch);
    let environment = [("STORE_URL", &*url)];

    let server = Server::start("verifa", &environment).await;
    let first = create(&server, "done", SESSION).send().await;
    server.kill().await;

    let server = Server::start("verifa", &environment).await;
    let replay = create(&server, "done", SESSION).send().await;
    let other = create(&server, "done", slow(0)).send().await;

    is_again(&replay, first.is_first(201));
    other.refuses(422, "idempotency_mismatch");
    assert_eq!(server.executions(CREATE).await, 0);
}

#[tokio::test]
async fn what_ran_when_the_process_was_killed_is_taken_over() {
    let scratch = Scratch::new();
    let url = url(&scratch);
    let environment = [("STORE_URL", &*url), ("LEASE_SECS", "2")];
    let body = slow(1_000);
    let server = Server::start("verifa", &environment).await;
    tokio::select! {
        reply = create(&server, "lost", &*body).try_send() => panic!("it was answered: {reply:?}"),
        () = server.started(CREATE, 1) => {}
    }
    server.kill().await;

    let server = Server::start("verifa", &environment).await;
    let again = async || {
        let reply = create(&server, "lost", &*body).send().await;
        (reply.status != 409).then_some(reply)
    };
    let first = eventually("the lease is over", again).await;
    let retry = create(&server, "lost", &*body).send().await;

    is_again(&retry, first.is_first(201));
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_storm_over_two_processes_on_one_file_runs_once() {
    let scratch = Scratch::new();
    everybody_gets_the_one_answer(&url(&scratch)).await;
}

#[tokio::test]
async fn a_path_that_is_of_no_use_is_refused_in_one_line() {
    let scratch = Scratch::new();
    std::fs::write(scratch.file("junk"), "junk".repeat(2_000)).unwrap();
    for (file, words) in [
        ("missing/records.db", "its directory has to exist"),
        ("junk", "not an SQLite database"),
        ("", "cannot be opened"),
    ] {
        let path = scratch.file(file);
        let url = format!("sqlite:{}", path.display());
        let mut program = program("verifa", &[("STORE_URL", &url)]);
        let output = within(program.output()).await.unwrap();

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}: {stderr}");
        assert!(stderr.starts_with("STORE_URL: "), "{url}: {stderr}");
        assert!(stderr.contains(words), "{url}: {stderr}");
        assert!(stderr.contains(path.to_str().unwrap()), "{url}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{url}: {stderr}");
        assert_eq!(output.stdout, b"", "{url}");
    }
}
