//! Structured fields that hold a key.

use std::borrow::Cow;

use http::HeaderValue;

use super::Input;
use crate::quoted::{Quoting, unquote};

/// `MOST VALUE`: the value of a header, and how long its key may be.
///
/// Holds: what an independent reading of RFC 9651 says of the string, its length, and what stands behind it; both ways
/// of quoting agree on what is quoted.
pub fn quoted(data: &[u8]) {
    let mut input = Input(data);
    let most = [255, 4, 36, 0][usize::from(input.below(4))];
    let value = input.0;
    let lenient = unquote(value, Quoting::Lenient, most);
    let strict = unquote(value, Quoting::Strict, most);
    for key in [&lenient, &strict].into_iter().flatten() {
        assert!(key.len() <= most, "longer than the policy");
    }
    if HeaderValue::from_bytes(value).is_err() {
        return;
    }

    for (quoting, key) in [(Quoting::Lenient, &lenient), (Quoting::Strict, &strict)] {
        match read(value, quoting) {
            Reading::Nothing => assert_eq!(*key, None),
            Reading::Key(read) if read.len() > most => assert_eq!(*key, None),
            Reading::Key(read) => assert_eq!(key.as_deref(), Some(&*read)),
            Reading::WithParameters(read, parameters) => {
                if let Some(key) = key {
                    assert_eq!(*key, read);
                    followed(&read, parameters, quoting, most);
                }
            }
        }
    }
    if let Some(key) = strict {
        assert_eq!(lenient, Some(key), "strict accepts what lenient does not");
    }
}

/// A key with parameters is the key without them; with more of them it stays it, and garbage behind them is noticed.
fn followed(key: &str, parameters: &str, quoting: Quoting, most: usize) {
    let string = quote(key);
    let unquoted = |behind: &str| {
        let value = format!("{string}{behind}");
        unquote(value.as_bytes(), quoting, most).map(Cow::into_owned)
    };
    assert_eq!(unquoted("").as_deref(), Some(key));
    let more = format!("{parameters};a=1");
    if more.len() <= 1024 {
        assert_eq!(unquoted(&more).as_deref(), Some(key), "{more}");
    }
    for end in [";", ",", "\"", " x", "\t;a"] {
        assert_eq!(unquoted(&format!("{parameters}{end}")), None, "{end:?}");
    }
}

/// What the value of a header says by itself.
pub(super) enum Reading<'a> {
    /// No key, whatever the policy.
    Nothing,
    /// This key, if it is not too long.
    Key(String),
    /// This key, if these parameters are well-formed.
    WithParameters(String, &'a str),
}

/// Reads RFC 9651, section 3.3.3, by the letter.
pub(super) fn read(value: &[u8], quoting: Quoting) -> Reading<'_> {
    let Ok(text) = std::str::from_utf8(value) else {
        return Reading::Nothing;
    };
    let text = match quoting {
        Quoting::Lenient => text.trim_matches([' ', '\t']),
        Quoting::Strict => text.trim_matches(' '),
    };
    let Some(string) = text.strip_prefix('"') else {
        let is_bare = quoting == Quoting::Lenient && !text.contains([',', '"']);
        return if is_bare {
            Reading::Key(text.to_owned())
        } else {
            Reading::Nothing
        };
    };
    let (mut key, mut chars) = (String::new(), string.chars());
    loop {
        match chars.next() {
            Some('"') => break,
            Some('\\') => match chars.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Reading::Nothing,
            },
            Some(plain @ ' '..='~') => key.push(plain),
            _ => return Reading::Nothing,
        }
    }
    match chars.as_str() {
        "" => Reading::Key(key),
        parameters if parameters.starts_with(';') => Reading::WithParameters(key, parameters),
        _ => Reading::Nothing,
    }
}

/// The structured-field string of a text.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
