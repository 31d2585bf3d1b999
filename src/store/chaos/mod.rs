//! A store that fails by seed, for tests.

mod clock;
mod fault;
mod knobs;
mod log;
mod random;
mod store;

pub use clock::ChaosClock;
pub use store::ChaosStore;

#[cfg(all(test, feature = "memory"))]
mod tests;
