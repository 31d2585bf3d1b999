//! What outlives the processes: the store, its clock, and what handlers have told.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower_idempotency::MemoryStore;

use crate::remote::{Answer, Question};

/// By the store's clock; longer than any test takes, so that no renewal comes in between.
pub(crate) const LEASE: Duration = Duration::from_secs(600);
/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.expect("it takes too long")
}

/// When a call is held: before or after it is applied. What is held is not answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    Before,
    After,
}

/// A point, the key, the attempt, and the store's time.
pub(crate) type Told = (String, String, u32, Duration);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    store: MemoryStore,
    seconds: Arc<AtomicU64>,
    holds: Mutex<Vec<Hold>>,
    told: Mutex<Vec<Told>>,
    word: Mutex<&'static str>,
}

struct Hold {
    point: &'static str,
    when: When,
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

/// A call, or a handler, that is held once it comes.
pub(crate) struct Held {
    reached: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Held {
    /// Returns when it is there.
    pub(crate) async fn reached(&mut self) {
        within(&mut self.reached).await.unwrap();
    }

    /// Lets it go on.
    pub(crate) fn release(self) {
        let _ = self.release.send(());
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seconds = Arc::<AtomicU64>::default();
        let now = Arc::clone(&seconds);
        let shared = Arc::new(Shared {
            store: MemoryStore::with_clock(move || Duration::from_secs(now.load(Ordering::SeqCst))),
            seconds,
            holds: Mutex::default(),
            told: Mutex::default(),
            word: Mutex::new(""),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.answer(stream).await });
            }
        });
        Self { address, shared }
    }

    /// Moves the store's clock.
    pub(crate) fn pass(&self, time: Duration) {
        let seconds = &self.shared.seconds;
        seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// Holds the next call of this verb, or the next handler at this point.
    pub(crate) fn hold(&self, point: &'static str, when: When) -> Held {
        let ((reaches, reached), (release, released)) = (oneshot::channel(), oneshot::channel());
        self.shared.holds.lock().unwrap().push(Hold {
            point,
            when,
            reached: reaches,
            released,
        });
        Held { reached, release }
    }

    /// What hooks are answered from now on.
    pub(crate) fn say(&self, word: &'static str) {
        *self.shared.word.lock().unwrap() = word;
    }

    /// What has been told so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.shared.told.lock().unwrap().clone()
    }

    /// How often this point was reached.
    pub(crate) fn times(&self, point: &str) -> usize {
        let told = self.told();
        told.iter().filter(|(at, ..)| at == point).count()
    }
}

impl Shared {
    async fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let question: Question = serde_json::from_str(&line).ok()?;
        let hold = self.hold(question.name());
        if let Question::Tell {
            point,
            key,
            attempt,
        } = &question
        {
            let now = Duration::from_secs(self.seconds.load(Ordering::SeqCst));
            let told = (point.clone(), key.clone(), *attempt, now);
            self.told.lock().unwrap().push(told);
        }
        let answer = match hold {
            Some(hold) if hold.when == When::Before => {
                hold.wait().await?;
                question.put_to(&self.store).await
            }
            Some(hold) => {
                let answer = question.put_to(&self.store).await;
                hold.wait().await?;
                answer
            }
            None => question.put_to(&self.store).await,
        };
        let answer =
            answer.unwrap_or_else(|| Answer::GoOn((*self.word.lock().unwrap()).to_owned()));
        let mut line = serde_json::to_vec(&answer).unwrap();
        line.push(b'\n');
        stream.write_all(&line).await.ok()
    }

    fn hold(&self, point: &str) -> Option<Hold> {
        let mut holds = self.holds.lock().unwrap();
        let at = holds.iter().position(|hold| hold.point == point)?;
        Some(holds.remove(at))
    }
}

impl Hold {
    /// `None` where it is never released.
    async fn wait(self) -> Option<()> {
        let _ = self.reached.send(());
        self.released.await.ok()
    }
}
