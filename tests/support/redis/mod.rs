//! Redis servers of a test's own: processes that are killed, stopped and restarted, and cut off by a proxy.
//!
//! Nothing of them outlives the test, nor the process of the tests, however that ends (see [`Keeper`]).

#![allow(dead_code, unused_imports, reason = "each target uses its part of it")]

mod builder;
mod certificates;
mod cluster;
mod sentinel;
mod server;

pub(crate) use crate::processes::{Held, Keeper, PATIENCE, Port, Proxy, eventually, within};
pub(crate) use builder::Builder;
pub(crate) use cluster::{Cluster, Move};
pub(crate) use sentinel::Sentinel;
pub(crate) use server::Server;
