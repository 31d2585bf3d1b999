//! How much is kept, and what that takes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tower_idempotency::{Cached, Claim, Completed, Fence, Record, State, Store};

use crate::support::{
    RETENTION, SECOND, claim, complete, find, fingerprint, key, key_of, own, pass, payload, request,
};

use super::gated::{Gated, Verb};
use super::{done, gated, is_kept, kept, send};

/// What the documentation of `max_bytes` says of a record without its response.
const RECORD: usize = 400;

const MEBIBYTE: usize = 1 << 20;

fn completed_record(payload: Bytes) -> Claim {
    let state = State::Completed { payload };
    let record = Record::new(fingerprint(1), Fence::new(1), 1, state);
    Claim::Existing(record.expires_in(RETENTION))
}

/// Lets the store show a record with so large a response.
fn shows(cached: &Cached<Gated>, number: u64, payload: usize) {
    let record = completed_record(Bytes::from(vec![7; payload]));
    cached.store().answers(record);
    let request = request(key(number));
    let claim = cached.claim(&request).now_or_never();
    assert!(matches!(claim, Some(Ok(Claim::Existing(_)))));
}

#[tokio::test(start_paused = true)]
async fn far_more_than_fits_is_never_kept_at_once() {
    for max_bytes in [1, 1_000, 50_000, MEBIBYTE + 7, 4 * MEBIBYTE] {
        let cached = gated().max_bytes(max_bytes);
        for number in 0..5_000 {
            shows(&cached, number, (number as usize * 37) % 8_000);
            assert!(cached.bytes() <= max_bytes, "{} bytes", cached.bytes());
        }
        // It is full, as far as the parts that it consists of can be.
        if max_bytes >= MEBIBYTE {
            assert!(cached.bytes() > max_bytes / 4 * 3, "{}", cached.bytes());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_bound_will_do() {
    for max_bytes in [1, 1_023, usize::MAX / 2 + 1, usize::MAX] {
        let cached = gated().max_bytes(max_bytes).max_staleness(Duration::MAX);
        shows(&cached, 1, 10);
        assert_eq!(cached.len(), usize::from(max_bytes > MEBIBYTE));
    }
}

/// Whatever was kept before them, as far as they take a quarter of the room.
#[tokio::test(start_paused = true)]
async fn the_newest_records_are_kept() {
    let cached = gated().max_bytes(MEBIBYTE);
    for number in 0..5_000 {
        done(&cached, key(number), "done").await;
        find(&cached, &request(key(number))).await;
        // The older ones were replayed more often.
        if number < 2_000 {
            find(&cached, &request(key(number))).await;
        }
    }
    cached.store().asked();

    for number in 5_000 - (MEBIBYTE / 4 / RECORD) as u64..5_000 {
        assert!(is_kept(&cached, key(number)).await, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_counts_as_long_as_it_is_kept() {
    let cached = gated();
    assert!(cached.is_empty());
    assert_eq!((cached.len(), cached.bytes()), (0, 0));
    kept(&cached, key_of(1, 1), "done").await;
    assert_eq!((cached.len(), cached.bytes()), (1, RECORD + 4));
    kept(&cached, key_of(2, 1), "done, too").await;
    assert_eq!((cached.len(), cached.bytes()), (2, 2 * RECORD + 13));

    cached.forget(&key_of(1, 1), false).await.unwrap();
    assert_eq!((cached.len(), cached.bytes()), (1, RECORD + 9));
    cached.erase_scope(key_of(2, 1).scope()).await.unwrap();
    assert_eq!((cached.len(), cached.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_more_than_a_32nd_of_all_is_not_kept() {
    // Whether the room is divided into one part or into many.
    for max_bytes in [64_000, 64 * MEBIBYTE] {
        let cached = gated().max_bytes(max_bytes);
        let largest = max_bytes / 32 - RECORD;

        for (number, payload, is_kept) in [(1, largest, 1), (2, largest + 1, 0), (3, max_bytes, 0)]
        {
            let cached_before = cached.len();
            shows(&cached, number, payload);
            assert_eq!(cached.len() - cached_before, is_kept, "{payload} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_large_takes_what_was_kept_before_it_away() {
    let cached = gated().max_bytes(64_000);
    done(&cached, key(1), "first").await;
    let gate = cached.store().holds(Verb::Claim);
    let late = request(key(1));
    let replay = send(cached.claim(&late));
    find(&cached, &request(key(1))).await;
    assert_eq!(cached.len(), 1);

    // Another process forgets it, and runs the key again.
    let elsewhere = &cached.store().memory;
    elsewhere.forget(&key(1), false).await.unwrap();
    let (_, owner) = own(elsewhere, &request(key(1))).await;
    let large = Bytes::from(vec![7; 64_000]);
    let large = Completed::new(large, Bytes::new(), RETENTION);
    complete(elsewhere, &owner, &large).await;
    gate.open();
    replay.await.unwrap();

    assert!(cached.is_empty());
    let record = find(&cached, &request(key(1))).await;
    assert_eq!(payload(&record).unwrap().len(), 64_000);
}

#[tokio::test(start_paused = true)]
async fn a_response_is_copied_out_of_the_answer_of_the_store() {
    let cached = gated();
    let answer = Bytes::from(vec![7; 100_000]);
    cached
        .store()
        .answers(completed_record(answer.slice(90_000..90_010)));
    claim(&cached, &request(key(1))).await;

    assert!(answer.is_unique(), "a small record keeps a large buffer");
    let record = find(&cached, &request(key(1))).await;
    assert_eq!(payload(&record).unwrap(), &[7; 10][..]);
}

#[tokio::test(start_paused = true)]
async fn replays_share_one_buffer() {
    let cached = gated();
    shows(&cached, 1, 100_000);

    let first = payload(&find(&cached, &request(key(1))).await).unwrap();
    let second = payload(&find(&cached, &request(key(1))).await).unwrap();
    cached.forget(&key(1), false).await.unwrap();

    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_eq!(first, vec![7; 100_000]);
}

/// Everything is counted: an estimate a little above the truth, also right after what was allocated at once has doubled.
#[test]
fn bytes_are_those_of_the_allocator() {
    for (records, payload) in [
        (1_100, 0),
        (16_500, 10),
        (33_000, 100),
        (70_000, 500),
        (50_000, 4_000),
        (200_000, 0),
    ] {
        let cached = gated();
        // What the tests' store takes is there before.
        shows(&cached, 0, payload);
        let before = cached.bytes();
        let taken = allocation_counter::measure(|| {
            for number in 1..records {
                shows(&cached, number, payload);
                // Some are read, others come once and go.
                if number < records / 2 {
                    let again = cached.claim(&request(key(number))).now_or_never();
                    assert!(matches!(again, Some(Ok(Claim::Existing(_)))));
                }
                cached.store().asked();
            }
        });

        let taken = usize::try_from(taken.bytes_current).unwrap();
        let counted = cached.bytes() - before;
        assert!(taken <= counted, "{taken} are counted as {counted}");
        assert!(counted < taken * 7 / 4, "{taken} are counted as {counted}");
    }
}

#[tokio::test(start_paused = true)]
async fn debug_shows_numbers_only() {
    let cached = gated();
    kept(&cached, key(1), "canary").await;

    assert_eq!(
        format!("{cached:?}"),
        "Cached { records: 1, bytes: 406, .. }"
    );
}

#[tokio::test(start_paused = true)]
async fn another_bound_keeps_the_other_and_begins_anew() {
    let cached = gated().max_staleness(SECOND);
    kept(&cached, key(1), "done").await;

    let cached = cached.max_bytes(MEBIBYTE);

    assert!(cached.is_empty());
    assert!(!is_kept(&cached, key(1)).await);
    pass(SECOND).await;
    assert!(!is_kept(&cached, key(1)).await);
}

#[test]
#[should_panic(expected = "Cached::max_bytes is zero: give at least")]
fn no_bytes_are_refused() {
    drop(gated().max_bytes(0));
}

#[test]
#[should_panic(expected = "Cached::max_staleness is zero: give at least")]
fn no_staleness_is_refused() {
    drop(gated().max_staleness(Duration::ZERO));
}
