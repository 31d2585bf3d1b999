//! What every store on a server has to withstand, whichever server it is.

#![allow(dead_code, reason = "each target uses its part of it")]

pub(crate) mod ledger;
pub(crate) mod verbs;
pub(crate) mod writers;
