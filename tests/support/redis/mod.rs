//! Redis servers of a test's own: processes that are killed, stopped and restarted, and cut off by a proxy.
//!
//! Nothing of them outlives the test, nor the process of the tests, however that ends (see [`keeper`]).

#![allow(dead_code, unused_imports, reason = "each target uses its part of it")]

mod builder;
mod certificates;
mod cluster;
#[path = "../process/keeper.rs"]
mod keeper;
#[path = "../process/patience.rs"]
mod patience;
#[path = "../process/port.rs"]
mod port;
#[path = "../process/proxy.rs"]
mod proxy;
mod sentinel;
mod server;

pub(crate) use builder::Builder;
pub(crate) use cluster::{Cluster, Move};
pub(crate) use keeper::Keeper;
pub(crate) use patience::{PATIENCE, eventually, within};
pub(crate) use port::Port;
pub(crate) use proxy::{Held, Proxy};
pub(crate) use sentinel::Sentinel;
pub(crate) use server::Server;
