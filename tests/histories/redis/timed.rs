//! A connection whose server has the time of a history.
//!
//! It runs the scripts of the store behind a prelude that tells another time and keeps expiry by it. It blocks, because
//! the time of histories stands still while something is waited for.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex};

use redis::aio::ConnectionLike;
use redis::{
    Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Script, ServerErrorKind,
    Value,
};
use tower_idempotency::ChaosClock;

const PRELUDE: &str = include_str!("prelude.lua");
const GET: &str = "return redis.call('GET', KEYS[1])";
/// Where the state of a record stands, behind its expiry and its version.
const STATE: usize = 8 + 1;
const RELEASED: &[u8] = &[3];

/// A connection of a thread, and the scripts that it has seen, by their digests.
pub(crate) type Shared = Arc<Mutex<Blocking>>;

pub(crate) struct Blocking {
    connection: Box<dyn redis::ConnectionLike + Send>,
    scripts: HashMap<String, Script>,
}

pub(crate) fn shared(connection: impl redis::ConnectionLike + Send + 'static) -> Shared {
    Arc::new(Mutex::new(Blocking {
        connection: Box::new(connection),
        scripts: HashMap::new(),
    }))
}

#[derive(Clone)]
pub(crate) struct Timed {
    blocking: Shared,
    clock: ChaosClock,
    names: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl Timed {
    pub(crate) fn new(blocking: Shared, clock: ChaosClock) -> Self {
        let names = Arc::default();
        Self {
            blocking,
            clock,
            names,
        }
    }

    /// How many records are there, those that have expired and that nobody has touched since among them.
    pub(crate) fn size(&self) -> usize {
        let names = self.names.lock().unwrap().clone();
        let connection = &mut self.blocking.lock().unwrap().connection;
        let mut state = |name: &Vec<u8>| {
            let mut range = redis::cmd("GETRANGE");
            range.arg(name).arg(STATE).arg(STATE);
            range.query::<Vec<u8>>(&mut **connection).unwrap()
        };
        let states = names.iter().map(&mut state);
        states
            .filter(|state| !state.is_empty() && state != RELEASED)
            .count()
    }

    #[expect(clippy::panic_in_result_fn, reason = "an error would be tried again")]
    fn answer(&self, command: &Cmd) -> RedisResult<Value> {
        let words: Vec<&[u8]> = command
            .args_iter()
            .map(|word| match word {
                Arg::Simple(word) => word,
                _ => panic!("no cursor is sent so"),
            })
            .collect();
        match words.as_slice() {
            [b"EVAL", source, b"1", key, arguments @ ..] => {
                self.evaluate(text(source), key, arguments)
            }
            [b"EVALSHA", digest, b"1", key, arguments @ ..] => {
                self.run(text(digest), key, arguments)
            }
            [b"GET", key] => self.evaluate(GET, key, &[]),
            [b"PING"] => Ok(Value::Okay),
            // All in one answer.
            [b"SCAN", ..] => {
                let names = self.names.lock().unwrap().clone();
                let names = names.into_iter().map(Value::BulkString).collect();
                let end = Value::BulkString(b"0".to_vec());
                Ok(Value::Array(vec![end, Value::Array(names)]))
            }
            _ => panic!("no {}", String::from_utf8_lossy(words[0])),
        }
    }

    fn evaluate(&self, source: &str, key: &[u8], arguments: &[&[u8]]) -> RedisResult<Value> {
        let digest = Script::new(source).get_hash().to_owned();
        let behind_prelude = || Script::new(&format!("{PRELUDE}{source}"));
        self.blocking
            .lock()
            .unwrap()
            .scripts
            .entry(digest.clone())
            .or_insert_with(behind_prelude);
        self.run(&digest, key, arguments)
    }

    fn run(&self, digest: &str, key: &[u8], arguments: &[&[u8]]) -> RedisResult<Value> {
        let Blocking {
            connection,
            scripts,
        } = &mut *self.blocking.lock().unwrap();
        let Some(script) = scripts.get(digest) else {
            let no_script = ErrorKind::Server(ServerErrorKind::NoScript);
            return Err(RedisError::from((no_script, "not seen yet")));
        };
        self.names.lock().unwrap().insert(key.to_vec());
        let mut invocation = script.key(key);
        for argument in arguments {
            invocation.arg(*argument);
        }
        let now = self.clock.now().as_micros().to_string();
        invocation.arg(now).invoke(&mut **connection)
    }
}

fn text(word: &[u8]) -> &str {
    std::str::from_utf8(word).unwrap()
}

impl ConnectionLike for Timed {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(ready(self.answer(command)))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        unreachable!("histories wait for no replicas")
    }

    fn get_db(&self) -> i64 {
        0
    }
}
