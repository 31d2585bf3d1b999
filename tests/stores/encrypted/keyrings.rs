//! Keys that come and go.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_key_writes_and_all_of_them_read() {
    let shelf = Arc::new(Shelf::new());
    let by = |keyring| Encrypted::new(Arc::clone(&shelf), keyring);
    let old = by(Keyring::new(secret(1)));
    let prepared = by(Keyring::new(secret(1)).also_reads(secret(2)));
    let new = by(Keyring::new(secret(2)).also_reads(secret(1)));
    let later = by(Keyring::new(secret(3))
        .also_reads(secret(2))
        .also_reads(secret(1)));
    let stores = [&old, &prepared, &new, &later];
    let mut numbers = Vec::new();
    for (number, store) in (0..).zip(stores) {
        done(store, key(number), &completed("done")).await;
        let kept = shelf.payload(&key(number)).await;
        numbers.push(u32::from_be_bytes(kept[1..5].try_into().unwrap()));
    }

    assert_eq!(numbers, [1, 1, 2, 3]);
    for (known, store) in [(2, old), (3, prepared), (3, new), (4, later)] {
        for number in 0..known {
            let record = find(&store, &request(key(number))).await;
            assert_eq!(payload(&record).unwrap(), "done");
        }
        for number in known..4 {
            is_unreadable(&store, key(number)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_key_wrote_that_is_gone_is_unreadable_and_stays_so_until_it_expires() {
    let memory = Arc::new(MemoryStore::new());
    let old = encrypted(Arc::clone(&memory));
    done(&old, key(1), &completed("done")).await;

    let new = Encrypted::new(Arc::clone(&memory), Keyring::new(secret(2)));
    let other_secret = EncryptionKey::new(1, [9; 32]);
    let confused = Encrypted::new(Arc::clone(&memory), Keyring::new(other_secret));

    for _ in 0..2 {
        is_unreadable(&new, key(1)).await;
        is_unreadable(&confused, key(1)).await;
    }
    let record = find(&old, &request(key(1))).await;
    assert_eq!(payload(&record).unwrap(), "done");
    pass(RETENTION).await;
    assert!(inspect(&new, key(1)).await.is_none());
}
