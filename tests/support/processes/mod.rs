//! Servers as processes of a test's own, the ports that they have, and wires between them and their clients.

#![allow(dead_code, unused_imports, reason = "each target uses its part of it")]

mod keeper;
mod patience;
mod port;
mod proxy;

pub(crate) use keeper::Keeper;
pub(crate) use patience::{PATIENCE, eventually, within};
pub(crate) use port::Port;
pub(crate) use proxy::{Held, Proxy};
