//! Disks that are full, and files that nobody may write to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use tower_idempotency::{
    Claim, Completed, Settled, SqliteStore, Store, StoreError, StoreErrorKind,
};

use crate::again;
use crate::support::{MINUTE, Scratch, completed, connect, key, own, replay, request, why};

/// A disk of this size in a namespace of its own, which takes no rights where the kernel allows that to everybody.
fn small_disk(size: &str) -> [&str; 7] {
    let mount = "mount -t tmpfs -o size=$0 tmpfs \"$SQLITE_TEST_DIRECTORY\"; exec \"$@\"";
    [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-ec",
        mount,
        size,
    ]
}

#[tokio::test]
async fn a_full_disk_refuses_new_keys_and_serves_the_others() {
    let Some(directory) = again::directory() else {
        let test = "disks::a_full_disk_refuses_new_keys_and_serves_the_others";
        again::under(&small_disk("4m"), test, &Scratch::new().file(""));
        return;
    };
    let ballast = directory.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let store = SqliteStore::open(directory.join("a.db")).await.unwrap();
    let done = own(&store, &request(1, 1)).await;
    store.complete(&done, &completed(b"done")).await.unwrap();
    let running = own(&store, &request(2, 1)).await;

    // As in a service: what is owned is completed where that is possible.
    let payload = Bytes::from(vec![7; 32 << 10]);
    let large = Completed::new(payload, Bytes::from_static(b"t"), MINUTE);
    let mut recorded = Vec::new();
    let refused = loop {
        let number = 10 + recorded.len() as u64;
        match store.claim(&request(number, 1)).await.unwrap() {
            Claim::Owned(owned) => {
                let id = request(number, 1).claim_id();
                let owner = tower_idempotency::Owner::new(key(number), owned.fence(), id);
                let settled = store.complete(&owner, &large).await;
                recorded.push(settled.inspect_err(|error| is_passing(error)).is_ok());
            }
            Claim::Full => break number,
            claim => panic!("{number} is new, it was {claim:?}"),
        }
        assert!(recorded.len() < 1_000, "the disk is never full");
    };

    assert!(recorded.len() > 20, "{recorded:?}");
    for _ in 0..3 {
        let claim = store.claim(&request(refused, 1)).await.unwrap();
        assert!(matches!(claim, Claim::Full), "{claim:?}");
    }
    assert!(store.inspect(&key(refused)).await.unwrap().is_none());
    assert_eq!(replay(&store, 1).await.as_deref(), Some(&b"done"[..]));
    for (number, is_recorded) in (10..).zip(&recorded) {
        let record = store.inspect(&key(number)).await.unwrap().unwrap();
        assert_eq!(!record.is_live(), *is_recorded, "{number}");
    }
    // The running one may find a place or not; it is never told that it is lost.
    match store.complete(&running, &completed(b"ran")).await {
        Ok(settled) => assert_eq!(settled, Settled::Applied),
        Err(error) => is_passing(&error),
    }

    fs::remove_file(ballast).unwrap();
    let settled = store.complete(&running, &completed(b"ran")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    own(&store, &request(refused, 1)).await;
}

#[track_caller]
fn is_passing(error: &StoreError) {
    assert_eq!(error.kind(), StoreErrorKind::NotApplied, "{}", why(error));
    assert!(
        why(error).contains("free space on the disk"),
        "{}",
        why(error)
    );
}

/// The log begins anew where it has no room to grow: what needs no more pages is applied for ever.
#[tokio::test]
async fn a_disk_that_is_nearly_full_serves_what_does_not_grow() {
    let Some(directory) = again::directory() else {
        let test = "disks::a_disk_that_is_nearly_full_serves_what_does_not_grow";
        again::under(&small_disk("4m"), test, &Scratch::new().file(""));
        return;
    };
    let store = SqliteStore::open(directory.join("a.db")).await.unwrap();
    let owner = own(&store, &request(1, 1)).await;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let other = connect(&directory.join("a.db"));
    other.query_row(checkpoint, [], |_| Ok(())).unwrap();
    // All but half a megabyte, of which each renewal takes some kilobytes.
    fs::write(directory.join("ballast"), vec![1; 3 << 20]).unwrap();

    for _ in 0..500 {
        let settled = store.renew(&owner, MINUTE, true).await;
        assert_eq!(settled.unwrap(), Settled::Applied);
    }
}

/// Root may write to everything, unless it gives that up.
fn without_rights() -> Vec<&'static str> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    match is_root {
        true => vec!["setpriv", "--bounding-set=-dac_override,-dac_read_search"],
        false => vec!["env"],
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

async fn is_fatal(path: &Path, what_to_do: &str) {
    let error = SqliteStore::open(path).await.unwrap_err();
    let said = why(&error);
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{said}");
    assert!(said.contains(what_to_do), "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_file_that_is_read_only_is_said_with_its_path() {
    let Some(directory) = again::directory() else {
        let scratch = Scratch::new();
        drop(SqliteStore::open(scratch.file("a.db")).await.unwrap());
        allow(&scratch.file("a.db"), 0o444);
        let test = "disks::a_file_that_is_read_only_is_said_with_its_path";
        again::under(&without_rights(), test, &scratch.file(""));
        return;
    };
    is_fatal(
        &directory.join("a.db"),
        "let the user of this process write",
    )
    .await;
}

#[tokio::test]
async fn a_directory_that_is_read_only_is_said_with_its_path() {
    let Some(directory) = again::directory() else {
        let scratch = Scratch::new();
        drop(SqliteStore::open(scratch.file("a.db")).await.unwrap());
        allow(&scratch.file(""), 0o555);
        let test = "disks::a_directory_that_is_read_only_is_said_with_its_path";
        again::under(&without_rights(), test, &scratch.file(""));
        allow(&scratch.file(""), 0o755);
        return;
    };
    // One that is new, and one that is there.
    is_fatal(
        &directory.join("new.db"),
        "have the right to read and write there",
    )
    .await;
    is_fatal(&directory.join("a.db"), "write").await;
}
