//! The script that starts all of it.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::port::Port;
use crate::support::{program, within};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ledger/run.sh");

/// Told to end where its test fails, so that it cleans up.
struct Script(Child);

impl Script {
    fn terminate(&self) {
        let id = self.0.id().unwrap().to_string();
        let killed = std::process::Command::new("kill").arg(id).status();
        assert!(killed.unwrap().success());
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.0.id().is_some() {
            self.terminate();
        }
    }
}

#[tokio::test]
async fn run_sh_serves_until_it_is_told_to_end_and_leaves_nothing() {
    let ports = [Port::free(), Port::free()];
    let [api, provider] = ports
        .each_ref()
        .map(|port| format!("127.0.0.1:{}", port.number()));
    let ledger = program("ledger", &[]);
    let mut run = Command::new("bash");
    run.arg(RUN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    run.env("LEDGER", ledger.as_std().get_program());
    run.env("ADDR", &api).env("PROVIDER_ADDR", &provider);
    let mut run = Script(run.spawn().unwrap());
    let mut lines = BufReader::new(run.0.stdout.take().unwrap()).lines();
    let mut folder = String::new();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(at) = line.trim().strip_prefix("psql -h ") {
                folder = at.split(' ').next().unwrap().to_owned();
            }
            if line.starts_with("Ctrl-C") {
                return true;
            }
        }
        false
    };
    let serves = within(said).await;
    let asked = format!("http://{api}/v1/books");
    let books = Command::new("curl")
        .args(["-q", "--noproxy", "*", "-sS", &asked])
        .output();
    let books = within(books).await.unwrap();
    run.terminate();
    let ended = within(run.0.wait()).await.unwrap();
    let mut stderr = String::new();
    let all = run.0.stderr.take().unwrap();
    within(BufReader::new(all).read_to_string(&mut stderr))
        .await
        .unwrap();

    assert!(serves, "{stderr}");
    assert!(
        String::from_utf8_lossy(&books.stdout).contains(r#""problems":[]"#),
        "{books:?}"
    );
    assert_eq!(ended.code(), Some(143), "{stderr}");
    assert!(
        folder.contains("ledger-") && !Path::new(&folder).exists(),
        "{folder} is left"
    );
}
