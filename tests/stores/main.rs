//! What every store must do, and what each of ours does besides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod memory;
mod model;
mod polling;
mod suite;

suite::mount!(memory_store, tower_idempotency::MemoryStore::new());
suite::mount!(
    shared_store,
    std::sync::Arc::new(tower_idempotency::MemoryStore::new())
);
suite::mount!(
    boxed_store,
    tower_idempotency::BoxStore::new(tower_idempotency::MemoryStore::new())
);
suite::mount!(polling_store, crate::polling::Polling::default());
