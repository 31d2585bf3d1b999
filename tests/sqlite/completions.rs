//! A completion in a transaction of the handler's own.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tower_idempotency::{
    Dialect, Owner, Parameter, Settled, SqliteStore, Statement, Store, TakeOver,
};

use crate::support::{MINUTE, Scratch, completed, connect, key, own, replay, request};

struct World {
    scratch: Scratch,
    store: SqliteStore,
    business: Connection,
}

impl World {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
        let business = connect(&scratch.file("a.db"));
        business
            .execute_batch("CREATE TABLE charge (amount INTEGER)")
            .unwrap();
        Self {
            scratch,
            store,
            business,
        }
    }

    /// What a handler does: its own write, and the record.
    fn charge(&mut self, completion: &Statement) -> (Transaction<'_>, usize) {
        let transaction = self
            .business
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.unwrap();
        transaction
            .execute("INSERT INTO charge VALUES (100)", [])
            .unwrap();
        let changed = completion.execute(&transaction).unwrap();
        (transaction, changed)
    }

    fn charges(&self) -> u64 {
        let business = connect(&self.scratch.file("a.db"));
        let count = business.query_row("SELECT count(*) FROM charge", [], |row| {
            row.get::<_, i64>(0)
        });
        count.unwrap().cast_unsigned()
    }

    fn completion(&self, owner: &Owner) -> Statement {
        let completion = self
            .store
            .completion(owner, &completed(b"charged"))
            .unwrap();
        completion.expect("the file is the handler's, too")
    }

    /// What the confirmation says, on a connection of somebody else's.
    fn is_confirmed(&self, completion: &Statement) -> bool {
        let connection = connect(&self.scratch.file("a.db"));
        let parameters = rusqlite::params_from_iter(&completion.parameters()[..3]);
        let number = connection.query_row(completion.confirmation(), parameters, |row| row.get(0));
        let number: i64 = number.unwrap();
        assert!(matches!(number, 0 | 1), "{number}");
        number == 1
    }
}

#[tokio::test]
async fn what_is_committed_is_completed_and_replayed() {
    let mut world = World::new().await;
    let owner = own(&world.store, &request(1, 1)).await;
    let completion = world.completion(&owner);
    assert!(!world.is_confirmed(&completion));

    let (transaction, changed) = world.charge(&completion);
    assert_eq!(changed, 1);
    transaction.commit().unwrap();

    assert_eq!(
        replay(&world.store, 1).await.as_deref(),
        Some(&b"charged"[..])
    );
    assert!(world.is_confirmed(&completion));
    assert_eq!(world.charges(), 1);
    // What the layer would do as well changes nothing.
    let again = world.store.complete(&owner, &completed(b"other")).await;
    assert_eq!(again.unwrap(), Settled::Applied);
    assert_eq!(
        replay(&world.store, 1).await.as_deref(),
        Some(&b"charged"[..])
    );
}

