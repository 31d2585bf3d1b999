//! The obligations of every store.

mod plain {
    use tower_idempotency::{MemoryStore, store_conformance};

    use crate::encrypted::encrypted;
    use crate::encrypted::shelf::Shelf;

    store_conformance!(
        || encrypted(Shelf::new()),
        quota: |records| encrypted(MemoryStore::new().max_records_per_scope(records)),
        room: |records| encrypted(MemoryStore::new().max_records(records)),
        limit: |bytes| encrypted(MemoryStore::new().max_bytes(bytes * 4)),
        corrupt: async |store, key| store.get_ref().spoil(key).await,
    );
}

mod compressed {
    use tower_idempotency::store_conformance;

    use crate::encrypted::encrypted;
    use crate::encrypted::shelf::Shelf;

    store_conformance!(
        || encrypted(Shelf::new()).compress(true),
        corrupt: async |store, key| store.get_ref().spoil(key).await,
    );
}
