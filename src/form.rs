//! The forms of the layer's own answers.

use std::borrow::Cow;
use std::fmt::Write;
use std::mem;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::form::grpc::Grpc;
use crate::form::problem::Problem;
use crate::form::wording::{Wording, Words};
use crate::grpc::{is_grpc, status as grpc_status};
use crate::refusal::{Refusal, RefusalCode};
use crate::shield::shielded;

pub(crate) mod grpc;
pub(crate) mod problem;
mod stripe;
mod wording;

/// Gives a refusal its status and body; a closure will do.
///
/// Only errors are accepted: 4xx and 5xx, and of gRPC a 200 of content type `application/grpc` without a body and with a
/// `grpc-status` other than 0. Where a form makes anything else of a refusal or panics, [`ErrorForm::flat`] answers. The
/// layer adds `Retry-After` and `Location`.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use tower_idempotency::{IdempotencyLayer, Refusal};
///
/// let layer = IdempotencyLayer::default().errors(|refusal: &Refusal| {
///     let mut response = http::Response::new(Bytes::from(refusal.code().as_str()));
///     *response.status_mut() = refusal.status();
///     response
/// });
/// # let _ = layer;
/// ```
///
/// A form around a built-in one:
///
/// ```
/// use bytes::Bytes;
/// use tower_idempotency::{ErrorForm, Form, IdempotencyLayer, Refusal};
///
/// struct Versioned(ErrorForm);
///
/// impl Form for Versioned {
///     fn render(&self, refusal: &Refusal) -> http::Response<Bytes> {
///         let mut response = self.0.render(refusal);
///         response.headers_mut().insert("api-version", "2026-01-01".parse().unwrap());
///         response
///     }
/// }
///
/// let layer = IdempotencyLayer::default().errors(Versioned(ErrorForm::nested()));
/// # let _ = layer;
/// ```
pub trait Form: Send + Sync + 'static {
    /// The answer.
    fn render(&self, refusal: &Refusal) -> Response<Bytes>;

    /// The same; where a form can, with its headers in place of others, which are not needed any more.
    #[doc(hidden)]
    fn render_into(&self, refusal: &Refusal, _others: &mut HeaderMap) -> Response<Bytes> {
        self.render(refusal)
    }
}

impl<F> Form for F
where
    F: Fn(&Refusal) -> Response<Bytes> + Send + Sync + 'static,
{
    fn render(&self, refusal: &Refusal) -> Response<Bytes> {
        self(refusal)
    }
}

/// The built-in forms of error bodies, as `application/json` or `application/problem+json`. Default:
/// [`flat`](Self::flat).
///
/// Codes, statuses and texts are those of the [`RefusalCode`] unless they are changed here, one code at a time; of
/// several changes to the same the last counts. Texts may hold anything: they are escaped.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
/// use tower_idempotency::{ErrorForm, IdempotencyLayer, RefusalCode};
///
/// let form = ErrorForm::nested()
///     .code(RefusalCode::Mismatch, "idempotency_key_conflict")
///     .status(RefusalCode::Mismatch, StatusCode::CONFLICT)
///     .detail(RefusalCode::Mismatch, "This idempotency key belongs to another request.");
/// let layer = IdempotencyLayer::default().errors(form);
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a form does nothing until it is given to a layer"]
pub struct ErrorForm {
    shape: Shape,
    wording: Wording<StatusCode>,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Flat,
    Nested,
    Stripe,
}

impl ErrorForm {
    /// `{"error": CODE, "detail": TEXT, "status_code": N}`, as the Verifa API answers. The default.
    pub const fn flat() -> Self {
        Self::of(Shape::Flat)
    }

    /// `{"error": {"code": CODE, "message": TEXT, "type": TYPE}}`, as the TXCloud API answers.
    ///
    /// `TYPE` follows from the status: `rate_limit_error` for 429, `api_error` for 5xx, `invalid_request_error` else.
    ///
    /// ```
    /// # use tower_idempotency::{ErrorForm, IdempotencyLayer, RefusalCode};
    /// let form = ErrorForm::nested().code(RefusalCode::Mismatch, "idempotency_key_conflict");
    /// let layer = IdempotencyLayer::default().errors(form);
    /// # let _ = layer;
    /// ```
    pub const fn nested() -> Self {
        Self::of(Shape::Nested)
    }

