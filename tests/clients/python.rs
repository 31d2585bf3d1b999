//! The programs under `tests/python`.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::support::within;

/// Runs a program with these arguments and returns the line of JSON that it prints.
pub(crate) async fn python(program: &str, arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(interpreter(root))
        // Isolated, so that only what is installed for the tests is imported.
        .arg("-I")
        .arg(root.join("tests/python").join(program))
        .args(arguments)
        // No proxy and nobody's settings; what a client likes to keep goes beside the tests.
        .env_clear()
        .env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
        .kill_on_drop(true)
        .output();
    let output = within(output).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn interpreter(root: &Path) -> OsString {
    if let Some(interpreter) = env::var_os("TEST_PYTHON") {
        return interpreter;
    }
    let interpreter = root.join("target/python/bin/python3");
    assert!(
        interpreter.exists(),
        "{} is missing: run bash tests/run.sh, which installs it",
        interpreter.display()
    );
    interpreter.into()
}
