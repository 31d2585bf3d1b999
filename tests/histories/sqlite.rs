//! The SQLite store: a file for each history, at the time of that.

use std::time::Duration;

use rusqlite::Connection;
use tower_idempotency::{BoxStore, ChaosClock, SqliteStore};

use crate::elsewhere::Elsewhere;
use crate::scratch::Scratch;
use crate::under_test::Mounted;

pub(crate) fn mount(clock: &ChaosClock) -> Mounted {
    let scratch = Scratch::new();
    let file = scratch.file("history.db");
    let elsewhere = Elsewhere::new(clock, |sent| async move {
        // What is dropped by the clock of the machine would be another record each time.
        // A call that is late by the clock on the wall would be a fault that no history knows of.
        let builder = SqliteStore::builder().timeout(Duration::from_secs(60));
        let builder = builder.purge_every(Duration::MAX);
        let builder = builder.clock(move || sent.now());
        builder.synchronous_normal(true).open(file).await.unwrap()
    });
    Mounted {
        store: BoxStore::new(elsewhere),
        size: Box::new(move || {
            let count = "SELECT count(*) FROM idempotency_record";
            let connection = Connection::open(scratch.file("history.db")).unwrap();
            let count = connection.query_row(count, [], |row| row.get::<_, u32>(0));
            count.unwrap() as usize
        }),
    }
}
