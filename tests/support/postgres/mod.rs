//! PostgreSQL servers of a test's own: processes that are killed, stopped and restarted, and cut off by a proxy.
//!
//! Nothing of them outlives the test, nor the process of the tests, however that ends (see [`keeper`]). They never run as
//! root: where the tests do, they run as the user `postgres`, whom the package makes.

#![allow(dead_code, unused_imports, reason = "each target uses its part of it")]

mod bouncer;
#[path = "../process/keeper.rs"]
mod keeper;
#[path = "../process/patience.rs"]
mod patience;
#[path = "../process/port.rs"]
mod port;
mod programs;
#[path = "../process/proxy.rs"]
mod proxy;
mod server;

pub(crate) use bouncer::Bouncer;
pub(crate) use patience::{PATIENCE, eventually, within};
pub(crate) use port::Port;
pub(crate) use proxy::{Held, Proxy};
pub(crate) use server::{Server, own_schema};
