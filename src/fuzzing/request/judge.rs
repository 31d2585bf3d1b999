//! What a request may be answered.

use http::{HeaderMap, HeaderValue, StatusCode, response};

use super::handler::{Lost, Made, Read};
use super::settings::Settings;
use super::world::{Past, Run, Sent, World, record_of};
use crate::drive::Panic;
use crate::event::Outcome;
use crate::fuzzing::quoted::{self, Reading};
use crate::quoted::Quoting;
use crate::snapshot::{HeaderRules, REPLAYED};

/// What came of a request.
pub(super) enum Answer {
    Response(Box<response::Parts>, Read),
    Lost(Lost),
    Panicked(Panic),
}

impl World {
    /// Judges what came of a request; gives the code of a refusal.
    pub(super) fn judge(&self, sent: usize, answer: Answer) -> String {
        let (head, body) = match answer {
            Answer::Response(head, body) => (head, body),
            Answer::Lost(Lost) => {
                self.expect(self.past().has_run(sent), "an error from nowhere");
                return String::new();
            }
            Answer::Panicked(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let is_planned = panic.is::<Lost>() && self.past().has_run(sent);
                self.expect(is_planned, &format!("a panic from nowhere: {text}"));
                return String::new();
            }
        };
        let run = head.headers.get("x-run").and_then(|run| run.to_str().ok());
        let run = run.and_then(|run| run.parse().ok());
        let outcome = Outcome::of(&head.extensions);
        if let (Outcome::Executed { recorded: true } | Outcome::Replayed, Some(run)) =
            (outcome, run)
        {
            self.keeps(sent, run);
        }
        if matches!(
            outcome,
            Outcome::Mismatch | Outcome::InProgress | Outcome::Refused
        ) {
            return self.judge_refusal(sent, &head, &body, outcome);
        }
        let past = self.past();
        let wrong = match run.and_then(|run| past.runs.get(run)) {
            None => vec!["an answer that nobody made"],
            Some(run) => match &run.made {
                None => vec!["an answer that was not made"],
                Some(made) if outcome == Outcome::Replayed => {
                    let mut wrong = self.wrong_with_replay(&past, sent, run);
                    if !self.is_replay(&past.sent[sent], made, &head, &body) {
                        wrong.push("a replay that is not the first answer");
                    }
                    wrong
                }
                Some(made) => {
                    let mut wrong = self.wrong_with_outcome(&past, run, made, outcome);
                    let mut headers = made.headers.clone();
                    if outcome != Outcome::Bypassed {
                        headers.remove(&REPLAYED);
                    }
                    let is_same = (head.status, &head.headers) == (made.status, &headers);
                    if run.sent != sent || !is_same || body != made.body {
                        wrong.push("another answer than the handler made");
                    }
                    wrong
                }
            },
        };
        drop(past);
        for what in wrong {
            self.wrong(format!("{outcome}: {what}"));
        }
        String::new()
    }

    fn expect(&self, holds: bool, what: &str) {
        if !holds {
            self.wrong(what);
        }
    }

