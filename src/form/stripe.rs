//! What Stripe's SDKs make of an answer; the table is at [`ErrorForm::stripe`](crate::ErrorForm::stripe).

use http::{HeaderName, HeaderValue, StatusCode};

use crate::form::is_retryable;
use crate::refusal::{Refusal, RefusalCode};

/// The SDKs obey it before the status.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");

pub(super) fn should_retry(code: RefusalCode) -> HeaderValue {
    // A quota lasts longer than the seconds in which the SDKs try again.
    let again = is_retryable(code) && code != RefusalCode::QuotaExceeded;
    HeaderValue::from_static(if again { "true" } else { "false" })
}

/// The status that makes the SDKs raise the right error.
pub(super) fn status(refusal: &Refusal) -> StatusCode {
    match refusal.code() {
        // An `IdempotencyError` is raised for 400 and 404 only, an `InvalidRequestError` too.
        RefusalCode::Mismatch
        | RefusalCode::OutcomeUnknown
        | RefusalCode::ResponseUnavailable
        | RefusalCode::RequestTooLarge => StatusCode::BAD_REQUEST,
        _ => refusal.status(),
    }
}

/// The type of an error that is about the key; the others follow from the status.
pub(super) fn kind(code: RefusalCode) -> Option<&'static str> {
    matches!(
        code,
        RefusalCode::Mismatch
            | RefusalCode::InProgress
            | RefusalCode::OutcomeUnknown
            | RefusalCode::ResponseUnavailable
    )
    .then_some("idempotency_error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::{ErrorForm, Form};

    #[test]
    fn every_code_is_answered_as_the_table_says() {
        let answers = RefusalCode::ALL.map(|code| {
            let response = ErrorForm::stripe().render(&Refusal::new(code));
            let body = serde_json::from_slice::<serde_json::Value>(response.body()).unwrap();
            let kind = body["error"]["type"].as_str().unwrap().to_owned();
            let again = response.headers()["stripe-should-retry"] == "true";
            (response.status().as_u16(), kind, again)
        });

        let expected = [
            (400, "invalid_request_error", false),
            (400, "invalid_request_error", false),
            (400, "idempotency_error", false),
            (409, "idempotency_error", true),
            (400, "idempotency_error", false),
            (503, "api_error", true),
            (400, "idempotency_error", false),
            (429, "rate_limit_error", false),
            (503, "api_error", true),
            (503, "api_error", true),
            (503, "api_error", true),
            (503, "api_error", false),
            (500, "api_error", false),
            (500, "api_error", false),
            (400, "invalid_request_error", false),
            (400, "invalid_request_error", false),
        ];
        assert_eq!(
            answers,
            expected.map(|(status, kind, again)| (status, kind.to_owned(), again))
        );
    }
}
