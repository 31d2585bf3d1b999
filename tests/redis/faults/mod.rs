//! What becomes of the store, and of the layer over it, when one Redis fails in the ways that one Redis can.

mod apart;
mod api;
mod brought;
mod busy;
mod connecting;
mod connects;
mod cuts;
mod encrypted;
mod fences;
mod flushes;
mod foreign;
mod kills;
mod memory;
mod replicas;
mod restarts;
pub(crate) mod rights;
mod roles;
mod runtimes;
#[path = "../../support/faults/mod.rs"]
mod shared;
mod silences;
mod soak;
mod verbs;
mod writers;
