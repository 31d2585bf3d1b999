//! Records in the memory of this process.

mod clock;
mod expiry;
mod id;
mod ledger;
mod map;
mod quota;
mod records;
mod sealed;
mod slot;
mod store;

pub use store::MemoryStore;
