//! The words and signs of a Rust source.

use std::collections::BTreeSet;

#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

/// The tokens of a file without comments, literals and what only tests see, and the names of its
/// test modules that have files of their own.
pub(crate) fn code(text: &str) -> (Vec<Token<'_>>, Vec<String>) {
    let tokens = tokens(text);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let mut kept = Vec::new();
    let mut test_modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is(at, "#") && is(at + 1, "[") && is(at + 2, "cfg") {
            let end = closing(&tokens, at + 1);
            let words = tokens[at..end]
                .iter()
                .map(|token| token.text)
                .collect::<BTreeSet<_>>();
            if words.contains("test") && !words.contains("not") && !words.contains("any") {
                at = item(&tokens, end);
                if is(at - 3, "mod") && is(at - 1, ";") {
                    test_modules.push(tokens[at - 2].text.to_owned());
                }
                continue;
            }
        }
        kept.push(tokens[at]);
        at += 1;
    }
    (kept, test_modules)
}

/// The place behind the end of an item that may have further attributes.
fn item(tokens: &[Token<'_>], mut at: usize) -> usize {
    let mut angles = 0_i32;
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at + 1,
            "{" => return closing(tokens, at),
            "(" | "[" => at = closing(tokens, at),
            // A field, a variant or an argument ends here.
            ")" | "]" | "}" => break,
            "," if angles <= 0 => break,
            text => {
                angles += i32::from(text == "<") - i32::from(text == ">");
                at += 1;
            }
        }
    }
    at
}

/// The place behind the bracket that closes the one at `at`.
fn closing(tokens: &[Token<'_>], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < tokens.len() {
        match tokens[at].text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Words and punctuation; neither comments nor literals.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let blank = blank(rest);
        let length = match blank {
            Some(length) => length,
            None if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            None if ["::", "->", "=>"].iter().any(|sign| rest.starts_with(sign)) => 2,
            None => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        if blank.is_none() {
            tokens.push(Token { text: token, line });
        }
        line += token.matches('\n').count();
        rest = behind;
    }
    tokens
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of the white space, comment, lifetime or literal that `rest` begins with.
fn blank(rest: &str) -> Option<usize> {
    let end = |found: Option<usize>| Some(found.unwrap_or(rest.len()));
    let mut characters = rest.chars();
    match characters.next()? {
        c if c.is_whitespace() => end(rest.find(|c: char| !c.is_whitespace())),
        '/' if rest.starts_with("//") => end(rest.find('\n')),
        '/' if rest.starts_with("/*") => {
            let mut depth = 0_usize;
            let mut at = 0;
            loop {
                match rest.as_bytes().get(at..at + 2) {
                    None => return Some(rest.len()),
                    Some(b"/*") => (depth, at) = (depth + 1, at + 2),
                    Some(b"*/") => (depth, at) = (depth - 1, at + 2),
                    Some(_) => at += 1,
                }
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        '"' => Some(quoted(rest, '"')),
        '\'' => match (characters.next()?, characters.next()) {
            ('\\', _) | (_, Some('\'')) => Some(quoted(rest, '\'')),
            _ => end(rest[1..].find(|c| !is_word(c)).map(|length| length + 1)),
        },
        'r' | 'b' | 'c' => {
            let raw = ["r", "br", "cr"]
                .iter()
                .find_map(|prefix| rest.strip_prefix(prefix))?;
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            let body = raw[hashes..].strip_prefix('"')?;
            let fence = format!("\"{}", "#".repeat(hashes));
            end(body
                .find(&fence)
                .map(|at| rest.len() - body.len() + at + fence.len()))
        }
        _ => None,
    }
}

/// The length of a literal between two quotes, escapes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    rest.len()
}
