//! Those who want something, and send it again with the same key until they hear what became of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use serde_json::Value;
use tokio::time::sleep;

use super::dice::Dice;
use super::requests::{Account, Wanted};
use super::victims::Place;
use crate::BoxError;
use crate::client::{Answer, Http};

/// A request that is not answered in this time never will be: the storm has found something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The accounts that clients have heard of.
#[derive(Default)]
pub(super) struct Shared(Mutex<Vec<Account>>);

impl Shared {
    fn accounts(&self) -> MutexGuard<'_, Vec<Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request and its first answer.
pub(super) struct Done {
    pub(super) request: Wanted,
    /// How often it was sent.
    pub(super) sent: u32,
    answer: Kept,
}

/// What has to be the same in every answer.
#[derive(Debug, PartialEq)]
struct Kept {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl From<&Answer> for Kept {
    fn from(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            content_type: answer.headers.get(CONTENT_TYPE).cloned(),
            body: answer.body.clone(),
        }
    }
}

impl Done {
    /// The row that it has made, where it was not refused.
    pub(super) fn id(&self) -> Option<i64> {
        let body: Value = serde_json::from_slice(&self.answer.body).ok()?;
        body["id"].as_i64()
    }
}

pub(super) struct Client {
    number: u64,
    http: Http,
    apis: [Place; 2],
    shared: Arc<Shared>,
    dice: Dice,
}

impl Client {
    pub(super) fn new(number: u64, apis: [Place; 2], shared: Arc<Shared>, dice: Dice) -> Self {
        Self {
            number,
            http: Http::new(),
            apis,
            shared,
            dice,
        }
    }

    /// One request after the other until the storm is over, the last one to its end.
    pub(super) async fn run(mut self, over: Arc<AtomicBool>) -> Result<Vec<Done>, BoxError> {
        let mut all = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let key = format!("client-{}-request-{}", self.number, all.len());
            let accounts = self.shared.accounts().clone();
            // Customers have several clients each.
            let request = Wanted::any(self.number % 3, key, &accounts, &mut self.dice);
            let (answer, sent) = self.until_answered(&request).await?;
            let done = Done {
                answer: Kept::from(&answer),
                request,
                sent,
            };
            if let Some(account) = done.id().and_then(|id| done.request.opened(id)) {
                self.shared.accounts().push(account);
            }
            if self.dice.once_in(8)
                && let Some(differs) = self.replay(&done).await?
            {
                return Err(differs.into());
            }
            all.push(done);
        }
        Ok(all)
    }

    /// Sends a request again that was answered: what is wrong with the answer.
    pub(super) async fn replay(&mut self, done: &Done) -> Result<Option<String>, BoxError> {
        let (answer, _) = self.until_answered(&done.request).await?;
        let (first, again) = (&done.answer, Kept::from(&answer));
        let is_replay = answer.headers.contains_key("idempotent-replayed");
        Ok((again != *first || !is_replay)
            .then(|| format!("{:?}: first {first:?}, then {again:?}", done.request)))
    }

    /// Sends it until there is an answer that is final; and how often it was sent.
    async fn until_answered(&mut self, request: &Wanted) -> Result<(Answer, u32), BoxError> {
        let begin = Instant::now();
        for sent in 1.. {
            // Some hang up.
            let at_most = match self.dice.once_in(8) {
                true => self.dice.milliseconds(1..50),
                false => Duration::from_secs(15),
            };
            let api = self.dice.pick(&self.apis).address();
            let sending = self.http.send(request.request(api), at_most);
            let heard = match sending.await {
                Ok(answer) => match answer.status.as_u16() {
                    201 | 402 => return Ok((answer, sent)),
                    409 | 500.. => format!("{} {:?}", answer.status, answer.body),
                    _ => return Err(format!("{request:?}: {:?}", Kept::from(&answer)).into()),
                },
                Err(error) => error.to_string(),
            };
            if begin.elapsed() > PATIENCE {
                return Err(format!("{request:?} was not answered; at last: {heard}").into());
            }
            sleep(self.dice.milliseconds(10..150)).await;
        }
        unreachable!("it gives up before")
    }
}
