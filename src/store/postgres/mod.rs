//! Records in PostgreSQL.

mod builder;
mod client;
mod fault;
mod migration;
mod names;
mod pool;
mod purge;
mod row;
mod statements;
mod store;
mod verbs;

pub use builder::PostgresStoreBuilder;
pub use store::PostgresStore;
