//! What an application says in other words, one code at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::refusal::{Refusal, RefusalCode};

/// The changes, by the code that they change; `S` is what the form has for a status.
#[derive(Clone, Debug)]
pub(super) struct Wording<S>(BTreeMap<&'static str, Change<S>>);

#[derive(Clone, Debug)]
struct Change<S> {
    name: Option<Cow<'static, str>>,
    status: Option<S>,
    detail: Option<Cow<'static, str>>,
}

/// What an answer says.
pub(super) struct Words<'a, S> {
    pub(super) name: &'a str,
    pub(super) status: S,
    pub(super) detail: &'a str,
}

impl<S: Copy> Wording<S> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    #[track_caller]
    pub(super) fn rename(&mut self, code: RefusalCode, name: Cow<'static, str>) {
        assert!(!name.is_empty(), "code takes a name for {code}, not \"\"");
        self.change(code).name = Some(name);
    }

    pub(super) fn answer_with(&mut self, code: RefusalCode, status: S) {
        self.change(code).status = Some(status);
    }

    pub(super) fn reword(&mut self, code: RefusalCode, text: Cow<'static, str>) {
        self.change(code).detail = Some(text);
    }

    /// The words for a refusal, which has this status where it is not changed.
    pub(super) fn words<'a>(&'a self, refusal: &'a Refusal, status: S) -> Words<'a, S> {
        let code = refusal.code().as_str();
        let change = self.0.get(code);
        let name = change.and_then(|change| change.name.as_deref());
        let detail = change.and_then(|change| change.detail.as_deref());
        Words {
            name: name.unwrap_or(code),
            status: change.and_then(|change| change.status).unwrap_or(status),
            detail: detail.unwrap_or(refusal.detail()),
        }
    }

    fn change(&mut self, code: RefusalCode) -> &mut Change<S> {
        self.0.entry(code.as_str()).or_insert(Change {
            name: None,
            status: None,
            detail: None,
        })
    }
}
