mod checked;
mod explored;
mod visitor;

use std::collections::BTreeSet;
use std::thread;

use bytes::Bytes;

use super::super::expiry::Expiry;
use super::super::quota::Quota;
use super::*;
use crate::fingerprint::Fingerprint;
use crate::key::ClaimId;
use crate::store::claim::TakeOver;
use visitor::{KEY, Visitor, visited};

const SECOND: Duration = Duration::from_secs(1);

fn request(key: RecordKey, retention: Duration) -> ClaimRequest {
    let fingerprint = Fingerprint::from_parts(1, [1; 32]);
    ClaimRequest::new(key, ClaimId::unique(), fingerprint, SECOND * 2, retention)
}

fn owner_of(claim: &Claim, request: &ClaimRequest) -> Option<Owner> {
    match claim {
        Claim::Owned(owned) => Some(Owner::new(
            *request.key(),
            owned.fence(),
            request.claim_id(),
        )),
        _ => None,
    }
}

/// Checks that the ledger says what the map holds.
fn audit(records: &Records<impl Map>) {
    let (mut bytes, mut expiry, mut scopes) = (0, BTreeSet::new(), BTreeSet::new());
    let ids = records.slots.ids(|_| true);
    for id in &ids {
        let look = |slot: &Slot| (slot.scope(), slot.account());
        let (scope, account) = records.slots.look(*id, look).unwrap();
        bytes += account.bytes;
        expiry.insert((*id, Expiry::second(account.expires)));
        scopes.insert((scope, *id, account.expires));
    }
    if let Some(quota) = &records.ledger.quota {
        assert_eq!(quota.all(), scopes);
        bytes += quota.bytes();
    }
    assert_eq!(records.ledger.records(), ids.len());
    assert_eq!(records.ledger.bytes(), bytes);
    assert_eq!(records.ledger.expiry.all(), expiry);
}

/// One step of many that do everything to few keys.
fn anything(records: &Records, owners: &mut Vec<Owner>, random: u64, now: Moment) {
    let pick = |from: u64, of: u64| random >> from & (of - 1);
    let key = RecordKey::from_parts([pick(0, 2) as u8; 16], [pick(1, 16) as u8; 32]);
    let time = SECOND * pick(8, 8) as u32;
    let Some(owner) = owners
        .get(pick(5, 8) as usize)
        .filter(|_| pick(16, 16) > 5)
        .copied()
    else {
        let rule = if pick(20, 2) == 0 {
            TakeOver::Always
        } else {
            TakeOver::Uncommitted
        };
        let request = request(key, time).with_take_over(rule);
        owners.extend(owner_of(&records.claim(&request, now), &request));
        owners.drain(..owners.len().saturating_sub(8));
        return;
    };
    match pick(16, 16) {
        6 => drop(records.forget(&key, pick(21, 2) == 0, now)),
        7 if pick(21, 8) == 0 => drop(records.erase_scope(key.scope(), now)),
        7 | 8 => drop(records.release(&owner, now)),
        9 | 10 => drop(records.abandon(&owner, now)),
        11 | 12 => drop(records.renew(&owner, time, pick(22, 2) == 0, now)),
        _ => {
            let payload = Bytes::from(vec![7; 1 << pick(11, 16)]);
            records.complete(&owner, &Completed::new(payload, Bytes::new(), time), now);
        }
    }
}

/// Xorshift.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// What no scheduler sees: the locks of the map, and where the threads are really at once.
#[test]
fn a_record_has_one_owner_at_a_time_on_several_threads() {
    let time = Arc::default();
    let records = visited(Shards::new(), &time);
    let mut other = *KEY.key();
    other[0] += 1;
    let other = RecordKey::from_parts(*KEY.scope(), other);

    thread::scope(|scope| {
        for (thread, key) in (1..).zip([KEY, KEY, other, other]) {
            let (records, time) = (&records, &time);
            scope.spawn(move || {
                let mut visitor = Visitor::of(key);
                let mut random = u64::MAX / (thread + 1);
                for _ in 0..20_000 {
                    visitor.acts(records, time, next(&mut random) >> 20);
                }
            });
        }
    });

    audit(&records);
    records.slots.check_all();
    for key in [KEY, other] {
        assert!(records.slots.fence(records.id(&key)).get() > 1_000);
    }
}

#[test]
fn the_ledger_agrees_with_the_map_whatever_several_threads_do() {
    for quota in [None, Some(Quota::new(6))] {
        let mut records = Records::new(14, 40_000);
        records.ledger.quota = quota;
        let time = AtomicU64::new(0);

        thread::scope(|scope| {
            for thread in 1..=4 {
                let (records, time) = (&records, &time);
                scope.spawn(move || {
                    let mut random = u64::MAX / (thread + 1);
                    let mut owners = Vec::new();
                    for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
                        let random = next(&mut random);
                        let now = time.fetch_add((random >> 58) * 1_000_000, Ordering::Relaxed);
                        anything(records, &mut owners, random >> 20, now);
                        assert!(records.ledger.records() <= 14);
                    }
                });
            }
        });

        audit(&records);
        assert!(records.ledger.records() > 0);
        for scope in 0..2 {
            records.erase_scope(&[scope; 16], 0);
        }
        audit(&records);
        assert_eq!((records.ledger.records(), records.ledger.bytes()), (0, 0));
    }
}

