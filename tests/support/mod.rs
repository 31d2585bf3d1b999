//! An example server as its users have it: a process, a port, and what it says when it ends.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program of an example, not started yet. It has this environment and no other.
pub(crate) fn program(example: &str, environment: &[(&str, &str)]) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.extend(["examples", example]);
    path.set_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing; build it first: cargo build --example {example} (with this test's profile)",
        path.display()
    );

    let mut program = Command::new(path);
    program.env_clear().envs(environment.iter().copied());
    program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program.kill_on_drop(true);
    program
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    stdout: BufReader<ChildStdout>,
    http1: Client<HttpConnector, Full<Bytes>>,
    http2: Client<HttpConnector, Full<Bytes>>,
}

/// How a server ended, and what it said after the line with its address.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Server {
    /// Starts an example on a free port.
    pub(crate) async fn start(example: &str, environment: &[(&str, &str)]) -> Self {
        let mut program = program(example, environment);
        program.env("ADDR", "127.0.0.1:0");
        Self::run(program).await
    }

    /// Starts a program that says where it listens.
    pub(crate) async fn run(mut program: Command) -> Self {
        let mut process = program.spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        within(stdout.read_line(&mut line)).await.unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("{line:?} is not its address"));

        let address = address.parse().unwrap();
        let http1 = Client::builder(TokioExecutor::new()).build_http();
        let http2 = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        Self {
            address,
            process,
            stdout,
            http1,
            http2,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::new(Full::default());
        let (mut parts, body) = request.into_parts();
        (parts.method, parts.uri) = (method, uri.parse().unwrap());
        Call {
            client: &self.http1,
            request: Request::from_parts(parts, body),
        }
    }

    /// A connection on which anything can be sent.
    pub(crate) async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    /// What curl prints of the answer to a POST: the head, in lower case, and the body.
    pub(crate) async fn curl(
        &self,
        protocol: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> (String, Value) {
        let mut curl = Command::new("curl");
        // Whatever the settings of this machine are.
        curl.args(["-q", "--noproxy", "*", "-sSi", "--max-time", "20", protocol]);
        curl.args(["-X", "POST", "-d", body]);
        curl.arg(format!("http://{}{path}", self.address));
        curl.args(headers.iter().flat_map(|header| ["-H", header]));
        let output = within(curl.kill_on_drop(true).output()).await;

        let output = output.expect("curl is installed");
        assert!(output.status.success(), "{output:?}");
        let answer = String::from_utf8(output.stdout).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = serde_json::from_str(body).unwrap();
        (head.to_ascii_lowercase(), body)
    }

    /// What is answered to the head of a POST whose body, which does not come, is one byte too long.
    pub(crate) async fn upload(&self, path: &str, headers: &[&str]) -> String {
        let head = format!("POST {path} HTTP/1.1\r\nhost: {}", self.address);
        let length = format!("content-length: {}", (2 << 20) + 1);
        let lines = [&[&*head], headers, &[&*length, "", ""]].concat();
        let request = lines.join("\r\n");
        let mut connection = self.connect().await;
        exchange(&mut connection, request.as_bytes(), "}").await
    }

    /// How often the handler of an operation has run.
    pub(crate) async fn executions(&self, operation: &str) -> u64 {
        let ledger = self.get("/_ledger").send().await.json();
        ledger["executions"][operation].as_u64().unwrap_or(0)
    }

    /// Returns when the handler of an operation has begun to run `times`.
    pub(crate) async fn started(&self, operation: &str, times: u64) {
        let enough = async || (self.executions(operation).await >= times).then_some(());
        eventually("the handler started", enough).await;
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().expect("the server is running");
        let kill = format!("kill -{name} {id}");
        let killed = std::process::Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        within(self.process.kill()).await.unwrap();
    }

    /// Returns when the process has ended.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = within(self.process.wait()).await.unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        within(self.stdout.read_to_string(&mut stdout))
            .await
            .unwrap();
        let mut said = self.process.stderr.take().unwrap();
        within(said.read_to_string(&mut stderr)).await.unwrap();
        Ended {
            status,
            stdout,
            stderr,
        }
    }
}

/// A request that is being put together.
#[must_use]
pub(crate) struct Call<'a> {
    client: &'a Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
}

impl<'a> Call<'a> {
    /// Adds a header line, also where there is one of this name.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.request.headers_mut().append(name, value);
        self
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    /// A JSON body, with its content type.
    pub(crate) fn json(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Over HTTP/2 with prior knowledge instead of HTTP/1.1.
    pub(crate) fn http2(self, server: &'a Server) -> Self {
        Self {
            client: &server.http2,
            ..self
        }
    }

    pub(crate) async fn send(self) -> Reply {
        self.try_send().await.unwrap()
    }

    /// The answer, or how the connection failed.
    pub(crate) async fn try_send(self) -> Result<Reply, Box<dyn Error>> {
        let response = within(self.client.request(self.request)).await?;
        let (parts, body) = response.into_parts();
        let body = within(body.collect()).await?.to_bytes();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The only header line of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.get_all(name).iter();
        let line = lines.next().map(|line| line.to_str().unwrap());
        assert!(
            lines.next().is_none(),
            "{name} occurs more than once in {self:?}"
        );
        line
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Asserts that this is a first answer with this status.
    #[track_caller]
    pub(crate) fn is_first(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("idempotent-replayed"), None, "{self:?}");
        self
    }

    /// Asserts that this is a replay of `first` to a request with `key`.
    #[track_caller]
    pub(crate) fn replays(&self, first: &Self, key: &str) -> &Self {
        assert!(self.is_replay(), "{self:?}");
        assert_eq!(self.status, first.status);
        assert_eq!(self.body, first.body);
        assert_eq!(self.header("content-type"), first.header("content-type"));
        assert_eq!(self.header("idempotency-key"), Some(key));
        self
    }

    /// Asserts that this is an error in the nested form.
    #[track_caller]
    pub(crate) fn refuses_nested(&self, status: u16, code: &str) -> &Self {
        let kind = match status {
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let body = self.is_first(status).json();
        let message = &body["error"]["message"];
        let error = json!({ "code": code, "message": message, "type": kind });
        assert_eq!(body, json!({ "error": error }), "{self:?}");
        assert!(message.is_string(), "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        self
    }

    /// Asserts that this is an error in the flat form.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) -> &Self {
        let error = self.is_first(status).json();
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        assert_eq!(error["error"], code, "{self:?}");
        assert_eq!(error["status_code"], status, "{self:?}");
        assert!(error["detail"].is_string(), "{self:?}");
        assert_eq!(
            error.as_object().map(|members| members.len()),
            Some(3),
            "{self:?}"
        );
        self
    }
}

/// Writes a request and returns what is answered until the connection is closed or `until` came.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8], until: &str) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains(until) {
            if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
                break;
            }
        }
    };
    within(reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Awaits what does not take long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = answer().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "it takes too long until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
