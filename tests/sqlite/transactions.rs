//! Calls that share a transaction, of which one fails.

use futures_util::future::join_all;
use rusqlite::TransactionBehavior;
use tower_idempotency::{Owner, Settled, SqliteStore, Store, StoreError, StoreErrorKind};

use crate::support::{MINUTE, Scratch, completed, connect, key, own, request, why};

const CALLS: u64 = 8;
const BROKEN: u64 = 5;

/// Completes several keys in one transaction, one of them against a trigger that does this.
async fn completed_against(
    trigger: &str,
) -> (Scratch, SqliteStore, Vec<Result<Settled, StoreError>>) {
    let scratch = Scratch::new();
    let store = SqliteStore::builder().timeout(MINUTE);
    let store = store.open(scratch.file("a.db")).await.unwrap();
    let mut owners: Vec<Owner> = Vec::new();
    for number in 0..CALLS {
        owners.push(own(&store, &request(number, 1)).await);
    }
    let mut other = connect(&scratch.file("a.db"));
    let broken = store.sql_key(&key(BROKEN));
    other
        .execute_batch(&format!(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER broken BEFORE UPDATE ON idempotency_record WHEN NEW.key = {broken}
             BEGIN {trigger}; END"
        ))
        .unwrap();

    // The first is taken alone, and waits for the lock; all others come meanwhile.
    let lock = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let done = completed(b"done");
    let mut first = Box::pin(store.renew(&owners[0], MINUTE, false));
    assert!(futures_util::poll!(&mut first).is_pending());
    let calls = owners.iter().map(|owner| store.complete(owner, &done));
    let mut calls = Box::pin(join_all(calls));
    assert!(futures_util::poll!(&mut calls).is_pending());
    drop(lock);

    // It may have company.
    let _ = first.await;
    let answers = calls.await;
    other.execute_batch("DROP TRIGGER broken").unwrap();
    (scratch, store, answers)
}

async fn is_completed(store: &SqliteStore, number: u64) -> bool {
    let record = store.inspect(&key(number)).await.unwrap();
    !record.unwrap().is_live()
}

#[tokio::test]
async fn a_statement_that_fails_fails_its_own_call() {
    let (_scratch, store, answers) = completed_against("SELECT RAISE(ABORT, 'no')").await;

    for (number, answer) in (0..).zip(answers) {
        let is_broken = number == BROKEN;
        match answer {
            Ok(settled) => assert_eq!(settled, Settled::Applied),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Fatal, "{}", why(&error)),
        }
        assert_eq!(is_completed(&store, number).await, !is_broken, "{number}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_fails_all_its_calls() {
    let (_scratch, store, answers) = completed_against("SELECT RAISE(ROLLBACK, 'no')").await;

    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(failed > 1, "{answers:?}");
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(
            is_completed(&store, number).await,
            answer.is_ok(),
            "{number}"
        );
    }
    // And the next one is sound.
    let owner = own(&store, &request(99, 1)).await;
    assert_eq!(store.release(&owner).await.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_all_its_calls_in_doubt() {
    let (_scratch, store, answers) = completed_against("INSERT INTO child VALUES (1)").await;

    let mut failed = 0;
    for (number, answer) in (0..).zip(answers) {
        if let Err(error) = &answer {
            assert_eq!(error.kind(), StoreErrorKind::Ambiguous, "{}", why(error));
            failed += 1;
        }
        assert_eq!(
            is_completed(&store, number).await,
            answer.is_ok(),
            "{number}"
        );
    }
    assert!(failed > 1, "{failed}");
    // Repeated with the same ids, as the layer does.
    let owner = own(&store, &request(BROKEN, 1)).await;
    let settled = store.complete(&owner, &completed(b"done")).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
}
