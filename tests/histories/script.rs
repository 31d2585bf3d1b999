//! What one run of the handler does, drawn from the seed.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tower_idempotency::{Keep, Retention};

use crate::body::Piece;
use crate::book::Given;
use crate::random::Random;
use crate::settings::Settings;

#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Panics in `call`, before there is a future.
    pub(crate) panics_at_once: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) end: Ending,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Mark,
    Pause(Duration),
    /// Until the lease is lost, or so long.
    UntilLost(Duration),
}

#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Error,
    /// Until the history calms down; then it answers.
    Hang(Box<Reply>),
    Panic,
    Reply(Box<Reply>),
}

/// A response, and what is to be expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) given: Given,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) keep: Option<Keep>,
    pub(crate) retention: Option<Retention>,
    pub(crate) is_to_be_kept: bool,
    pub(crate) breaks: bool,
    pub(crate) may_be_tombstone: bool,
}

fn ms(random: &mut Random, most: u64) -> Duration {
    Duration::from_millis(random.within(1..most))
}

impl Script {
    pub(crate) fn draw(seed: u64, execution: usize, text: &str, settings: &Settings) -> Self {
        let mut random = Random::of(seed, "handler", execution as u64);
        let random = &mut random;
        let mut steps = Vec::new();
        for _ in 0..random.of_these(&[0, 1, 1, 2]) {
            let lease = settings.lease.as_millis() as u64;
            steps.push(match random.within(0..20) {
                0..9 => Step::Pause(ms(random, 20)),
                9..14 => Step::Pause(ms(random, 500)),
                14 | 15 => Step::Pause(ms(random, 2 * lease)),
                16 => Step::UntilLost(ms(random, 3 * lease)),
                _ => Step::Mark,
            });
        }
        let reply = Reply::draw(random, execution, text, settings);
        let end = match random.within(0..20) {
            0 => Ending::Error,
            1 => Ending::Panic,
            2 if !settings.is_gentle => Ending::Hang(Box::new(reply)),
            _ => Ending::Reply(Box::new(reply)),
        };
        Self {
            panics_at_once: random.percent(2),
            steps,
            end,
        }
    }

    /// Answers at once.
    pub(crate) fn plain(execution: usize, text: &str) -> Self {
        let mut reply = Reply::of(StatusCode::CREATED, execution);
        reply.body(text.to_owned());
        reply.is_to_be_kept = true;
        Self {
            panics_at_once: false,
            steps: Vec::new(),
            end: Ending::Reply(Box::new(reply)),
        }
    }
}

impl Reply {
    fn of(status: StatusCode, execution: usize) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("x-execution", execution.into());
        headers.insert("location", HeaderValue::from_static("/charges/1"));
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("link", HeaderValue::from_static("</a>"));
        headers.append("link", HeaderValue::from_static("</b>"));
        let given = Given {
            status,
            headers,
            body: Bytes::new(),
            trailers: None,
        };
        Self {
            given,
            pieces: Vec::new(),
            keep: None,
            retention: None,
            is_to_be_kept: false,
            breaks: false,
            may_be_tombstone: false,
        }
    }

    /// What a hook has found.
    pub(crate) fn found(random: &mut Random, execution: usize) -> Self {
        let status = random.of_these(&[200, 201, 204, 402, 500]);
        let mut reply = Self::of(StatusCode::from_u16(status).unwrap(), execution);
        reply.body(format!("found by execution {execution}"));
        reply.is_to_be_kept = true;
        reply
    }

    fn body(&mut self, text: String) {
        self.given.body = text.into();
        self.pieces.push(Piece::Data(self.given.body.clone()));
    }

    fn draw(random: &mut Random, execution: usize, text: &str, settings: &Settings) -> Self {
        let status = random.of_these(&[200, 200, 201, 201, 201, 204, 303, 400, 404, 409, 500, 503]);
        let mut reply = Self::of(StatusCode::from_u16(status).unwrap(), execution);
        if random.percent(10) {
            reply
                .given
                .headers
                .insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        reply.is_to_be_kept = settings.keeps(status);
        match random.within(0..20) {
            0 => {
                reply.keep = Some(Keep::Store);
                reply.is_to_be_kept = true;
            }
            1 => {
                reply.keep = Some(Keep::Discard);
                reply.is_to_be_kept = false;
            }
            2 => {
                reply.keep = Some(Keep::Stream);
                reply.is_to_be_kept = true;
                reply.may_be_tombstone = true;
            }
            3 => reply.retention = Some(Retention(ms(random, 5_000))),
            _ => {}
        }
        reply.draw_body(random, text, settings);
        reply
    }

    fn draw_body(&mut self, random: &mut Random, text: &str, settings: &Settings) {
        let (text, half) = (text.to_owned(), text.len() / 2);
        match random.within(0..20) {
            0 => {}
            1..4 => {
                let (a, b) = text.split_at(half);
                self.pieces.push(Piece::Data(a.to_owned().into()));
                self.pieces.push(Piece::Pause(ms(random, 1_000)));
                self.pieces.push(Piece::Data(b.to_owned().into()));
                self.given.body = text.into();
                self.may_be_tombstone = true;
            }
            4 | 5 => {
                self.body(text);
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("7"));
                self.pieces.push(Piece::Trailers(trailers.clone()));
                self.given.trailers = Some(trailers);
            }
            6 => {
                self.body(text.repeat(1 + settings.max_kept_response / text.len()));
                self.may_be_tombstone = true;
            }
            7 => {
                let stream = HeaderValue::from_static("text/event-stream");
                self.given.headers.insert("content-type", stream);
                self.body(text);
                self.may_be_tombstone = true;
            }
            8 => {
                self.body(text);
                self.pieces.push(Piece::Pause(ms(random, 1_000)));
                let breaks = random.percent(50);
                self.pieces
                    .push(if breaks { Piece::Break } else { Piece::Panic });
                self.breaks = true;
                self.may_be_tombstone = true;
            }
            9 => {
                self.given
                    .headers
                    .insert("content-length", (text.len() + 1).into());
                self.body(text);
                self.breaks = true;
            }
            _ => self.body(text),
        }
    }
}
