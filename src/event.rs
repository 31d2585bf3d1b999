//! What happened to a request, for those who log and count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;

use crate::endpoint::Endpoint;
use crate::key::RecordKey;
use crate::policy::Mode;
use crate::refusal::RefusalCode;
use crate::store::error::Reason;

/// What the layer did with one request; an extension of every response that it had a part in, but not of those that it
/// only looks at ([`Mode::Shadow`]).
///
/// A request that the layer does not apply to (no key, another method or endpoint) is passed through without
/// an allocation, hence without this extension: [`Outcome::of`] reads its absence as `Bypassed`.
///
/// ```
/// use tower_idempotency::Outcome;
///
/// let response = http::Response::new(());
/// assert_eq!(Outcome::of(response.extensions()), Outcome::Bypassed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The layer did not apply.
    Bypassed,
    /// The handler ran.
    Executed {
        /// Whether the store holds the outcome: `false` for a freed key, for a store that failed, and for an
        /// owner that was fenced out.
        recorded: bool,
    },
    /// The handler ran without protection, because the store failed and
    /// [`OnStoreError::RunUnprotected`](crate::OnStoreError::RunUnprotected) says so.
    Unprotected,
    /// A recorded response was given.
    Replayed,
    /// The key is known with another fingerprint.
    Mismatch,
    /// The first request is still running.
    InProgress,
    /// Refused for another reason.
    Refused,
}

impl Outcome {
    /// What these response extensions say.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Bypassed)
    }

    /// A short name, for labels of metrics: `bypassed`, `executed`, `executed_unrecorded`, `unprotected`, `replayed`,
    /// `mismatch`, `in_progress` or `refused`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypassed => "bypassed",
            Self::Executed { recorded: true } => "executed",
            Self::Executed { recorded: false } => "executed_unrecorded",
            Self::Unprotected => "unprotected",
            Self::Replayed => "replayed",
            Self::Mismatch => "mismatch",
            Self::InProgress => "in_progress",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<RefusalCode> for Outcome {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::Mismatch => Self::Mismatch,
            RefusalCode::InProgress => Self::InProgress,
            _ => Self::Refused,
        }
    }
}

/// Something that is not as it should be, and that no client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An execution ended after another attempt, or an operator, had taken its record: its client has got its answer, the
    /// record is another's.
    FencedOut,
    /// A renewal failed; it is repeated as long as the execution is within its time. Said of each.
    NotRenewed,
    /// The lease of an execution was lost: renewals failed for too long, its thread was blocked, it was fenced out, or it is
    /// beyond [`max_execution`](crate::IdempotencyLayer::max_execution). Another attempt may run beside it. Said once.
    LeaseLost,
    /// The store did not take what became of an execution, an outcome for the most part. It is asked again for
    /// [`settle_for`](crate::IdempotencyLayer::settle_for).
    NotRecorded,
    /// … and did not take it in that time.
    GivenUp,
    /// The store's server has a setting that an operator should change. Said when the first claim is answered.
    #[non_exhaustive]
    StoreSetting {
        /// What is wrong, and what mends it.
        advice: &'static str,
    },
    /// The store is nearly full: 80 % or more. Said once, and again after it was below 70 %.
    #[non_exhaustive]
    NearlyFull {
        /// How full it is, of 100.
        percent: u8,
    },
    /// The lease is longer than the retention, which is used in its place. Said when the layer wraps its first service.
    #[non_exhaustive]
    LeaseClamped {
        /// What was asked for.
        lease: Duration,
        /// What is used.
        retention: Duration,
    },
    /// A handler asked for a longer [`Retention`](crate::Retention) than that of its endpoint, else of the layer, which is used in its
    /// place.
    #[non_exhaustive]
    RetentionClamped {
        /// What was asked for.
        asked: Duration,
        /// What is used.
        retention: Duration,
    },
    /// A custom [`Form`](crate::Form) panicked, or made no error of a refusal: the flat form answered.
    FormRefused,
}

impl Warning {
    /// A short name, for labels of metrics: `fenced_out`, `not_renewed`, `lease_lost`, `not_recorded`, `given_up`,
    /// `store_setting`, `nearly_full`, `lease_clamped`, `retention_clamped` or `form_refused`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FencedOut => "fenced_out",
            Self::NotRenewed => "not_renewed",
            Self::LeaseLost => "lease_lost",
            Self::NotRecorded => "not_recorded",
            Self::GivenUp => "given_up",
            Self::StoreSetting { .. } => "store_setting",
            Self::NearlyFull { .. } => "nearly_full",
            Self::LeaseClamped { .. } => "lease_clamped",
            Self::RetentionClamped { .. } => "retention_clamped",
            Self::FormRefused => "form_refused",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FencedOut => f.write_str("an execution ended after its record was taken from it"),
            Self::NotRenewed => f.write_str("the store did not renew a lease; it is asked again"),
            Self::LeaseLost => f.write_str("an execution has lost its lease"),
            Self::NotRecorded => {
                f.write_str("the store did not take an outcome; it is asked again")
            }
            Self::GivenUp => {
                f.write_str("the store did not take an outcome; it is not asked again")
            }
            Self::StoreSetting { advice } => f.write_str(advice),
            Self::NearlyFull { percent } => write!(f, "the store is {percent} % full"),
            Self::LeaseClamped { lease, retention } => write!(
                f,
                "a lease of {lease:?} is longer than the retention; {retention:?} is used"
            ),
            Self::RetentionClamped { asked, retention } => write!(
                f,
                "a handler asked for a retention of {asked:?}; {retention:?} is used"
            ),
            Self::FormRefused => f.write_str("the error form failed; the flat form answered"),
        }
    }
}

