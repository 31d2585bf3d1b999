//! The wire form of a step's value: the version of all payloads, a kind of its own, and JSON.
//!
//! ```text
//! value      1 2 json
//! too large  1 3
//! ```

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StepError;
use crate::store::error::BoxError;

const VALUE: [u8; 2] = [1, 2];
const TOO_LARGE: [u8; 2] = [1, 3];

/// The payload of a value, and what every later attempt will read of it; `None` for one of more than `at_most` bytes.
pub(super) fn write<T>(value: &T, at_most: usize) -> Result<Option<(Bytes, T)>, BoxError>
where
    T: Serialize + DeserializeOwned,
{
    let mut payload = VALUE.to_vec();
    serde_json::to_writer(&mut payload, value)?;
    let json = &payload[VALUE.len()..];
    if json.len() > at_most {
        return Ok(None);
    }
    let read = serde_json::from_slice(json)?;
    Ok(Some((payload.into(), read)))
}

/// Stands for a value that is not kept: the step is done all the same.
pub(super) fn too_large() -> Bytes {
    Bytes::from_static(&TOO_LARGE)
}

pub(super) fn read<T: DeserializeOwned, E>(payload: &[u8]) -> Result<T, StepError<E>> {
    if payload == TOO_LARGE {
        return Err(StepError::TooLarge);
    }
    let json = payload.strip_prefix(&VALUE);
    let json =
        json.ok_or_else(|| StepError::Store("the record of the step cannot be read".into()))?;
    serde_json::from_slice(json).map_err(|_| StepError::OtherType)
}
