//! The suite of all stores.

use std::sync::LazyLock;

use crate::support::{Scratch, change};

/// One file for all tests of a module: they have keys of their own.
static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

mod one_file {
    use tower_idempotency::{SqliteStore, store_conformance};

    use super::*;

    store_conformance!(
        async || SqliteStore::open(SCRATCH.file("one.db")).await.unwrap(),
        corrupt: async |store, key| {
            let path = SCRATCH.file("one.db");
            assert_eq!(change(store, &path, key, "fingerprint = X'00'"), 1);
        },
    );
}

/// A file for each store; what is written over is of a later version.
mod a_file_each {
    use tower_idempotency::{SqliteStore, store_conformance};

    use super::*;

    store_conformance!(
        async || {
            let path = SCRATCH.file(&format!("{:?}.db", std::thread::current().id()));
            SqliteStore::builder().synchronous_normal(true).open(path).await.unwrap()
        },
        corrupt: async |store, key| {
            let path = SCRATCH.file(&format!("{:?}.db", std::thread::current().id()));
            assert_eq!(change(store, &path, key, "completed = 2"), 1);
        },
    );
}
