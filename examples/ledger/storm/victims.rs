//! Those who are killed, and started again.

use std::env;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use crate::BoxError;

/// Longer than anything takes to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The next kill comes after so many milliseconds.
const PAUSE: Range<u64> = 50..800;

/// Once in so many kills a process stands still before it, for longer than its lease: what it had begun is taken over
/// by another one, and then it goes on.
const STANDS_STILL: u64 = 8;

/// Where a process listens that is killed now and then.
#[derive(Clone)]
pub(super) struct Place(Arc<Mutex<SocketAddr>>);

impl Place {
    pub(super) fn address(&self) -> SocketAddr {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of this program, as a process of its own.
pub(super) struct Program {
    part: &'static str,
    log: PathBuf,
    child: Child,
    place: Place,
}

impl Program {
    /// Returns when it listens.
    pub(super) async fn start(part: &'static str, log: &Path) -> Result<Self, BoxError> {
        let (child, address) = start(part, log).await?;
        Ok(Self {
            part,
            log: log.to_owned(),
            child,
            place: Place(Arc::new(Mutex::new(address))),
        })
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Kills it so many times; as it is then.
    pub(super) async fn haunt(
        mut self,
        kills: u32,
        lease: Duration,
        mut dice: Dice,
    ) -> Result<Self, BoxError> {
        for _ in 0..kills {
            sleep(dice.milliseconds(PAUSE)).await;
            if dice.once_in(STANDS_STILL) {
                let process = self.child.id().ok_or("it has ended by itself")?.to_string();
                signal("-STOP", &process).await?;
                sleep(lease + dice.milliseconds(PAUSE)).await;
                signal("-CONT", &process).await?;
                sleep(dice.milliseconds(PAUSE)).await;
            }
            // SIGKILL.
            self.child.kill().await?;
            let (child, address) = start(self.part, &self.log).await?;
            self.child = child;
            *self.place.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
        }
        Ok(self)
    }

    pub(super) async fn end(mut self) -> Result<(), BoxError> {
        Ok(self.child.kill().await?)
    }
}

/// It may have to be started several times: the API where there is no database.
async fn start(part: &str, log: &Path) -> Result<(Child, SocketAddr), BoxError> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let said = OpenOptions::new().append(true).create(true).open(log)?;
        let mut child = Command::new(env::current_exe()?)
            .arg(part)
            // Another API may be there yet.
            .env("ADDR", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("it has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        if let Ok(Ok(Some(line))) = timeout(PATIENCE, lines.next_line()).await {
            let address = line.strip_prefix("listening on http://");
            return Ok((child, address.ok_or("it does not say where")?.parse()?));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("ledger {part} does not start: see {}", log.display()).into())
}

async fn signal(name: &str, process: &str) -> Result<(), BoxError> {
    let sent = Command::new("kill").args([name, process]).status().await?;
    match sent.success() {
        true => Ok(()),
        false => Err(format!("process {process} is not there").into()),
    }
}

/// The database, which somebody else starts again.
pub(super) struct Database<'a> {
    url: &'a str,
    /// Its first line is the process.
    pid_file: PathBuf,
}

impl<'a> Database<'a> {
    pub(super) fn at(url: &'a str, folder: &Path) -> Self {
        let pid_file = folder.join("postmaster.pid");
        Self { url, pid_file }
    }

    pub(super) async fn haunt(self, kills: u32, mut dice: Dice) -> Result<(), BoxError> {
        for _ in 0..kills {
            sleep(dice.milliseconds(PAUSE)).await;
            let process = self.process().ok_or("the database is not running")?;
            signal("-KILL", &process).await?;
            self.started_after(&process).await?;
        }
        Ok(())
    }

    fn process(&self) -> Option<String> {
        let file = fs::read_to_string(&self.pid_file).ok()?;
        file.lines().next().map(str::to_owned)
    }

    /// Returns when another process answers.
    async fn started_after(&self, killed: &str) -> Result<(), BoxError> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let is_another = self.process().is_some_and(|process| process != killed);
            let connecting = timeout(Duration::from_secs(2), PgConnection::connect(self.url));
            if is_another && matches!(connecting.await, Ok(Ok(_))) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("the database does not start again".into())
    }
}
