//! What valgrind's callgrind counts of a program.

use std::path::Path;
use std::process::Command;
use std::{env, fs, process};

#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

pub(crate) fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

/// Runs a program, and counts instructions while one of its functions runs, but for those of functions with `without` in
/// their names, and all calls of the allocator.
pub(crate) fn counted(function: &str, program: &Path, arguments: &[&str], without: &str) -> Counts {
    let file = env::temp_dir().join(format!("callgrind.{}", process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "valgrind has failed:\n{told}");
    let profile = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    sum(&profile, without)
}

/// In a profile a `fn=` line is followed by lines of its own costs; a `calls=` line says how often it has called what
/// the `cfn=` line before names, and is followed by the costs of that, which that has told itself.
fn sum(profile: &str, without: &str) -> Counts {
    const ALLOCATOR: [&str; 3] = ["malloc", "calloc", "realloc"];
    let (mut function, mut called) = ("", "");
    let (mut instructions, mut allocations) = (0, 0);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if ALLOCATOR.contains(&called) && !ALLOCATOR.contains(&function) {
                allocations += number(calls.split(' ').next());
            }
            lines.next();
        } else if line.starts_with(|first: char| first.is_ascii_digit())
            && !function.contains(without)
        {
            instructions += number(line.split(' ').nth(1));
        }
    }
    Counts {
        instructions: instructions as f64,
        allocations: allocations as f64,
    }
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap()
}
