//! The verbs.

use std::time::Duration;

use bytes::{Buf, Bytes};
use redis::Value;

use super::client::{Answer, Call};
use super::connection::text;
use super::fault::{Class, Fault};
use super::form::{self, HEADER, Kept, WINDOW};
use super::scripts::{self, Script};
use super::store::RedisStore;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owned, Owner, Record, Settled, State,
};
use crate::store::error::StoreError;
use crate::store::polling::Pauses;
use crate::store::traits::Store;

/// So often a call looks again where what it has found is gone when it fetches the rest.
const LOOKS: usize = 4;

impl RedisStore {
    fn name(&self, key: &RecordKey) -> Vec<u8> {
        form::name(&self.prefix, key)
    }

    /// Runs a script that answers with a number; whether it may have run before, too.
    async fn run(
        &self,
        script: &Script,
        key: &RecordKey,
        arguments: &[&[u8]],
        has_written: Option<fn(&Value) -> bool>,
    ) -> Result<(i64, bool), StoreError> {
        let call = Call {
            script,
            key: &self.name(key),
            arguments,
            has_written,
        };
        let Answer {
            value,
            was_in_doubt,
        } = self.client.call(call).await?;
        match value {
            Value::Int(-1) => Err(Fault::unreadable().into()),
            Value::Int(number) => Ok((number, was_in_doubt)),
            _ => Err(Fault::odd().into()),
        }
    }

    /// The same, for an owner.
    async fn settle(
        &self,
        script: &Script,
        owner: &Owner,
        more: &[&[u8]],
        has_written: Option<fn(&Value) -> bool>,
    ) -> Result<Settled, StoreError> {
        let by = form::owner(owner);
        let arguments = [&[&by[..]], more].concat();
        let (answer, _) = self
            .run(script, owner.key(), &arguments, has_written)
            .await?;
        Ok(settled(answer))
    }

    /// The time of the server, and the first bytes of a value.
    pub(super) async fn look(
        &self,
        key: &[u8],
        bytes: usize,
        has_written: Option<fn(&Value) -> bool>,
    ) -> Result<(u64, Bytes), Fault> {
        let last = bytes.saturating_sub(1).to_string();
        let call = Call {
            script: &scripts::LOOK,
            key,
            arguments: &[last.as_bytes()],
            has_written,
        };
        let (now, value) = answer(self.client.call(call).await?.value)?;
        Ok((now, value))
    }

    /// Reads a value, and fetches the rest of a long one; `None` where it is gone, or another, by then.
    async fn read(&self, key: &[u8], now: u64, value: Bytes) -> Result<Option<Record>, Fault> {
        match form::read(now, value).ok_or_else(Fault::unreadable)? {
            Kept::Record(record) => return Ok(Some(record)),
            Kept::Released => return Ok(None),
            Kept::Long => {}
        }
        let whole = match self.client.get(key).await? {
            Value::Nil => return Ok(None),
            Value::BulkString(whole) => whole.into(),
            _ => return Err(Fault::odd()),
        };
        match form::read(now, whole).ok_or_else(Fault::unreadable)? {
            Kept::Record(record) if matches!(record.state(), State::Completed { .. }) => {
                Ok(Some(record))
            }
            Kept::Record(_) | Kept::Released => Ok(None),
            Kept::Long => Err(Fault::unreadable()),
        }
    }

    /// Claims; waits for replicas where `has_written` is given.
    async fn claim_once(
        &self,
        request: &ClaimRequest,
        has_written: Option<fn(&Value) -> bool>,
    ) -> Result<Claim, Fault> {
        let key = self.name(request.key());
        let fingerprint = form::fingerprint(request.fingerprint());
        let (id, lease) = (request.claim_id(), form::milliseconds(request.lease()));
        let terms = form::terms(request, lease);
        let arguments: &[&[u8]] = &[id.as_bytes(), &fingerprint, &terms];
        for _ in 0..LOOKS {
            let call = Call {
                script: &scripts::CLAIM,
                key: &key,
                arguments,
                has_written,
            };
            let answered = match self.client.call(call).await {
                Err(fault) if fault.class == Class::Full => return Ok(Claim::Full),
                answered => answered?.value,
            };
            let (now, mut value) = match answered {
                Value::Int(-1) => return Err(Fault::unreadable()),
                Value::Int(-2) => {
                    let said = "this claim comes after its own end";
                    return Err(Fault::new(Class::NotApplied, said));
                }
                found_or_owned => answer(found_or_owned)?,
            };
            if value.len() == OWNED {
                let (fence, attempt) = (Fence::new(value.get_u64()), value.get_u32());
                let lease_left = Duration::from_millis(lease);
                return Ok(Claim::Owned(Owned::new(fence, attempt, lease_left)));
            }
            if let Some(record) = self.read(&key, now, value).await? {
                return Ok(Claim::Existing(record));
            }
        }
        let said = "the record comes and goes too quickly to be read";
        Err(Fault::new(Class::NotApplied, said))
    }

    /// Frees a key that was claimed where too few replicas have it, or under settings that break the promise.
    async fn take_back(&self, request: &ClaimRequest, fault: Fault) -> Fault {
        let owned = match self.claim_once(request, None).await {
            Ok(Claim::Owned(owned)) => owned,
            // Another's by now.
            Ok(_) => return fault.taken_back(),
            Err(_) => return fault.after(true),
        };
        let owner = Owner::new(*request.key(), owned.fence(), request.claim_id());
        let freed = match owned.attempt() {
            1 => self.release(&owner).await,
            _ => self.abandon(&owner).await,
        };
        match freed {
            Ok(_) => fault.taken_back(),
            Err(_) => fault.after(true),
        }
    }
}

