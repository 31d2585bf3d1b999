//! Stores: the contract, and what ships with the crate.

pub(crate) mod boxed;
#[cfg(feature = "cache")]
pub(crate) mod cached;
#[cfg(feature = "test-util")]
pub(crate) mod chaos;
pub(crate) mod claim;
#[cfg(feature = "encryption")]
pub(crate) mod encrypted;
pub(crate) mod error;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) mod polling;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod statement;
pub(crate) mod traits;
pub(crate) mod wire;
