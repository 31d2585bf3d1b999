//! One ledger: a database, a provider and an API of its own.

use std::env::temp_dir;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::Command;

use crate::servers;
use crate::support::{Call, Reply, Server, eventually, program, within};

/// The least there is: what is taken over has been waited for.
const LEASE_SECS: &str = "1";

pub(crate) struct Ledger {
    environment: Vec<(&'static str, String)>,
    charges: PathBuf,
    provider: Option<Server>,
    api: Option<Server>,
}

impl Ledger {
    pub(crate) async fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ledger_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let server = servers::Server::shared().await;
        server.sql(&format!("CREATE DATABASE {name}")).await;
        let database = server.url().replace("/app?", &format!("/{name}?"));
        let charges = temp_dir().join(format!("{name}-{}.jsonl", process::id()));
        let mut ledger = Self {
            environment: vec![
                ("DATABASE_URL", database),
                ("PROVIDER_FILE", charges.to_str().unwrap().to_owned()),
                ("LEASE_SECS", LEASE_SECS.to_owned()),
                ("ADDR", "127.0.0.1:0".to_owned()),
            ],
            charges,
            provider: None,
            api: None,
        };
        let migrated = ledger.run("migrate").await;
        assert!(migrated.status.success(), "{migrated:?}");
        ledger.start_provider("127.0.0.1:0").await;
        let address = ledger.provider().address.to_string();
        ledger.environment.push(("PROVIDER_ADDR", address));
        ledger.start_api().await;
        ledger
    }

    fn part(&self, part: &str) -> Command {
        let environment: Vec<_> = self
            .environment
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let mut program = program("ledger", &environment);
        program.arg(part);
        program
    }

    /// A part that comes to its end.
    pub(crate) async fn run(&self, part: &str) -> Output {
        within(self.part(part).output()).await.unwrap()
    }

    /// Starts the provider, at the place where it was.
    pub(crate) async fn start_provider(&mut self, address: &str) {
        let mut program = self.part("provider");
        program.env("PROVIDER_ADDR", address);
        self.provider = Some(Server::run(program).await);
    }

    pub(crate) async fn start_api(&mut self) {
        self.api = Some(Server::run(self.part("serve")).await);
    }

    pub(crate) async fn kill_api(&mut self) {
        self.api.take().unwrap().kill().await;
    }

    /// Kills the provider; where it was.
    pub(crate) async fn kill_provider(&mut self) -> String {
        let provider = self.provider.take().unwrap();
        let address = provider.address.to_string();
        provider.kill().await;
        address
    }

    pub(crate) fn provider(&self) -> &Server {
        self.provider.as_ref().unwrap()
    }

    pub(crate) fn api(&self) -> &Server {
        self.api.as_ref().unwrap()
    }

    /// A request of this customer.
    pub(crate) fn post(&self, customer: &str, path: &str, key: &str, body: &Value) -> Call<'_> {
        self.api()
            .post(path)
            .header("authorization", format!("Bearer sk_{customer}"))
            .key(key)
            .json(body.to_string())
    }

    /// The number of a new account of alice's.
    pub(crate) async fn account(&self, key: &str) -> i64 {
        let opened = self.post("alice", "/v1/accounts", key, &Value::Null);
        let opened = opened.send().await;
        opened.is_first(201).json()["id"].as_i64().unwrap()
    }

    pub(crate) async fn pay(&self, key: &str, account: i64, cents: i64, card: &str) -> Reply {
        let body = json!({ "account": account, "cents": cents, "card": card });
        self.post("alice", "/v1/payments", key, &body).send().await
    }

    pub(crate) async fn transfer(&self, key: &str, from: i64, to: i64, cents: i64) -> Reply {
        let body = json!({ "from": from, "to": to, "cents": cents });
        self.post("alice", "/v1/transfers", key, &body).send().await
    }

    pub(crate) async fn cents(&self, account: i64) -> i64 {
        let path = format!("/v1/accounts/{account}");
        let shown = self
            .api()
            .get(&path)
            .header("authorization", "Bearer sk_alice");
        shown.send().await.is_first(200).json()["cents"]
            .as_i64()
            .unwrap()
    }

    /// How many charges the provider has in its book, declined ones too.
    pub(crate) async fn charges(&self) -> usize {
        let charges = self.provider().get("/charges").send().await.json();
        charges.as_array().unwrap().len()
    }

    /// Returns when the provider has heard of so many.
    pub(crate) async fn charged(&self, charges: usize) {
        let enough = async || (self.charges().await >= charges).then_some(());
        eventually("the provider has charged", enough).await;
    }

    /// Changes the database as the API never does.
    pub(crate) async fn sql(&self, sql: &str) {
        let mut connection = within(PgConnection::connect(&self.environment[0].1))
            .await
            .unwrap();
        let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())));
        within(done).await.unwrap();
    }

    /// What the program says of the books, and that it ends by it.
    pub(crate) async fn books(&self) -> String {
        let printed = self.run("books").await;
        let text = String::from_utf8(printed.stdout).unwrap();
        let balance = text.trim_end().ends_with("the books balance");
        assert_eq!(printed.status.code(), Some(i32::from(!balance)), "{text}");
        text
    }

    pub(crate) async fn balances(&self, payments: usize, cents: i64) {
        let books = self.books().await;
        assert!(books.ends_with("the books balance\n"), "{books}");
        let shown = self.api().get("/v1/books").send().await.json();
        assert_eq!(shown["payments"], payments, "{shown}");
        assert_eq!(shown["cents"], cents, "{shown}");
        assert_eq!(shown["problems"], json!([]));
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.charges);
    }
}
