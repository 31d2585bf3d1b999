//! One history: processes over one store, clients, operators, and what happens to them.
//!
//! One process runs at a time, for as long as the seed says; meanwhile the others stand still, as by a scheduler or a
//! `SIGSTOP`, and find afterwards that time has passed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::Method;
use tower_idempotency::{ChaosClock, ChaosStore, Forgotten, IdempotencyLayer, RecordKey, Store};

use crate::book::Book;
use crate::broken::Bug;
use crate::check::{Check, Checked, Violation, ensure};
use crate::client::Stays;
use crate::clock::WorldClock;
use crate::handler::{Calm, Handler};
use crate::model::Model;
use crate::process::Process;
use crate::random::Random;
use crate::settings::Settings;
use crate::stores::{Recorder, Write};
use crate::under_test::{Mount, Mounted};

const SCOPES: [&str; 2] = ["a", "b"];
const KEYS: [&str; 2] = ["k1", "k2"];

/// The record keys of these.
static RECORDS: LazyLock<[RecordKey; 4]> = LazyLock::new(|| {
    let layer = IdempotencyLayer::default();
    let record = |scope: usize, key: usize| {
        layer.record_key(
            SCOPES[scope].as_bytes(),
            &Method::POST,
            "/charges",
            KEYS[key],
        )
    };
    [record(0, 0), record(0, 1), record(1, 0), record(1, 1)]
});

pub(crate) struct World {
    pub(crate) book: Book,
    pub(crate) chaos: Arc<ChaosStore<Recorder>>,
    random: Random,
    settings: Settings,
    size: Box<dyn Fn() -> usize>,
    handler: Handler,
    clock: WorldClock,
    now: Duration,
    processes: Vec<Process>,
    /// How many there have been.
    started: usize,
}

impl World {
    pub(crate) fn new(seed: u64, mount: &Mount, bug: Bug, traced: bool) -> Self {
        let settings = Settings::draw(seed);
        let clock = WorldClock::default();
        let follows = clock.clone();
        let store_clock = ChaosClock::following(move || follows.now());
        let Mounted { store, size } = mount(&store_clock);
        // Far from the beginning of the store, so that it can go back.
        store_clock.jump(Duration::from_secs(100_000));

        let keys = SCOPES
            .into_iter()
            .flat_map(|scope| KEYS.map(|key| (scope, key)));
        let keys = keys
            .zip(*RECORDS)
            .map(|((scope, key), record)| (scope, format!("{scope}/{key}"), record));
        let model = Model::new(keys);
        let book = Book::new(
            settings.clone(),
            clock.clone(),
            store_clock.clone(),
            model,
            traced,
        );
        book.note(|| format!("{settings:?}"));
        let recorder = Recorder {
            store,
            book: book.clone(),
        };
        let chaos = Arc::new(settings.chaos(recorder, seed, &store_clock));
        let handler = Handler {
            seed,
            book: book.clone(),
            calm: Arc::new(Calm::default()),
            asked: Arc::default(),
            bug,
        };
        let mut world = Self {
            book,
            chaos,
            random: Random::of(seed, "world", 0),
            settings,
            size,
            handler,
            clock,
            now: Duration::ZERO,
            processes: Vec::new(),
            started: 0,
        };
        for _ in 0..world.settings.processes {
            let process = world.process();
            world.processes.push(process);
        }
        world
    }

    fn process(&mut self) -> Process {
        self.started += 1;
        let (store, handler) = (Arc::clone(&self.chaos), self.handler.clone());
        Process::start(
            self.started,
            &self.settings,
            store,
            handler,
            &self.clock,
            self.now,
        )
    }

    /// The whole history; what does not hold, if anything.
    pub(crate) fn live(mut self) -> Option<Violation> {
        let found = self.lived();
        for process in self.processes.drain(..) {
            drop(process.end(true));
        }
        // The contexts of handlers hold the store, which holds the book.
        drop(std::mem::take(&mut self.book.look().executions));
        found
    }

    fn lived(&mut self) -> Option<Violation> {
        for _ in 0..self.settings.steps {
            self.step();
            if self.book.violation().is_some() {
                return self.book.violation();
            }
        }
        let end = self.end();
        self.book.violation().or_else(|| end.err())
    }

    fn step(&mut self) {
        match self.random.within(0..100) {
            0..55 => self.send(),
            55..59 => self.operate(),
            59..62 if !self.settings.is_gentle => self.crash(),
            62 if !self.settings.is_gentle => self.sleep(),
            _ => {}
        }
        if self.settings.is_gentle {
            // In turn and briefly, so that nobody stands still for long.
            for _ in 0..self.random.within(1..12) {
                for process in 0..self.processes.len() {
                    let length = Duration::from_millis(self.random.within(1..40));
                    self.run(process, length);
                }
            }
        } else {
            let process = self.random.below(self.processes.len());
            let most = self
                .random
                .of_these(&[10, 10, 10, 100, 100, 1_000, 1_000, 7_000]);
            let length = Duration::from_millis(self.random.within(1..most));
            self.run(process, length);
        }
    }

    fn run(&mut self, process: usize, length: Duration) {
        self.now = self.processes[process].run(self.now, length);
    }

    fn send(&mut self) {
        let process = self.random.below(self.processes.len());
        let (key, body) = (self.random.below(4), usize::from(self.random.percent(12)));
        let stays = Stays::draw(&mut self.random);
        self.ask(process, key, body, stays);
    }

