//! Records in SQLite.

mod builder;
mod call;
mod clock;
mod completion;
mod connection;
mod fault;
mod records;
mod row;
mod server;
mod settings;
mod sql;
mod store;
mod thread;
mod verbs;
mod waiters;

pub use builder::SqliteStoreBuilder;
pub use store::SqliteStore;
