//! A test that is run once more, in a process and a world of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const DIRECTORY: &str = "SQLITE_TEST_DIRECTORY";

/// In the second run the directory that the first one has prepared.
pub(crate) fn directory() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Runs a test once more under a command, which gets the program and its arguments; it has to pass there.
#[track_caller]
pub(crate) fn under(command: &[&str], test: &str, directory: &Path) {
    let program = env::current_exe().unwrap();
    let (first, more) = command.split_first().unwrap();
    let output = Command::new(first)
        .args(more)
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, directory)
        .output()
        .unwrap_or_else(|error| panic!("{first} cannot be run: {error}"));
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{test} under {command:?}: {}\n{out}\n{err}",
        output.status
    );
}
