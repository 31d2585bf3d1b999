//! The scripts that start all of it.

use std::env::temp_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::servers::Port;
use crate::support::{eventually, program, within};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ledger");

/// Told to end where its test fails, so that it cleans up.
struct Script(Child);

impl Script {
    fn terminate(&self) {
        let id = self.0.id().unwrap().to_string();
        let killed = process::Command::new("kill").arg(id).status();
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

/// A script, with the program that was built for the tests, and ports of its own while these are held.
fn script(name: &str) -> (Command, [Port; 2]) {
    let ports = [Port::free(), Port::free()];
    let mut script = Command::new("bash");
    script.arg(format!("{FOLDER}/{name}"));
    let ledger = program("ledger", &[]);
    script.env("LEDGER", ledger.as_std().get_program());
    let names = ["ADDR", "PROVIDER_ADDR"];
    for (name, port) in names.iter().zip(&ports) {
        script.env(name, format!("127.0.0.1:{}", port.number()));
    }
    script
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (script, ports)
}

#[tokio::test]
async fn run_sh_serves_until_it_is_told_to_end_and_leaves_nothing() {
    let (mut run, ports) = script("run.sh");
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
    let asked = format!("http://127.0.0.1:{}/v1/books", ports[0].number());
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
    let books = String::from_utf8_lossy(&books.stdout);
    assert!(books.contains(r#""problems":[]"#), "{books}");
    assert_eq!(ended.code(), Some(143), "{stderr}");
    assert!(folder.contains("ledger-"), "{folder}");
    assert!(!Path::new(&folder).exists(), "{folder} is left");
}

/// Longer than ten kills take, and what was lost by them.
const A_STORM: Duration = Duration::from_secs(120);

#[tokio::test]
async fn storm_sh_prints_the_books_and_leaves_nothing() {
    let (mut storm, _ports) = script("storm.sh");
    let folder = temp_dir().join(format!("ledger-storm-sh-{}", process::id()));
    fs::create_dir(&folder).unwrap();
    // It runs PostgreSQL as another user where the tests are run by root.
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    storm.env("KILLS", "10").env("TMPDIR", &folder);

    let mut storm = Script(storm.spawn().unwrap());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut said = storm.0.stdout.take().unwrap();
    let all = timeout(A_STORM, said.read_to_string(&mut stdout)).await;
    all.expect("it takes too long").unwrap();
    let mut said = storm.0.stderr.take().unwrap();
    within(said.read_to_string(&mut stderr)).await.unwrap();
    let ended = within(storm.0.wait()).await.unwrap();

    assert!(ended.success(), "{stdout}{stderr}");
    assert!(stdout.ends_with("the books balance\n"), "{stdout}{stderr}");
    // It is empty.
    fs::remove_dir(&folder).unwrap();
}

#[tokio::test]
async fn a_storm_that_is_told_to_end_leaves_nothing() {
    let (mut storm, ports) = script("storm.sh");
    let mut storm = Script(storm.env("KILLS", "100000").spawn().unwrap());
    let provider = ("127.0.0.1", ports[1].number());

    let listens = async || TcpStream::connect(provider).await.ok().map(drop);
    eventually("the provider listens", listens).await;
    storm.terminate();
    let ended = within(storm.0.wait()).await.unwrap();

    assert_eq!(ended.code(), Some(143));
    let is_gone = async || TcpStream::connect(provider).await.err();
    eventually("the provider is gone", is_gone).await;
}
