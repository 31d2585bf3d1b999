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

/// Runs a program, and counts while one of its functions runs: calls of the allocator, and instructions but for its own
/// and those of functions with `without` in their names. What the allocator has to do depends on what it finds free, and
/// with that on the secrets that maps draw.
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
    const ALLOCATOR: [&str; 4] = ["malloc", "calloc", "realloc", "free"];
    let (mut function, mut called) = ("", "");
    let (mut instructions, mut of_allocator, mut allocations) = (0, 0, 0);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let cost = lines.next().unwrap();
            if ALLOCATOR.contains(&called) && !ALLOCATOR.contains(&function) {
                of_allocator += number(cost.split(' ').nth(1));
                if called != "free" {
                    allocations += number(calls.split(' ').next());
                }
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit())
            && !function.contains(without)
        {
            instructions += number(line.split(' ').nth(1));
        }
    }
    Counts {
        instructions: (instructions - of_allocator) as f64,
        allocations: allocations as f64,
    }
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap()
}
