//! How much a payload takes in the wrapped store.

use super::*;

/// What the documentation says.
const OVERHEAD: usize = 49;

#[tokio::test(start_paused = true)]
async fn a_payload_takes_as_much_more_as_is_documented() {
    for length in [0, 1, 16, 1_000, 1 << 20] {
        let shelf = Arc::new(Shelf::new());
        let store = encrypted(Arc::clone(&shelf));
        let written = Completed::new(vec![7; length].into(), Bytes::new(), RETENTION);

        done(&store, key(1), &written).await;

        assert_eq!(shelf.payload(&key(1)).await.len(), length + OVERHEAD);
        let record = find(&store, &request(key(1))).await;
        assert_eq!(payload(&record).as_ref(), Some(written.payload()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_wrapped_store_counts_it() {
    let store = encrypted(Reference::new().limit(1_000));
    for (number, length, expected) in [
        (1, 1_000 - OVERHEAD, Settled::Applied),
        (2, 1_001 - OVERHEAD, Settled::Tombstoned),
    ] {
        let written = Completed::new(vec![7; length].into(), "gone".into(), RETENTION);

        assert_eq!(done(&store, key(number), &written).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_compressed_fits_where_it_would_not() {
    let store = encrypted(Reference::new().limit(1_000)).compress(true);
    let written = Completed::new(vec![7; 100_000].into(), "gone".into(), RETENTION);

    assert_eq!(done(&store, key(1), &written).await, Settled::Applied);

    let record = find(&store, &request(key(1))).await;
    assert_eq!(payload(&record).as_ref(), Some(written.payload()));
}

#[tokio::test(start_paused = true)]
async fn compression_may_be_turned_on_and_off_over_the_same_records() {
    let memory = Arc::new(MemoryStore::new());
    let off = encrypted(Arc::clone(&memory));
    let on = encrypted(Arc::clone(&memory)).compress(true);
    let written = Completed::new("ab".repeat(1_000).into(), "gone".into(), RETENTION);
    done(&off, key(1), &written).await;
    done(&on, key(2), &written).await;

    for number in [1, 2] {
        for store in [&off, &on] {
            let record = find(store, &request(key(number))).await;
            assert_eq!(payload(&record).as_ref(), Some(written.payload()));
        }
    }
}
