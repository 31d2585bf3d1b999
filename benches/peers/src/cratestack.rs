//! A store in memory for cratestack's layer, which comes with none: a map and what its trait asks for, no more. It does not
//! drop what has expired, so that it costs less than a store that one would use.

use std::time::SystemTime;

use async_trait::async_trait;
use cratestack_axum::idempotency::{IdempotencyRecord, IdempotencyStore, ReservationOutcome};
use cratestack_core::CratestackError;
use dashmap::{DashMap, Entry};
use uuid::Uuid;

struct Reservation {
    token: Uuid,
    hash: [u8; 32],
    expires_at: SystemTime,
    record: Option<IdempotencyRecord>,
}

#[derive(Default)]
pub(crate) struct Reservations(DashMap<String, Reservation>);

fn name(principal: &str, key: &str) -> String {
    [principal, key].join(" ")
}

#[async_trait]
impl IdempotencyStore for Reservations {
    async fn reserve_or_fetch(
        &self,
        principal: &str,
        key: &str,
        hash: [u8; 32],
        expires_at: SystemTime,
    ) -> Result<ReservationOutcome, CratestackError> {
        let entry = self.0.entry(name(principal, key));
        if let Entry::Occupied(there) = &entry
            && there.get().expires_at > SystemTime::now()
        {
            return Ok(match &there.get().record {
                _ if there.get().hash != hash => ReservationOutcome::Conflict,
                Some(record) => ReservationOutcome::Replay(record.clone()),
                None => ReservationOutcome::InFlight,
            });
        }
        let token = Uuid::new_v4();
        entry.insert(Reservation {
            token,
            hash,
            expires_at,
            record: None,
        });
        Ok(ReservationOutcome::Reserved { token })
    }

    async fn complete(
        &self,
        principal: &str,
        key: &str,
        token: Uuid,
        status: u16,
        headers: &[u8],
        body: &[u8],
    ) -> Result<(), CratestackError> {
        let reservation = self.0.get_mut(&name(principal, key));
        if let Some(mut reservation) = reservation.filter(|there| there.token == token) {
            reservation.record = Some(IdempotencyRecord {
                key: key.to_owned(),
                principal_fingerprint: principal.to_owned(),
                request_hash: reservation.hash,
                response_status: status,
                response_headers: headers.to_vec(),
                response_body: body.to_vec(),
                created_at: SystemTime::now(),
                expires_at: reservation.expires_at,
            });
        }
        Ok(())
    }

    async fn release(
        &self,
        principal: &str,
        key: &str,
        token: Uuid,
    ) -> Result<(), CratestackError> {
        self.0
            .remove_if(&name(principal, key), |_, there| there.token == token);
        Ok(())
    }
}
