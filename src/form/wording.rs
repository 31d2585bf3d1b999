//! What an application says in other words, one code at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;

use crate::form::is_error;
use crate::refusal::{Refusal, RefusalCode};

/// The changes, by the code that they change.
#[derive(Clone, Debug)]
pub(super) struct Wording(BTreeMap<&'static str, Change>);

#[derive(Clone, Debug, Default)]
struct Change {
    name: Option<Cow<'static, str>>,
    status: Option<StatusCode>,
    detail: Option<Cow<'static, str>>,
}

/// What an answer says; name and detail escaped as JSON strings by their `Display`.
pub(super) struct Words {
    pub(super) name: Value,
    pub(super) status: StatusCode,
    pub(super) detail: Value,
}

impl Wording {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    #[track_caller]
    pub(super) fn rename(&mut self, code: RefusalCode, name: Cow<'static, str>) {
        assert!(!name.is_empty(), "code takes a name for {code}, not \"\"");
        self.change(code).name = Some(name);
    }

    #[track_caller]
    pub(super) fn answer_with(&mut self, code: RefusalCode, status: StatusCode) {
        assert!(
            is_error(status),
            "status takes 4xx or 5xx for {code}, not {}",
            status.as_u16()
        );
        self.change(code).status = Some(status);
    }

    pub(super) fn reword(&mut self, code: RefusalCode, text: Cow<'static, str>) {
        self.change(code).detail = Some(text);
    }

    /// The words for a refusal, which has this status where it is not changed.
    pub(super) fn words(&self, refusal: &Refusal, status: StatusCode) -> Words {
        let code = refusal.code().as_str();
        let change = self.0.get(code);
        let name = change.and_then(|change| change.name.as_deref());
        let detail = change.and_then(|change| change.detail.as_deref());
        Words {
            name: name.unwrap_or(code).into(),
            status: change.and_then(|change| change.status).unwrap_or(status),
            detail: detail.unwrap_or(refusal.detail()).into(),
        }
    }

    fn change(&mut self, code: RefusalCode) -> &mut Change {
        self.0.entry(code.as_str()).or_default()
    }
}
