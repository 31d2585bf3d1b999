//! Who ends a server when its test cannot.

use std::env::temp_dir;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// A directory, a server that runs in it, and the shell that keeps both.
///
/// The shell is the parent of the server and ends it when its standard input is closed: by `Drop`, or by the system
/// when the process of the tests ends, killed or not, with statics that are never dropped. It is in a process group of
/// its own, so that what ends the tests from a terminal does not end it before it has done so.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Child,
    folder: PathBuf,
    /// The process that was started, until it is killed.
    server: Mutex<Option<u32>>,
    /// `None` once it is told to end.
    lines: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Keeper {
    /// Makes a directory for this program, which runs there when it is started.
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        Self::asking("", program, arguments)
    }

    /// The same for a program that is sent a signal, by its name without SIG, before it is killed at the end.
    pub(crate) fn asking(signal: &str, program: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", include_str!("keeper.sh"), "sh"]);
        shell.arg(temp_dir()).arg(program).args(arguments);
        shell.env("KEEPER_ASKS", signal);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.process_group(0).spawn().unwrap();
        let mut lines = (
            shell.stdin.take().unwrap(),
            BufReader::new(shell.stdout.take().unwrap()),
        );
        let folder = PathBuf::from(line(&mut lines.1));
        assert!(folder.is_dir(), "no directory can be made");
        Self {
            shell,
            folder,
            server: Mutex::default(),
            lines: Mutex::new(Some(lines)),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server has said since the first start.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Starts the program; its process id, or `None` where there is no such program.
    pub(crate) fn start(&self) -> Option<u32> {
        let id = self.ask("start").parse().ok();
        *self.server.lock().unwrap() = id;
        id
    }

    /// The process that was started, until it is killed.
    pub(crate) fn id(&self) -> Option<u32> {
        *self.server.lock().unwrap()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.ask("running") == "yes"
    }

    /// SIGKILL, and waits until it is gone. The directory stays.
    pub(crate) fn kill(&self) {
        self.ask("KILL");
        *self.server.lock().unwrap() = None;
    }

    /// Sends a signal by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        self.ask(name);
    }

    /// Whether a SIGSTOP has come to effect, where the system tells; elsewhere it is taken to be quick.
    pub(crate) fn has_stopped(&self) -> bool {
        let id = self.id().expect("it is up");
        fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| stat.contains(") T "))
    }

    fn ask(&self, verb: &str) -> String {
        let mut lines = self.lines.lock().unwrap();
        let (stdin, stdout) = lines.as_mut().expect("it is dropped last");
        writeln!(stdin, "{verb}").unwrap();
        line(stdout)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let lines = self.lines.get_mut();
        *lines.unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
        // Nothing can be done about an error here.
        let _ = self.shell.wait();
    }
}

fn line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
