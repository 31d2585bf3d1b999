//! Structured-field strings (RFC 9651), as far as a key may be one.

use std::borrow::Cow;

/// The key in the value of a header, unquoted: a bare key, or a structured-field string
/// (RFC 9651, section 3.3.3) whose parameters are checked and ignored.
///
/// `None` when it is malformed or longer than `most` bytes. Allocates only for a key with escapes.
pub(crate) fn unquote(value: &[u8], most: usize) -> Option<Cow<'_, str>> {
    let value = value.trim_ascii();
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let bare = value.len() <= most && !value.iter().any(|byte| matches!(byte, b',' | b'"'));
        return std::str::from_utf8(value)
            .ok()
            .filter(|_| bare)
            .map(Cow::Borrowed);
    };
    let (end, escapes) = closing_quote(quoted)?;
    if end - escapes > most || !is_parameters(&quoted[end + 1..]) {
        return None;
    }
    let inside = std::str::from_utf8(&quoted[..end]).ok()?;
    if escapes == 0 {
        return Some(Cow::Borrowed(inside));
    }
    let mut key = String::with_capacity(end - escapes);
    let mut chars = inside.chars();
    while let Some(char) = chars.next() {
        key.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    Some(Cow::Owned(key))
}

/// Where the string ends, and how many escapes it holds.
fn closing_quote(quoted: &[u8]) -> Option<(usize, usize)> {
    let mut escapes = 0;
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((at, escapes)),
            b'\\' if matches!(quoted.get(at + 1)?, b'"' | b'\\') => {
                escapes += 1;
                at += 2;
            }
            b'\\' => return None,
            0x20..=0x7e => at += 1,
            _ => return None,
        }
    }
}

/// Whether this is `*( ";" *SP key [ "=" bare-item ] )` of RFC 9651, section 3.1.2.
fn is_parameters(mut rest: &[u8]) -> bool {
    while let Some(parameter) = rest.strip_prefix(b";") {
        let parameter = &parameter[span(parameter, |byte| byte == b' ')..];
        if !parameter
            .first()
            .is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'*')
        {
            return false;
        }
        let name = span(parameter, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        });
        rest = &parameter[name..];
        if let Some(value) = rest.strip_prefix(b"=") {
            let Some(length) = bare_item(value) else {
                return false;
            };
            rest = &value[length..];
        }
    }
    rest.is_empty()
}

/// The length of the bare item that `value` begins with.
fn bare_item(value: &[u8]) -> Option<usize> {
    match value.first()? {
        b'"' => closing_quote(&value[1..]).map(|(end, _)| end + 2),
        b'?' => matches!(value.get(1), Some(b'0' | b'1')).then_some(2),
        b'%' => display_string(value),
        b':' => {
            let data = span(&value[1..], |byte| {
                byte.is_ascii_alphanumeric() || b"+/".contains(&byte)
            });
            let padding = span(&value[1 + data..], |byte| byte == b'=');
            let end = 1 + data + padding;
            (padding <= 2 && value.get(end) == Some(&b':')).then_some(end + 1)
        }
        b'@' => {
            let length = number(&value[1..])?;
            (!value[1..=length].contains(&b'.')).then_some(length + 1)
        }
        b'-' | b'0'..=b'9' => number(value),
        b'*' | b'a'..=b'z' | b'A'..=b'Z' => Some(span(value, |byte| {
            byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
        })),
        _ => None,
    }
}

/// The length of the display string that `value` begins with (RFC 9651, section 3.3.8).
fn display_string(value: &[u8]) -> Option<usize> {
    let inside = value.strip_prefix(b"%\"")?;
    let mut at = 0;
    loop {
        match inside.get(at)? {
            b'"' => return Some(at + 3),
            b'%' => {
                let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                inside
                    .get(at + 1..at + 3)
                    .filter(|digits| digits.iter().all(is_hex))?;
                at += 3;
            }
            0x20..=0x7e => at += 1,
            _ => return None,
        }
    }
}

/// The length of the integer or decimal that `value` begins with (RFC 9651, section 4.2.4).
fn number(value: &[u8]) -> Option<usize> {
    let sign = usize::from(value.first() == Some(&b'-'));
    let whole = span(&value[sign..], |byte| byte.is_ascii_digit());
    let end = sign + whole;
    if value.get(end) != Some(&b'.') {
        return (1..=15).contains(&whole).then_some(end);
    }
    let fraction = span(&value[end + 1..], |byte| byte.is_ascii_digit());
    ((1..=12).contains(&whole) && (1..=3).contains(&fraction)).then_some(end + 1 + fraction)
}

fn span(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !belongs(*byte))
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(value: &str) -> Option<String> {
        unquote(value.as_bytes(), 255).map(Cow::into_owned)
    }

    #[test]
    fn a_quoted_key_is_the_bare_one() {
        assert_eq!(key("abc").as_deref(), Some("abc"));
        assert_eq!(key("\"abc\"").as_deref(), Some("abc"));
        assert_eq!(key(" \t\"abc\" ").as_deref(), Some("abc"));
        assert_eq!(key(r#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
    }

    #[test]
    fn malformed_quotes_are_refused() {
        for value in [
            "\"",
            "\"abc",
            "abc\"",
            "\"a\"b\"",
            r#""a\b""#,
            r#""a\"#,
            "a,b",
            "\"a\", \"b\"",
        ] {
            assert_eq!(key(value), None, "{value}");
        }
    }

    #[test]
    fn well_formed_parameters_are_ignored_and_malformed_ones_refused() {
        for good in [
            ";v=1",
            "; v=1.5;w",
            ";x=\"a;b\"",
            ";b=?0",
            ";d=@-12",
            ";e=:aGk=:",
            ";e=%\"f%c3%bc\";f",
            ";t=tok/en:1",
        ] {
            assert_eq!(
                key(&format!("\"abc\"{good}")).as_deref(),
                Some("abc"),
                "{good}"
            );
        }
        for bad in [
            ";",
            ";\tv=1",
            ";V=1",
            ";v=",
            ";v=?2",
            ";v=1.",
            ";v=\"a",
            "x",
            ";a b",
            ";v=:a",
            ";v=:a===b:",
            ";v=@1.5",
            ";v=%\"%C3\"",
            ";v=%\"a",
            ";v=1234567890123456",
        ] {
            assert_eq!(key(&format!("\"abc\"{bad}")), None, "{bad}");
        }
    }

    #[test]
    fn the_length_counts_after_unquoting() {
        let escaped = format!("\"{}\"", "\\\"".repeat(255));
        assert_eq!(key(&escaped).map(|key| key.len()), Some(255));
        assert_eq!(key(&format!("\"{}\"", "\\\"".repeat(256))), None);
        assert_eq!(key(&"a".repeat(255)).map(|key| key.len()), Some(255));
        assert_eq!(key(&"a".repeat(256)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unquote(&value, 255);
        }

        #[test]
        fn what_is_quoted_is_unquoted(key in "[ -~]{1,40}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            let unquoted = unquote(quoted.as_bytes(), 255);
            prop_assert_eq!(unquoted.as_deref(), Some(key.as_str()));
        }
    }
}