    /// `{"error": {"type": TYPE, "code": CODE, "message": TEXT}}`, with the statuses that Stripe's own SDKs understand
    /// and a header `stripe-should-retry: true` or `false`, which they obey before the status.
    ///
    /// Seen with stripe-python 16.1.0 and stripe-node 23.1.0 (which has `Stripe` in front of the names):
    ///
    /// | refusal | answer | what the SDKs do |
    /// |---|---|---|
    /// | mismatch, outcome unknown, response unavailable | 400 `idempotency_error` | raise `IdempotencyError` at once |
    /// | in progress | 409 `idempotency_error` | retry, then raise `APIError` |
    /// | key missing or invalid, body unreadable or too large | 400 `invalid_request_error` | raise `InvalidRequestError` at once |
    /// | quota exceeded | 429 `rate_limit_error` | raise `RateLimitError` at once |
    /// | store unavailable or full, overloaded, reconcile failed | 503 `api_error` | retry, then raise `APIError` |
    /// | record unreadable | 503 `api_error` | raise `APIError` at once |
    /// | scope unresolved, internal | 500 `api_error` | raise `APIError` at once |
    ///
    /// They raise `IdempotencyError` for the statuses 400 and 404 only: think twice before [`status`](Self::status)
    /// changes those. `idempotency_error` and the header stay with a refusal whatever its status; the other types
    /// follow from it, as in [`nested`](Self::nested). The SDKs ignore `Retry-After`: two retries, their default, take
    /// them a second or two, so let [`InFlight::wait`](crate::InFlight::wait) bridge longer executions. In Python the
    /// code is `error.error.code`; `error.code` has it for an `InvalidRequestError` only. (Of the flat form
    /// stripe-python makes an `AttributeError`.)
    ///
    /// ```
    /// # use tower_idempotency::{ErrorForm, IdempotencyLayer};
    /// let layer = IdempotencyLayer::default().errors(ErrorForm::stripe());
    /// # let _ = layer;
    /// ```
    pub const fn stripe() -> Self {
        Self::of(Shape::Stripe)
    }

    /// Problem details (RFC 9457): see [`Problem`].
    pub const fn problem() -> Problem {
        Problem::new()
    }

    /// Trailers-only refusals for gRPC clients: see [`Grpc`].
    pub const fn grpc() -> Grpc {
        Grpc::new()
    }

    /// Renames a code as it stands in answers. Default: [`RefusalCode::as_str`].
    ///
    /// # Panics
    ///
    /// For an empty name.
    #[track_caller]
    pub fn code(mut self, code: RefusalCode, name: impl Into<Cow<'static, str>>) -> Self {
        self.wording.rename(code, name.into());
        self
    }

    /// Answers a code with another status. Default: [`Refusal::status`]; in [`stripe`](Self::stripe) that of its
    /// table.
    ///
    /// # Panics
    ///
    /// For anything but 4xx and 5xx.
    #[track_caller]
    pub fn status(mut self, code: RefusalCode, status: StatusCode) -> Self {
        self.wording.answer_with(code, error_status(code, status));
        self
    }

    /// Answers a code with another text for people, in whatever language. Default: [`Refusal::detail`].
    pub fn detail(mut self, code: RefusalCode, text: impl Into<Cow<'static, str>>) -> Self {
        self.wording.reword(code, text.into());
        self
    }

    const fn of(shape: Shape) -> Self {
        Self {
            shape,
            wording: Wording::new(),
        }
    }
}

impl Form for ErrorForm {
    fn render(&self, refusal: &Refusal) -> Response<Bytes> {
        self.render_into(refusal, &mut HeaderMap::new())
    }

    fn render_into(&self, refusal: &Refusal, headers: &mut HeaderMap) -> Response<Bytes> {
        let code = refusal.code();
        let status = match self.shape {
            Shape::Flat | Shape::Nested => refusal.status(),
            Shape::Stripe => stripe::status(refusal),
        };
        let (status, body) =
            (self.wording).answer(refusal, status, |words| self.shape.body(code, words));
        let mut response = answer(status, JSON, body, headers);
        if let Shape::Stripe = self.shape {
            response
                .headers_mut()
                .insert(stripe::SHOULD_RETRY, stripe::should_retry(code));
        }
        response
    }
}

