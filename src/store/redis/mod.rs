//! Records in Redis.

mod builder;
mod client;
mod connection;
mod fault;
mod form;
mod link;
mod scripts;
mod settings;
mod store;
mod target;
mod verbs;

pub use builder::RedisStoreBuilder;
pub use store::RedisStore;
