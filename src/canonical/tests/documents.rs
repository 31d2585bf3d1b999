//! Documents, and the many ways to write each of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Document {
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
    Scalar(Scalar),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Literal(&'static str),
    /// Digits that do not end in a zero, and an exponent.
    Number(i64, i32),
    /// A number that is written in one way only.
    Spelled(String),
    String(String),
}

impl Document {
    /// The scalars, in the order of the names.
    pub(super) fn scalars(&mut self) -> Vec<&mut Scalar> {
        match self {
            Self::Array(elements) => elements.iter_mut().flat_map(Self::scalars).collect(),
            Self::Object(members) => members.values_mut().flat_map(Self::scalars).collect(),
            Self::Scalar(scalar) => vec![scalar],
        }
    }

    /// The tokens of a way to some value inside; none where there is nothing inside.
    pub(super) fn way(&self, dice: &mut Dice) -> Vec<String> {
        let inside = match self {
            Self::Array(elements) if !elements.is_empty() => {
                let index = dice.below(elements.len());
                (index.to_string(), &elements[index])
            }
            Self::Object(members) if !members.is_empty() => {
                let (name, value) = members.iter().nth(dice.below(members.len())).unwrap();
                (name.clone(), value)
            }
            _ => return Vec::new(),
        };
        let (token, value) = inside;
        let mut way = vec![token];
        if dice.below(3) > 0 {
            way.extend(value.way(dice));
        }
        way
    }

    pub(super) fn at(&mut self, way: &[String]) -> &mut Self {
        way.iter().fold(self, |value, token| match value {
            Self::Array(elements) => &mut elements[token.parse::<usize>().unwrap()],
            Self::Object(members) => members.get_mut(token).unwrap(),
            Self::Scalar(_) => panic!("nothing inside"),
        })
    }

    /// Written in one of the many ways.
    pub(super) fn write(&self, dice: &mut Dice) -> String {
        let (open, mut inside, close) = match self {
            Self::Array(elements) => {
                let elements = elements.iter().map(|element| element.write(dice));
                ("[", elements.collect::<Vec<_>>(), "]")
            }
            Self::Object(members) => {
                let mut inside = Vec::new();
                for (name, value) in members {
                    let (name, value) = (string(name, dice), value.write(dice));
                    inside.push(format!("{}{name}{}:{value}", blank(dice), blank(dice)));
                }
                for at in (1..inside.len()).rev() {
                    inside.swap(at, dice.below(at + 1));
                }
                ("{", inside, "}")
            }
            Self::Scalar(scalar) => ("", vec![scalar.write(dice)], ""),
        };
        if inside.is_empty() {
            inside.push(String::new());
        }
        let inside = inside.join(",");
        format!(
            "{}{open}{inside}{}{close}{}",
            blank(dice),
            blank(dice),
            blank(dice)
        )
    }
}

impl Scalar {
    fn write(&self, dice: &mut Dice) -> String {
        match self {
            Self::Literal(text) => (*text).to_owned(),
            Self::Number(digits, exponent) => number(*digits, *exponent, dice),
            Self::Spelled(text) => text.clone(),
            Self::String(text) => string(text, dice),
        }
    }
}

/// The pointer with these tokens.
pub(super) fn pointer(way: &[String]) -> String {
    way.iter()
        .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
        .collect()
}

