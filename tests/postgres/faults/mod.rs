//! What becomes of the store when its server, its connections or its settings fail.

mod completions;
mod cuts;
mod disks;
mod kills;
mod migrations;
mod purges;
mod restarts;
mod settings;
#[path = "../../support/faults/mod.rs"]
mod shared;
mod takeovers;
mod verbs;
mod writers;
