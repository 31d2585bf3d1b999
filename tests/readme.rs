//! What the README and the page of guarantees say is there.

use std::fs;
use std::path::{Path, PathBuf};

/// The words between back-ticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The files of a folder and of those in it, with their text.
fn files_of(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the tests can be listed") {
        let path = entry.expect("an entry of it can be read").path();
        if path.is_dir() {
            files.append(&mut files_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a test file is UTF-8 text");
            files.push((path, text));
        }
    }
    files
}

/// Whether a file is that of a module, by the last name on the way to it.
fn is_of(path: &Path, module: &str) -> bool {
    let (_, name) = module.rsplit_once("::").unwrap_or(("", module));
    let path = path.with_extension("");
    let path = path
        .strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap_or(&path);
    name == "tests" || path.iter().any(|part| part == name)
}

/// Finds every test that the tables of this text name; there are at least so many.
fn finds_the_tests_of(text: &str, at_least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_of(&root.join("tests"));
    files.append(&mut files_of(&root.join("src")));

    let named: Vec<_> = code_spans(text)
        .filter_map(|span| span.rsplit_once("::"))
        .filter(|(module, _)| {
            module
                .chars()
                .all(|char| char.is_ascii_lowercase() || "_:".contains(char))
        })
        .collect();

    assert!(
        named.len() >= at_least,
        "the tables name a test in every row: {named:?}"
    );
    for (module, test) in named {
        let test = format!("fn {test}(");
        let is_there = files
            .iter()
            .any(|(path, text)| is_of(path, module) && text.contains(&test));
        assert!(is_there, "{module} has no {test}");
    }
}

#[test]
fn every_test_that_its_tables_name_exists() {
    finds_the_tests_of(include_str!("../README.md"), 70);
}

#[test]
fn every_guarantee_names_a_test_that_exists() {
    finds_the_tests_of(include_str!("../src/guarantees.md"), 30);
}
