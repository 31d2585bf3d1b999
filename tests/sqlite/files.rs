//! Files that are none, not there, damaged, or of a later version.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use tower_idempotency::{
    Claim, Completed, Forgotten, Settled, SqliteStore, State, Store, StoreError, StoreErrorKind,
};

use crate::again;
use crate::support::{MINUTE, Scratch, change, completed, connect, key, own, replay, request, why};

#[track_caller]
fn is_fatal(error: &StoreError, path: &Path, what: &str) {
    let said = why(error);
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{said}");
    assert!(said.contains(what), "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
}

async fn is_not_opened(path: &Path, what: &str) {
    let error = SqliteStore::open(path).await.unwrap_err();
    is_fatal(&error, path, what);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let scratch = Scratch::new();
    let path = scratch.file("junk.db");
    let junk = b"junk ".repeat(2_000);
    fs::write(&path, &junk).unwrap();

    is_not_opened(&path, "not an SQLite database").await;

    assert_eq!(fs::read(&path).unwrap(), junk);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_not_made() {
    let scratch = Scratch::new();

    is_not_opened(&scratch.file("missing/a.db"), "its directory has to exist").await;
    is_not_opened(&scratch.file(""), "cannot be opened").await;

    assert!(!scratch.file("missing").exists());
    let error = SqliteStore::open("").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{}", why(&error));
}

/// Neither a URI nor a name of SQLite's for a database in memory: files, all of them.
#[tokio::test]
async fn a_path_is_a_path() {
    let Some(directory) = again::directory() else {
        let (scratch, test) = (Scratch::new(), "files::a_path_is_a_path");
        let directory = scratch.file("");
        again::under(
            &["env", "--chdir", directory.to_str().unwrap()],
            test,
            &directory,
        );
        return;
    };
    for name in ["file:a?mode=memory", ":memory:", "a b'\"%20.db"] {
        let store = SqliteStore::open(name).await.unwrap();
        own(&store, &request(1, 1)).await;
        assert!(directory.join(name).exists(), "{name}");
    }
}

/// Whatever is wrong with a row, it is neither absent nor free.
#[tokio::test]
async fn a_row_that_is_no_record_is_unreadable() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for (number, set) in (0..).zip([
        "fingerprint_version = 256",
        "fingerprint = zeroblob(31)",
        "claim_id = zeroblob(17)",
        "attempt = -1",
        "completed = 2",
        "completed = 1",
        "committed = -1",
        "body = X'00'",
    ]) {
        own(&store, &request(number, 1)).await;
        assert_eq!(change(&store, &path, &key(number), set), 1);

        let claim = store.claim(&request(number, 2)).await.unwrap_err();
        let found = store.inspect(&key(number)).await.unwrap_err();
        for error in [claim, found] {
            assert_eq!(
                error.kind(),
                StoreErrorKind::Unreadable,
                "{set}: {}",
                why(&error)
            );
        }
        assert_eq!(
            store.forget(&key(number), true).await.unwrap(),
            Forgotten::Forgotten
        );
        own(&store, &request(number, 2)).await;
    }
}

#[tokio::test]
async fn a_time_at_the_end_of_all_times_ends_nothing() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for (number, end) in [(1, i64::MAX), (2, i64::MIN)] {
        let owner = own(&store, &request(number, number)).await;
        change(&store, &path, &key(number), &format!("first_at = {end}"));

        let settled = store.complete(&owner, &completed(b"done")).await.unwrap();

        assert_eq!(settled, Settled::Applied);
        assert_eq!(replay(&store, number).await.unwrap(), &b"done"[..]);
    }
}

#[test]
fn a_prefix_is_part_of_a_name() {
    for prefix in [
        "",
        "1a",
        "a-b",
        "a\"b",
        "sqlite_a",
        "SQLite_a",
        "\u{e4}",
        &"a".repeat(41),
    ] {
        let made = std::panic::catch_unwind(|| SqliteStore::builder().prefix(prefix));
        assert!(made.is_err(), "{prefix}");
    }
    for prefix in ["a", "_a1", "payments_v2", &"a".repeat(40)] {
        let _ = SqliteStore::builder().prefix(prefix);
    }
}

