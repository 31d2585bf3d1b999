//! Problem details (RFC 9457).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use serde_json::Value;

use crate::form::wording::{Wording, Words};
use crate::form::{Form, answer, error_status, is_retryable, percent_encoded};
use crate::refusal::{Refusal, RefusalCode};

/// Problem details (RFC 9457) as `application/problem+json`, from [`ErrorForm::problem`](crate::ErrorForm::problem).
///
/// The members are `type`, `title`, `status`, `detail`, `code` and `retryable`. The last is true exactly where the same
/// request may succeed later by itself: in progress, quota exceeded, store unavailable or full, overloaded.
///
/// With [`docs`](Self::docs), `type` is `URL#CODE`, `title` is a phrase for the code ("Idempotency-Key is already
/// used"), and every answer has `Link: <URL>; rel="describedby"`: the way to the documentation that the IETF draft on
/// `Idempotency-Key` asks for.
///
/// Without, `type` is `about:blank` and `title` the phrase of the status ("Conflict"), as RFC 9457, section 4.2.1,
/// wants: `code` tells the problems apart. Of a changed status that has no phrase `title` stays that of the code.
///
/// # Examples
///
/// ```
/// use tower_idempotency::{ErrorForm, IdempotencyLayer};
///
/// let form = ErrorForm::problem().docs("https://docs.example/idempotency");
/// let layer = IdempotencyLayer::default().errors(form);
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a form does nothing until it is given to a layer"]
pub struct Problem {
    docs: Option<Docs>,
    wording: Wording<StatusCode>,
}

#[derive(Clone, Debug)]
struct Docs {
    url: String,
    link: HeaderValue,
}

impl Problem {
    pub(super) const fn new() -> Self {
        Self {
            docs: None,
            wording: Wording::new(),
        }
    }

    /// Where the problems are described, each under the fragment of its code. Default: nowhere.
    ///
    /// # Panics
    ///
    /// For anything but an absolute `http` or `https` URL without a fragment, of URL characters only (RFC 3986:
    /// anything else percent-encoded).
    #[track_caller]
    pub fn docs(mut self, url: &str) -> Self {
        let link = HeaderValue::try_from(format!("<{url}>; rel=\"describedby\"")).ok();
        let Some(link) = link.filter(|_| is_web_url(url)) else {
            panic!("docs takes an absolute http or https URL without a fragment, not {url:?}");
        };
        self.docs = Some(Docs {
            url: url.to_owned(),
            link,
        });
        self.wording.forget_bodies();
        self
    }

    /// Renames a code as it stands in answers: in `code`, and in the fragment of `type`. Default:
    /// [`RefusalCode::as_str`].
    ///
    /// # Panics
    ///
    /// For an empty name.
    #[track_caller]
    pub fn code(mut self, code: RefusalCode, name: impl Into<Cow<'static, str>>) -> Self {
        self.wording.rename(code, name.into());
        self
    }

    /// Answers a code with another status. Default: [`Refusal::status`].
    ///
    /// # Panics
    ///
    /// For anything but 4xx and 5xx.
    #[track_caller]
    pub fn status(mut self, code: RefusalCode, status: StatusCode) -> Self {
        self.wording.answer_with(code, error_status(code, status));
        self
    }

    /// Answers a code with another `detail`, in whatever language. Default: [`Refusal::detail`].
    pub fn detail(mut self, code: RefusalCode, text: impl Into<Cow<'static, str>>) -> Self {
        self.wording.reword(code, text.into());
        self
    }
}

impl Form for Problem {
    fn render(&self, refusal: &Refusal) -> Response<Bytes> {
        self.render_into(refusal, &mut HeaderMap::new())
    }

    fn render_into(&self, refusal: &Refusal, headers: &mut HeaderMap) -> Response<Bytes> {
        let (status, body) = self.wording.answer(refusal, refusal.status(), |words| {
            self.body(refusal.code(), words)
        });
        let mut response = answer(status, PROBLEM_JSON, body, headers);
        if let Some(docs) = &self.docs {
            response.headers_mut().insert(LINK, docs.link.clone());
        }
        response
    }
}

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

impl Problem {
    fn body(&self, code: RefusalCode, words: &Words<'_, StatusCode>) -> Vec<u8> {
        let &Words {
            name,
            status,
            detail,
        } = words;
        let (kind, title) = match &self.docs {
            Some(docs) => {
                let url = &docs.url;
                (format!("{url}#{}", fragment(name)), title(code))
            }
            None => (
                "about:blank".to_owned(),
                phrase(status).unwrap_or(title(code)),
            ),
        };
        let (name, detail) = (Value::from(name), Value::from(detail));
        format!(
            r#"{{"type":{},"title":{},"status":{},"detail":{detail},"code":{name},"retryable":{}}}"#,
            Value::from(kind),
            Value::from(title),
            status.as_u16(),
            is_retryable(code),
        )
        .into_bytes()
    }
}

