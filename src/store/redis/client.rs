//! One call: within its time, over a connection that works, as often as it takes.

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::{Primary, Wait};
use super::fault::{Class, Fault};
use super::link::Link;
use super::scripts::Script;
use crate::clock;

/// A call is tried so often.
const TRIES: u32 = 3;
/// The pause before it is tried again, and twice as long the next time.
const PAUSE: Duration = Duration::from_millis(20);

/// The way to the server, with the times of a call.
pub(super) struct Client {
    pub(super) link: Link,
    /// For a whole call, tries and connecting included.
    pub(super) at_most: Duration,
    pub(super) wait: Option<Wait>,
}

/// A script, its key and its arguments.
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    pub(super) key: &'a [u8],
    pub(super) arguments: &'a [&'a [u8]],
    /// By which answers it has written what must not be lost; none where nothing is waited for.
    pub(super) has_written: Option<fn(&Value) -> bool>,
}

impl Call<'_> {
    /// By its digest. Never `SCRIPT LOAD`: on a Cluster it goes to all nodes, and waits for one that hangs.
    fn short(&self) -> Cmd {
        self.command("EVALSHA", &self.script.digest)
    }

    /// With its source, for a server that does not know it yet.
    fn whole(&self) -> Cmd {
        self.command("EVAL", self.script.source)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(self.key);
        for argument in self.arguments {
            command.arg(*argument);
        }
        command
    }
}

/// What a call is answered.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Whether an earlier try of the same call may have been applied.
    pub(super) was_in_doubt: bool,
}

/// Where a command goes.
enum To<'a> {
    /// The primary that holds a key; with replicas to wait for, where the answer says so.
    Holder(&'a [u8], Option<(&'a Wait, fn(&Value) -> bool)>),
    Primary(&'a Primary),
}

impl Client {
    /// Runs a script. Each of them may be run twice: who repeats one is recognised by its ids.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, Fault> {
        let wait = self.wait.as_ref().zip(call.has_written);
        let whole = || call.whole();
        self.send(To::Holder(call.key, wait), call.short(), Some(&whole))
            .await
    }

    /// Fetches a whole value.
    pub(super) async fn get(&self, key: &[u8]) -> Result<Value, Fault> {
        let mut command = redis::cmd("GET");
        command.arg(key);
        let answer = self.send(To::Holder(key, None), command, None);
        Ok(answer.await?.value)
    }

    /// Asks one primary.
    pub(super) async fn ask(&self, primary: &Primary, command: Cmd) -> Result<Value, Fault> {
        let answer = self.send(To::Primary(primary), command, None);
        Ok(answer.await?.value)
    }

    /// Every primary that there is.
    pub(super) async fn primaries(&self) -> Result<Vec<Primary>, Fault> {
        within_a_runtime()?;
        let asked = async {
            let mut lent = self.link.get().await?;
            let primaries = lent.connection.primaries().await;
            primaries.inspect_err(|fault| self.link.look_at(fault, &lent))
        };
        let asked = timeout_at(clock::later(Instant::now(), self.at_most), asked).await;
        asked.unwrap_or_else(|_| Err(Fault::late()))
    }

    /// Tries until it is done, or hopeless, or late.
    async fn send(
        &self,
        to: To<'_>,
        mut command: Cmd,
        mut whole: Option<&(dyn Fn() -> Cmd + Sync)>,
    ) -> Result<Answer, Fault> {
        within_a_runtime()?;
        let start = Instant::now();
        // The first try leaves time for another one.
        let (mut until, end) = (
            clock::later(start, self.at_most / 2),
            clock::later(start, self.at_most),
        );
        let (mut tries, mut pause, mut is_in_doubt) = (0, PAUSE, false);
        loop {
            let fault = match self.try_once(&to, &command, until).await {
                Ok(value) => {
                    return Ok(Answer {
                        value,
                        was_in_doubt: is_in_doubt,
                    });
                }
                Err(fault) => fault,
            };
            match (fault.class, whole.take()) {
                (Class::NoScript, Some(make)) => {
                    command = make();
                    continue;
                }
                (Class::NotApplied | Class::Elsewhere, kept) => whole = kept,
                (Class::Ambiguous | Class::Unconfirmed, kept) => {
                    whole = kept;
                    is_in_doubt = true;
                }
                (Class::Full | Class::NoScript | Class::Fatal | Class::Unreadable, _) => {
                    return Err(fault.after(is_in_doubt));
                }
            }
            tries += 1;
            if tries == TRIES || Instant::now() + pause >= end {
                return Err(fault.after(is_in_doubt));
            }
            sleep(pause).await;
            (pause, until) = (pause * 2, end);
        }
    }

    async fn try_once(&self, to: &To<'_>, command: &Cmd, until: Instant) -> Result<Value, Fault> {
        let lent = timeout_at(until, self.link.get()).await;
        let mut lent = lent.unwrap_or_else(|_| Err(Fault::unreached()))?;
        let connection = &mut lent.connection;
        let sent = async {
            match to {
                To::Holder(key, None) => connection.send(key, command).await,
                To::Holder(key, Some((wait, has_written))) => {
                    connection
                        .send_and_wait(key, command, wait, *has_written)
                        .await
                }
                To::Primary(primary) => connection.send_to(primary, command).await,
            }
        };
        let answer = timeout_at(until, sent)
            .await
            .unwrap_or_else(|_| Err(Fault::late()));
        answer.inspect_err(|fault| self.link.look_at(fault, &lent))
    }
}

/// Connections and timers are tokio's, and panic elsewhere: a future may be polled once more when its runtime is gone.
fn within_a_runtime() -> Result<(), Fault> {
    let found = tokio::runtime::Handle::try_current();
    found
        .map(drop)
        .map_err(|_| Fault::new(Class::NotApplied, "there is no tokio runtime here"))
}
