//! Which module names which: reads the sources as tokens, without a parser.

use std::collections::BTreeMap;

use crate::tokens::{Token, code, is_word};

/// One file under `src/`.
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// One path in one module that names something of another.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    /// `file:line`.
    pub(crate) place: String,
}

/// Modules and their files. A module is named as in `crate::..`, with `/` between its segments; the
/// root is empty.
pub(crate) type Modules = BTreeMap<String, String>;

/// The modules that have a file and what they import. Comments, literals and what only tests see
/// do not count.
pub(crate) fn scan(sources: &[Source]) -> (Modules, Vec<Import>) {
    let mut modules = Modules::new();
    let mut test_modules = Vec::new();
    let mut codes = Vec::new();
    for source in sources {
        let module = module(&source.file);
        let (tokens, test_only) = code(&source.text);
        test_modules.extend(test_only.iter().map(|name| join(&module, name)));
        codes.push((module.clone(), tokens));
        modules.insert(module, source.file.clone());
    }
    for test in test_modules {
        modules.retain(|module, _| *module != test && !module.starts_with(&format!("{test}/")));
    }

    let mut imports = Vec::new();
    for (from, tokens) in codes {
        let Some(file) = modules.get(&from) else {
            continue;
        };
        for (mut path, line) in paths(&from, &tokens, &modules) {
            // The module is the longest part of the path that has a file.
            while !path.is_empty() && !modules.contains_key(&path.join("/")) {
                path.pop();
            }
            let to = path.join("/");
            if to != from {
                imports.push(Import {
                    from: from.clone(),
                    to,
                    place: format!("src/{file}:{line}"),
                });
            }
        }
    }
    (modules, imports)
}

/// The module of a file below `src/`.
pub(crate) fn module(file: &str) -> String {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" {
        String::new()
    } else {
        stem.to_owned()
    }
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() {
        name.to_owned()
    } else {
        format!("{module}/{name}")
    }
}

/// A path from the crate root, and its line.
type PathAt = (Vec<String>, usize);

/// The paths in `tokens` that begin at `crate`, `self`, `super` or a child module, as seen from the
/// crate root.
fn paths(module: &str, tokens: &[Token<'_>], modules: &Modules) -> Vec<PathAt> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let back = |at: usize, by: usize| at.checked_sub(by).map_or("", text);
    let mut here = module
        .split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect::<Vec<_>>();
    // For every open brace, whether it is the body of an inline module.
    let mut braces = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (word, previous) = (text(at), back(at, 1));
        if word == "{" {
            let inline = back(at, 2) == "mod";
            if inline {
                here.push(previous.to_owned());
            }
            braces.push(inline);
        } else if word == "}" && braces.pop() == Some(true) {
            here.pop();
        }

        // `$crate` is resolved where the macro is used, `pub(in ..)` imports nothing.
        let visibility = previous == "in" && back(at, 2) == "(";
        if text(at + 1) == "::" && !matches!(previous, "::" | "." | "$") && !visibility {
            let start = match word {
                "crate" => Some(Vec::new()),
                "self" => Some(here.clone()),
                "super" => Some(here[..here.len().saturating_sub(1)].to_vec()),
                child if modules.contains_key(&join(&here.join("/"), child)) => {
                    Some([here.as_slice(), &[child.to_owned()]].concat())
                }
                _ => None,
            };
            if let Some(start) = start {
                at = path(tokens, at + 1, start, &mut found);
                continue;
            }
        }
        at += 1;
    }
    found
}