    /// What is wrong with what is said of an execution.
    fn wrong_with_outcome(
        &self,
        past: &Past,
        run: &Run,
        made: &Made,
        outcome: Outcome,
    ) -> Vec<&'static str> {
        let is_kept = match self.settings.keep {
            0 => made.status.is_success(),
            1 => made.status != StatusCode::INTERNAL_SERVER_ERROR,
            _ => true,
        };
        let breaks = made.body.is_broken || made.headers.contains_key("content-length");
        let is_right = match outcome {
            Outcome::Executed { recorded: true } => is_kept && !breaks,
            Outcome::Executed { recorded: false } => {
                !is_kept || breaks || past.is_faulty || run.is_lost()
            }
            Outcome::Unprotected => self.settings.runs_unprotected && past.is_faulty,
            _ => run.record.is_none(),
        };
        if is_right {
            Vec::new()
        } else {
            vec!["without reason"]
        }
    }

    /// What is wrong with replaying this execution for that request.
    fn wrong_with_replay(&self, past: &Past, sent: usize, run: &Run) -> Vec<&'static str> {
        let (asked, first) = (&past.sent[sent], &past.sent[run.sent]);
        let mut wrong = Vec::new();
        if past.has_run(sent) {
            wrong.push("it ran");
        }
        if self.settings.counts_everything() && parameters(asked) != parameters(first) {
            wrong.push("other parameters");
        }
        if api_keys(asked) != api_keys(first) {
            wrong.push("another sender");
        }
        let (Some(key), Some(record)) = (&run.key, &run.record) else {
            wrong.push("it was not claimed");
            return wrong;
        };
        let asked_for = self.layer.record_key_for(&asked.parts, key);
        if asked_for.is_ok_and(|asked_for| record_of(&asked_for) != *record) {
            wrong.push("another record");
        }
        if let Some(name) = self.settings.key_header() {
            let line = asked.parts.headers.get(name);
            let asked_for =
                line.map(
                    |line| match quoted::read(line.as_bytes(), Quoting::Lenient) {
                        Reading::Key(key) | Reading::WithParameters(key, _) => key,
                        Reading::Nothing => String::new(),
                    },
                );
            if asked_for.as_ref() != Some(key) {
                wrong.push("another key");
            }
        }
        wrong
    }

    /// Whether this is what is kept of a response, marked as a replay.
    fn is_replay(&self, asked: &Sent, made: &Made, head: &response::Parts, body: &Read) -> bool {
        let rules = HeaderRules {
            key: self.settings.key_header(),
            ..HeaderRules::default()
        };
        let kept = |headers: &HeaderMap| -> HeaderMap {
            let kept = rules.kept(headers);
            let lines = kept.lines();
            lines
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let mut headers = kept(&made.headers);
        headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
        if let Some(name) = &rules.key {
            let key = asked.parts.headers.get(name);
            headers.extend(key.map(|key| (name.clone(), key.clone())));
        }
        let trailers = made.body.trailers.as_ref().map(kept);
        let of_one_exchange = ["connection", "date", "set-cookie", "x-hop"];
        made.is_whole
            && !(of_one_exchange.iter()).any(|name| head.headers.contains_key(*name))
            && (head.status, &head.headers) == (made.status, &headers)
            && (&body.data, &body.trailers) == (&made.body.data, &trailers)
    }

    /// An answer of the layer itself, which there must be a reason for.
    fn judge_refusal(
        &self,
        sent: usize,
        head: &response::Parts,
        body: &Read,
        outcome: Outcome,
    ) -> String {
        let answer: serde_json::Value = serde_json::from_slice(&body.data).unwrap_or_default();
        let code = answer["error"].as_str().unwrap_or_default().to_owned();
        let past = self.past();
        let (asked, settings) = (&past.sent[sent], self.settings);
        let has = |name| asked.parts.headers.contains_key(name);
        let others = |is: fn(&Sent, &Sent) -> bool| past.sent.iter().any(|sent| is(sent, asked));
        let (status, is_right) = match &*code {
            "idempotency_mismatch" => {
                let differs = others(|other, asked| parameters(other) != parameters(asked));
                (422, differs || !settings.counts_everything())
            }
            "idempotency_in_progress" => (409, past.sent.len() > 1 || past.is_faulty),
            "idempotency_key_missing" => (400, settings.requires_key),
            "idempotency_key_invalid" => (400, true),
            "idempotency_outcome_unknown" => {
                let commits = others(|sent, _| matches!(sent.behaviour, 7..=9));
                (409, settings.leaves_unknown(commits))
            }
            "idempotency_response_unavailable" => {
                (409, others(|sent, _| matches!(sent.behaviour, 11 | 12)))
            }
            "idempotency_quota_exceeded" => (429, settings.room == 2),
            "idempotency_store_full" => (503, settings.room == 1),
            "idempotency_store_unavailable" | "idempotency_record_unreadable" => {
                (503, past.is_faulty)
            }
            "idempotency_reconcile_failed" => (503, settings.has_failing_hook() || past.is_faulty),
            "idempotency_scope_unresolved" => {
                let credentials = ["authorization", "cookie", "x-api-key"];
                (500, credentials.into_iter().any(has))
            }
            "request_body_unreadable" => (400, asked.is_broken),
            "request_too_large" => (
                413,
                asked.body.len() > Settings::MOST_BODY || has("content-length"),
            ),
            _ => (0, false),
        };
        let is_right = is_right
            && head.status == status
            && answer["status_code"] == status
            && !head.headers.contains_key(&REPLAYED)
            && !past.has_run(sent)
            && (outcome == Outcome::Mismatch) == (code == "idempotency_mismatch")
            && (outcome == Outcome::InProgress) == (code == "idempotency_in_progress");
        drop(past);
        self.expect(is_right, &format!("{outcome}: {} {code}", head.status));
        code
    }
}

/// What makes a request the same one by default.
fn parameters(sent: &Sent) -> impl PartialEq + use<> {
    let lines = |name| {
        let lines = sent.parts.headers.get_all(name).into_iter();
        lines.cloned().collect::<Vec<_>>()
    };
    let uri = &sent.parts.uri;
    (
        sent.parts.method.clone(),
        (uri.path().to_owned(), uri.query().map(str::to_owned)),
        (lines("content-type"), lines("content-encoding")),
        sent.body.clone(),
    )
}

fn api_keys(sent: &Sent) -> Vec<HeaderValue> {
    let lines = sent.parts.headers.get_all("x-api-key").into_iter();
    let mut lines: Vec<_> = lines.cloned().collect();
    lines.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    lines
}
