//! Canonical JSON.

use serde_json::value::RawValue;

use super::json::{document, inside, is_plain, is_same, kind};
use super::{Input, parts};
use crate::canonical;
use crate::pointer::Pointer;

/// `INCLUDED POINTER… BODY`, between bytes 0xff: so many of the pointers are included, the others excluded.
///
/// Holds: a form says what its body says, numbers to the last digit; it is its own form; however the body is written, it has
/// that form; what is excluded is gone, and what is included is all that is left.
pub fn canonical(data: &[u8]) {
    let mut input = Input(data);
    let included = usize::from(input.below(4));
    let mut parts: Vec<_> = parts(input.0).collect();
    let body = parts.pop().unwrap_or_default();
    let texts = parts.iter().filter_map(|part| str::from_utf8(part).ok());
    let mut include: Vec<_> = texts
        .take(6)
        .filter_map(|text| Pointer::parse(text).ok())
        .collect();
    let exclude = include.split_off(included.min(include.len()));

    let plain = form(body, &[], &[]);
    if let Some(plain) = &plain {
        compare(body, plain);
    }
    let excluded = form(body, &[], &exclude);
    let is_canonical = form(body, &include, &exclude).is_some();
    if excluded.is_some() || is_canonical {
        assert!(is_plain(read(body)), "a member stands twice");
    }
    if let Some(excluded) = &excluded {
        without(body, excluded, &exclude);
    }
    if let Some(reduced) = form(body, &include, &exclude)
        && !include.is_empty()
    {
        only(body, &reduced, &include, &exclude);
    }
    // What is left out may be what has no form; nothing else may give one.
    assert!(plain.is_none() || excluded.is_some());
}

fn form(body: &[u8], include: &[Pointer], exclude: &[Pointer]) -> Option<Vec<u8>> {
    canonical::canonical(body, include, exclude)
}

/// A document that is known to be one.
fn read(json: &[u8]) -> &RawValue {
    match document(json) {
        Some(document) => document,
        None => panic!("not JSON: {:?}", String::from_utf8_lossy(json)),
    }
}

/// The value that a pointer leads to.
fn at<'a>(document: &'a RawValue, pointer: &Pointer) -> Option<&'a RawValue> {
    let mut value = document;
    for token in pointer.tokens() {
        value = inside(value)?.get(token).copied()?;
    }
    Some(value)
}

/// A whole body and its form.
fn compare(body: &[u8], plain: &[u8]) {
    let (document, canonical) = (read(body), read(plain));
    assert!(is_same(document, canonical), "it says something else");
    assert_eq!(form(plain, &[], &[]).as_deref(), Some(plain));
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        for again in [
            serde_json::to_vec(&value),
            serde_json::to_vec_pretty(&value),
        ] {
            let Ok(again) = again else {
                panic!("a value cannot be written");
            };
            assert_eq!(form(&again, &[], &[]).as_deref(), Some(plain));
        }
    }
}

/// A form without what the pointers name.
fn without(body: &[u8], reduced: &[u8], exclude: &[Pointer]) {
    let (document, canonical) = (read(body), read(reduced));
    for pointer in exclude {
        if let Some(left) = at(canonical, pointer) {
            assert_eq!(left.get(), "null", "{pointer:?} is left");
        }
    }
    assert_eq!(form(reduced, &[], exclude).as_deref(), Some(reduced));
    if exclude
        .iter()
        .all(|pointer| at(document, pointer).is_none())
    {
        assert_eq!(form(body, &[], &[]).as_deref(), Some(reduced));
    }
    // Elements keep their places, and members are never made.
    if kind(document) == b'[' {
        let count = |value| inside(value).map(|values| values.len());
        assert_eq!(count(document), count(canonical));
    }
}

/// A form of nothing but what the pointers name.
fn only(body: &[u8], reduced: &[u8], include: &[Pointer], exclude: &[Pointer]) {
    let Some(values) = inside(read(reduced)) else {
        panic!("no object of pointers and values");
    };
    assert!(!values.is_empty());
    for (name, value) in &values {
        let Some(pointer) = include.iter().find(|pointer| pointer.as_str() == name) else {
            panic!("{name:?} is not included");
        };
        let Some(whole) = at(read(body), pointer) else {
            panic!("{name:?} is not in the body");
        };
        assert!(
            !exclude.is_empty() || is_same(whole, value),
            "{name:?} says something else"
        );
    }
    for pointer in include.iter().filter(|_| exclude.is_empty()) {
        let is_there = at(read(body), pointer).is_some();
        assert_eq!(
            values.contains_key(pointer.as_str()),
            is_there,
            "{pointer:?}"
        );
    }
    assert_eq!(form(reduced, &[], &[]).as_deref(), Some(reduced));
}