/// Reads on from a `::` or the end of a path; returns the place behind it.
fn path(
    tokens: &[Token<'_>],
    mut at: usize,
    mut segments: Vec<String>,
    found: &mut Vec<PathAt>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let line = tokens[at - 1].line;
    while text(at) == "::" {
        at += 1;
        match text(at) {
            "{" => return group(tokens, at + 1, &segments, found),
            "super" => drop(segments.pop()),
            name if name.starts_with(is_word) => segments.push(name.to_owned()),
            "*" => {
                at += 1;
                break;
            }
            // The generic arguments of the last segment.
            _ => break,
        }
        at += 1;
    }
    found.push((segments, line));
    at
}

/// Reads the members of a `use` group up to its `}`; returns the place behind it.
fn group(tokens: &[Token<'_>], mut at: usize, parent: &[String], found: &mut Vec<PathAt>) -> usize {
    while at < tokens.len() && tokens[at].text != "}" {
        match tokens[at].text {
            "," => at += 1,
            "as" => at += 2,
            "self" | "*" => {
                found.push((parent.to_vec(), tokens[at].line));
                at += 1;
            }
            name => {
                let segments = [parent, &[name.to_owned()]].concat();
                at = path(tokens, at + 1, segments, found);
            }
        }
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::{Source, scan};

    /// `from -> to at line`, for every import of these files.
    fn imports<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
        let sources = files.map(|(file, text)| Source {
            file: file.into(),
            text: text.into(),
        });
        let (_, imports) = scan(&sources);
        imports
            .iter()
            .map(|import| {
                let (_, line) = import.place.rsplit_once(':').unwrap();
                format!("{} -> {} at {line}", import.from, import.to)
            })
            .collect()
    }

    /// The imports of `store/a.rs` beside a few other modules.
    fn imports_of_a(text: &str) -> Vec<String> {
        imports([
            ("lib.rs", ""),
            ("key.rs", ""),
            ("error.rs", ""),
            ("store/mod.rs", ""),
            ("store/a.rs", text),
            ("store/b.rs", ""),
            ("store/a/part.rs", ""),
        ])
        .iter()
        .map(|import| import.strip_prefix("store/a -> ").unwrap().to_owned())
        .collect()
    }

    #[test]
    fn paths_from_the_root_are_found_in_imports_and_in_code() {
        let text = "use crate::key::Key;\nfn f() -> crate::error::E<crate::key::K> {\n\
                    for x in crate::store::b::all::<u8>() {}\n<crate::key::K as T>::g() }";

        assert_eq!(
            imports_of_a(text),
            [
                "key at 1",
                "error at 2",
                "key at 2",
                "store/b at 3",
                "key at 4"
            ]
        );
    }

    #[test]
    fn groups_are_found_over_lines_and_nested() {
        let text = "use crate::{\n  error::{self, E as F},\n  store::{\n    b::*,\n  },\n};\n\
                    use {\n  crate::key, super::b,\n};";

        assert_eq!(
            imports_of_a(text),
            [
                "error at 2",
                "error at 2",
                "store/b at 4",
                "key at 8",
                "store/b at 8"
            ]
        );
    }

    #[test]
    fn super_and_self_are_resolved_from_the_module_around_them() {
        let text = "use super::b::B; use super::super::key::K; use self::part::P; use part::Q;\n\
                    mod inner { use super::X; use super::super::b::B; }\nuse super::b::C;";

        assert_eq!(
            imports_of_a(text),
            [
                "store/b at 1",
                "key at 1",
                "store/a/part at 1",
                "store/a/part at 1",
                "store/b at 2",
                "store/b at 3"
            ]
        );
    }

    #[test]
    fn what_only_a_facade_could_mean_is_an_import_from_it() {
        let text = "use super::Store; use crate::Layer; use super::*; use crate::store::{self};";

        assert_eq!(
            imports_of_a(text),
            ["store at 1", " at 1", "store at 1", "store at 1"]
        );
    }

    #[test]
    fn visibilities_and_exported_macro_paths_are_no_imports() {
        let text = "pub(crate) fn f() {}\npub(in crate::store) struct S;\npub(super) fn g() {}\n\
                    macro_rules! m { () => { $crate::key::K } }";

        assert!(imports_of_a(text).is_empty());
    }

    #[test]
    fn comments_and_literals_are_no_imports() {
        let text = "//! crate::key::K\n/// [`crate::key::K`]\n/* crate::key /* { */ crate::key */\n\
                    const A: &str = \"crate::key \\\" crate::key {\";\n\
                    const B: &str = r#\"crate::key \" crate::key\"#;\n\
                    const C: [char; 3] = ['{', '\\'', '\"'];\n\
                    fn f<'a>(x: &'a str) -> crate::error::E<'a> { br\"\\\"; b'\\\\'; }\n\
                    mod inner { use super::super::b; }";

        assert_eq!(imports_of_a(text), ["error at 7", "store/b at 8"]);
    }

    #[test]
    fn test_items_are_no_imports_and_what_follows_them_is() {
        let text = "#[cfg(test)]\nuse crate::key::{A, B};\n\
                    #[cfg(all(test, feature = \"x\"))]\n#[expect(dead_code)]\n\
                    impl<A, B> F<A, [B; 2]> for G { fn f() { crate::key::f() } }\n\
                    struct S { #[cfg(test)] x: crate::key::K, y: crate::error::E }\n\
                    #[cfg(not(test))] use crate::store::b::B;\n\
                    #[cfg(test)] mod tests { use crate::key::K; }\nuse crate::error::E;";

        assert_eq!(
            imports_of_a(text),
            ["error at 6", "store/b at 7", "error at 9"]
        );
    }

    #[test]
    fn test_modules_with_files_of_their_own_are_no_modules() {
        let files = [
            ("a.rs", "#[cfg(test)]\npub(crate) mod tests;"),
            ("a/tests.rs", "use crate::b::B;"),
        ];

        assert!(imports(files).is_empty());
    }
}
