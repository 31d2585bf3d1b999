//! Certificates that nobody else trusts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const REQUEST: &str = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
const EXTENSIONS: &str = "\
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// Makes `ca.crt`, and `server.crt` with `server.key` for this machine by its name and its address.
/// Gives the certificate of the authority, as PEM.
pub(crate) fn make(folder: &Path) -> Vec<u8> {
    fs::write(folder.join("extensions"), EXTENSIONS).unwrap();
    let authority = "-x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.crt";
    let server = "-subj /CN=server -keyout server.key -out server.csr";
    let sign = "openssl x509 -req -days 2 -in server.csr -out server.crt -extfile extensions";
    let signer = "-CA ca.crt -CAkey ca.key -CAcreateserial";
    run(folder, &format!("{REQUEST} {authority}"));
    run(folder, &format!("{REQUEST} {server}"));
    run(folder, &format!("{sign} {signer}"));
    fs::read(folder.join("ca.crt")).unwrap()
}

fn run(folder: &Path, line: &str) {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let mut openssl = Command::new(program);
    openssl.args(words).current_dir(folder).stdin(Stdio::null());
    let output = openssl.output().unwrap_or_else(|error| {
        panic!(
            "{program}: {error}. Install it: apt-get install openssl, or bash tests/run.sh does it"
        )
    });
    assert!(output.status.success(), "{line}: {output:?}");
}
