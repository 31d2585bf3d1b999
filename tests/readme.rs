//! What the README says is there.

use std::fs;
use std::path::Path;

/// The words between back-ticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn tests_of(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("the folder of the tests can be listed") {
        let path = entry.expect("an entry of it can be read").path();
        if path.is_dir() {
            text += &tests_of(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).expect("a test file is UTF-8 text");
        }
    }
    text
}

#[test]
fn every_test_that_its_tables_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = tests_of(&root.join("tests")) + &tests_of(&root.join("src"));
    let readme = include_str!("../README.md");

    let named: Vec<_> = code_spans(readme)
        .filter_map(|span| span.rsplit_once("::"))
        .filter(|(module, _)| {
            module
                .chars()
                .all(|char| char.is_ascii_lowercase() || "_:".contains(char))
        })
        .map(|(_, test)| test)
        .collect();

    assert!(
        named.len() >= 60,
        "the tables name a test in every row: {named:?}"
    );
    for test in named {
        assert!(
            tests.contains(&format!("fn {test}(")),
            "no test is named {test}"
        );
    }
}
