//! JSON pointers, and the keys that they lead to.

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{document, inside, kind, members, text};
use super::parts;
use crate::pointer::{Malformed, Pointer, join, key_at};

/// `POINTER… BODY`, between bytes 0xff: pointers, at most four, and the body that they lead into.
///
/// Holds: what is a pointer is what RFC 6901 says, and can be written again; what a pointer leads to is what `serde_json`'s
/// own finds there; several values are one key that can be taken apart.
pub fn pointer(data: &[u8]) {
    let mut parts: Vec<_> = parts(data).collect();
    let body = parts.pop().unwrap_or_default();
    let texts = parts.iter().filter_map(|part| str::from_utf8(part).ok());
    let pointers: Vec<_> = texts.take(4).filter_map(parsed).collect();
    if pointers.is_empty() {
        return;
    }

    let found = key_at(body, &pointers);
    let each: Vec<_> = pointers
        .iter()
        .map(|pointer| {
            let found = key_at(body, std::slice::from_ref(pointer));
            compare(body, pointer, &found);
            found
        })
        .collect();
    // All of them are found as each is alone: an error is one of all, and what is missing is missed by all.
    let together: Result<Option<Vec<_>>, _> = each
        .into_iter()
        .map(|found| found.map(|values| values.map(join)))
        .collect::<Result<Vec<_>, _>>()
        .map(|values| values.into_iter().collect());
    assert_eq!(found, together);
    if let Ok(Some(values)) = found {
        joined(&values);
    }
}

/// The pointer in this text, if RFC 6901 says that there is one.
fn parsed(text: &str) -> Option<Pointer> {
    let mut escapes = text.split('~').skip(1);
    let is_one = text.starts_with('/') && escapes.all(|rest| rest.starts_with(['0', '1']));
    let pointer = Pointer::parse(text).ok();
    assert_eq!(pointer.is_some(), is_one, "{text:?}");
    let pointer = pointer?;
    assert_eq!(pointer.as_str(), text);
    assert_eq!(written(&pointer), text);
    Some(pointer)
}

/// A pointer, written anew.
fn written(pointer: &Pointer) -> String {
    let escaped = |token: &String| format!("/{}", token.replace('~', "~0").replace('/', "~1"));
    pointer.tokens().iter().map(escaped).collect()
}

/// Compares what was found with what `serde_json` finds.
fn compare(body: &[u8], pointer: &Pointer, found: &Result<Option<Vec<String>>, Malformed>) {
    let Some(document) = document(body) else {
        return assert_eq!(*found, Err(Malformed), "not JSON");
    };
    let Some(expected) = expected(document, pointer) else {
        return;
    };
    let expected = expected.map(|key| key.map(|key| vec![key]));
    assert_eq!(*found, expected, "{pointer:?}");
    // The same by `serde_json`'s own pointers, where it can hold the document.
    if let Ok(held) = serde_json::from_slice::<Value>(body) {
        let held = held.pointer(pointer.as_str());
        match (held, found) {
            (None, found) => assert!(matches!(found, Ok(None) | Err(Malformed)), "{pointer:?}"),
            (Some(Value::String(held)), Ok(Some(key))) => assert_eq!(key[..], [held.as_str()]),
            (Some(held), Ok(None)) => panic!("{held:?} is missed at {pointer:?}"),
            _ => {}
        }
    }
}

/// The key, by the letter; `None` where a string on the way cannot be read.
fn expected(document: &RawValue, pointer: &Pointer) -> Option<Result<Option<String>, Malformed>> {
    let mut value = document;
    for token in pointer.tokens() {
        let found = match kind(value) {
            b'{' => {
                let mut values = members(value)?
                    .into_iter()
                    .filter(|(name, _)| name == token);
                let found = values.next();
                if values.next().is_some() {
                    return Some(Err(Malformed));
                }
                found.map(|(_, value)| value)
            }
            b'[' => inside(value)?.get(token).copied(),
            _ => None,
        };
        match found {
            Some(found) => value = found,
            None => return Some(Ok(None)),
        }
    }
    match kind(value) {
        b'"' => text(value).map(|text| Ok(Some(text))),
        b'0' if !value.get().contains(['.', 'e', 'E']) => Some(Ok(Some(value.get().to_owned()))),
        _ => Some(Err(Malformed)),
    }
}

/// A joined key can be taken apart, so that no two lists make one.
fn joined(values: &[String]) {
    let key = join(values.to_vec());
    if let [value] = values {
        return assert_eq!(key, *value);
    }
    let (mut rest, mut apart) = (&*key, Vec::new());
    while let Some((length, behind)) = rest.split_once(':') {
        let Ok((value, behind)) = length.parse().map(|length: usize| behind.split_at(length))
        else {
            panic!("{length:?} is no length");
        };
        apart.push(value);
        rest = behind;
    }
    assert_eq!(
        (apart, rest),
        (values.iter().map(|value| &**value).collect(), "")
    );
}
