//! The same form by an independent implementation, which runs in the Python environment of the tests.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::documents::{Dice, pointer, wild_documents};
use super::*;

const CASES: u64 = 4_000;

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn the_form_is_that_of_an_independent_implementation() {
    let cases = cases();

    let theirs = python(&cases);

    let mut forms = 0;
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = canonical(
            case["body"].as_str().unwrap().as_bytes(),
            &pointers(&case["include"]),
            &pointers(&case["exclude"]),
        );
        let ours = ours.map(|form| String::from_utf8(form).unwrap());
        assert_eq!(ours.as_deref(), theirs.as_str(), "{case}");
        forms += u64::from(ours.is_some());
    }
    assert_eq!(theirs.len(), cases.len());
    assert!(
        (CASES / 2..CASES * 9 / 10).contains(&forms),
        "{forms} forms"
    );
}

fn cases() -> Vec<Value> {
    let mut runner = TestRunner::default();
    let documents = wild_documents();
    let mut case = |seed| {
        let mut dice = Dice(seed);
        let document = documents.new_tree(&mut runner).unwrap().current();
        let mut body = document.write(&mut dice);
        let mut some = |one_in| {
            let way = document.way(&mut dice);
            let wanted = dice.below(one_in) == 0 && !way.is_empty();
            wanted
                .then(|| pointer(&way))
                .into_iter()
                .collect::<Vec<_>>()
        };
        let include = [some(4), some(4), some(40)].concat();
        let exclude = [some(3), some(3)].concat();
        match dice.below(40) {
            0 => body = format!("{{\"a\":1,\"b\":{body},\"\\u0061\":2}}"),
            1 => body = format!("{{\"\\ud83d\":{body}}}"),
            2 => body = format!("[\"\\ud83d\\u0041\",{body}]"),
            3 => body = format!("{}{body}{}", "[".repeat(121), "]".repeat(121)),
            4 => {
                let at = body
                    .char_indices()
                    .nth(dice.below(body.chars().count()))
                    .unwrap()
                    .0;
                body.remove(at);
            }
            _ => {}
        }
        json!({ "body": body, "include": include, "exclude": exclude })
    };
    (0..CASES).map(&mut case).collect()
}

fn pointers(pointers: &Value) -> Vec<Pointer> {
    let pointers = pointers.as_array().unwrap().iter();
    pointers
        .map(|pointer| Pointer::parse(pointer.as_str().unwrap()).unwrap())
        .collect()
}

/// Its answers.
fn python(cases: &[Value]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = env::var_os("TEST_PYTHON")
        .map_or_else(|| root.join("target/python/bin/python3"), PathBuf::from);
    let mut child = Command::new(&python)
        .arg(root.join("tests/python/canonical.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            let python = python.display();
            panic!("{python}: {error}: run bash tests/run.sh, which installs it")
        });
    let mut stdin = child.stdin.take().unwrap();
    let lines = cases
        .iter()
        .map(|case| format!("{case}\n"))
        .collect::<String>();
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let status = output.status;
    assert!(
        status.success(),
        "canonical.py: {status}: run bash tests/run.sh, which installs what it needs"
    );
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
