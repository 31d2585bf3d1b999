//! What tests want of an API: to know how often it worked, and work that is slow or that fails.

use std::collections::{BTreeMap, HashMap};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_idempotency::Idempotency;

use super::Failure;

const MOST_DELAY_MS: u64 = 60 * 60 * 1_000;
const MOST_RESPONSE_BYTES: usize = 64 << 20;

/// Counts executions, and does what the member `simulate` of a body asks for:
///
/// - `{"delay_ms": N}` works so long before answering, an hour at most;
/// - `{"outcome": "error"}` answers 500 and `{"outcome": "panic"}` panics; with `"times": N` only
///   the first N executions of this very body do;
/// - `{"response_bytes": N}` adds a member `padding` of N characters, 64 MiB at most.
///
/// What else it holds is ignored; what is malformed is answered with 400.
#[derive(Clone, Default)]
pub(crate) struct Sandbox(Arc<Mutex<Ledger>>);

#[derive(Default, Serialize)]
struct Ledger {
    executions: BTreeMap<&'static str, u64>,
    attempts: BTreeMap<&'static str, u32>,
    #[serde(skip)]
    bodies: HashMap<(&'static str, Bytes), u64>,
}

impl Sandbox {
    /// Counts an execution of `operation` and reads its body, which may be empty.
    pub(crate) fn start(
        &self,
        operation: &'static str,
        idempotency: Option<Idempotency>,
        Payload(body): Payload,
    ) -> Result<Work, Failure> {
        self.count(operation, idempotency);
        let mut work = Work::read(body)?;
        if let Some(times) = work.simulate.times {
            let body = (operation, work.body.clone());
            let mut ledger = self.ledger();
            let executions = ledger.bodies.entry(body).or_default();
            *executions += 1;
            if *executions > times {
                work.simulate.outcome = Outcome::Success;
            }
        }
        Ok(work)
    }

    /// Counts an execution of `operation`, and which attempt at its request it is.
    pub(crate) fn count(&self, operation: &'static str, idempotency: Option<Idempotency>) {
        let attempt = idempotency.map_or(1, |context| context.attempt());
        let mut ledger = self.ledger();
        *ledger.executions.entry(operation).or_default() += 1;
        let highest = ledger.attempts.entry(operation).or_default();
        *highest = attempt.max(*highest);
    }

    /// The answer to `GET /_ledger`.
    pub(crate) fn answer(&self) -> Response {
        Json(&*self.ledger()).into_response()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a request. One that cannot be read is refused in the API's form.
pub(crate) struct Payload(Bytes);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let refuse = |status, detail| match status {
            StatusCode::PAYLOAD_TOO_LARGE => Failure::new(status, "request_too_large", detail),
            _ => Failure::new(status, "request_body_unreadable", detail),
        };
        let body = Bytes::from_request(request, state).await;
        body.map(Self)
            .map_err(|refusal| refuse(refusal.status(), refusal.body_text()))
    }
}

/// One execution that was counted, and what its body asks for.
pub(crate) struct Work {
    body: Bytes,
    simulate: Simulate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Simulate {
    delay_ms: u64,
    outcome: Outcome,
    times: Option<u64>,
    response_bytes: usize,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    #[default]
    #[serde(skip)]
    Success,
    Error,
    Panic,
}

impl Work {
    fn read(body: Bytes) -> Result<Self, Failure> {
        let mut object: Map<String, Value> = match &body[..] {
            b"" => Map::new(),
            json => serde_json::from_slice(json)?,
        };
        let simulate: Simulate = match object.remove("simulate") {
            None => Simulate::default(),
            Some(simulate) if simulate.is_object() => serde_json::from_value(simulate)?,
            Some(_) => return Err(Failure::invalid("simulate must be an object.")),
        };
        if simulate.delay_ms > MOST_DELAY_MS || simulate.response_bytes > MOST_RESPONSE_BYTES {
            return Err(Failure::invalid("simulate asks for more than it may."));
        }
        Ok(Self { body, simulate })
    }

    /// The body as the parameters of the operation.
    pub(crate) fn parameters<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Takes as long as was asked for, and fails if that was asked for.
    pub(crate) async fn done(&self) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(self.simulate.delay_ms)).await;
        match self.simulate.outcome {
            Outcome::Success => Ok(()),
            Outcome::Error => Err(Failure::internal("A simulated failure.")),
            // Without the report on stderr that `panic!` makes: it is no surprise.
            Outcome::Panic => resume_unwind(Box::new("a simulated panic")),
        }
    }

    /// The answer, as long as was asked for.
    pub(crate) fn answer(&self, status: StatusCode, body: impl Serialize) -> Response {
        #[derive(Serialize)]
        struct Padded<T> {
            #[serde(flatten)]
            body: T,
            #[serde(skip_serializing_if = "Option::is_none")]
            padding: Option<String>,
        }

        let padding = match self.simulate.response_bytes {
            0 => None,
            length => Some("x".repeat(length)),
        };
        (status, Json(Padded { body, padding })).into_response()
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(format!("The body is not the JSON that is wanted: {error}."))
    }
}