/// Random numbers that a test case can be repeated with.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut roll = self.0;
        roll = (roll ^ (roll >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        roll = (roll ^ (roll >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((roll ^ (roll >> 31)) % bound as u64) as usize
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

fn blank(dice: &mut Dice) -> &'static str {
    dice.pick(&["", "", "", "", " ", "\n", "\t", "\r\n  "])
}

fn string(text: &str, dice: &mut Dice) -> String {
    let mut written = String::from('"');
    for char in text.chars() {
        let short = match char {
            '"' => "\\\"",
            '\\' => "\\\\",
            '/' => "\\/",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            _ => "",
        };
        let must = char < ' ' || matches!(char, '"' | '\\');
        match dice.below(4) {
            0 | 1 if !must => written.push(char),
            2 if !short.is_empty() => written.push_str(short),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    written.push_str(&match dice.below(2) {
                        0 => format!("\\u{unit:04x}"),
                        _ => format!("\\u{unit:04X}"),
                    });
                }
            }
        }
    }
    written.push('"');
    written
}

fn number(digits: i64, exponent: i32, dice: &mut Dice) -> String {
    if digits == 0 {
        return dice
            .pick(&["0", "-0", "0.0", "-0.000", "0e7", "-0E-400", "0.0e+999"])
            .to_owned();
    }
    let sign = if digits < 0 { "-" } else { "" };
    let digits = digits.unsigned_abs().to_string();
    let zeros = exponent.unsigned_abs() as usize;
    if dice.below(2) == 0 && zeros < 25 {
        if exponent >= 0 {
            let more = dice.pick(&["", ".0", ".000000", "e0", "E-0"]);
            return format!("{sign}{digits}{}{more}", "0".repeat(zeros));
        }
        let padded = format!("{digits:0>width$}", width = zeros + 1);
        let (whole, fraction) = padded.split_at(padded.len() - zeros);
        return format!("{sign}{whole}.{fraction}{}", dice.pick(&["", "0", "000"]));
    }
    let (whole, fraction) = digits.split_at(1 + dice.below(digits.len()));
    let exponent = exponent + i32::try_from(fraction.len()).unwrap();
    let point = match (fraction.is_empty(), dice.below(2)) {
        (true, 0) => "",
        (true, _) => ".0",
        (false, _) => ".",
    };
    let e = match (exponent < 0, dice.below(3)) {
        (true, 0) => "e-",
        (true, _) => "E-0",
        (false, 0) => "e",
        (false, 1) => "E+",
        (false, _) => "e+00",
    };
    format!(
        "{sign}{whole}{point}{fraction}{e}{}",
        exponent.unsigned_abs()
    )
}

pub(super) fn documents() -> impl Strategy<Value = Document> {
    documents_of(scalars().boxed())
}

/// Some of which hold numbers that a double does not.
pub(super) fn wild_documents() -> impl Strategy<Value = Document> {
    let spelled = "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?";
    let spelled = prop_oneof![
        3 => spelled,
        1 => "-?(90071992547409[0-9]{2}|9\\.00719925474099[0-9]{1,2}e15)(\\.0)?",
        1 => "[0-9]\\.[0-9]{13,17}e-?(0|15|16|30[78])",
    ];
    let spelled = spelled.prop_map(Scalar::Spelled);
    documents_of(prop_oneof![15 => scalars(), 1 => spelled].boxed())
}

fn documents_of(scalars: BoxedStrategy<Scalar>) -> impl Strategy<Value = Document> {
    scalars
        .prop_map(Document::Scalar)
        .prop_recursive(5, 40, 6, |inside| {
            prop_oneof![
                prop::collection::vec(inside.clone(), 0..6).prop_map(Document::Array),
                prop::collection::btree_map(texts(), inside, 0..6).prop_map(Document::Object),
            ]
        })
}

pub(super) fn scalars() -> impl Strategy<Value = Scalar> {
    let digits = prop_oneof![-99_i64..=99, -999_999_999_999_999_i64..=999_999_999_999_999];
    let exponents = prop_oneof![-20..=15, -280..=15];
    let numbers = (digits, exponents).prop_map(|(mut digits, mut exponent): (i64, i32)| {
        while digits != 0 && digits % 10 == 0 {
            (digits, exponent) = (digits / 10, exponent + 1);
        }
        let most = 15 - i32::try_from(digits.unsigned_abs().to_string().len()).unwrap();
        Scalar::Number(digits, if digits == 0 { 0 } else { exponent.min(most) })
    });
    prop_oneof![
        1 => prop::sample::select(vec!["true", "false", "null"]).prop_map(Scalar::Literal),
        3 => numbers,
        2 => texts().prop_map(Scalar::String),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    let notable = [
        "",
        "/",
        "~",
        "~1",
        "\\",
        "\"",
        "0",
        "1",
        "-",
        "\0",
        "\u{1f}",
        "\u{7f}",
        "\u{80}",
        "\r\n",
        "\u{2028}",
        "\u{fb33}",
        "\u{e000}",
        "\u{ffff}",
        "\u{10000}",
        "\u{1f600}",
        "1.0",
    ];
    prop_oneof![
        2 => "[ab]{1,2}",
        2 => prop::sample::select(notable.to_vec()).prop_map(str::to_owned),
        1 => prop::collection::vec(any::<char>(), 0..5).prop_map(|chars| chars.iter().collect()),
        1 => prop::collection::vec(prop::char::range('\0', '~'), 0..5)
            .prop_map(|chars| chars.iter().collect()),
    ]
}
