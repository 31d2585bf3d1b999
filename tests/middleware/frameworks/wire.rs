//! A server on a real socket, and clients that see every byte.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower::{BoxError, Layer, Service};
use tower_idempotency::IdempotencyLayer;

use crate::support::{Answer, Body, Handler, post, read};

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Serves HTTP/1.1 and HTTP/2 with prior knowledge until the test's runtime ends.
pub(super) async fn serve<S, R>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                // An error where the client has hung up.
                let _ = connection.await;
            });
        }
    });
    address
}

pub(super) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A handler that answers at once, behind this layer.
pub(super) async fn serve_at_once(layer: &IdempotencyLayer, handler: &Handler) -> SocketAddr {
    serve(layer.layer(handler.bare())).await
}

pub(super) async fn bounded<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("after ten seconds: {what}");
    };
    output
}

/// One connection of HTTP/1.1, byte by byte.
pub(super) struct Http1(BufReader<TcpStream>);

#[derive(Debug)]
pub(super) struct Raw {
    /// Status line and headers, as they came.
    pub(super) head: String,
    pub(super) body: String,
}

impl Http1 {
    pub(super) async fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    pub(super) async fn send(&mut self, request: &str) {
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .await
            .unwrap();
    }

    /// What comes next, to the empty line.
    pub(super) async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = bounded("a line", self.0.read_line(&mut head))
                .await
                .unwrap();
            assert!(read > 0, "the connection was closed after {head:?}");
        }
        head
    }

    /// The next so many bytes.
    pub(super) async fn take(&mut self, bytes: usize) -> String {
        let mut taken = vec![0; bytes];
        bounded("bytes", self.0.read_exact(&mut taken))
            .await
            .unwrap();
        String::from_utf8(taken).unwrap()
    }

    /// One whole answer, whose length must be told.
    pub(super) async fn answer(&mut self) -> Raw {
        let head = self.head().await;
        let told = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; told];
        bounded("the body", self.0.read_exact(&mut body))
            .await
            .unwrap();
        let body = String::from_utf8(body).unwrap();
        Raw { head, body }
    }

    pub(super) async fn exchange(&mut self, request: &str) -> Raw {
        self.send(request).await;
        self.answer().await
    }

    /// Says that nothing more comes from here.
    pub(super) async fn shut(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    /// Ends the connection by a reset, without a word.
    pub(super) fn abort(self) {
        self.0.get_ref().set_zero_linger().unwrap();
    }

    /// Everything until the server closes the connection, to which this is sent before.
    pub(super) async fn rest_after(&mut self, bytes: &str) -> String {
        let mut rest = Vec::new();
        // An error where it is closed already.
        let _ = self.0.get_mut().write_all(bytes.as_bytes()).await;
        // An error where the server closes while bytes of ours are unread.
        let _ = bounded("the end", self.0.read_to_end(&mut rest)).await;
        String::from_utf8(rest).unwrap()
    }
}

impl Raw {
    pub(super) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(super) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(it, _)| it.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// A keyed POST; `headers` end their lines.
pub(super) fn raw(key: &str, headers: &str, body: &str) -> String {
    format!(
        "POST /charges HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n\
         Content-Type: text/plain\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One connection of HTTP/2.
pub(super) struct Http2 {
    sender: http2::SendRequest<Body>,
    address: SocketAddr,
}

impl Http2 {
    pub(super) async fn to(address: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { sender, address }
    }

    /// The same request as [`raw`].
    pub(super) fn send(
        &mut self,
        key: &str,
        body: &'static str,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let uri = format!("http://{}/charges", self.address);
        let headers = [("idempotency-key", key), ("content-type", "text/plain")];
        self.sender.send_request(post(&uri, &headers, body))
    }

    /// Any request, to its head.
    pub(super) fn request(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.send_request(request)
    }

    pub(super) async fn exchange(&mut self, key: &str, body: &'static str) -> Answer {
        let response = bounded("an answer", self.send(key, body)).await.unwrap();
        bounded("its body", read(response)).await
    }
}
