//! What every store must do, and what each of ours does besides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod cached;
mod encrypted;
mod flaws;
mod memory;
mod model;
mod polling;
mod reference;
mod support;
mod wrong;

mod memory_store {
    use tower_idempotency::{MemoryStore, store_conformance};

    store_conformance!(
        MemoryStore::new,
        quota: |records| MemoryStore::new().max_records_per_scope(records),
        room: |records| MemoryStore::new().max_records(records),
        limit: |bytes| MemoryStore::new().max_bytes(bytes * 4),
    );
}

mod shared_store {
    use std::sync::Arc;

    use tower_idempotency::{MemoryStore, store_conformance};

    store_conformance!(|| Arc::new(MemoryStore::new()));
}

mod boxed_store {
    use tower_idempotency::{BoxStore, MemoryStore, store_conformance};

    store_conformance!(async || BoxStore::new(MemoryStore::new()));
}

mod calm_chaos_store {
    use tower_idempotency::{ChaosStore, MemoryStore, store_conformance};

    store_conformance!(|| {
        let store = ChaosStore::new(MemoryStore::new(), 1);
        store.calm();
        store
    });
}

mod cached_store {
    use tower_idempotency::{Cached, MemoryStore, store_conformance};

    store_conformance!(
        || Cached::new(MemoryStore::new()),
        quota: |records| Cached::new(MemoryStore::new().max_records_per_scope(records)),
        room: |records| Cached::new(MemoryStore::new().max_records(records)),
        limit: |bytes| Cached::new(MemoryStore::new().max_bytes(bytes * 4)),
    );
}

/// Each verb takes several polls.
mod cached_reference_store {
    use tower_idempotency::{Cached, store_conformance};

    use crate::reference::Reference;

    store_conformance!(
        || Cached::new(Reference::new()),
        quota: |records| Cached::new(Reference::new().quota(records)),
        room: |records| Cached::new(Reference::new().room(records)),
        limit: |bytes| Cached::new(Reference::new().limit(bytes)),
        corrupt: async |cached, key| cached.store().corrupt(key),
    );
}

mod polling_store {
    use tower_idempotency::store_conformance;

    use crate::polling::Polling;

    store_conformance!(Polling::default);
}

mod reference_store {
    use tower_idempotency::store_conformance;

    use crate::reference::Reference;

    store_conformance!(
        Reference::new,
        quota: |records| Reference::new().quota(records),
        room: |records| Reference::new().room(records),
        limit: |bytes| Reference::new().limit(bytes),
        corrupt: async |store, key| store.corrupt(key),
    );
}

/// Has a clock of its own, and mounts the suite itself.
#[path = "../../examples/custom_store.rs"]
#[expect(dead_code, reason = "its server runs in the tests of the examples")]
mod custom_store;