#[test]
fn a_key_that_meets_another_finds_the_store_full() {
    let mut records = Records::new(10, 100_000);
    records.secret = Secret::none();
    let key = |first| {
        let mut key = [0; 32];
        key[8] = first;
        RecordKey::from_parts([0; 16], key)
    };
    let (lives, later) = (SECOND * 5, 5_000_000_000);
    let one = request(key(1), lives);
    let owner = owner_of(&records.claim(&one, 0), &one).unwrap();
    let other = Owner::new(key(2), owner.fence(), owner.claim_id());
    let nothing = Completed::new(Bytes::new(), Bytes::new(), SECOND);

    assert!(matches!(
        records.claim(&request(key(2), lives), 0),
        Claim::Full
    ));
    assert!(records.inspect(&key(2), 0).is_none());
    assert_eq!(records.forget(&key(2), true, 0), Forgotten::Unknown);
    assert_eq!(records.renew(&other, SECOND, true, 0), Settled::Missing);
    assert_eq!(records.abandon(&other, 0), Settled::Missing);
    assert_eq!(records.complete(&other, &nothing, 0), Settled::Missing);
    assert_eq!(records.release(&other, 0), Settled::Missing);
    assert!(records.join(&key(2), owner.fence(), 0).is_none());
    assert!(records.lease_left(&key(2), owner.fence(), 0).is_none());

    assert!(records.join(&key(1), owner.fence(), 0).is_some());
    assert!(records.lease_left(&key(1), owner.fence(), 0).is_some());
    assert!(matches!(
        records.claim(&request(key(2), lives), later),
        Claim::Owned(_)
    ));
    audit(&records);
}

#[test]
fn a_renewal_that_applies_gives_its_whole_lease_where_the_clock_has_gone_back_too() {
    const SECOND_NANOS: Moment = 1_000_000_000;
    let records = Records::new(10, 100_000);
    let request = request(RecordKey::from_parts([1; 16], [1; 32]), SECOND);
    let owner = owner_of(&records.claim(&request, 9 * SECOND_NANOS), &request).unwrap();
    records.abandon(&owner, 9 * SECOND_NANOS);

    let before = 8 * SECOND_NANOS;
    assert_eq!(
        records.renew(&owner, SECOND * 5, false, before),
        Settled::Applied
    );
    let left = |now| records.lease_left(request.key(), owner.fence(), now);
    assert_eq!(left(before), Some(SECOND * 5));

    // Nor is undone what was given, where renewals cross.
    assert_eq!(
        records.renew(&owner, SECOND, false, before),
        Settled::Applied
    );
    assert_eq!(left(before), Some(SECOND * 5));
}

#[test]
fn a_record_that_got_a_new_life_is_not_dropped() {
    let records = Records::new(10, 100_000);
    let request = request(RecordKey::from_parts([1; 16], [1; 32]), SECOND);
    let owner = owner_of(&records.claim(&request, 0), &request).unwrap();
    let (id, due) = (records.id(request.key()), 2_000_000_000);
    assert_eq!(records.ledger.expiry.first(id, due), Some(id));

    // One that read its clock before it was due, and comes late.
    records.renew(&owner, SECOND * 60, false, 1);

    assert!(!records.drop_expired(id, due));
    assert_eq!(records.renew(&owner, SECOND, false, due), Settled::Applied);
    audit(&records);
}

#[test]
fn no_waker_runs_under_a_lock() {
    // Each of these wakes while the others find every lock free, or the test never ends.
    struct Looks(Records, RecordKey);
    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.0.inspect(&self.1, 0);
            self.0.claim(&request(self.1, SECOND), 0);
        }
    }
    let key = RecordKey::from_parts([1; 16], [1; 32]);
    let looks = Arc::new(Looks(Records::new(10, 100_000), key));
    let (records, waker) = (&looks.0, Arc::clone(&looks).into());

    for way in 0..6 {
        let mine = request(key, SECOND * 5);
        let owner = owner_of(&records.claim(&mine, 0), &mine).unwrap();
        let waiters = records.join(&key, owner.fence(), 0).unwrap();
        let mut ended = std::pin::pin!(waiters.notified());
        let mut context = std::task::Context::from_waker(&waker);
        assert!(ended.as_mut().poll(&mut context).is_pending());
        let completed = Completed::new(Bytes::new(), Bytes::new(), SECOND);

        match way {
            0 => drop(records.complete(&owner, &completed, 0)),
            1 => drop(records.release(&owner, 0)),
            2 => drop(records.abandon(&owner, 0)),
            3 => drop(records.forget(&key, true, 0)),
            4 => drop(records.erase_scope(key.scope(), 0)),
            _ => drop(records.claim(&request(key, SECOND), 2_000_000_000)),
        }

        assert!(ended.as_mut().poll(&mut context).is_ready(), "{way}");
        records.erase_scope(key.scope(), 0);
    }
}
