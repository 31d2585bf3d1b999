//! The hook that is asked what became of a lost attempt.

use std::sync::Arc;

use http::Response;
use tower_idempotency::{BoxError, Lost, Reconciled};

use crate::QUIET;
use crate::book::{Book, Run};
use crate::handler::Calm;
use crate::random::Random;
use crate::script::Reply;

#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) seed: u64,
    pub(crate) book: Book,
    pub(crate) calm: Arc<Calm>,
}

impl Hook {
    pub(crate) async fn ask(self, lost: Lost) -> Result<Reconciled, BoxError> {
        let request = lost.request().headers()["x-request"].to_str()?.parse()?;
        let attempt = lost.attempt();
        let asked = self.book.enter(|book| book.is_asked(request, attempt));
        let number = asked.ok_or("the history has failed")?;
        let asked = Asked {
            book: self.book.clone(),
            number,
        };
        let mut random = Random::of(self.seed, "hook", number as u64);
        let random = &mut random;
        if self.calm.is_here() {
            asked.ends(Run::NotDone);
            return Ok(Reconciled::NotDone);
        }
        if random.percent(30) {
            let most = random.of_these(&[20, 500, 3_000]);
            let pause = std::time::Duration::from_millis(random.within(1..most));
            tokio::time::sleep(pause).await;
        }
        match random.within(0..10) {
            0 => {
                asked.ends(Run::Failed);
                Err("the provider does not answer".into())
            }
            1 => {
                asked.ends(Run::Panicked);
                std::panic::panic_any(QUIET)
            }
            2 => {
                self.calm.wait().await;
                asked.ends(Run::NotDone);
                Ok(Reconciled::NotDone)
            }
            3..6 => {
                asked.ends(Run::NotDone);
                Ok(Reconciled::NotDone)
            }
            _ => {
                let reply = Reply::found(random, number);
                self.book.enter(|book| {
                    book.gives(number, &reply);
                    Ok(())
                });
                asked.ends(Run::Responded);
                let mut response = Response::new(reply.given.body);
                *response.status_mut() = reply.given.status;
                *response.headers_mut() = reply.given.headers;
                Ok(Reconciled::Done(response))
            }
        }
    }
}

/// A question; dropped without an answer it took too long, or was cut off.
struct Asked {
    book: Book,
    number: usize,
}

impl Asked {
    fn ends(&self, run: Run) {
        self.book.enter(|book| book.ends(self.number, run));
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.ends(Run::Dropped);
    }
}
