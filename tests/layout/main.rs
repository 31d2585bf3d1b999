//! Imports point down the levels of the crate, or sideways without a cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use scan::{Import, Modules, Source, module, scan};

mod scan;
mod tokens;

/// The modules by level, lowest first: paths under `src/` without `.rs`. A row covers a file and
/// everything in the folder of its name.
const LEVELS: &[&str] = &[
    "body bounds canonical clock cors drive entrusted fingerprint grpc keeper key lines lock pause pointer quoted shield snapshot store/error",
    "endpoint error event key_policy lease on_lost policy refusal store/claim store/statement",
    "config form framing parameters scope source store/polling store/traits store/wire",
    "answer capture claiming context future giving_back guard identify reconcile renewals run store/boxed store/cached store/chaos store/encrypted store/memory store/postgres store/redis store/sqlite unowned upload waiting",
    "conformance exchange step transaction",
    "service",
    "knobs layer limits",
    "fuzzing",
];

/// Modules that only declare and re-export others. They import what they like; nobody inside
/// imports from them.
const FACADES: &[&str] = &["lib", "store/mod"];

#[test]
fn imports_point_down_the_levels() {
    let (modules, imports) = scan(&sources());

    let violations = violations(&table(LEVELS), &modules, &imports);

    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn a_module_that_loses_its_row_is_noticed() {
    let (modules, imports) = scan(&sources());

    for row in table(LEVELS).keys() {
        let mut mutated = table(LEVELS);
        mutated.remove(row);

        let violations = violations(&mutated, &modules, &imports);

        assert!(!violations.is_empty(), "nothing fails without {row}");
    }
}

#[test]
fn a_module_that_is_put_above_its_importers_is_noticed() {
    let (modules, imports) = scan(&sources());
    let table = table(LEVELS);
    let imported = imports
        .iter()
        .map(|import| (row(&table, &import.from), row(&table, &import.to)))
        .filter_map(|(from, to)| from.and(to).filter(|_| from != to))
        .collect::<BTreeSet<_>>();
    assert!(!imported.is_empty());

    for row in imported {
        let mut mutated = table.clone();
        mutated.insert(row.to_owned(), LEVELS.len());

        let violations = violations(&mutated, &modules, &imports);

        assert!(!violations.is_empty(), "nothing fails with {row} on top");
    }
}

#[test]
fn an_import_that_points_up_is_named_with_its_line() {
    let files = [
        ("low.rs", "\nuse crate::high::H;"),
        ("high.rs", "use crate::low::L;"),
    ];

    assert_eq!(
        violations_of(&["low", "high"], &files),
        ["src/low.rs:2: `low` (level 0) imports `high` (level 1)"]
    );
}

#[test]
fn a_cycle_within_a_level_is_named_by_each_of_its_imports() {
    let files = [
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::c::C;"),
        ("c.rs", "use super::a::A;"),
        ("d.rs", "use crate::a::A;"),
    ];

    assert_eq!(
        violations_of(&["a b c d"], &files),
        [
            "src/a.rs:1: `a` imports `b`, which leads back to `a`",
            "src/b.rs:1: `b` imports `c`, which leads back to `b`",
            "src/c.rs:1: `c` imports `a`, which leads back to `c`",
        ]
    );
}

#[test]
fn a_folder_belongs_to_its_row_and_may_import_within_it() {
    let files = [
        ("a/mod.rs", "use part::P; use crate::key::K;"),
        ("a/part.rs", "use super::A; use super::super::b::B;"),
        ("b.rs", "use crate::a::part::P;"),
        ("key.rs", ""),
    ];

    assert_eq!(
        violations_of(&["key a", "b"], &files),
        ["src/a/part.rs:1: `a` (level 0) imports `b` (level 1)"]
    );
}

#[test]
fn an_import_from_a_facade_is_named() {
    let files = [(
        "a.rs",
        "use crate::Layer;\nuse crate::store::Store;\nuse crate::store::x::X;",
    )];

    assert_eq!(
        violations_of(
            &["store/x", "a"],
            &[&files[..], &[("store/x.rs", "")]].concat()
        ),
        [
            "src/a.rs:1: `a` imports from the facade `lib`: name the module that defines it",
            "src/a.rs:2: `a` imports from the facade `store/mod`: name the module that defines it",
        ]
    );
}

#[test]
fn a_module_without_a_row_and_a_row_without_a_module_are_named() {
    assert_eq!(
        violations_of(&["gone"], &[("store/new.rs", "")]),
        [
            "src/store/new.rs: its level is not in the table",
            "the table lists `gone`, but there is no such module under src/",
        ]
    );
}

/// What is wrong with these files beside empty facades.
fn violations_of(levels: &[&str], files: &[(&str, &str)]) -> Vec<String> {
    let facades = FACADES
        .iter()
        .map(|facade| (format!("{facade}.rs"), String::new()));
    let files = files
        .iter()
        .map(|&(file, text)| (file.to_owned(), text.to_owned()));
    let sources = facades
        .chain(files)
        .map(|(file, text)| Source { file, text });
    let (modules, imports) = scan(&sources.collect::<Vec<_>>());
    violations(&table(levels), &modules, &imports)
}

/// Rows and their levels.
type Table = BTreeMap<String, usize>;

fn table(levels: &[&str]) -> Table {
    let mut table = Table::new();
    for (level, rows) in levels.iter().enumerate() {
        for row in rows.split_whitespace() {
            assert_eq!(
                table.insert(row.to_owned(), level),
                None,
                "{row} is listed twice"
            );
        }
    }
    table
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder under src/ can be listed") {
            let path = entry.expect("an entry under src/ can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).expect("it was found under src/");
                let file = file.to_string_lossy().replace('\\', "/");
                let text = fs::read_to_string(&path).expect("a source file is UTF-8 text");
                sources.push(Source { file, text });
            }
        }
    }
    sources
}

