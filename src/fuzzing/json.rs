//! JSON read by `serde_json` alone, as slowly as it takes, to compare with.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The values in an object or an array by their names and indices.
pub(super) type Values<'a> = BTreeMap<String, &'a RawValue>;

/// A document, as a value that has not been read further; `None` where it is none.
pub(super) fn document(body: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(body).ok()
}

/// What kind of value it is.
pub(super) fn kind(value: &RawValue) -> u8 {
    match value.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => b'0',
        first => first.copied().unwrap_or_default(),
    }
}

/// What is in an object or an array; `None` in another value, where a name stands twice, and where one cannot be read.
pub(super) fn inside(value: &RawValue) -> Option<Values<'_>> {
    let values = match kind(value) {
        b'{' => members(value)?,
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            let indices = (0..elements.len()).map(|index| index.to_string());
            indices.zip(elements).collect()
        }
        _ => return None,
    };
    let count = values.len();
    let values: Values<'_> = values.into_iter().collect();
    (values.len() == count).then_some(values)
}

/// Whether no object inside has a member twice, every string can be read, and nothing is nested too deep to tell.
pub(super) fn is_plain(value: &RawValue) -> bool {
    is_plain_within(128, value)
}

fn is_plain_within(levels: usize, value: &RawValue) -> bool {
    let Some(levels) = levels.checked_sub(1) else {
        return false;
    };
    match kind(value) {
        b'{' | b'[' => inside(value)
            .is_some_and(|values| values.values().all(|value| is_plain_within(levels, value))),
        b'"' => text(value).is_some(),
        _ => true,
    }
}

/// The members of an object as they stand.
pub(super) fn members(object: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct Members<'a>(Vec<(String, &'a RawValue)>);

    impl<'de> Deserialize<'de> for Members<'de> {
        fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
            json.deserialize_map(Self(Vec::new()))
        }
    }

    impl<'de> Visitor<'de> for Members<'de> {
        type Value = Self;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
            while let Some(member) = members.next_entry()? {
                self.0.push(member);
            }
            Ok(self)
        }
    }

    let members: Members<'_> = serde_json::from_str(object.get()).ok()?;
    Some(members.0)
}

/// The text of a string.
pub(super) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Whether two documents say the same: numbers by their exact values, however large, and members in any order.
pub(super) fn is_same(one: &RawValue, other: &RawValue) -> bool {
    if kind(one) != kind(other) {
        return false;
    }
    match kind(one) {
        b'{' | b'[' => match (inside(one), inside(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len()
                    && (one.iter().zip(&other)).all(|((name, value), (other_name, other))| {
                        name == other_name && is_same(value, other)
                    })
            }
            _ => false,
        },
        b'"' => text(one).is_some() && text(one) == text(other),
        b'0' => Decimal::new(one.get()) == Decimal::new(other.get()),
        _ => true,
    }
}

/// The exact value of a number: its significant digits, and the power of ten of the last one.
#[derive(PartialEq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None` where the exponent is beyond reason: equal to nothing that has one.
    fn new(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let magnitude = mantissa.trim_start_matches('-');
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self {
                is_negative: false,
                digits,
                exponent: 0,
            });
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let exponent: i64 = exponent.parse().ok()?;
        let behind = i64::try_from(fraction.len()).ok()? - i64::try_from(zeros).ok()?;
        Some(Self {
            is_negative: mantissa.starts_with('-'),
            digits,
            exponent: exponent.checked_sub(behind)?,
        })
    }
}
