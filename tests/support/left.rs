//! What is left behind when the process of the tests is killed.

use std::env;
use std::io::{BufRead, BufReader, stdin};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::STARTS;
use crate::servers::{Server, eventually};

/// Whether there is a process of this id.
pub(crate) fn runs(id: &str) -> bool {
    let kill = format!("kill -0 {id}");
    let kill = Command::new("sh").args(["-c", &kill]).output().unwrap();
    kill.status.success()
}

#[tokio::test]
async fn nothing_is_left_of_the_server_of_a_test_that_panics() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async {
        let server = Server::start().await;
        let id = server.id().unwrap().to_string();
        tell.send((id, server.folder().to_owned())).unwrap();
        panic!("as a failed assertion does");
    });

    let (id, folder) = told.await.unwrap();
    assert!(test.await.unwrap_err().is_panic());

    assert!(!runs(&id));
    assert!(!folder.exists());
}

/// This is the process that is killed as well.
#[tokio::test]
async fn nothing_is_left_of_servers_whose_tests_are_killed() {
    if env::var_os(STARTS).is_some() {
        return start_and_wait().await;
    }
    let mut tests = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "left::nothing_is_left_of_servers_whose_tests_are_killed",
        ])
        .arg("--nocapture")
        .env(STARTS, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(tests.stdout.take().unwrap()).lines();
    let servers = lines
        .map(|line| line.unwrap())
        .filter_map(|line| line.strip_prefix("started ").map(str::to_owned))
        .take(3)
        .map(|server| {
            let (id, folder) = server.split_once(' ').unwrap();
            (id.to_owned(), folder.to_owned())
        })
        .collect::<Vec<_>>();
    let there = |(id, folder): &(String, String)| runs(id) || Path::new(folder).exists();
    assert_eq!(servers.iter().filter(|server| there(server)).count(), 3);

    // All that a terminal would reach.
    let kill = format!("kill -s KILL -- -{}", tests.id());
    let killed = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(killed.success());
    tests.wait().unwrap();

    let gone = async || (!servers.iter().any(there)).then_some(());
    eventually("the servers and their directories are gone", gone).await;
}

/// One of its own, one that hangs, and the one of all tests, which nothing drops.
#[expect(
    clippy::print_stdout,
    reason = "the test that kills this reads there what to look for"
)]
async fn start_and_wait() {
    let own = Server::start().await;
    let hung = Server::start().await;
    let shared = Server::shared().await;
    let mut lines = Vec::new();
    for server in [&own, &hung, shared] {
        let id = server.id().unwrap().to_string();
        lines.push(format!("started {id} {}", server.folder().display()));
    }
    hung.stop().await;
    println!("\n{}", lines.join("\n"));
    // It is killed here, or ends with the test that has started it.
    stdin().lines().for_each(drop);
}