impl Shape {
    /// Written out, because the order of the members is part of the form.
    fn body(self, code: RefusalCode, words: &Words<'_, StatusCode>) -> Vec<u8> {
        let (name, status, detail) = (Text(words.name), words.status, Text(words.detail));
        match self {
            Self::Flat => json(&[
                Raw(r#"{"error":"#),
                name,
                Raw(r#","detail":"#),
                detail,
                Raw(r#","status_code":"#),
                Raw(status.as_str()),
                Raw("}"),
            ]),
            Self::Nested => json(&[
                Raw(r#"{"error":{"code":"#),
                name,
                Raw(r#","message":"#),
                detail,
                Raw(r#","type":""#),
                Raw(kind(status)),
                Raw(r#""}}"#),
            ]),
            Self::Stripe => json(&[
                Raw(r#"{"error":{"type":""#),
                Raw(stripe::kind(code).unwrap_or(kind(status))),
                Raw(r#"","code":"#),
                name,
                Raw(r#","message":"#),
                detail,
                Raw("}}"),
            ]),
        }
    }
}

/// What kind of an error it is in the nested forms.
fn kind(status: StatusCode) -> &'static str {
    if status == StatusCode::TOO_MANY_REQUESTS {
        "rate_limit_error"
    } else if status.is_server_error() {
        "api_error"
    } else {
        "invalid_request_error"
    }
}

/// A piece of JSON.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// As it stands here.
    Raw(&'a str),
    /// A string, to be escaped.
    Text(&'a str),
}

use Piece::{Raw, Text};

fn json(pieces: &[Piece<'_>]) -> Vec<u8> {
    // Where nothing has to be escaped, to the byte.
    let length = |piece: &Piece<'_>| match piece {
        Raw(raw) => raw.len(),
        Text(text) => text.len() + 2,
    };
    let mut json = Vec::with_capacity(pieces.iter().map(length).sum());
    for piece in pieces {
        match piece {
            Raw(raw) => json.extend_from_slice(raw.as_bytes()),
            Text(text) if is_plain(text) => {
                json.push(b'"');
                json.extend_from_slice(text.as_bytes());
                json.push(b'"');
            }
            // Neither a string nor a vector refuses anything.
            Text(text) => drop(serde_json::to_writer(&mut json, text)),
        }
    }
    json
}

/// Whether nothing of it has to be escaped. All bytes are looked at, many at once.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |all, byte| {
        all & (byte >= b' ') & (byte != b'"') & (byte != b'\\')
    })
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn answer(
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    headers: &mut HeaderMap,
) -> Response<Bytes> {
    headers.clear();
    headers.insert(CONTENT_TYPE, content_type);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    mem::swap(response.headers_mut(), headers);
    response
}

/// Whether the same request may succeed later by itself.
fn is_retryable(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::InProgress
            | RefusalCode::QuotaExceeded
            | RefusalCode::ReconcileFailed
            | RefusalCode::StoreUnavailable
            | RefusalCode::StoreFull
            | RefusalCode::Overloaded
    )
}

/// A refusal as it goes out.
pub(crate) struct Rendered {
    pub(crate) response: Response<Bytes>,
    /// The form panicked or made no error of the refusal, so that the flat form answers.
    pub(crate) is_form_refused: bool,
}

/// The answer in this form, or in the flat one where the form panics or makes no error of the refusal; its headers in place
/// of others, where the form can.
pub(crate) fn render(refusal: &Refusal, form: &dyn Form, headers: &mut HeaderMap) -> Rendered {
    let (mut response, is_form_refused) = match shielded(|| form.render_into(refusal, headers)) {
        Some(response) if is_refusal(&response) => (response, false),
        _ => (ErrorForm::flat().render(refusal), true),
    };
    if let Some(after) = refusal.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, number(after.as_secs()));
    }
    if let Some(location) = refusal.location() {
        response.headers_mut().insert(LOCATION, location.clone());
    }
    Rendered {
        response,
        is_form_refused,
    }
}

/// Most are of one digit, which needs no memory.
fn number(number: u64) -> HeaderValue {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    match "0123456789".get(at..=at) {
        Some(digit) => HeaderValue::from_static(digit),
        None => number.into(),
    }
}

/// Whether it tells its client of an error, in the status of HTTP or in that of gRPC, which needs trailers only.
fn is_refusal(response: &Response<Bytes>) -> bool {
    let headers = response.headers();
    is_error(response.status())
        || response.status() == StatusCode::OK
            && is_grpc(headers)
            && response.body().is_empty()
            && grpc_status(headers).is_some_and(|status| status != 0)
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The status that is set for a code.
#[track_caller]
fn error_status(code: RefusalCode, status: StatusCode) -> StatusCode {
    assert!(
        is_error(status),
        "status takes 4xx or 5xx for {code}, not {}",
        status.as_u16()
    );
    status
}

fn percent_encoded(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