#[tokio::test]
async fn what_is_rolled_back_is_in_flight_still() {
    let mut world = World::new().await;
    let owner = own(&world.store, &request(1, 1)).await;
    let completion = world.completion(&owner);

    let (transaction, changed) = world.charge(&completion);
    assert_eq!(changed, 1);
    transaction.rollback().unwrap();

    assert_eq!(replay(&world.store, 1).await, None);
    assert!(!world.is_confirmed(&completion));
    assert_eq!(world.charges(), 0);
    let completed = world.store.complete(&owner, &completed(b"later")).await;
    assert_eq!(completed.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn an_owner_that_was_taken_over_changes_no_row() {
    let mut world = World::new().await;
    let owner = own(&world.store, &request(1, 1)).await;
    world.store.abandon(&owner).await.unwrap();
    let successor = own(
        &world.store,
        &request(1, 2).with_take_over(TakeOver::Always),
    )
    .await;
    let completion = world.completion(&owner);

    let (transaction, changed) = world.charge(&completion);
    assert_eq!(changed, 0);
    transaction.rollback().unwrap();

    assert!(!world.is_confirmed(&completion));
    // Fence and claim id are compared, both.
    for half in [
        Owner::new(key(1), successor.fence(), owner.claim_id()),
        Owner::new(key(1), owner.fence(), successor.claim_id()),
        Owner::new(key(2), successor.fence(), successor.claim_id()),
    ] {
        let completion = world.completion(&half);
        let (transaction, changed) = world.charge(&completion);
        assert_eq!(changed, 0, "{half:?}");
        drop(transaction);
    }
    let (transaction, changed) = world.charge(&world.completion(&successor));
    assert_eq!(changed, 1);
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_record_that_is_completed_or_gone_is_not_completed_again() {
    let mut world = World::new().await;
    let done = own(&world.store, &request(1, 1)).await;
    world
        .store
        .complete(&done, &completed(b"done"))
        .await
        .unwrap();
    let gone = own(&world.store, &request(2, 1)).await;
    world.store.release(&gone).await.unwrap();

    for owner in [done, gone] {
        let completion = world.completion(&owner);
        let (transaction, changed) = world.charge(&completion);
        assert_eq!(changed, 0);
        drop(transaction);
    }
    assert_eq!(replay(&world.store, 1).await.as_deref(), Some(&b"done"[..]));
}

/// As `complete` does: from the first request, and to the end of the lease where that has passed.
#[tokio::test]
async fn the_record_expires_as_by_the_store_itself() {
    let mut world = World::new().await;
    for (retention, rest) in [(10 * MINUTE, 10 * MINUTE), (MINUTE / 60_000_000, MINUTE)] {
        let number = retention.as_secs();
        let owner = own(&world.store, &request(number, 1)).await;
        let done = tower_idempotency::Completed::new("x".into(), "t".into(), retention);
        let completion = world.store.completion(&owner, &done).unwrap().unwrap();

        let (transaction, changed) = world.charge(&completion);
        assert_eq!(changed, 1);
        transaction.commit().unwrap();

        let record = world.store.inspect(&key(number)).await.unwrap().unwrap();
        let left = record.remaining();
        assert!(
            left <= rest && left > rest - MINUTE / 6,
            "{retention:?}: {left:?}"
        );
    }
}

/// A COMMIT whose answer was lost may be under way still: the confirmation comes after it.
#[tokio::test]
async fn a_confirmation_waits_for_an_open_transaction() {
    let mut world = World::new().await;
    let owner = own(&world.store, &request(1, 1)).await;
    let completion = world.completion(&owner);
    let path = world.scratch.file("a.db");
    let (transaction, _) = world.charge(&completion);

    let asked = completion.clone();
    let asks = std::thread::spawn(move || {
        let impatient = Connection::open(&path).unwrap();
        impatient.busy_timeout(MINUTE / 600).unwrap();
        let parameters = || rusqlite::params_from_iter(asked.parameters()[..3].to_vec());
        let ask = |connection: &Connection| {
            connection.query_row(asked.confirmation(), parameters(), |row| {
                row.get::<_, i64>(0)
            })
        };
        let error = ask(&impatient).unwrap_err();
        let busy = Some(rusqlite::ErrorCode::DatabaseBusy);
        assert_eq!(error.sqlite_error_code(), busy);
        impatient
    });
    let patient = asks.join().unwrap();
    transaction.commit().unwrap();

    drop(patient);
    assert!(world.is_confirmed(&completion));
}

#[tokio::test]
async fn it_is_plain_sql_with_five_parameters() {
    let world = World::new().await;
    let owner = own(&world.store, &request(1, 1)).await;
    let completion = world.completion(&owner);

    assert_eq!(completion.dialect(), Dialect::Sqlite);
    let [
        Parameter::Bytes(key),
        Parameter::Integer(fence),
        Parameter::Bytes(id),
        Parameter::Bytes(payload),
        Parameter::Integer(retention),
    ] = completion.parameters()
    else {
        panic!("{completion:?}");
    };
    assert_eq!(world.store.sql_key(owner.key()), format!("X'{}'", hex(key)));
    assert_eq!(fence.cast_unsigned(), owner.fence().get());
    assert_eq!(&id[..], owner.claim_id().as_bytes());
    assert_eq!(&payload[..], b"charged");
    assert_eq!(*retention, 24 * 60 * 60 * 1_000_000);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
