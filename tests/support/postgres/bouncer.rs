//! PgBouncer before a server.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor};
use tokio::time::timeout;

use super::Keeper;
use super::Port;
use super::eventually;
use super::programs::{give_away, path_of, unprivileged};
use super::server::{Server, url_at};

/// A pooler in transaction mode: two connections to the server for whoever comes.
#[derive(Debug)]
pub(crate) struct Bouncer {
    keeper: Keeper,
    port: Port,
}

impl Bouncer {
    pub(crate) async fn before(server: &Server) -> Self {
        loop {
            let bouncer = Self::new(server);
            bouncer.keeper.start().expect("it is installed");
            let started = || async {
                let connected = timeout(Duration::from_secs(2), bouncer.answers()).await;
                if connected == Ok(true) {
                    return Some(true);
                }
                (!bouncer.keeper.is_running()).then_some(false)
            };
            if eventually("PgBouncer answers", started).await {
                return bouncer;
            }
            assert!(
                bouncer.keeper.log().contains("ddress already in use"),
                "{}",
                bouncer.keeper.log()
            );
        }
    }

    fn new(server: &Server) -> Self {
        let port = Port::free();
        let words = unprivileged(&path_of("pgbouncer"), &["pgbouncer.ini"]);
        let words = words.iter().map(String::as_str).collect::<Vec<_>>();
        let keeper = Keeper::asking("QUIT", words[0], &words[1..]);
        let file = keeper.folder().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\napp = host=127.0.0.1 port={} dbname=app user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 200\n",
            server.port(),
            port.number()
        );
        fs::write(file, settings).unwrap();
        give_away(keeper.folder());
        Self { keeper, port }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    pub(crate) fn url(&self) -> String {
        url_at(self.address(), "postgres")
    }

    pub(crate) fn log(&self) -> String {
        self.keeper.log()
    }

    async fn answers(&self) -> bool {
        let options: PgConnectOptions = self.url().parse().unwrap();
        match options.extra_float_digits(None).connect().await {
            Ok(mut connection) => connection.execute(sqlx::raw_sql("SELECT 1")).await.is_ok(),
            Err(_) => false,
        }
    }
}
