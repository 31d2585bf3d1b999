//! One server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::panicking;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Keeper;
use super::Port;
use super::builder::Builder;
use super::{PATIENCE, eventually, within};

/// A running server; killed, and its directory removed, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    program: String,
    keeper: Keeper,
    port: Port,
    tls: Option<Tls>,
    password: Option<String>,
}

/// What clients by TLS need.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) port: Port,
    pub(crate) authority: Vec<u8>,
}

/// What came of a start.
#[derive(Debug)]
#[must_use]
pub(crate) enum Started {
    Answers,
    PortTaken,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// One server for all tests of this process that do not hurt it; each has its own prefix of keys.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One that is not started yet.
    pub(crate) fn new(
        program: String,
        keeper: Keeper,
        port: Port,
        tls: Option<Tls>,
        password: Option<String>,
    ) -> Self {
        Self {
            program,
            keeper,
            port,
            tls,
            password,
        }
    }

    /// Where clients come.
    pub(crate) fn port(&self) -> u16 {
        let tls = self.tls.as_ref().map(|tls| &tls.port);
        tls.unwrap_or(&self.port).number()
    }

    /// The same as an address, for a proxy.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port()).into()
    }

    /// Where the test's own connections and other servers come, without TLS.
    pub(crate) fn plain_port(&self) -> u16 {
        self.port.number()
    }

    /// `redis://127.0.0.1:PORT`, or `rediss://`, with the password of the default user where it has one.
    pub(crate) fn url(&self) -> String {
        let password = self.password.as_ref();
        self.url_of(&password.map_or_else(String::new, |password| format!(":{password}@")))
    }

    /// The same for another user.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        self.url_of(&format!("{user}:{password}@"))
    }

    fn url_of(&self, user: &str) -> String {
        let scheme = self.tls.as_ref().map_or("redis", |_| "rediss");
        format!("{scheme}://{user}127.0.0.1:{}", self.port())
    }

    /// The certificate of the authority that has signed that of a server with TLS, as PEM.
    pub(crate) fn authority(&self) -> &[u8] {
        let tls = self.tls.as_ref();
        &tls.expect("it is started with `tls`").authority
    }

    /// Whether it has not been killed.
    pub(crate) fn is_up(&self) -> bool {
        self.keeper.id().is_some()
    }

    /// The process of the server.
    pub(crate) fn id(&self) -> Option<u32> {
        self.keeper.id()
    }

    /// Where the server writes.
    pub(crate) fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// What the server has said since the first start.
    pub(crate) fn log(&self) -> String {
        self.keeper.log()
    }

    /// A connection of the test's own, as the default user.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        within(self.try_connect()).await.unwrap()
    }

    async fn try_connect(&self) -> RedisResult<MultiplexedConnection> {
        let password = self.password.as_ref();
        let user = password.map_or_else(String::new, |password| format!(":{password}@"));
        let client = Client::open(format!("redis://{user}127.0.0.1:{}", self.plain_port()))?;
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client
            .get_multiplexed_async_connection_with_config(&patient)
            .await
    }

    /// SIGSTOP: it hangs, and its connections stay open. Returns when it does.
    pub(crate) async fn stop(&self) {
        self.keeper.signal("STOP");
        let stopped = || async { self.keeper.has_stopped().then_some(()) };
        eventually("the server has stopped", stopped).await;
    }

    /// SIGCONT: it goes on.
    pub(crate) fn cont(&self) {
        self.keeper.signal("CONT");
    }

    /// SIGKILL, and waits until it is gone. Its directory and its port stay.
    pub(crate) fn kill(&self) {
        self.keeper.kill();
    }

    /// Kills it, where that has not been done, and starts it again: same port, directory and configuration.
    /// Returns when it answers.
    pub(crate) async fn restart(&self) {
        self.kill();
        match self.launch().await {
            Started::Answers => {}
            Started::PortTaken => panic!("something else listens on {}", self.plain_port()),
        }
    }

    /// Makes it a replica and returns when it has what the other one has.
    pub(crate) async fn replica_of(&self, primary: &Self) {
        if let Some(password) = &primary.password {
            let line = format!("CONFIG SET masterauth {password}");
            self.ask::<()>(&line).await.unwrap();
        }
        let line = format!("REPLICAOF 127.0.0.1 {}", primary.plain_port());
        self.ask::<()>(&line).await.unwrap();
        // So that it is one after a restart, too.
        self.ask::<()>("CONFIG REWRITE").await.unwrap();
        let linked = || async {
            let link = self.info("replication", "master_link_status").await;
            (link? == "up").then_some(())
        };
        eventually("the replica has what its primary has", linked).await;
    }

    /// What `redis-cli` prints when it is given these arguments.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.plain_port().to_string()]);
        cli.args(arguments);
        if let Some(password) = &self.password {
            cli.env("REDISCLI_AUTH", password);
        }
        let output = cli
            .output()
            .unwrap_or_else(|error| panic!("redis-cli: {error}. {INSTALL}"));
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// What is answered to one command, its words apart by spaces.
    pub(crate) async fn ask<T: FromRedisValue>(&self, line: &str) -> RedisResult<T> {
        let mut connection = self.try_connect().await?;
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        command.query_async(&mut connection).await
    }

    /// One field of one section of INFO; `None` where there is none, or no answer.
    pub(crate) async fn info(&self, section: &str, field: &str) -> Option<String> {
        let info: String = self.ask(&format!("INFO {section}")).await.ok()?;
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value.to_owned())
    }

    /// Starts the process and returns when it answers, or something else has its port.
    ///
    /// # Panics
    ///
    /// Where there is no such program, or it ends for another reason.
    pub(crate) async fn launch(&self) -> Started {
        let program = &self.program;
        let said = self.log().len();
        let id = self.keeper.start();
        let id = id.unwrap_or_else(|| panic!("{program} is not installed. {INSTALL}"));
        let started = || async {
            // Something else on the port may listen and never say anything.
            let answers = timeout(Duration::from_millis(500), self.answers(id));
            if answers.await == Ok(true) {
                return Some(Started::Answers);
            }
            if self.keeper.is_running() {
                return None;
            }
            let log = self.log().split_off(said);
            assert!(
                log.contains("Address already in use"),
                "{program} has ended:\n{log}"
            );
            Some(Started::PortTaken)
        };
        let started = timeout(PATIENCE, eventually("the server answers", started)).await;
        started.unwrap_or_else(|_| panic!("{program} does not answer:\n{}", self.log()))
    }

    /// Whether this very process, and no other on the same port, is ready for commands.
    async fn answers(&self, id: u32) -> bool {
        let pong = self.ask::<String>("PING").await;
        if pong.is_err() || self.info("server", "process_id").await != Some(id.to_string()) {
            return false;
        }
        let version = self
            .info("server", "redis_version")
            .await
            .unwrap_or_default();
        let (major, _) = version.split_once('.').unwrap_or_default();
        let major: u32 = major.parse().unwrap_or_default();
        assert!(
            major >= 6,
            "{} {version} is too old: 6.0 at least",
            self.program
        );
        true
    }
}

impl Drop for Server {
    /// A test that fails tells what its servers have said at last.
    fn drop(&mut self) {
        if panicking() {
            let log = self.log();
            let lines = log.lines().collect::<Vec<_>>();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("{} at {}:\n{last}\n", self.program, self.port());
        }
    }
}

const INSTALL: &str =
    "Install it: apt-get install redis-server redis-tools, or bash tests/run.sh does it";
