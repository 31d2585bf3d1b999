//! A wire between a client and a server that is cut: at a moment of the exchange, never after a time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::support::Server;

/// When a connection is cut, on both sides: the client loses its answer and the server its client.
///
/// In every case the request was sent to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// The handler has started. The connection is reset.
    Started,
    /// The server has begun to answer; the client gets none of it.
    Answered,
    /// The client has the head of the answer.
    Head,
    /// The client has the head of the answer and half of its body.
    Body,
}

/// A proxy whose first connections are cut, each at its moment. Later ones are not touched.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    log: Log,
    accepting: AbortHandle,
}

/// What went over each connection, in the order in which they were opened.
type Log = Arc<Mutex<Vec<Passed>>>;

#[derive(Default)]
struct Passed {
    requests: Vec<u8>,
    answers: Vec<u8>,
    cut: Option<Cut>,
}

impl Wire {
    /// A wire to this server, where [`Cut::Started`] looks for `operation`.
    pub(crate) async fn to<const CUTS: usize>(
        server: &Arc<Server>,
        operation: &'static str,
        cuts: [Cut; CUTS],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let (mut cuts, passed) = (cuts.into_iter(), log.clone());
        let server = server.clone();
        let accepting = tokio::spawn(async move {
            // Dropped with this task, and with them their connections.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let connection = Connection {
                    number: log_entry(&passed),
                    log: passed.clone(),
                    upstream: TcpStream::connect(server.address).await.unwrap(),
                    client,
                };
                let (cut, server) = (cuts.next(), server.clone());
                let started = async move {
                    while server.executions(operation).await == 0 {
                        sleep(Duration::from_millis(20)).await;
                    }
                };
                connections.spawn(connection.carry(cut, started));
            }
        });
        Self {
            address,
            log,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where the connections were cut so far.
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        lock(&self.log).iter().filter_map(|it| it.cut).collect()
    }

    /// The keys that were sent over HTTP/1.1.
    pub(crate) fn keys(&self) -> Vec<String> {
        let text = |it: &Passed| String::from_utf8_lossy(&it.requests).into_owned();
        let requests: Vec<_> = lock(&self.log).iter().map(text).collect();
        let lines = requests.iter().flat_map(|text| text.lines());
        let keys = lines.filter_map(|line| field(line, "idempotency-key"));
        keys.map(str::to_owned).collect()
    }

    /// The statuses that came through over HTTP/1.1.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let text = |it: &Passed| String::from_utf8_lossy(&it.answers).into_owned();
        let answers: Vec<_> = lock(&self.log).iter().map(text).collect();
        let lines = answers.iter().flat_map(|text| text.split("HTTP/1.1 "));
        let statuses = lines.filter_map(|text| text.get(..3)?.parse().ok());
        statuses.collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Connection {
    number: usize,
    log: Log,
    client: TcpStream,
    upstream: TcpStream,
}

impl Connection {
    /// Carries bytes both ways, until an end is closed or the moment of the cut has come.
    async fn carry(mut self, cut: Option<Cut>, started: impl Future<Output = ()>) {
        let (mut started, mut held) = (Some(started), Vec::new());
        let (mut request, mut answer) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                read = self.client.read(&mut request) => {
                    let Ok(length @ 1..) = read else { return };
                    let sent = {
                        let requests = &mut lock(&self.log)[self.number].requests;
                        requests.extend_from_slice(&request[..length]);
                        ended(requests)
                    };
                    if self.upstream.write_all(&request[..length]).await.is_err() {
                        return;
                    }
                    if sent && cut == Some(Cut::Started) && let Some(started) = started.take() {
                        started.await;
                        self.client.set_zero_linger().unwrap();
                        self.upstream.set_zero_linger().unwrap();
                        return self.end(cut);
                    }
                }
                read = self.upstream.read(&mut answer) => {
                    let Ok(length @ 1..) = read else { return };
                    let Some(at) = cut else {
                        self.pass(&answer[..length]).await;
                        continue;
                    };
                    held.extend_from_slice(&answer[..length]);
                    if let Some(most) = at.reached(&held) {
                        self.pass(&held[..most]).await;
                        return self.end(cut);
                    }
                }
            }
        }
    }

    /// Passes on a part of the answer. Whether the client wants it is its own affair.
    async fn pass(&mut self, bytes: &[u8]) {
        lock(&self.log)[self.number]
            .answers
            .extend_from_slice(bytes);
        let _ = self.client.write_all(bytes).await;
    }

    fn end(self, cut: Option<Cut>) {
        lock(&self.log)[self.number].cut = cut;
    }
}

impl Cut {
    /// How much of the answer the client gets, as soon as the moment has come.
    fn reached(self, answer: &[u8]) -> Option<usize> {
        let http1 = answer.starts_with(b"HTTP/");
        let (head, half) = if http1 {
            http1_answer(answer)?
        } else {
            http2_answer(answer)?
        };
        match self {
            // Its moment comes with the request.
            Self::Started => None,
            Self::Answered => Some(0),
            Self::Head => Some(head),
            Self::Body => half.filter(|half| *half <= answer.len()),
        }
    }
}

/// Whether the first request has been sent to its end. Over HTTP/1.1 it says how long its body is.
fn ended(requests: &[u8]) -> bool {
    const END_STREAM: u8 = 1;

    match requests.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        Some(bytes) => frames(bytes).any(|frame| {
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            ends && frame.end <= bytes.len()
        }),
        None => http1(requests).is_some_and(|(head, body)| head + body <= requests.len()),
    }
}

/// Where the head of an answer ends, and where the middle of its body is.
type Places = (usize, Option<usize>);

fn http1_answer(answer: &[u8]) -> Option<Places> {
    let (head, body) = http1(answer)?;
    Some((head, Some(head + body / 2)))
}

fn http2_answer(answer: &[u8]) -> Option<Places> {
    let mut headers = frames(answer).filter(|frame| frame.kind == HEADERS);
    let mut data = frames(answer).filter(|frame| frame.kind == DATA);
    let head = headers.next().filter(|head| head.end <= answer.len())?;
    let half = data
        .next()
        .map(|data| (data.begin + FRAME_HEAD + data.end) / 2);
    Some((head.end, half))
}

/// Where the head of the first message ends, and how long its body is.
fn http1(messages: &[u8]) -> Option<(usize, usize)> {
    let head = messages.windows(4).position(|end| end == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&messages[..head]);
    let mut lengths = text
        .lines()
        .filter_map(|line| field(line, "content-length"));
    let length = lengths.next().map_or(0, |length| length.parse().unwrap());
    Some((head + 4, length))
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (field, value) = line.split_once(':')?;
    field.eq_ignore_ascii_case(name).then(|| value.trim())
}

const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// A frame of HTTP/2; its end may not have come yet.
struct Frame {
    kind: u8,
    flags: u8,
    begin: usize,
    end: usize,
}

fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let head = bytes.get(begin..begin + FRAME_HEAD)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let end = begin + FRAME_HEAD + length;
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            begin,
            end,
        };
        begin = end;
        Some(frame)
    })
}

fn log_entry(log: &Log) -> usize {
    let mut log = lock(log);
    log.push(Passed::default());
    log.len() - 1
}

fn lock(log: &Log) -> MutexGuard<'_, Vec<Passed>> {
    log.lock().unwrap()
}