/// What [`IdempotencyLayer::on_event`](crate::IdempotencyLayer::on_event) hears of: the outcome of a request, or a
/// warning. It holds no key, no body and no principal, as long as the errors of the
/// store do not.
///
/// ```
/// use tower_idempotency::{Event, IdempotencyLayer};
///
/// # fn count(_: &str, _: &str) {}
/// let layer = IdempotencyLayer::default().on_event(|event: &Event| {
///     if let Some(outcome) = event.outcome() {
///         let code = event.refusal().map_or("", |code| code.as_str());
///         count(outcome.as_str(), code);
///     }
///     if let Some(warning) = event.warning() {
///         eprintln!("idempotency: {warning}");
///     }
/// });
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    what: What,
    mode: Mode,
    endpoint: Option<Arc<Endpoint>>,
    record_key: Option<RecordKey>,
    attempt: Option<u32>,
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Outcome(Outcome),
    Refusal(RefusalCode),
    Warning(Warning),
}

impl Event {
    pub(crate) fn of(outcome: Outcome, record_key: Option<RecordKey>) -> Self {
        Self::new(What::Outcome(outcome), record_key)
    }

    pub(crate) fn executed(record_key: RecordKey, attempt: u32, recorded: bool) -> Self {
        let mut event = Self::of(Outcome::Executed { recorded }, Some(record_key));
        event.attempt = Some(attempt);
        event
    }

    pub(crate) fn refused(code: RefusalCode, record_key: Option<RecordKey>) -> Self {
        Self::new(What::Refusal(code), record_key)
    }

    pub(crate) fn warning_of(warning: Warning, record_key: Option<RecordKey>) -> Self {
        Self::new(What::Warning(warning), record_key)
    }

    fn new(what: What, record_key: Option<RecordKey>) -> Self {
        Self {
            what,
            mode: Mode::default(),
            endpoint: None,
            record_key,
            attempt: None,
            reason: None,
        }
    }

    pub(crate) fn because(mut self, reason: Option<Reason>) -> Self {
        self.reason = reason;
        self
    }

    pub(crate) fn at(mut self, mode: Mode, endpoint: Option<Arc<Endpoint>>) -> Self {
        (self.mode, self.endpoint) = (mode, endpoint);
        self
    }

    /// What happened to a request; in [`Mode::Shadow`] what would have happened. `None` for a warning.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.what {
            What::Outcome(outcome) => Some(outcome),
            What::Refusal(code) => Some(code.into()),
            What::Warning(_) => None,
        }
    }

    /// The code of a refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalCode> {
        match self.what {
            What::Refusal(code) => Some(code),
            What::Outcome(_) | What::Warning(_) => None,
        }
    }

    /// What is not as it should be; `None` for an outcome.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        match self.what {
            What::Warning(warning) => Some(warning),
            What::Outcome(_) | What::Refusal(_) => None,
        }
    }

    /// Which attempt an execution was.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        self.attempt
    }

    /// Why, in the words of the store, where it is the store that has failed: at refusals, at runs without protection, and
    /// at warnings of what was not renewed or not recorded.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The endpoint, where the layer has a list of them.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_deref()
    }

    /// The record, where the request was understood so far: two digests.
    #[must_use]
    pub fn record_key(&self) -> Option<&RecordKey> {
        self.record_key.as_ref()
    }

    /// Whether the layer acted, or only looked.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

/// One line for a log.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Outcome(outcome) => write!(f, "{outcome}")?,
            What::Refusal(code) => write!(f, "{} {code}", Outcome::from(code))?,
            What::Warning(warning) => write!(f, "warning: {warning}")?,
        }
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        if let Some(attempt) = self.attempt {
            write!(f, ", attempt {attempt}")?;
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, ", {endpoint}")?;
        }
        if let Some(record_key) = &self.record_key {
            write!(f, ", {record_key:?}")?;
        }
        if self.mode == Mode::Shadow {
            f.write_str(", shadow")?;
        }
        Ok(())
    }
}
