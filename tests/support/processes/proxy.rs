//! A wire between a client and its server that does what wires do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, mem};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::port::Port;

/// Forwards connections to one address. Whatever is set here holds for open connections, too.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: Port,
    wire: Arc<Wire>,
    /// `None` while it refuses.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What is not forwarded while it is held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Held {
    Requests,
    Replies,
    Both,
}

#[derive(Debug)]
struct Wire {
    target: SocketAddr,
    held: watch::Sender<Option<Held>>,
    faults: Mutex<Faults>,
    cuts: AtomicUsize,
    connections: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Replies to requests with this in them are cut, so many times more.
    replies: (Vec<u8>, usize),
    delay: Duration,
    /// Where the draws of the seed are, and how likely a chunk is to be cut.
    random: Option<(u64, f64)>,
}

impl Proxy {
    /// A proxy for this server, on a free port.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let wire = Arc::new(Wire {
            target,
            held: watch::Sender::new(None),
            faults: Mutex::default(),
            cuts: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        loop {
            let proxy = Self {
                port: Port::free(),
                wire: Arc::clone(&wire),
                accepting: Mutex::new(None),
            };
            if proxy.try_accept().await.is_ok() {
                return proxy;
            }
        }
    }

    /// Where clients come.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    /// Closes all connections. Returns when they are.
    pub(crate) async fn cut(&self) {
        let mut connections = mem::take(&mut *self.wire.connections.lock().unwrap());
        connections.shutdown().await;
    }

    /// The next `times` requests reach the server, but their connections end before the reply reaches the client. There
    /// must be no other request under way on such a connection: its reply would be cut instead.
    pub(crate) fn cut_replies(&self, times: usize) {
        self.cut_replies_to("", times);
    }

    /// The same only for requests that have this in them, such as the name of a command.
    pub(crate) fn cut_replies_to(&self, what: &str, times: usize) {
        self.wire.faults().replies = (what.as_bytes().to_vec(), times);
    }

    /// From now on each chunk of bytes, in either direction, ends its connection instead with this probability.
    pub(crate) fn cut_at_random(&self, seed: u64, probability: f64) {
        self.wire.faults().random = Some((seed, probability));
    }

    /// How many connections have ended by `cut_replies` or `cut_at_random`.
    pub(crate) fn cuts(&self) -> usize {
        self.wire.cuts.load(Ordering::SeqCst)
    }

    /// Each chunk of bytes, in either direction, takes so much longer.
    pub(crate) fn delay(&self, delay: Duration) {
        self.wire.faults().delay = delay;
    }

    /// Forwards nothing of this, while connections are open and accepted, until it is released.
    pub(crate) fn hold(&self, held: Held) {
        self.wire.held.send_replace(Some(held));
    }

    /// Forwards what is held, and all that comes.
    pub(crate) fn release(&self) {
        self.wire.held.send_replace(None);
    }

    /// Whoever connects is refused. Open connections stay.
    pub(crate) async fn refuse(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // It was cancelled: its listener is closed.
            let _ = accepting.await;
        }
    }

    /// Whoever connects is accepted again.
    pub(crate) async fn accept(&self) {
        self.refuse().await;
        self.try_accept().await.unwrap();
    }

    async fn try_accept(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address()).await?;
        let wire = Arc::clone(&self.wire);
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = Arc::clone(&wire).connection(client);
                wire.connections.lock().unwrap().spawn(connection);
            }
        };
        *self.accepting.lock().unwrap() = Some(tokio::spawn(accepting));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Ok(Some(accepting)) = self.accepting.get_mut() {
            accepting.abort();
        }
        if let Ok(mut connections) = self.wire.connections.lock() {
            connections.abort_all();
        }
    }
}

impl Wire {
    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    /// Forwards in both directions until either end closes, or it is cut.
    async fn connection(self: Arc<Self>, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.target).await else {
            return;
        };
        // Chunks go on as they come.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let doomed = AtomicBool::new(false);
        // An error is an end like any other.
        tokio::select! {
            _ = self.forward(Held::Requests, from_client, to_server, &doomed) => {}
            _ = self.forward(Held::Replies, from_server, to_client, &doomed) => {}
        }
    }

    async fn forward(
        &self,
        what: Held,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        doomed: &AtomicBool,
    ) -> io::Result<()> {
        let mut chunk = vec![0; 64 << 10];
        let mut held = self.held.subscribe();
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            let delay = self.faults().delay;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let open =
                |held: &Option<Held>| !held.is_some_and(|held| held == what || held == Held::Both);
            // The sender lives as long as this.
            let _ = held.wait_for(open).await;
            if self.cuts_here(what, &chunk[..length], doomed) {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            to.write_all(&chunk[..length]).await?;
        }
    }

    /// Whether the connection ends with this chunk, which is not forwarded then.
    fn cuts_here(&self, what: Held, chunk: &[u8], doomed: &AtomicBool) -> bool {
        let mut faults = self.faults();
        if let Some((seed, probability)) = &mut faults.random
            && draw(seed) < *probability
        {
            return true;
        }
        if what == Held::Replies {
            return doomed.load(Ordering::SeqCst);
        }
        let (wanted, times) = &mut faults.replies;
        let found = wanted.is_empty() || chunk.windows(wanted.len()).any(|it| it == wanted);
        if found && *times > 0 {
            *times -= 1;
            doomed.store(true, Ordering::SeqCst);
        }
        false
    }
}

/// The next number of a seed, from 0 to 1. SplitMix64, so that a seed means the same for ever.
fn draw(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}
