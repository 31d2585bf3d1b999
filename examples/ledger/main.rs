//! A payment API on PostgreSQL: accounts, transfers between them, and payments by a provider that can be slow, fail, or
//! charge and never say so. The page to copy from:
//!
//! * `transfers.rs`: what happens in one database happens in one transaction, the record of the request included;
//! * `payments.rs`: what happens elsewhere is a step, called by a key of its own, and its end is such a transaction;
//! * `serve.rs`: how the layer is set.
//!
//! ```text
//! bash examples/ledger/run.sh              # a private PostgreSQL, the provider and the API, and what to ask them
//! KILLS=500 bash examples/ledger/storm.sh  # kills all three at random while clients retry, and prints the books
//! ```
//!
//! One program, several parts:
//!
//! ```text
//! ledger migrate     makes the tables, those of the records too
//! ledger serve       the API
//! ledger provider    the payment provider
//! ledger books       prints the books; status 1 where they do not balance
//! ledger storm       API and provider, clients that retry, and those who kill
//! ```
//!
//! Environment: `DATABASE_URL` (postgres://…), `ADDR` (127.0.0.1:3000), `PROVIDER_ADDR` (127.0.0.1:3001),
//! `PROVIDER_FILE` (where the provider keeps its charges; ledger-provider.jsonl), `LEASE_SECS` (30); of the storm, which
//! wants empty tables, `DATABASE_FOLDER` (the data directory, whose `postmaster.pid` says whom to kill), `KILLS` (100)
//! and `SEED`.

#![expect(
    clippy::print_stdout,
    reason = "it tells where it listens, and prints books"
)]

mod accounts;
mod books;
mod client;
mod customer;
mod failure;
mod migrate;
mod payments;
mod provider;
mod serve;
mod settings;
#[path = "../common/stop.rs"]
mod stop;
mod storm;
mod transfers;

use std::env;
use std::error::Error;
use std::iter;
use std::process::ExitCode;

use settings::Settings;

/// What any part may fail with before it serves.
type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let part = env::args().nth(1).unwrap_or_default();
    let done = match (part.as_str(), Settings::from_environment()) {
        (_, Err(problem)) => return refused(&problem),
        ("migrate", Ok(settings)) => migrate::migrate(&settings).await,
        ("serve", Ok(settings)) => serve::serve(&settings).await,
        ("provider", Ok(settings)) => provider::serve(&settings).await,
        ("books", Ok(settings)) => books::print(&settings).await,
        ("storm", Ok(settings)) => storm::storm(&settings).await,
        (_, Ok(_)) => return refused("ledger migrate | serve | provider | books | storm"),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let because = iter::successors(error.source(), |&error| error.source());
            let because: String = because.map(|error| format!(": {error}")).collect();
            eprintln!("ledger {part}: {error}{because}");
            ExitCode::FAILURE
        }
    }
}

/// It takes somebody to mend it.
fn refused(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(2)
}