    fn ask(&self, process: usize, key: usize, body: usize, stays: Stays) -> usize {
        let process = &self.processes[process];
        let asked = self
            .book
            .enter(|book| Ok(book.asks(process.number, key, body)));
        let request = asked.expect("nothing is checked here");
        process.send(request, stays);
        request
    }

    /// An operator deletes records, through the same store.
    fn operate(&mut self) {
        let process = self.random.below(self.processes.len());
        let what = self.random.within(0..5);
        let key = self.book.look().model.keys[self.random.below(4)].record;
        let chaos = Arc::clone(&self.chaos);
        self.processes[process].spawn(async move {
            match what {
                0 => drop(chaos.erase_scope(key.scope()).await),
                1 => drop(chaos.inspect(&key).await),
                2 => drop(chaos.forget(&key, true).await),
                _ => drop(chaos.forget(&key, false).await),
            }
        });
    }

    /// A process ends, and another one starts in its place.
    fn crash(&mut self) {
        let process = self.random.below(self.processes.len());
        let killed = self.random.percent(60);
        let next = self.process();
        let ended = std::mem::replace(&mut self.processes[process], next);
        let number = ended.number;
        let mut sent = ended.end(killed);
        let name = |write: &Write| (write.owner().key().key().to_owned(), write.owner().fence());
        sent.sort_by_key(name);
        let (book, chaos) = (self.book.clone(), Arc::clone(&self.chaos));
        self.processes[process].block_on(self.now, async move {
            for write in sent {
                write.asked(&book, number);
                let _ = write.apply(chaos.get_ref()).await;
            }
        });
    }

    /// Time passes, and nobody runs.
    fn sleep(&mut self) {
        let most = 2 * self.settings.retention.as_millis() as u64;
        self.now += Duration::from_millis(self.random.within(1..most));
        self.clock.stop(self.now);
        self.book.note(|| "everybody sleeps".into());
    }

    /// Nothing fails any more: what is left, and can every key be used?
    fn end(&mut self) -> Checked {
        self.calm();
        self.rest(Check::NothingLeft)?;
        let now = self.now;
        for process in &mut self.processes {
            let layer = process.layer.clone();
            let left = process.block_on(now, layer.drain(Duration::ZERO)).left;
            ensure(left == 0, Check::NothingLeft, || {
                format!("{left} left to drain")
            })?;
        }
        self.book.look().outcomes_are_kept()?;
        // Leases of which nobody heard end.
        self.now += self.book.look().model.longest_lease();
        for key in 0..4 {
            self.key_is_usable(key)?;
        }
        self.size_is_explained()
    }

    fn calm(&self) {
        self.book.note(|| "calm comes".into());
        self.chaos.calm();
        self.handler.calm.comes();
    }

    /// Runs everybody until nothing is left to be done.
    fn rest(&mut self, check: Check) -> Checked {
        // Longer than anything may take: waiting, settling, the last pause of what is tried again.
        let patience = self.now + self.settings.settle_for + Duration::from_secs(60);
        let mut length = Duration::from_millis(10);
        while self.processes.iter().any(|process| !process.is_idle()) {
            for process in 0..self.processes.len() {
                self.run(process, length);
            }
            length = (length * 2).min(self.settings.lease / 8);
            if self.book.violation().is_some() {
                return Ok(());
            }
            let tasks: usize = self.processes.iter().map(Process::tasks).sum();
            ensure(self.now < patience, check, || {
                format!("{tasks} tasks go on")
            })?;
        }
        Ok(())
    }

    fn key_is_usable(&mut self, key: usize) -> Checked {
        let process = self.random.below(self.processes.len());
        let body = self.book.look().body_of_life(key);
        for _ in 0..3 {
            let request = self.ask(process, key, body, Stays::ForEver);
            self.rest(Check::KeyUsable)?;
            let book = self.book.look();
            let state = book.is_usable(request)?;
            let record = book.model.keys[key].record;
            drop(book);
            if state {
                return Ok(());
            }
            // Its outcome is unknown, or cannot be replayed: an operator looks into it.
            let (chaos, now) = (Arc::clone(&self.chaos), self.now);
            let forget = async move { chaos.forget(&record, false).await.ok() };
            let forgotten = self.processes[process].block_on(now, forget);
            // Or it has expired meanwhile; the model knows which.
            let free = matches!(forgotten, Some(Forgotten::Forgotten | Forgotten::Unknown));
            ensure(free, Check::KeyUsable, || {
                format!("{forgotten:?} by an operator")
            })?;
        }
        ensure(false, Check::KeyUsable, || {
            format!("key {key} was not executed")
        })
    }

    fn size_is_explained(&mut self) -> Checked {
        let (surely, at_most) = self.book.look().model.sizes();
        let size = (self.size)();
        ensure(
            (surely..=at_most).contains(&size),
            Check::SizeExplained,
            || format!("{size} records, {surely} to {at_most} of them are explained"),
        )?;
        let scopes = self
            .book
            .look()
            .model
            .keys
            .iter()
            .map(|key| *key.record.scope())
            .collect::<Vec<_>>();
        for scope in scopes {
            let (chaos, now) = (Arc::clone(&self.chaos), self.now);
            let erase = async move { drop(chaos.erase_scope(&scope).await) };
            self.processes[0].block_on(now, erase);
        }
        let size = (self.size)();
        ensure(size == 0, Check::SizeExplained, || {
            format!("{size} records of nobody")
        })
    }
}
