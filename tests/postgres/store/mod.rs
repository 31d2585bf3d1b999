//! The store over real servers.

mod conforming;
