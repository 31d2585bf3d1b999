//! The knobs that decide what is accepted, what is kept and who may run again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::grpc::{self, GRPC_STATUS};
use crate::shield::shielded;

/// Which outcomes are kept; everything else frees the key, so that a retry runs the handler again.
///
/// Given to [`IdempotencyLayer::keep`](crate::IdempotencyLayer::keep) it is the rule; put into the extensions of a response by a
/// handler it replaces the rule for that response (with feature `axum` also as a response part:
/// `(Keep::Store, response)`).
///
/// An outcome behind a [point of no return](crate::Idempotency::point_of_no_return) is never freed: what the
/// rule would free is abandoned, and later requests are answered `idempotency_outcome_unknown`.
///
/// ```
/// use tower_idempotency::Keep;
///
/// let declined_too = Keep::when(|reply| reply.status().is_success() || reply.status() == 402);
/// # let _ = declined_too;
/// ```
///
/// # gRPC
///
/// The HTTP status of a gRPC response says nothing. Where its content type is `application/grpc` or
/// `application/grpc+…`, `Success` and `Final` go by its `grpc-status`, which stands in the trailers, or in the headers
/// where there is no body:
///
/// | `grpc-status` | `Success` | `Final` | in HTTP |
/// |---|---|---|---|
/// | 0 OK | kept | kept | 200 |
/// | 3 INVALID_ARGUMENT, 9 FAILED_PRECONDITION, 11 OUT_OF_RANGE | freed | kept | 400 |
/// | 5 NOT_FOUND | freed | kept | 404 |
/// | 6 ALREADY_EXISTS | freed | kept | 409, but for good |
/// | 1 CANCELLED, 4 DEADLINE_EXCEEDED | freed | freed | 408 |
/// | 7 PERMISSION_DENIED, 16 UNAUTHENTICATED | freed | freed | 403, 401 |
/// | 8 RESOURCE_EXHAUSTED, 10 ABORTED | freed | freed | 429, 409 |
/// | 2 UNKNOWN, 12 UNIMPLEMENTED, 13 INTERNAL, 14 UNAVAILABLE, 15 DATA_LOSS, any other | freed | freed | 5xx |
/// | none, and the response has ended: clients take it for UNKNOWN | freed | freed | 5xx |
/// | none yet, and the response flows: it is over [`max_kept_response`](crate::IdempotencyLayer::max_kept_response), or was not over within [`hold_for`](crate::IdempotencyLayer::hold_for) | tombstone | tombstone | |
///
/// The last row is the one where nothing is known: running twice is the worse mistake, so that the key is not freed.
/// A [`Keep::when`] closure reads [`Reply::grpc_status`].
///
/// gRPC-Web carries its trailers in the body and is not recognised: this layer belongs inside of the one that
/// translates (`tonic_web::GrpcWebLayer`).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Keep {
    /// 2xx and 3xx; of gRPC the status 0. The default.
    #[default]
    Success,
    /// All but what a retry may mend: 401, 403, 408, 409, 425, 429 and 5xx. Of gRPC the statuses 0, 3, 5, 6, 9 and 11.
    Final,
    /// Every response that the handler gave.
    All,
    /// The same as `All`, the name for one response.
    Store,
    /// Nothing.
    Discard,
    /// The fact without the response: the body flows to the client unheld, and a tombstone is kept.
    Stream,
    /// What a closure says; see [`Keep::when`].
    #[doc(hidden)]
    When(When),
}

impl Keep {
    /// Keeps what the closure is true for.
    ///
    /// Should the closure panic, the response is kept, because running twice is the worse mistake.
    #[must_use]
    pub fn when(keep: impl Fn(&Reply<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::When(When(Arc::new(keep)))
    }

    pub(crate) fn keeps(&self, reply: &Reply<'_>) -> bool {
        let status = reply.status;
        match self {
            Self::Success | Self::Final if grpc::is_grpc(reply.headers) => {
                match reply.grpc_status() {
                    Some(0) => true,
                    Some(3 | 5 | 6 | 9 | 11) => matches!(self, Self::Final),
                    Some(_) => false,
                    // Not known yet. Running twice would be the worse mistake.
                    None => !reply.has_ended && status.is_success(),
                }
            }
            Self::Success => status.is_success() || status.is_redirection(),
            Self::Final => {
                !status.is_server_error()
                    && !matches!(status.as_u16(), 401 | 403 | 408 | 409 | 425 | 429)
            }
            Self::All | Self::Store | Self::Stream => true,
            Self::Discard => false,
            Self::When(When(keep)) => shielded(|| keep(reply)).unwrap_or(true),
        }
    }
}

/// The closure of [`Keep::when`].
#[derive(Clone)]
pub struct When(Arc<dyn Fn(&Reply<'_>) -> bool + Send + Sync>);

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("When(..)")
    }
}

/// What a [`Keep::when`] closure decides on: a response whose body is known to have ended well, or that is
/// about to be streamed.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) trailers: Option<&'a HeaderMap>,
    pub(crate) has_ended: bool,
    pub(crate) attempt: u32,
}

impl<'a> Reply<'a> {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The trailers, where the body has ended with some.
    #[must_use]
    pub fn trailers(&self) -> Option<&'a HeaderMap> {
        self.trailers
    }

    /// The status of a gRPC response: that of the trailers, else of the headers. `None` for any other response, and for
    /// one without a status, or without one yet because it is about to be streamed.
    ///
    /// ```
    /// use tower_idempotency::Keep;
    ///
    /// let not_found_too = Keep::when(|reply| matches!(reply.grpc_status(), Some(0 | 5)));
    /// # let _ = not_found_too;
    /// ```
    #[must_use]
    pub fn grpc_status(&self) -> Option<i32> {
        if !grpc::is_grpc(self.headers) {
            return None;
        }
        let trailers = self.trailers.filter(|it| it.contains_key(&GRPC_STATUS));
        grpc::status(trailers.unwrap_or(self.headers))
    }

    /// Which attempt gave this response.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status, attempt, ..
        } = self;
        f.debug_struct("Reply")
            .field("status", status)
            .field("attempt", attempt)
            .finish_non_exhaustive()
    }
}

