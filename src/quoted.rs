//! Structured-field strings (RFC 9651), as far as a key may be one.

use std::borrow::Cow;

use sfv::{Parser, StringRef};

/// How a key may stand in the value of a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quoting {
    /// Bare, without `,` and `"`, or as a structured-field string; SP and HTAB around it do not count.
    Lenient,
    /// Only as a structured-field string.
    Strict,
}

/// The longest parameters behind a quoted key, which are read and ignored.
const MOST_PARAMETERS: usize = 1024;

/// The key in the value of a header, unquoted. A quoted one is a structured-field string (RFC 9651, section 3.3.3) whose
/// parameters are checked and ignored.
///
/// `None` when it is malformed or longer than `most` bytes. A value that is longer than a key of `most` bytes with
/// every byte escaped (`2 * most + 2`) and 1 KiB of parameters is not read at all. Allocates only for a key with escapes, and
/// for what parameters hold.
pub(crate) fn unquote(value: &[u8], quoting: Quoting, most: usize) -> Option<Cow<'_, str>> {
    let value = match quoting {
        Quoting::Lenient => value.trim_ascii(),
        Quoting::Strict => value,
    };
    if quoting == Quoting::Lenient && !value.starts_with(b"\"") {
        if value.len() > most {
            return None;
        }
        // All are looked at, many at once.
        let bare = value
            .iter()
            .fold(true, |bare, byte| bare & !matches!(byte, b',' | b'"'));
        return std::str::from_utf8(value)
            .ok()
            .filter(|_| bare)
            .map(Cow::Borrowed);
    }
    let longest = most.saturating_mul(2).saturating_add(2 + MOST_PARAMETERS);
    if value.len() > longest {
        return None;
    }
    let key = match Parser::new(value).parse_item::<Cow<'_, StringRef>>().ok()? {
        Cow::Borrowed(key) => Cow::Borrowed(key.as_str()),
        Cow::Owned(key) => Cow::Owned(key.into()),
    };
    Some(key).filter(|key| key.len() <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(value: &str) -> Option<String> {
        unquote(value.as_bytes(), Quoting::Lenient, 255).map(Cow::into_owned)
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

    #[test]
    fn parameters_of_up_to_a_kibibyte_are_read() {
        let with_parameters = |length: usize, key: &str| {
            let value = format!("\"{key}\";p=\"{}\"", "x".repeat(length - 5));
            unquote(value.as_bytes(), Quoting::Strict, 4).is_some()
        };

        assert!(with_parameters(1024, r#"\"\\\"\\"#));
        assert!(!with_parameters(1025, r#"\"\\\"\\"#));
        assert!(!with_parameters(20_000, "abc"));
        assert!(!with_parameters(6, "abcde"));
        assert!(unquote(b"\"abc\"", Quoting::Lenient, usize::MAX).is_some());
    }

    #[test]
    fn only_a_key_with_escapes_is_copied() {
        for (value, copied) in [("abc", false), ("\"abc\";v=1", false), (r#""a\"c""#, true)] {
            let key = unquote(value.as_bytes(), Quoting::Lenient, 255).unwrap();

            assert_eq!(matches!(key, Cow::Owned(_)), copied, "{value}");
        }
    }

    #[test]
    fn strictly_only_a_structured_field_string_is_a_key() {
        let strict =
            |value: &str| unquote(value.as_bytes(), Quoting::Strict, 255).map(Cow::into_owned);

        for (value, key) in [
            ("\"abc\"", "abc"),
            ("  \"abc\" ", "abc"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("\"a, b\";v=1; w", "a, b"),
            ("\"\"", ""),
        ] {
            assert_eq!(strict(value).as_deref(), Some(key), "{value}");
        }
        for value in [
            "",
            "abc",
            "8e03978e-40d5",
            "1",
            "1.5",
            "?1",
            ":YWJj:",
            "@1",
            "%\"abc\"",
            "(\"abc\")",
            "'abc'",
            "\"abc",
            "\"abc\" ;v",
            "\"abc\", \"def\"",
            "\"abc\"\t",
            "\t\"abc\"",
            "\"a\tc\"",
            "\"é\"",
            "k=\"abc\"",
        ] {
            assert_eq!(strict(value), None, "{value}");
        }
    }

    fn quote(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// Parameters as in RFC 9651, section 3.1.2, with values of each type.
    fn parameters() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            "-?[0-9]{1,15}",
            "-?[0-9]{1,12}\\.[0-9]{1,3}",
            "[ -~]{0,8}".prop_map(|text| quote(&text)),
            "[a-zA-Z*][a-zA-Z0-9!#$%&'*+.^_`|~:/-]{0,8}",
            "(:([a-zA-Z0-9+/]{4}){0,3}([a-zA-Z0-9+/]{3}=|[a-zA-Z0-9+/]{2}==)?:)",
            "\\?[01]",
            "@-?[0-9]{1,15}",
            "%\"([ !#$&-~]|%c3%bc|%22|%25){0,8}\"",
        ];
        let value = prop::option::of(value.prop_map(|value| format!("={value}")));
        let parameter =
            (" {0,2}", "[a-z*][a-z0-9_.*-]{0,5}", value).prop_map(|(space, name, value)| {
                format!(";{space}{name}{}", value.unwrap_or_default())
            });
        prop::collection::vec(parameter, 0..6).prop_map(|parameters| parameters.concat())
    }

    proptest! {
        #[test]
        fn a_structured_field_string_is_a_key_whatever_its_parameters(
            key in "[ -~]{0,40}|[\\\\\"]{0,10}", parameters in parameters(),
        ) {
            let value = format!("{}{parameters}", quote(&key));
            for quoting in [Quoting::Lenient, Quoting::Strict] {
                let unquoted = unquote(value.as_bytes(), quoting, 40);
                prop_assert_eq!(unquoted.as_deref(), Some(key.as_str()));
                for end in [";", ",", "\"", " x", "\t;a"] {
                    let value = format!("{value}{end}");
                    prop_assert!(unquote(value.as_bytes(), quoting, 40).is_none(), "{}", value);
                }
            }
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
            for quoting in [Quoting::Lenient, Quoting::Strict] {
                let _ = unquote(&value, quoting, 255);
            }
        }

        #[test]
        fn what_is_quoted_is_unquoted(key in "[ -~]{1,40}") {
            let quoted = quote(&key);
            let unquoted = unquote(quoted.as_bytes(), Quoting::Lenient, 255);
            prop_assert_eq!(unquoted.as_deref(), Some(key.as_str()));
        }
    }
}
