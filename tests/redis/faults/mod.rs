//! What becomes of the store, and of the layer over it, when one Redis fails in the ways that one Redis can.

mod api;
mod busy;
mod connects;
mod cuts;
mod flushes;
mod foreign;
mod memory;
mod replicas;
mod restarts;
mod roles;
mod silences;
mod verbs;