#[tokio::test]
async fn tables_of_a_later_version_are_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let later = "UPDATE idempotency_store SET version = 2";
    connect(&path).execute(later, []).unwrap();

    is_not_opened(&path, "of version 2, and this program knows 1").await;
    is_fatal(
        &store.ping().await.unwrap_err(),
        &path,
        "install a later one",
    );
}

/// In the application's own file, whose version of the schema is the application's.
#[tokio::test]
async fn a_file_keeps_what_else_it_has() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let business = connect(&path);
    business
        .execute_batch("CREATE TABLE charge (amount INTEGER); PRAGMA user_version = 42")
        .unwrap();

    let one = SqliteStore::open(&path).await.unwrap();
    let other = SqliteStore::builder()
        .prefix("other")
        .open(&path)
        .await
        .unwrap();
    own(&one, &request(1, 1)).await;
    own(&other, &request(1, 1)).await;

    let version = business.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    assert_eq!(version.unwrap(), 42);
    business
        .execute("INSERT INTO charge VALUES (1)", [])
        .unwrap();
}

#[tokio::test]
async fn records_outlive_the_store() {
    let scratch = Scratch::new();
    let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    let owner = own(&store, &request(1, 1)).await;
    store.complete(&owner, &completed(b"done")).await.unwrap();
    let running = own(&store, &request(2, 1)).await;
    drop(store);

    let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    assert_eq!(replay(&store, 1).await.as_deref(), Some(&b"done"[..]));
    let again = own(&store, &request(2, 1)).await;
    assert_eq!(again.fence(), running.fence());
    assert!(own(&store, &request(3, 1)).await.fence() > running.fence());
}

/// Whatever of it can still be read is right, and nothing that was recorded is run again.
#[tokio::test]
async fn a_damaged_file_is_never_an_empty_one() {
    const RECORDS: u64 = 400;

    let scratch = Scratch::new();
    let whole = scratch.file("whole.db");
    let store = SqliteStore::open(&whole).await.unwrap();
    for number in 0..RECORDS {
        let owner = own(&store, &request(number, 1)).await;
        let payload = Bytes::from(number.to_string().repeat(200));
        let completed = Completed::new(payload, Bytes::from_static(b"t"), 60 * MINUTE);
        store.complete(&owner, &completed).await.unwrap();
    }
    drop(store);
    connect(&whole)
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let pages = fs::metadata(&whole).unwrap().len() / 4_096;
    let (mut damaged, mut failed) = (0, 0);
    for page in (0..pages).step_by(7) {
        let path = scratch.file("damaged.db");
        fs::copy(&whole, &path).unwrap();
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(page * 4_096)).unwrap();
        file.write_all(&[0xa5; 4_096]).unwrap();
        damaged += 1;

        match SqliteStore::open(&path).await {
            Ok(store) => failed += u64::from(unreadable(&store, RECORDS).await > 0),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Fatal, "{}", why(&error));
                failed += 1;
            }
        }
        for name in ["damaged.db", "damaged.db-wal", "damaged.db-shm"] {
            let _ = fs::remove_file(scratch.file(name));
        }
    }
    assert!(failed > damaged / 2, "{failed} of {damaged} were noticed");
}

/// How many of these claims fail; all others are answered with what was recorded.
async fn unreadable(store: &SqliteStore, records: u64) -> u64 {
    let mut failed = 0;
    for number in 0..records {
        match store.claim(&request(number, 2)).await {
            Ok(Claim::Existing(record)) => {
                let State::Completed { payload } = record.state() else {
                    panic!("{number} was completed");
                };
                // Records of this length share no page with another's payload.
                assert_eq!(
                    *payload,
                    number.to_string().repeat(200).as_bytes(),
                    "{number}"
                );
            }
            Ok(claim) => panic!("{number} was completed, and is {claim:?}"),
            Err(error) => {
                let is_said = why(&error).contains("damaged");
                let kinds = [StoreErrorKind::Fatal, StoreErrorKind::Unreadable];
                assert!(kinds.contains(&error.kind()), "{}", why(&error));
                assert!(
                    is_said || error.kind() == StoreErrorKind::Unreadable,
                    "{}",
                    why(&error)
                );
                failed += 1;
            }
        }
    }
    failed
}
