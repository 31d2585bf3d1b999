//! What every [`Store`](crate::Store) must do, one named test per obligation (feature `test-util`).
//!
//! # How to use it
//!
//! ```toml
//! [dev-dependencies]
//! tower-idempotency = { version = "0.1", features = ["test-util"] }
//! ```
//!
//! ```
//! // tests/my_store.rs
//! # #[cfg(feature = "memory")] mod tests {
//! # use tower_idempotency::MemoryStore as MyStore;
//! tower_idempotency::store_conformance!(|| MyStore::new());
//! # }
//! ```
//!
//! Then `cargo test` runs `claiming::another_fingerprint_never_owns` and 74 others. Their names say what must be, and
//! the messages of those that fail what was expected. See [`store_conformance!`](crate::store_conformance) for stores
//! that connect, and for those with a quota, a bound or a limit.
//!
//! # What it wants of a store
//!
//! * **A new store for each test.** Tests run side by side. All keys of a test are new, so a store may share a
//!   database with others; only one with a bound on all its records (`room`) must be empty.
//! * **Nothing about its clock.** Whether leases follow tokio's clock is found out. Such a store is examined while that
//!   clock stands still: exactly, and in no time. Any other clock is waited for: leases take 600 ms, all tests
//!   about half a minute on two cores. Stores may round to milliseconds. Where store or machine are so slow
//!   that times mean nothing, a failure does not count, and the test is made once more with longer times.
//! * **No runtime.** Each test makes one: of a single thread, and of several for the part `contending`.
//!
//! What it cannot see: that records outlive the process where they should, that errors have the right
//! [kind](crate::StoreErrorKind) when a server fails, and whose clock it is.

mod bench;
mod candidate;
mod claiming;
mod clock;
mod completing;
mod contending;
mod corrupt;
mod dropping;
mod expiring;
mod fencing;
mod forgetting;
mod limit;
mod looking;
mod mount;
mod obligations;
mod owning;
mod quota;
mod quota_contending;
mod room;
mod run;
mod times;
mod waiting;

#[doc(hidden)]
pub use candidate::{Awaited, Candidate, IntoStore, Made};
#[doc(hidden)]
pub use clock::Clock;
#[doc(hidden)]
pub use obligations::{Obligation, all};
