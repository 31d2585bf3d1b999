//! API, provider and database are killed at random while clients retry, and the books balance.

use std::env;
use std::env::temp_dir;
use std::fs;
use std::process;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::servers::{Port, Server};
use crate::support::program;

/// Where `KILLS` does not say otherwise.
const KILLS: &str = "100";

/// Longer than a kill takes, with what it takes to come back.
const A_KILL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn the_books_balance_after_kills_at_random() {
    let kills = env::var("KILLS").unwrap_or_else(|_| KILLS.to_owned());
    let patience = Duration::from_secs(120) + kills.parse::<u32>().unwrap() * A_KILL;
    let server = Server::start().await;
    let charges = temp_dir().join(format!("ledger-storm-{}.jsonl", process::id()));
    let ports = [Port::free(), Port::free()];
    let [api, provider] = ports
        .each_ref()
        .map(|port| format!("127.0.0.1:{}", port.number()));
    let (url, data) = (server.url(), server.data());
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_FOLDER", data.to_str().unwrap()),
        ("PROVIDER_FILE", charges.to_str().unwrap()),
        ("ADDR", &api),
        ("PROVIDER_ADDR", &provider),
        ("LEASE_SECS", "1"),
        ("KILLS", &kills),
        // Where `kill` is.
        ("PATH", &env::var("PATH").unwrap()),
    ];
    let migrated = program("ledger", &environment)
        .arg("migrate")
        .output()
        .await;
    assert!(migrated.unwrap().status.success());

    let mut storm = program("ledger", &environment);
    let storm = timeout(patience, storm.arg("storm").output());
    // Somebody has to start it again.
    let again = async {
        loop {
            if !server.is_running() {
                server.restart().await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let storm = tokio::select! {
        storm = storm => storm.expect("it takes too long").unwrap(),
        () = again => unreachable!(),
    };

    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&storm.stdout),
        String::from_utf8_lossy(&storm.stderr)
    );
    assert!(
        storm.status.success(),
        "{said}{}",
        fs::read_to_string(charges.with_extension("log")).unwrap()
    );
    assert!(said.contains("the books balance"), "{said}");
    assert!(
        !said.contains("an attempt that was lost: 0"),
        "nothing was hit: {said}"
    );
    for file in [&charges, &charges.with_extension("log")] {
        fs::remove_file(file).unwrap();
    }
}
