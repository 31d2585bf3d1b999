//! The suite of all stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;

use crate::support::change;

/// Where the files are, in the directory that Cargo has for them.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conforming");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
});

/// One of this thread, and so of one test.
fn of_this_thread() -> PathBuf {
    DIRECTORY.join(format!("{:?}.db", thread::current().id()))
}

mod one_file {
    use tower_idempotency::{SqliteStore, store_conformance};

    use super::*;

    store_conformance!(
        async || SqliteStore::open(DIRECTORY.join("one.db")).await.unwrap(),
        corrupt: async |store, key| {
            let path = DIRECTORY.join("one.db");
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
            let store = SqliteStore::builder().synchronous_normal(true);
            store.open(of_this_thread()).await.unwrap()
        },
        corrupt: async |store, key| {
            assert_eq!(change(store, &of_this_thread(), key, "completed = 2"), 1);
        },
    );
}
