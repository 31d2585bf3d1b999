//! One server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::panicking;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Keeper;
use super::Port;
use super::programs::{give_away, on_small_disk, path_of, run, text, unprivileged};
use super::{PATIENCE, eventually, within};

/// A running server with the databases `postgres` and `app`; ended, and its directory removed, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    keeper: Keeper,
    port: Port,
}

/// The name of a schema that no other test of this process has.
pub(crate) fn own_schema() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The files of a new server, made once: each server has a copy of them.
fn template() -> PathBuf {
    static MADE: OnceLock<Keeper> = OnceLock::new();
    let keeper = MADE.get_or_init(|| {
        let keeper = Keeper::new("true", &[]);
        give_away(keeper.folder());
        let data = text(&keeper.folder().join("data"));
        let initdb = [
            "--pgdata",
            &data,
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
        ];
        let initdb = [&initdb[..], &["--locale=C", "--no-sync"]].concat();
        run(&unprivileged(&path_of("initdb"), &initdb));
        keeper
    });
    keeper.folder().join("data")
}

impl Server {
    /// Nothing of it is on the disk in time.
    pub(crate) async fn start() -> Self {
        Self::with(&["fsync=off"]).await
    }

    /// With these settings, such as `fsync=on`.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let data = template();
        loop {
            let server = Self::new(&data, settings);
            if server.launch().await {
                server.sql("CREATE DATABASE app").await;
                return server;
            }
        }
    }

    /// One whose tables in the tablespace `small` have so much room in all.
    pub(crate) async fn on_small_disk(size: &str) -> Self {
        let data = template();
        let server = loop {
            let server = Self::made(&data, &["fsync=off"], |words| on_small_disk(size, words));
            if server.launch().await {
                break server;
            }
        };
        server.sql("CREATE DATABASE app").await;
        let folder = text(&server.keeper.folder().join("small"));
        let tablespace = format!("CREATE TABLESPACE small LOCATION '{folder}'");
        server.sql(&tablespace).await;
        server
            .sql("ALTER DATABASE app SET default_tablespace = small")
            .await;
        server
    }

    /// A replica of another one, which follows it from now on.
    pub(crate) async fn replica_of(primary: &Self) -> Self {
        loop {
            let server = Self::new(Path::new(""), &["fsync=off", "hot_standby=on"]);
            let backup = ["--pgdata", &text(&server.data()), "--write-recovery-conf"];
            let from = [
                "--host=127.0.0.1",
                "--username=postgres",
                "--checkpoint=fast",
                "--no-sync",
            ];
            let port = format!("--port={}", primary.port());
            let words = [&backup[..], &from, &[&port]].concat();
            run(&unprivileged(&path_of("pg_basebackup"), &words));
            if server.launch().await {
                return server;
            }
        }
    }

    /// One server for all tests of this process that do not hurt it; each has its own schema.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED
            .get_or_init(|| Self::with(&["fsync=off", "max_connections=300"]))
            .await
    }

    fn new(template: &Path, settings: &[&str]) -> Self {
        Self::made(template, settings, |words| words)
    }

    fn made(
        template: &Path,
        settings: &[&str],
        under: impl FnOnce(Vec<String>) -> Vec<String>,
    ) -> Self {
        let port = Port::free();
        let listens = format!("port={}", port.number());
        let usual = [
            &*listens,
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "autovacuum_naptime=5",
        ];
        let settings = [&usual[..], settings].concat();
        let set = settings.iter().flat_map(|setting| ["-c", setting]);
        let arguments = ["-D", "data"].into_iter().chain(set).collect::<Vec<_>>();
        let words = under(unprivileged(&path_of("postgres"), &arguments));
        let words = words.iter().map(String::as_str).collect::<Vec<_>>();
        let keeper = Keeper::asking("QUIT", words[0], &words[1..]);
        give_away(keeper.folder());
        let server = Self { keeper, port };
        if template.is_dir() {
            run(&[
                "cp".to_owned(),
                "-a".to_owned(),
                text(template),
                text(&server.data()),
            ]);
        }
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port()).into()
    }

    /// As the superuser.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres")
    }

    pub(crate) fn url_as(&self, user: &str) -> String {
        url_at(self.address(), user)
    }

    /// The process of the server.
    pub(crate) fn id(&self) -> Option<u32> {
        self.keeper.id()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.keeper.folder().join("data")
    }

    /// What the server has said since the first start.
    pub(crate) fn log(&self) -> String {
        self.keeper.log()
    }

    /// A connection of the test's own, as the superuser.
    pub(crate) async fn connect(&self) -> PgConnection {
        within(self.options("app").connect()).await.unwrap()
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port());
        let options = options.username("postgres").database(database);
        options
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }

    /// Runs SQL as the superuser, in the database `app` where it is there.
    pub(crate) async fn sql(&self, sql: &str) {
        within(self.sql_for_long(sql)).await;
    }

    /// The same for what may take minutes.
    pub(crate) async fn sql_for_long(&self, sql: &str) {
        let database = if sql.starts_with("CREATE DATABASE") {
            "postgres"
        } else {
            "app"
        };
        let mut connection = within(self.options(database).connect()).await.unwrap();
        let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())));
        within(done)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one number that a query has for an answer.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        number(&mut self.connect().await, sql).await
    }

    /// Whether its main process is there.
    pub(crate) fn is_running(&self) -> bool {
        self.keeper.is_running()
    }

    /// SIGSTOP to its main process. Returns when nobody can connect.
    pub(crate) async fn stop(&self) {
        self.keeper.signal("STOP");
        let stopped = || async { self.keeper.has_stopped().then_some(()) };
        eventually("the server has stopped", stopped).await;
    }

    /// SIGKILL: its processes are gone soon. Its directory and its port stay.
    pub(crate) fn kill(&self) {
        self.keeper.kill();
    }

    /// Kills it, where that has not been done, and starts it again: same port, directory and settings. Returns when it
    /// answers.
    pub(crate) async fn restart(&self) {
        self.kill();
        let again = || async { self.launch().await.then_some(()) };
        eventually("the server has started again", again).await;
    }

    /// Starts the process and returns when it answers; `false` where something is in its way.
    async fn launch(&self) -> bool {
        let said = self.log().len();
        assert!(
            self.keeper.start().is_some(),
            "`setpriv` or `postgres` is missing"
        );
        let started = || async {
            if timeout(Duration::from_secs(2), self.answers()).await == Ok(true) {
                return Some(true);
            }
            if self.keeper.is_running() {
                return None;
            }
            let log = self.log().split_off(said);
            let in_its_way = ["could not bind", "still in use", "lock file"];
            let is_expected = in_its_way.iter().any(|what| log.contains(what));
            assert!(is_expected, "PostgreSQL has ended:\n{log}");
            Some(false)
        };
        let started = timeout(PATIENCE, eventually("the server answers", started)).await;
        started.unwrap_or_else(|_| panic!("PostgreSQL does not answer:\n{}", self.log()))
    }

    async fn answers(&self) -> bool {
        match self.options("postgres").connect().await {
            Ok(mut connection) => connection.execute("SELECT 1").await.is_ok(),
            Err(_) => false,
        }
    }
}

/// The URL of the database `app` of a server, or of what stands before one.
pub(crate) fn url_at(address: SocketAddr, user: &str) -> String {
    format!("postgres://{user}@{address}/app?sslmode=disable")
}

/// The one number that a query has for an answer.
pub(crate) async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    let row = within(query.fetch_one(connection)).await;
    row.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
}

impl Drop for Server {
    /// A test that fails tells what its servers have said at last.
    fn drop(&mut self) {
        if panicking() {
            let log = self.log();
            let lines = log.lines().collect::<Vec<_>>();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("PostgreSQL at {}:\n{last}\n", self.port());
        }
    }
}