impl Store for RedisStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        if self.verdict.get().is_err() {
            self.look_at_settings().await?;
        }
        let claimed = self.claim_once(request, Some(is_owned)).await;
        let refused = match (claimed, self.verdict.get()) {
            (Err(fault), _) if fault.class == Class::Unconfirmed => fault,
            // It has met another server meanwhile.
            (Ok(Claim::Owned(_)), Err(fault)) => fault,
            (claimed, _) => return Ok(claimed?),
        };
        Err(self.take_back(request, refused).await.into())
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let lease = form::milliseconds(lease).to_string();
        let flag: &[u8] = if committed { b"1" } else { b"0" };
        let more = [lease.as_bytes(), flag];
        let has_written = committed.then_some(is_settled as fn(&Value) -> bool);
        self.settle(&scripts::RENEW, owner, &more, has_written)
            .await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let fits = completed.payload().len() <= self.max_record;
        let recorded = if fits {
            completed.payload()
        } else {
            completed.tombstone()
        };
        let retention = form::milliseconds(completed.retention()).to_string();
        let arguments: &[&[u8]] = &[&form::owner(owner), retention.as_bytes(), recorded];
        let answer = self.run(&scripts::COMPLETE, owner.key(), arguments, Some(is_settled));
        Ok(match answer.await? {
            (2, _) if !fits => Settled::Tombstoned,
            (answer, _) => settled(answer),
        })
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.settle(&scripts::ABANDON, owner, &[], None).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let by: &[&[u8]] = &[&form::owner(owner)];
        let answer = self.run(&scripts::RELEASE, owner.key(), by, None);
        Ok(match answer.await? {
            // Its own first try has removed it.
            (0, true) => Settled::Applied,
            (answer, _) => settled(answer),
        })
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let key = self.name(key);
        for _ in 0..LOOKS {
            let (now, value) = self.look(&key, HEADER + WINDOW, None).await?;
            if value.is_empty() {
                return Ok(None);
            }
            if let Some(record) = self.read(&key, now, value).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let flag: &[u8] = if force { b"1" } else { b"0" };
        Ok(
            match self.run(&scripts::FORGET, key, &[flag], None).await?.0 {
                0 => Forgotten::Unknown,
                1 => Forgotten::InFlight,
                _ => Forgotten::Forgotten,
            },
        )
    }

    /// Looks through all keys of every primary (`SCAN`, which the user needs a right for): for operators, not for requests.
    /// What another process claims meanwhile may stay. Where a primary of a Cluster is not in reach, it fails.
    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let (pattern, length) = form::names(&self.prefix, scope);
        let mut erased = 0;
        for primary in self.client.primaries().await? {
            let mut cursor = b"0".to_vec();
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(&pattern);
                scan.arg("COUNT").arg(1000);
                let found = self.client.ask(&primary, scan).await?;
                let (next, names): (Vec<u8>, Vec<Vec<u8>>) =
                    redis::from_redis_value(found).map_err(|_| Fault::odd())?;
                for name in names {
                    let digest = name.get(length - 32..).and_then(|it| it.try_into().ok());
                    if let Some(digest) = digest {
                        let key = RecordKey::from_parts(*scope, digest);
                        let forgotten = self.forget(&key, true).await?;
                        erased += u64::from(forgotten == Forgotten::Forgotten);
                    }
                }
                if next == b"0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(erased)
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        let (key, mut pauses) = (self.name(key), Pauses::new(at_most));
        let mut lease_left = Duration::MAX;
        while pauses.pause(lease_left).await {
            lease_left = match self.look(&key, HEADER, None).await {
                Ok((now, value)) => match form::read(now, value) {
                    Some(Kept::Record(record)) if record.fence() == fence && record.is_live() => {
                        record.state().lease_left()
                    }
                    _ => return,
                },
                // A server that fails is asked again: the waiter's own deadline ends it.
                Err(_) => Duration::MAX,
            };
        }
    }

    fn advice(&self) -> Vec<&'static str> {
        self.verdict.get().unwrap_or_default()
    }
}

/// What became of the write of an owner.
fn settled(answer: i64) -> Settled {
    match answer {
        0 => Settled::Missing,
        1 => Settled::FencedOut,
        _ => Settled::Applied,
    }
}

/// The bytes of a claim that is owned: fence and attempt. Every record is longer.
const OWNED: usize = 12;

fn is_owned(claimed: &Value) -> bool {
    let Value::Array(parts) = claimed else {
        return false;
    };
    matches!(parts.last(), Some(Value::BulkString(bytes)) if bytes.len() == OWNED)
}

/// Whether an owner's write was applied, now or before.
fn is_settled(answer: &Value) -> bool {
    matches!(answer, Value::Int(2 | 3))
}

/// The time of the server in milliseconds, and bytes.
fn answer(value: Value) -> Result<(u64, Bytes), Fault> {
    let Value::Array(parts) = value else {
        return Err(Fault::odd());
    };
    let [seconds, microseconds, bytes] = <[Value; 3]>::try_from(parts).map_err(|_| Fault::odd())?;
    let number = |value: &Value| text(value)?.parse::<u64>().ok();
    match (number(&seconds), number(&microseconds), bytes) {
        (Some(seconds), Some(microseconds), Value::BulkString(bytes)) => {
            let now = seconds
                .saturating_mul(1_000)
                .saturating_add(microseconds / 1_000);
            Ok((now, bytes.into()))
        }
        _ => Err(Fault::odd()),
    }
}