/// A phrase for the problem, in the words of the IETF draft on `Idempotency-Key` where it has some.
const fn title(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::KeyMissing => "Idempotency-Key is missing",
        RefusalCode::KeyInvalid => "Idempotency-Key is invalid",
        RefusalCode::Mismatch => "Idempotency-Key is already used",
        RefusalCode::InProgress => "A request is outstanding for this Idempotency-Key",
        RefusalCode::OutcomeUnknown => "The outcome for this Idempotency-Key is unknown",
        RefusalCode::ReconcileFailed => {
            "The outcome for this Idempotency-Key could not be found out"
        }
        RefusalCode::ResponseUnavailable => "The response for this Idempotency-Key was not kept",
        RefusalCode::QuotaExceeded => "Too many Idempotency-Keys are in use",
        RefusalCode::StoreUnavailable => "Idempotency records are unavailable",
        RefusalCode::StoreFull => "There is no room for another Idempotency-Key",
        RefusalCode::Overloaded => "Too many requests are in progress",
        RefusalCode::RecordUnreadable => "The record of this Idempotency-Key is unreadable",
        RefusalCode::ScopeUnresolved => "The sender of the request is unknown",
        RefusalCode::Internal => "The request failed before it was processed",
        RefusalCode::RequestBodyUnreadable => "The request body is unreadable",
        RefusalCode::RequestTooLarge => "The request body is too large",
    }
}

/// The phrase of a status, as RFC 9110 has it.
fn phrase(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Some("Content Too Large"),
        StatusCode::UNPROCESSABLE_ENTITY => Some("Unprocessable Content"),
        _ => status.canonical_reason(),
    }
}

/// Whether it may stand in front of `#CODE` and between the angle brackets of a `Link`.
fn is_web_url(url: &str) -> bool {
    let is_of_url_characters = url
        .bytes()
        .all(|byte| is_unreserved(byte) || b":/?[]@!$&'()*+,;=%".contains(&byte));
    let is_encoded = url.split('%').skip(1).all(|rest| {
        let code = rest.as_bytes().get(..2);
        code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit))
    });
    is_of_url_characters
        && is_encoded
        && url.parse::<Uri>().is_ok_and(|uri| {
            uri.scheme_str()
                .is_some_and(|scheme| matches!(scheme, "http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        })
}

/// A name as the fragment of a URL.
fn fragment(name: &str) -> String {
    percent_encoded(name, is_unreserved)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_where_it_fits_a_link_and_can_have_a_fragment() {
        for url in [
            "https://docs.example",
            "http://docs.example:8080/a/b?page=idempotency&v=1",
            "HTTPS://docs.example/caf%C3%A9",
            "https://[::1]/docs",
        ] {
            assert!(is_web_url(url), "{url}");
        }
        for url in [
            "",
            "docs",
            "/docs",
            "docs.example/errors",
            "//docs.example",
            "ftp://docs.example",
            "mailto:docs@docs.example",
            "https:docs.example",
            "https://",
            "https:///docs",
            "https://:443/docs",
            "https://docs.example/#errors",
            "https://docs.example/#",
            "https://docs.example/>",
            "https://docs.example/<",
            "https://docs.example/\"",
            "https://docs.example/a b",
            " https://docs.example",
            "https://docs.example/\r\nset-cookie:a=b",
            "https://docs.example/café",
            "https://docs.example/{id}",
            "https://docs.example/100%",
            "https://docs.example/%zz",
        ] {
            assert!(!is_web_url(url), "{url}");
        }
    }

    #[test]
    fn any_name_makes_a_fragment() {
        assert_eq!(fragment("idempotency_mismatch"), "idempotency_mismatch");
        assert_eq!(
            fragment("key \"used\" – 100%#"),
            "key%20%22used%22%20%E2%80%93%20100%25%23"
        );
    }

    #[test]
    fn what_may_pass_by_itself_is_retryable_and_nothing_else() {
        let retryable = RefusalCode::ALL.into_iter().filter(|&code| {
            let response = Problem::new().render(&Refusal::new(code));
            let problem = serde_json::from_slice::<Value>(response.body()).unwrap();
            problem["retryable"].as_bool().unwrap()
        });

        assert_eq!(
            retryable.collect::<Vec<_>>(),
            [
                RefusalCode::InProgress,
                RefusalCode::ReconcileFailed,
                RefusalCode::QuotaExceeded,
                RefusalCode::StoreUnavailable,
                RefusalCode::StoreFull,
                RefusalCode::Overloaded,
            ]
        );
    }

    #[test]
    fn titles_are_apart() {
        let titles = RefusalCode::ALL.map(title);

        for (number, title) in titles.iter().enumerate() {
            assert!(!titles[..number].contains(title), "{title}");
        }
    }
}
