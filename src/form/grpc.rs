//! gRPC: refusals that are trailers only.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};

use crate::form::wording::{Wording, Words};
use crate::form::{Form, percent_encoded};
use crate::grpc::GRPC_STATUS;
use crate::refusal::{Refusal, RefusalCode};

/// Refusals for gRPC clients, from [`ErrorForm::grpc`](crate::ErrorForm::grpc).
///
/// Each is what the protocol calls trailers-only: HTTP 200, `content-type: application/grpc`, `grpc-status` and
/// `grpc-message` in the headers, no body. Clients see it as a status like any other, here of tonic:
/// `status.code()`, `status.message()`, and in `status.metadata()` what the code alone does not say:
///
/// * `idempotency-error`: the crate's own code, such as `idempotency_mismatch`;
/// * `retry-after` in seconds, and `grpc-retry-pushback-ms`, which the retry policies of the gRPC libraries obey;
/// * `location`, where the response that was not kept had one.
///
/// | refusal | status | because |
/// |---|---|---|
/// | key missing or invalid, mismatch, body unreadable or too large | 3 INVALID_ARGUMENT | the request is wrong, whatever the state of the system: only another one can succeed |
/// | outcome unknown, response unavailable | 9 FAILED_PRECONDITION | the operation may have happened, or has: somebody has to look before another one is sent |
/// | scope unresolved, internal, record unreadable | 9 FAILED_PRECONDITION | the service has to be mended first, and UNAVAILABLE or INTERNAL would be retried by many clients |
/// | in progress | 10 ABORTED | it lost against the first request: the same one is to be sent again, later |
/// | quota exceeded, store unavailable or full, overloaded, reconcile failed | 14 UNAVAILABLE | the method has not run for it, and the same request may succeed later by itself |
///
/// A handler's own statuses need no form. Which of them are kept is said at [`Keep`](crate::Keep).
///
/// One layer has one form. Where a server speaks gRPC and HTTP, a clone with this form, around the gRPC services, and one
/// with another share the store and the bounds.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use tower_idempotency::{ErrorForm, IdempotencyLayer, Keep};
///
/// let idempotency = IdempotencyLayer::default()
///     .endpoints(["POST /shop.v1.Orders/Create", "POST /shop.v1.Orders/Cancel"])
///     .keep(Keep::Final)
///     .errors(ErrorForm::grpc());
/// // tonic::transport::Server::builder().layer(idempotency).add_service(..)
/// # let _ = idempotency;
/// # }
/// ```
///
/// # Unary methods only
///
/// The key is the metadata `idempotency-key`; without it a call passes through untouched. With it, the whole request is
/// read before the method runs, and the response is held until it ends. So list the unary methods as endpoints:
///
/// * a stream of requests is read to its end first, so that a client that waits for an answer before it goes on waits
///   until its deadline;
/// * a stream of responses that ends within [`hold_for`](crate::IdempotencyLayer::hold_for) and
///   [`max_kept_response`](crate::IdempotencyLayer::max_kept_response) comes at once and is replayed whole; a longer one
///   flows, its status is never seen, and a retry is refused as `idempotency_response_unavailable`.
///
/// # What is compared
///
/// The fingerprint is of the message's bytes. A client that encodes the message anew for a retry must come to the same
/// bytes: `map` fields have no order (in Rust let prost make `BTreeMap`s of them), and ids or time stamps that are made
/// anew for each try make another request of it. Metadata, `grpc-timeout` among it, does not count.
#[derive(Clone, Debug)]
#[must_use = "a form does nothing until it is given to a layer"]
pub struct Grpc {
    wording: Wording<i32>,
}

impl Grpc {
    pub(super) const fn new() -> Self {
        Self {
            wording: Wording::new(),
        }
    }

    /// Renames a code as it stands in `idempotency-error`. Default: [`RefusalCode::as_str`].
    ///
    /// # Panics
    ///
    /// For anything but visible ASCII characters, at least one.
    #[track_caller]
    pub fn code(mut self, code: RefusalCode, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        assert!(
            name.bytes().all(|byte| byte.is_ascii_graphic()),
            "code takes visible ASCII characters for {code}, not {name:?}"
        );
        self.wording.rename(code, name);
        self
    }