/// How long one response is kept, counted from the first request; put into a response's extensions by a
/// handler. At most the retention of the endpoint, else of the layer; one that is over already (zero, say) keeps the record until the end of its
/// lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a newtype that handlers construct"
)]
pub struct Retention(pub Duration);

/// What a request meets while the first one with its key still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    wait: Duration,
}

impl InFlight {
    /// 409 `idempotency_in_progress` with `Retry-After`. The default.
    #[must_use]
    pub const fn reject() -> Self {
        Self {
            wait: Duration::ZERO,
        }
    }

    /// Waits for the first request to end and replays its answer; 409 after `at_most`.
    ///
    /// The client may shorten it by `Prefer: wait=SECONDS` or `Prefer: respond-async` (RFC 7240).
    #[must_use]
    pub const fn wait(at_most: Duration) -> Self {
        Self { wait: at_most }
    }

    /// How long the request with these headers may wait.
    pub(crate) fn patience(self, headers: &HeaderMap) -> Duration {
        if self.wait.is_zero() {
            return self.wait;
        }
        self.wait.min(preferred_wait(headers).unwrap_or(self.wait))
    }
}

/// How long a client is willing to wait by its `Prefer` header: the first `wait` counts (RFC 7240, section 2), and
/// `respond-async` without one means not at all.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers
        .get_all("prefer")
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut at_once = None;
    for preference in lines.flat_map(|line| line.split(',')) {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let seconds = value.trim().trim_matches('"');
        let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
        if name.trim().eq_ignore_ascii_case("wait") && is_number {
            return Some(Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)));
        }
        if name.trim().eq_ignore_ascii_case("respond-async") {
            at_once = Some(Duration::ZERO);
        }
    }
    at_once
}

/// Whether the layer acts, or only looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// It refuses, replays and waits. The default.
    #[default]
    Enforce,
    /// It claims and records as always, so that [events](crate::Event) tell what would have happened, and where it
    /// would have refused, replayed or waited, the handler runs instead, as if there were no layer: without an
    /// [`Idempotency`](crate::Idempotency) in its request. Responses are left as they are.
    ///
    /// For the roll-out on a live API; see "Rolling out on a live API" in the [crate documentation](crate), also for what a
    /// client may notice all the same.
    Shadow,
}

/// What happens where the store fails at the claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStoreError {
    /// 503 `idempotency_store_unavailable`; the handler does not run. The default.
    #[default]
    Refuse,
    /// The handler runs without protection: a retry may run it again. The response says
    /// [`Outcome::Unprotected`](crate::Outcome::Unprotected).
    RunUnprotected,
}

/// The value of a knob that takes more than zero.
#[track_caller]
pub(crate) fn positive(knob: &str, duration: Duration) -> Duration {
    assert!(
        !duration.is_zero(),
        "{knob} takes a duration of more than zero, not {duration:?}"
    );
    duration
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(keep: &Keep, status: u16) -> bool {
        let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        keep.keeps(&Reply {
            status,
            headers: &headers,
            trailers: None,
            has_ended: true,
            attempt: 1,
        })
    }

    #[test]
    fn the_rules_keep_what_they_say() {
        let kept = |keep: Keep| {
            [
                200, 201, 204, 303, 400, 401, 402, 403, 404, 408, 409, 422, 425, 429, 500, 503,
            ]
            .into_iter()
            .filter(|status| keeps(&keep, *status))
            .collect::<Vec<_>>()
        };

        assert_eq!(kept(Keep::Success), [200, 201, 204, 303]);
        assert_eq!(kept(Keep::Final), [200, 201, 204, 303, 400, 402, 404, 422]);
        assert_eq!(kept(Keep::All).len(), 16);
        assert_eq!(kept(Keep::Store).len(), 16);
        assert_eq!(kept(Keep::Discard), [0; 0]);
        assert_eq!(kept(Keep::when(|reply| reply.status() == 402)), [402]);
    }

    #[test]
    fn a_panicking_rule_keeps() {
        assert!(keeps(&Keep::when(|_| panic!("a rule that panics")), 500));
    }

    #[test]
    fn a_client_shortens_its_wait_and_never_lengthens_it() {
        let patience = |prefer: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in prefer {
                headers.append("prefer", line.parse().unwrap());
            }
            InFlight::wait(Duration::from_secs(5))
                .patience(&headers)
                .as_secs()
        };

        assert_eq!(patience(&[]), 5);
        assert_eq!(patience(&["wait=2"]), 2);
        assert_eq!(patience(&["wait=0"]), 0);
        assert_eq!(patience(&["wait=1000"]), 5);
        assert_eq!(patience(&["wait=99999999999999999999999"]), 5);
        assert_eq!(patience(&["Wait = \"3\"; x=y"]), 3);
        assert_eq!(patience(&["respond-async"]), 0);
        assert_eq!(patience(&["respond-async, wait=4"]), 4);
        assert_eq!(patience(&["return=minimal", "handling=lenient, wait=1"]), 1);
        assert_eq!(patience(&["wait=2", "wait=1"]), 2);
        assert_eq!(patience(&["wait=-1"]), 5);
        assert_eq!(patience(&["wait"]), 5);
    }

    #[test]
    fn rejecting_ignores_what_the_client_prefers() {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", "wait=3".parse().unwrap());

        assert!(InFlight::reject().patience(&headers).is_zero());
    }
}
