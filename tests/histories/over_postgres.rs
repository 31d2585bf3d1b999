//! The PostgreSQL store: its own SQL, run by a real server, at the time of a history.
//!
//! The store writes `clock_timestamp()` without a schema. Here a function of that name comes before that of the system, and
//! reads the time from a file.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use tower_idempotency::{BoxStore, ChaosClock, PostgresStore};

use crate::elsewhere::{Elsewhere, run};
use crate::postgres_servers::{Server, own_schema};
use crate::under_test::Mounted;

/// The store of a thread, with its clock; each history has it to itself and begins with an empty table.
struct Kit {
    store: Arc<PostgresStore>,
    schema: String,
    clock: Arc<File>,
}

thread_local! {
    static KIT: OnceCell<Arc<Kit>> = const { OnceCell::new() };
}

impl Kit {
    async fn new() -> Self {
        let (server, schema) = (Server::shared().await, own_schema());
        let path = server.folder().join(&schema);
        let clock = File::create(&path).unwrap();
        clock
            .set_permissions(PermissionsExt::from_mode(0o644))
            .unwrap();
        let path = path.display();
        let clock_timestamp = format!(
            "CREATE SCHEMA clock_of_{schema};
             CREATE FUNCTION clock_of_{schema}.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE plpgsql AS $$
             BEGIN RETURN to_timestamp(1e9) + pg_read_file('{path}')::bigint * interval '1 microsecond'; END $$"
        );
        server.sql(&clock_timestamp).await;
        // A call that is late by the clock on the wall would be a fault that no history knows of.
        let settings = PostgresStore::builder().timeout(Duration::from_secs(60));
        let settings = settings.schema(&schema).no_purge();
        let path = format!("options=-c%20search_path%3Dclock_of_{schema},pg_catalog");
        let url = format!("{}&{path}", server.url());
        settings.migrate(&url).await.unwrap();
        let store = Arc::new(settings.max_connections(1).connect(&url).await.unwrap());
        let clock = Arc::new(clock);
        Self {
            store,
            schema,
            clock,
        }
    }
}

fn tell(clock: &File, now: Duration) {
    // As many bytes each time.
    let now = format!("{:020}", now.as_micros());
    clock.write_all_at(now.as_bytes(), 0).unwrap();
}

pub(crate) fn postgres(clock: &ChaosClock) -> Mounted {
    let kit = KIT.with(|kit| Arc::clone(kit.get_or_init(|| Arc::new(run(Kit::new())))));
    let of_history = Arc::clone(&kit);
    let elsewhere = Elsewhere::new(clock, |sent| async move {
        let told = Arc::clone(&of_history.clock);
        tell(&told, sent.now());
        sent.tell(Box::new(move |now| tell(&told, now)));
        let empty = format!("DELETE FROM {}.record", of_history.schema);
        Server::shared().await.sql(&empty).await;
        Arc::clone(&of_history.store)
    });
    Mounted {
        store: BoxStore::new(elsewhere),
        size: Box::new(move || {
            let count = format!(
                "SELECT count(*) FROM {}.record WHERE state <> 2",
                kit.schema
            );
            let counted = run(async move { Server::shared().await.number(&count).await });
            usize::try_from(counted).unwrap()
        }),
    }
}
