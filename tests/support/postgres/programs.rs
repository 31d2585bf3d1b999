//! Where the programs of PostgreSQL are, and who runs them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const INSTALL: &str =
    "Install it: apt-get install postgresql pgbouncer, or bash tests/run.sh does it";

/// The path of a program: on PATH, or where the packages put it, the latest version first.
pub(crate) fn path_of(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path)
        .chain(configured())
        .chain(packaged());
    let mut found = folders
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(name));
    found
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed. {INSTALL}"))
}

fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(folder.trim_end().into())
}

fn packaged() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions = versions
        .filter_map(|version| version.ok()?.file_name().into_string().ok()?.parse().ok())
        .collect::<Vec<u32>>();
    versions.sort_unstable();
    let folder = |version| format!("/usr/lib/postgresql/{version}/bin").into();
    versions.into_iter().rev().map(folder).collect()
}

/// Whether the files of this process are those of root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The program and its arguments, as a user who is not root.
pub(crate) fn unprivileged(program: &Path, arguments: &[&str]) -> Vec<String> {
    let setpriv: &[&str] = match is_root() {
        true => &[
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
        ],
        false => &[],
    };
    let program = program.to_str().expect("paths of programs are texts");
    let words = setpriv.iter().chain([&program]).chain(arguments);
    words.map(|word| (*word).to_owned()).collect()
}

/// The same, with a disk of this size as the folder `small`: in a namespace of its own, which takes no rights where the
/// kernel allows that to everybody.
pub(crate) fn on_small_disk(size: &str, words: Vec<String>) -> Vec<String> {
    let (unshare, owner): (&[&str], &str) = match is_root() {
        true => (&["unshare", "--mount"], "postgres"),
        false => (
            &["unshare", "--map-current-user", "--keep-caps", "--mount"],
            "",
        ),
    };
    let mount = "mkdir -p small && mount -t tmpfs -o size=$0 tmpfs small\n\
        [ -z \"$1\" ] || chown \"$1\" small\nshift\nexec \"$@\"";
    let shell = ["sh", "-ec", mount, size, owner];
    let before = unshare.iter().chain(&shell).map(|word| (*word).to_owned());
    before.chain(words).collect()
}

/// Gives a folder to the user who runs the programs.
pub(crate) fn give_away(folder: &Path) {
    if is_root() {
        run(&[
            "chown".to_owned(),
            "postgres:postgres".to_owned(),
            text(folder),
        ]);
    }
}

/// Runs it to its end.
pub(crate) fn run(words: &[String]) {
    let output = Command::new(&words[0])
        .args(&words[1..])
        .current_dir("/")
        .output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}. {INSTALL}", words[0]));
    assert!(output.status.success(), "{words:?}: {output:?}");
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are texts").to_owned()
}
