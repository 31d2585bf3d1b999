//! The forms of the layer's own answers.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use std::borrow::Cow;

use crate::form::problem::Problem;
use crate::form::wording::{Wording, Words};
use crate::refusal::{Refusal, RefusalCode};
use crate::shield::shielded;

pub(crate) mod problem;
mod stripe;
mod wording;

/// Gives a refusal its status and body; a closure will do.
///
/// Only 4xx and 5xx are accepted: where a form sets another status or panics, [`ErrorForm::flat`] answers. The
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
    wording: Wording,
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
        self.wording.answer_with(code, status);
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
        let code = refusal.code();
        let status = match self.shape {
            Shape::Flat | Shape::Nested => refusal.status(),
            Shape::Stripe => stripe::status(refusal),
        };
        let Words {
            name,
            status,
            detail,
        } = self.wording.words(refusal, status);
        // Written out, because the order of the members is part of the form.
        let body = match self.shape {
            Shape::Flat => format!(
                r#"{{"error":{name},"detail":{detail},"status_code":{}}}"#,
                status.as_u16()
            ),
            Shape::Nested => format!(
                r#"{{"error":{{"code":{name},"message":{detail},"type":"{}"}}}}"#,
                kind(status)
            ),
            Shape::Stripe => format!(
                r#"{{"error":{{"type":"{}","code":{name},"message":{detail}}}}}"#,
                stripe::kind(code).unwrap_or(kind(status))
            ),
        };
        let mut response = answer(status, "application/json", body);
        if let Shape::Stripe = self.shape {
            response
                .headers_mut()
                .insert(stripe::SHOULD_RETRY, stripe::should_retry(code));
        }
        response
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

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
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

/// The answer in this form, or in the flat one where the form panics or sets another status than 4xx and 5xx.
pub(crate) fn render(refusal: &Refusal, form: &dyn Form) -> Rendered {
    let response = shielded(|| form.render(refusal)).filter(|response| is_error(response.status()));
    let is_form_refused = response.is_none();
    let mut response = response.unwrap_or_else(|| ErrorForm::flat().render(refusal));
    if let Some(after) = refusal.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, after.as_secs().into());
    }
    if let Some(location) = refusal.location() {
        response.headers_mut().insert(LOCATION, location.clone());
    }
    Rendered {
        response,
        is_form_refused,
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_built_in_forms_are_compact_and_in_order() {
        let refusal = Refusal::new(RefusalCode::Mismatch);

        for (form, expected) in [
            (
                &ErrorForm::flat() as &dyn Form,
                r#"{"error":"idempotency_mismatch","detail":"…","status_code":422}"#,
            ),
            (
                &ErrorForm::nested(),
                r#"{"error":{"code":"idempotency_mismatch","message":"…","type":"invalid_request_error"}}"#,
            ),
            (
                &ErrorForm::stripe(),
                r#"{"error":{"type":"idempotency_error","code":"idempotency_mismatch","message":"…"}}"#,
            ),
            (
                &ErrorForm::problem(),
                r#"{"type":"about:blank","title":"Unprocessable Content","status":422,"detail":"…","code":"idempotency_mismatch","retryable":false}"#,
            ),
        ] {
            let expected = expected.replace('…', refusal.detail());
            assert_eq!(form.render(&refusal).body(), &expected);
        }
    }

    #[test]
    fn every_code_in_every_built_in_form_is_an_error_and_holds_its_code() {
        let (flat, nested, stripe) = (ErrorForm::flat(), ErrorForm::nested(), ErrorForm::stripe());
        let (problem, docs) = (
            ErrorForm::problem(),
            ErrorForm::problem().docs("https://d.example"),
        );
        let forms: [(&dyn Form, &str, &str); 5] = [
            (&flat, "/error", "application/json"),
            (&nested, "/error/code", "application/json"),
            (&stripe, "/error/code", "application/json"),
            (&problem, "/code", "application/problem+json"),
            (&docs, "/code", "application/problem+json"),
        ];

        for code in RefusalCode::ALL {
            for (form, pointer, content_type) in forms {
                let Rendered {
                    response,
                    is_form_refused,
                } = render(&Refusal::new(code), form);
                let body = serde_json::from_slice::<serde_json::Value>(response.body()).unwrap();

                assert!(!is_form_refused && is_error(response.status()), "{code}");
                assert_eq!(response.headers()["content-type"], content_type);
                assert_eq!(body.pointer(pointer).unwrap(), code.as_str());
            }
        }
    }

    #[test]
    fn a_form_that_panics_or_makes_no_error_of_a_refusal_is_refused_itself() {
        let refusal = Refusal::new(RefusalCode::InProgress);
        let panics = |_: &Refusal| -> Response<Bytes> { panic!("a form that panics") };
        let succeeds = |_: &Refusal| Response::new(Bytes::from_static(b"all is well"));

        for form in [&panics as &dyn Form, &succeeds] {
            let rendered = render(&refusal, form);

            assert!(rendered.is_form_refused);
            assert_eq!(rendered.response.status(), 409);
        }
    }

    #[test]
    fn when_to_try_again_and_where_are_headers_in_every_form() {
        let refusal = Refusal::new(RefusalCode::ResponseUnavailable)
            .retry_after_about(Duration::from_secs(3))
            .at(Some(HeaderValue::from_static("/made/7")));
        let own = |_: &Refusal| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::GONE;
            response
        };
        let wrong = |_: &Refusal| Response::new(Bytes::new());

        for (form, status) in [
            (&own as &dyn Form, 410),
            (&wrong, 409),
            (&ErrorForm::flat(), 409),
            (&ErrorForm::nested(), 409),
            (&ErrorForm::stripe(), 400),
            (&ErrorForm::problem(), 409),
        ] {
            let response = render(&refusal, form).response;

            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["retry-after"], "3");
            assert_eq!(response.headers()["location"], "/made/7");
        }
    }
}
