//! PostgreSQL servers of a test's own: processes that are killed, stopped and restarted, and cut off by a proxy.
//!
//! Nothing of them outlives the test, nor the process of the tests, however that ends (see [`Keeper`]). They never run as
//! root: where the tests do, they run as the user `postgres`, whom the package makes.

#![allow(dead_code, unused_imports, reason = "each target uses its part of it")]

mod bouncer;
mod programs;
mod server;

pub(crate) use crate::processes::{Held, Keeper, PATIENCE, Port, Proxy, eventually, within};
pub(crate) use bouncer::Bouncer;
pub(crate) use server::{Server, own_schema};
