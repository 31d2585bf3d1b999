//! Those who are killed, and started again.

use std::env;
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
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

/// A part of this program, as a process of its own.
pub(super) struct Program {
    part: &'static str,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Returns when it listens. It may have to be started several times: the API where there is no database.
    pub(super) async fn start(part: &'static str, log: &Path) -> Result<Self, BoxError> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let said = OpenOptions::new().append(true).create(true).open(log)?;
            let mut child = Command::new(env::current_exe()?)
                .arg(part)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(said)
                .kill_on_drop(true)
                .spawn()?;
            let stdout = child.stdout.take().ok_or("it has no stdout")?;
            let mut lines = BufReader::new(stdout).lines();
            if let Ok(Ok(Some(_))) = timeout(PATIENCE, lines.next_line()).await {
                let log = log.to_owned();
                return Ok(Self { part, log, child });
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(format!("ledger {part} does not start: see {}", log.display()).into())
    }

    /// Kills it so many times; as it is then.
    pub(super) async fn haunt(mut self, kills: u32, mut dice: Dice) -> Result<Self, BoxError> {
        for _ in 0..kills {
            sleep(dice.milliseconds(PAUSE)).await;
            // SIGKILL.
            self.child.kill().await?;
            self = Self::start(self.part, &self.log).await?;
        }
        Ok(self)
    }

    pub(super) async fn end(mut self) -> Result<(), BoxError> {
        Ok(self.child.kill().await?)
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
            let kill = Command::new("kill").args(["-KILL", &process]).status();
            if !kill.await?.success() {
                return Err("the database cannot be killed".into());
            }
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
