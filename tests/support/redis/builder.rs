//! What a server is started with.

use std::fmt::Write as _;
use std::fs;

use super::Keeper;
use super::Port;
use super::certificates;
use super::server::{Server, Started, Tls};

/// A server that is being put together. By default nothing is written to the disk, and nothing evicted.
#[derive(Clone, Debug)]
#[must_use]
pub(crate) struct Builder {
    program: String,
    sentinel: bool,
    lines: Vec<String>,
    password: Option<String>,
    tls: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            program: "redis-server".to_owned(),
            sentinel: false,
            lines: Vec::new(),
            password: None,
            tls: false,
        }
    }
}

impl Builder {
    /// Another program than `redis-server`.
    pub(crate) fn program(self, program: &str) -> Self {
        Self {
            program: program.to_owned(),
            ..self
        }
    }

    /// A line of the configuration file, such as `maxmemory 10mb`. It overrules the same setting of earlier lines.
    pub(crate) fn config(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// What has been written is there after a SIGKILL and a restart.
    pub(crate) fn append_only(self) -> Self {
        self.config("appendonly yes")
    }

    /// The server refuses, or evicts by `policy`, beyond so many bytes.
    pub(crate) fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.config(format!("maxmemory {bytes}"))
            .config(format!("maxmemory-policy {policy}"))
    }

    /// A user by its rules, such as `on >secret ~idem:* -@all +get`. The default user stays as it is.
    pub(crate) fn user(self, name: &str, rules: &str) -> Self {
        self.config(format!("user {name} {rules}"))
    }

    /// The password of the default user, which has none otherwise.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.config(format!("requirepass {password}"))
    }

    /// Clients come by TLS, at [`Server::port`]; the test's own connections do not.
    pub(crate) fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// Watches other servers instead.
    pub(crate) fn sentinel(self) -> Self {
        Self {
            sentinel: true,
            ..self
        }
    }

    /// Starts it and returns when it answers, on ports that are free.
    ///
    /// # Panics
    ///
    /// Where there is no such program, or the server ends.
    pub(crate) async fn start(self) -> Server {
        loop {
            if let Some(server) = self.start_on(Port::free()).await {
                return server;
            }
        }
    }

    /// The same on this port; `None` where something else listens there meanwhile.
    pub(crate) async fn start_on(&self, port: Port) -> Option<Server> {
        let arguments = ["redis.conf", "--sentinel"];
        let arguments = &arguments[..1 + usize::from(self.sentinel)];
        let keeper = Keeper::new(&self.program, arguments);
        let tls = self.tls.then(|| Tls {
            port: Port::free(),
            authority: certificates::make(keeper.folder()),
        });
        let configuration = self.configuration(&port, tls.as_ref());
        fs::write(keeper.folder().join("redis.conf"), configuration).unwrap();
        let server = Server::new(
            self.program.clone(),
            keeper,
            port,
            tls,
            self.password.clone(),
        );
        match server.launch().await {
            Started::Answers => Some(server),
            Started::PortTaken => None,
        }
    }

    fn configuration(&self, port: &Port, tls: Option<&Tls>) -> String {
        let mut file = format!("bind 127.0.0.1\nport {}\n", port.number());
        if !self.sentinel {
            file += "save \"\"\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\nrdb-del-sync-files yes\n";
        }
        if let Some(Tls { port, .. }) = tls {
            let port = port.number();
            writeln!(
                file,
                "tls-port {port}\ntls-auth-clients no\ntls-ca-cert-file ca.crt"
            )
            .unwrap();
            file += "tls-cert-file server.crt\ntls-key-file server.key\n";
        }
        for line in &self.lines {
            writeln!(file, "{line}").unwrap();
        }
        file
    }
}
