//! What an application says in other words, one code at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::refusal::{Refusal, RefusalCode};

/// The changes, by the code that they change; `S` is what the form has for a status.
#[derive(Clone, Debug)]
pub(super) struct Wording<S> {
    changes: BTreeMap<&'static str, Change<S>>,
    /// What is answered to each code with these changes, once it was.
    answered: [OnceLock<(S, Bytes)>; RefusalCode::COUNT],
}

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
        Self {
            changes: BTreeMap::new(),
            answered: [const { OnceLock::new() }; RefusalCode::COUNT],
        }
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
        let change = self.changes.get(code);
        let name = change.and_then(|change| change.name.as_deref());
        let detail = change.and_then(|change| change.detail.as_deref());
        Words {
            name: name.unwrap_or(code),
            status: change.and_then(|change| change.status).unwrap_or(status),
            detail: detail.unwrap_or(refusal.detail()),
        }
    }

    /// The status and the body for a refusal, which follow from its code: the body is made once.
    pub(super) fn answer(
        &self,
        refusal: &Refusal,
        status: S,
        body: impl FnOnce(&Words<'_, S>) -> Vec<u8>,
    ) -> (S, Bytes) {
        let answered = &self.answered[refusal.code() as usize];
        let (status, body) = answered.get_or_init(|| {
            let words = self.words(refusal, status);
            (words.status, Bytes::from(body(&words)))
        });
        (*status, body.clone())
    }

    /// Something else has changed of which bodies are made.
    pub(super) fn forget_bodies(&mut self) {
        self.answered = [const { OnceLock::new() }; RefusalCode::COUNT];
    }

    fn change(&mut self, code: RefusalCode) -> &mut Change<S> {
        self.forget_bodies();
        self.changes.entry(code.as_str()).or_insert(Change {
            name: None,
            status: None,
            detail: None,
        })
    }
}
