//! What other crates cost on the same work, and what they do not do on it.
//!
//! ```text
//! cargo run --release --locked --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! With `--features rustango` a module of a framework is there too, at the price of 330 packages to build.
//!
//! One process, one thread, one current-thread runtime. Everyone gets the same 256 B JSON request with a 36 byte key, a
//! bearer token and a session cookie, in front of the same axum router with its 512 B JSON response. Batches follow each other
//! in turn; shown are medians of the times, and of the ratios within each round. Making the request is not counted,
//! reading the response is. Read the ratios: those against the bare router, and those against ours, above 1 where ours is
//! faster.
//! Below each figure stands what that crate does not do for it, read from its source and, where it can be shown, run in
//! the table at the end. It takes a few seconds.
//!
//! Not compared, as of 23 November 2026:
//!
//! * `idempotent` 2.0.0, whose layer outlives the connection, `cratestack-axum` 0.17.2 and `footing` 0.6.3 need Rust 1.98,
//!   1.98 and 1.99.1. The store of `idempotent` 0.3 is here, and the layer of `cratestack-axum` 0.8.15, the latest that
//!   builds with Rust 1.95. The README of this repository says what the later ones do.
//! * `hwhkit` 0.6.0-alpha.4 has a layer for axum, without a claim, with a store in Redis alone; `vti-common` 0.54.0 has one
//!   for the keyspaces of its own services.
//! * `sova-idempotency` 0.1.1, `ullun-api` 0.4.13 and `actix-idempotent` 0.1.1 are for frameworks that are not Tower.
//! * `minco-plugin-idempotency` 1.12.0 (Rust 1.97.1) and `use-idempotency` 0.0.1 have types and a trait for a store, and
//!   nothing in front of a service.
//! * `idempotency-rs`, `axum-idempotency`, `tower-idempotent`, `idempotency`, `axum-idempotency-key` and `idemkit` are not
//!   published on crates.io.

mod behaviour;
mod cratestack;
mod layers;
mod machine;
mod notes;
mod rounds;
mod stores;
#[path = "../../support/mod.rs"]
mod support;

use tokio::runtime::Builder;

const UNCOMPARED: &str = "\
Not compared: idempotent 2.0.0, cratestack-axum 0.17.2 and footing 0.6.3 need Rust 1.98 and later; hwhkit has a store in Redis
alone, vti-common one for its own services; sova-idempotency, ullun-api and actix-idempotent are not for Tower. More of this
is at the head of benches/peers/src/main.rs.";

fn main() {
    machine::print();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        layers::run().await;
        stores::run().await;
        behaviour::run().await;
    });
    println!("\n{UNCOMPARED}");
}