/// What is wrong by this table, one line each.
fn violations(table: &Table, modules: &Modules, imports: &[Import]) -> Vec<String> {
    let facades = FACADES
        .iter()
        .map(|&facade| (module(facade), facade))
        .collect::<BTreeMap<_, _>>();
    let mut violations = Vec::new();

    for (module, file) in modules {
        if !facades.contains_key(module) && row(table, module).is_none() {
            violations.push(format!("src/{file}: its level is not in the table"));
        }
    }
    let listed = table.keys().map(|row| (row, row.as_str()));
    for (module, row) in listed.chain(facades.iter().map(|(module, &facade)| (module, facade))) {
        if !modules.contains_key(module) {
            violations.push(format!(
                "the table lists `{row}`, but there is no such module under src/"
            ));
        }
    }

    let mut sideways = Vec::new();
    for Import { from, to, place } in imports {
        if facades.contains_key(from) {
            continue;
        }
        if let Some(facade) = facades.get(to) {
            violations.push(format!(
                "{place}: `{from}` imports from the facade `{facade}`: name the module that defines it"
            ));
            continue;
        }
        let (Some(from), Some(to)) = (row(table, from), row(table, to)) else {
            continue;
        };
        let (low, high) = (table[from], table[to]);
        if low < high {
            violations.push(format!(
                "{place}: `{from}` (level {low}) imports `{to}` (level {high})"
            ));
        } else if low == high && from != to {
            sideways.push((from, to, place));
        }
    }
    for (from, to, place) in &sideways {
        if leads(&sideways, to, from) {
            violations.push(format!(
                "{place}: `{from}` imports `{to}`, which leads back to `{from}`"
            ));
        }
    }
    violations
}

/// The row that covers a module: its own or that of the nearest folder around it.
fn row<'a>(table: &'a Table, module: &str) -> Option<&'a str> {
    let mut covering = module;
    loop {
        if let Some((row, _)) = table.get_key_value(covering) {
            return Some(row);
        }
        covering = covering.rsplit_once('/')?.0;
    }
}

/// Whether these imports lead from one row to another.
fn leads(imports: &[(&str, &str, &String)], from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(row) = open.pop() {
        if row == to {
            return true;
        }
        if seen.insert(row) {
            open.extend(
                imports
                    .iter()
                    .filter(|import| import.0 == row)
                    .map(|import| import.1),
            );
        }
    }
    false
}
