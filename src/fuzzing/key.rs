//! Keys in a header, under the policies that there are.

use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Input;
use super::quoted::{Reading, quote, read};
use crate::key_policy::KeyPolicy;
use crate::lines::Found;
use crate::quoted::Quoting;
use crate::refusal::RefusalCode;
use crate::source::KeyFrom;

/// A policy, and what it says in other words.
struct Rule {
    policy: KeyPolicy,
    quoting: Quoting,
    length: RangeInclusive<usize>,
    accepts: fn(&str) -> bool,
    is_uuid: bool,
}

impl Rule {
    fn new(number: u8) -> Self {
        let lenient = |policy, length, accepts| Self {
            policy,
            quoting: Quoting::Lenient,
            length,
            accepts,
            is_uuid: false,
        };
        let is_word = |key: &str| {
            key.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match number {
            1 => lenient(KeyPolicy::ascii(10..=40), 10..=40, |_| true),
            2 => {
                let policy = KeyPolicy::ascii(1..=64);
                let allowed = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
                lenient(policy.characters(allowed), 1..=64, is_word)
            }
            3 => Self {
                is_uuid: true,
                ..lenient(KeyPolicy::uuid(), 36..=36, is_uuid)
            },
            4 => Self {
                quoting: Quoting::Strict,
                ..lenient(KeyPolicy::default().strict(), 1..=255, |_| true)
            },
            5 => Self {
                quoting: Quoting::Strict,
                is_uuid: true,
                ..lenient(KeyPolicy::uuid().strict(), 36..=36, is_uuid)
            },
            6 => lenient(KeyPolicy::ascii(1..=1), 1..=1, |_| true),
            7 => {
                let is_odd = |key: &str| key.len() % 2 == 1;
                lenient(KeyPolicy::with(is_odd), 1..=255, is_odd)
            }
            _ => lenient(KeyPolicy::default(), 1..=255, |_| true),
        }
    }

    /// The key in these lines.
    fn key(&self, lines: &[HeaderValue]) -> Result<Option<String>, RefusalCode> {
        let name = HeaderName::from_static("idempotency-key");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), line.clone());
        }
        let key = self.policy.header(Found::of(&headers, &name))?;
        Ok(key.map(|key| key.into_owned()))
    }

    /// The key that this one is, if it is one.
    fn accepted(&self, key: &str) -> Option<String> {
        let is_welcome = self.length.contains(&key.len())
            && key.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
            && (self.accepts)(key);
        is_welcome.then(|| {
            if self.is_uuid {
                key.to_ascii_lowercase()
            } else {
                key.to_owned()
            }
        })
    }
}

fn is_uuid(key: &str) -> bool {
    let groups: Vec<_> = key.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `POLICY LINES`: the lines of the header that carries the key, one per line.
///
/// Holds: a key is accepted exactly where an independent reading says so, and then within its policy; however it is written,
/// it is the same key; two lines are none.
pub fn key(data: &[u8]) {
    let mut input = Input(data);
    let rule = Rule::new(input.below(8));
    let lines: Vec<_> = match input.0 {
        [] => Vec::new(),
        text => text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| HeaderValue::from_bytes(line).ok())
            .collect(),
    };
    let key = rule.key(&lines);
    let line = match &lines[..] {
        [] => return assert_eq!(key, Ok(None)),
        [line] => line,
        _ => return assert_eq!(key, Err(RefusalCode::KeyInvalid)),
    };

    let refused = Err(RefusalCode::KeyInvalid);
    match read(line.as_bytes(), rule.quoting) {
        Reading::Nothing => assert_eq!(key, refused),
        Reading::Key(read) => match rule.accepted(&read) {
            Some(read) => assert_eq!(key.as_ref(), Ok(&Some(read))),
            None => assert_eq!(key, refused),
        },
        Reading::WithParameters(read, _) => match rule.accepted(&read) {
            Some(read) if key.is_ok() => assert_eq!(key.as_ref(), Ok(&Some(read))),
            _ => assert_eq!(key, refused),
        },
    }
    if let Ok(Some(key)) = key {
        written(&rule, &key);
    }
}

/// However this key is written, it is this key.
fn written(rule: &Rule, key: &str) {
    let named = KeyFrom::default().named(&rule.policy, key);
    assert_eq!(named.as_deref(), Ok(key));
    let string = quote(key);
    let mut ways = vec![
        string.clone(),
        format!(" {string} "),
        format!("{string};a;b=\"x y\";c=?1"),
    ];
    if rule.quoting == Quoting::Lenient {
        ways.push(format!("\t{string} \t"));
        if !key.contains([',', '"']) {
            ways.extend([key.to_owned(), format!(" {key}\t")]);
        }
    }
    if rule.is_uuid {
        ways.push(quote(&key.to_ascii_uppercase()));
    }
    for way in ways {
        let Ok(line) = HeaderValue::from_str(&way) else {
            panic!("{way:?} is no value of a header");
        };
        let read = rule.key(&[line]);
        assert_eq!(read, Ok(Some(key.to_owned())), "{way:?}");
    }
}