    /// Answers a code with another `grpc-status`; the status of HTTP is always 200. Default: that of the table above.
    ///
    /// ```
    /// # use tower_idempotency::{ErrorForm, RefusalCode};
    /// // RESOURCE_EXHAUSTED, with tonic `tonic::Code::ResourceExhausted as i32`
    /// let form = ErrorForm::grpc().status(RefusalCode::QuotaExceeded, 8);
    /// # let _ = form;
    /// ```
    ///
    /// # Panics
    ///
    /// For anything but 1 to 16.
    #[track_caller]
    pub fn status(mut self, code: RefusalCode, status: i32) -> Self {
        assert!(
            matches!(status, 1..=16),
            "status takes 1 to 16 for {code}, not {status}"
        );
        self.wording.answer_with(code, status);
        self
    }

    /// Answers a code with another `grpc-message`, in whatever language: it is percent-encoded. Default:
    /// [`Refusal::detail`].
    pub fn detail(mut self, code: RefusalCode, text: impl Into<Cow<'static, str>>) -> Self {
        self.wording.reword(code, text.into());
        self
    }
}

impl Form for Grpc {
    fn render(&self, refusal: &Refusal) -> Response<Bytes> {
        let Words {
            name,
            status,
            detail,
        } = self.wording.words(refusal, status(refusal.code()));
        let message = percent_encoded(detail, |byte| byte.is_ascii_graphic() && byte != b'%');
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(&GRPC_STATUS, status.into());
        for (name, value) in [("grpc-message", &*message), ("idempotency-error", name)] {
            // Both are visible ASCII by now, which any header value may be.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if let Some(after) = refusal.retry_after() {
            let milliseconds = after.as_secs().saturating_mul(1000);
            let name = HeaderName::from_static("grpc-retry-pushback-ms");
            headers.insert(name, milliseconds.into());
        }
        response
    }
}

const fn status(code: RefusalCode) -> i32 {
    const INVALID_ARGUMENT: i32 = 3;
    const FAILED_PRECONDITION: i32 = 9;
    const ABORTED: i32 = 10;
    const UNAVAILABLE: i32 = 14;

    match code {
        RefusalCode::KeyMissing
        | RefusalCode::KeyInvalid
        | RefusalCode::Mismatch
        | RefusalCode::RequestBodyUnreadable
        | RefusalCode::RequestTooLarge => INVALID_ARGUMENT,
        RefusalCode::OutcomeUnknown
        | RefusalCode::ResponseUnavailable
        | RefusalCode::RecordUnreadable
        | RefusalCode::ScopeUnresolved
        | RefusalCode::Internal => FAILED_PRECONDITION,
        RefusalCode::InProgress => ABORTED,
        RefusalCode::QuotaExceeded
        | RefusalCode::StoreUnavailable
        | RefusalCode::StoreFull
        | RefusalCode::ReconcileFailed
        | RefusalCode::Overloaded => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::form::is_retryable;

    fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn every_code_is_answered_as_the_table_says() {
        let answers = RefusalCode::ALL.map(|code| {
            let response = Grpc::new().render(&Refusal::new(code));
            assert_eq!(
                (response.status().as_u16(), response.body().len()),
                (200, 0)
            );
            assert_eq!(header(&response, "content-type"), "application/grpc");
            assert_eq!(header(&response, "idempotency-error"), code.as_str());
            header(&response, "grpc-status").parse::<i32>().unwrap()
        });

        assert_eq!(
            answers,
            [3, 3, 3, 10, 9, 14, 9, 14, 14, 14, 14, 9, 9, 9, 3, 3],
            "in the order of RefusalCode::ALL"
        );
    }

    #[test]
    fn what_asks_to_come_back_is_unavailable_or_aborted_and_nothing_else_is() {
        for code in RefusalCode::ALL {
            assert_eq!(
                matches!(status(code), 10 | 14),
                is_retryable(code),
                "{code}"
            );
        }
    }

    #[test]
    fn a_message_is_percent_encoded() {
        let form = Grpc::new().detail(RefusalCode::Mismatch, " 100% \"é\"\r\n~");
        let response = form.render(&Refusal::new(RefusalCode::Mismatch));

        assert_eq!(
            header(&response, "grpc-message"),
            "%20100%25%20\"%C3%A9\"%0D%0A~"
        );
    }

    #[test]
    fn when_to_try_again_is_told_in_the_words_of_grpc_too() {
        let render = |refusal: &Refusal| Grpc::new().render(refusal);
        let busy = Refusal::new(RefusalCode::InProgress);
        let after = busy.clone().retry_after_about(Duration::from_secs(3));

        assert_eq!(header(&render(&after), "grpc-retry-pushback-ms"), "3000");
        assert!(
            !render(&busy)
                .headers()
                .contains_key("grpc-retry-pushback-ms")
        );
    }
}
