//! A payload as the wrapped store has it. Frozen: records outlive the process that wrote them.
//!
//! ```text
//! version    1    0xe1
//! key        4    the number of the key, big-endian
//! inflated   4    0, or the length of the payload where the content is its DEFLATE stream (RFC 1951), big-endian
//! nonce      24
//! content    n    encrypted
//! tag        16
//! ```
//!
//! XChaCha20-Poly1305. Its associated data are the label, the first three fields, and the scope (16) and key (32) of the
//! record key.

use bytes::{Buf, BufMut, Bytes};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{AeadInOut, XNonce};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::keyring::{EncryptionKey, Keyring};
use crate::key::RecordKey;
use crate::store::error::{BoxError, StoreError, StoreErrorKind};

/// No wire form of the layer begins so: a process that does not encrypt never takes a sealed payload for one of its own.
const VERSION: u8 = 0xe1;

/// Before the nonce.
const HEADER: usize = 1 + 4 + 4;

const NONCE: usize = 24;

const TAG: usize = 16;

/// By how much a sealed payload is longer.
pub(super) const OVERHEAD: usize = HEADER + NONCE + TAG;

/// What a secret is used for, should it be used for anything else.
const LABEL: &[u8] = b"tower-idempotency sealed payload";

/// Longer payloads are not compressed, and whoever claims to be longer is not inflated.
pub(super) const MAX_INFLATED: usize = 64 << 20;

/// The fastest: on JSON an eighth of the time of the usual one, for a fifth more bytes.
const LEVEL: u8 = 1;

/// Encrypts a payload for its record key; with `compress` it is made smaller before, where that is possible.
pub(super) fn seal(
    with: &EncryptionKey,
    nonce: XNonce,
    key: &RecordKey,
    payload: &[u8],
    compress: bool,
) -> Result<Bytes, StoreError> {
    match compress.then(|| deflated(payload)).flatten() {
        Some((content, inflated)) => encrypt(with, nonce, key, &content, inflated),
        None => encrypt(with, nonce, key, payload, 0),
    }
}

pub(super) fn encrypt(
    with: &EncryptionKey,
    nonce: XNonce,
    key: &RecordKey,
    content: &[u8],
    inflated: u32,
) -> Result<Bytes, StoreError> {
    let mut sealed = Vec::with_capacity(OVERHEAD + content.len());
    sealed.put_u8(VERSION);
    sealed.put_u32(with.id());
    sealed.put_u32(inflated);
    let associated = associated(&sealed, key);
    sealed.put_slice(&nonce);
    let begin = sealed.len();
    sealed.put_slice(content);
    let encrypted = (&mut sealed[begin..]).into();
    let tag = with
        .cipher()
        .encrypt_inout_detached(&nonce, &associated, encrypted)
        // More than 256 GiB.
        .map_err(|error| StoreError::new(StoreErrorKind::Fatal, error))?;
    sealed.put_slice(&tag);
    Ok(sealed.into())
}

/// Reads what [`seal`] wrote for this record key.
///
/// # Errors
///
/// `Unreadable` for anything else: it is never taken for an absent record.
pub(super) fn open(keyring: &Keyring, key: &RecordKey, sealed: &[u8]) -> Result<Bytes, StoreError> {
    let Some(parts) = Parts::of(sealed) else {
        return Err(unreadable(
            "it is not encrypted, or not in a form that this version of the crate knows",
        ));
    };
    let Some(with) = keyring.find(parts.id) else {
        let id = parts.id;
        return Err(unreadable(format!(
            "it is encrypted with key {id}, which is not in the keyring"
        )));
    };
    let encrypted = Payload {
        msg: parts.encrypted,
        aad: &associated(parts.header, key),
    };
    let Ok(content) = with.cipher().decrypt(parts.nonce.into(), encrypted) else {
        let id = parts.id;
        return Err(unreadable(format!(
            "key {id} does not open it: another secret, another record's payload, or changed"
        )));
    };
    let payload = match parts.inflated {
        0 => Some(content),
        length => inflated(&content, length),
    };
    let Some(payload) = payload else {
        return Err(unreadable(
            "it does not inflate to the length that it states",
        ));
    };
    Ok(payload.into())
}

struct Parts<'a> {
    header: &'a [u8],
    id: u32,
    inflated: u32,
    nonce: &'a [u8; NONCE],
    /// With the tag.
    encrypted: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let (header, rest) = sealed.split_at_checked(HEADER)?;
        let (nonce, encrypted) = rest.split_first_chunk()?;
        let mut fields = header;
        let is_known = fields.get_u8() == VERSION;
        is_known.then(|| Self {
            header,
            id: fields.get_u32(),
            inflated: fields.get_u32(),
            nonce,
            encrypted,
        })
    }
}

fn associated(header: &[u8], key: &RecordKey) -> Vec<u8> {
    [LABEL, header, key.scope(), key.key()].concat()
}

/// A payload compressed, and its length, where that makes it smaller.
pub(super) fn deflated(payload: &[u8]) -> Option<(Vec<u8>, u32)> {
    if payload.len() > MAX_INFLATED {
        return None;
    }
    let deflated = compress_to_vec(payload, LEVEL);
    let length = u32::try_from(payload.len()).ok()?;
    (deflated.len() < payload.len()).then_some((deflated, length))
}

fn inflated(content: &[u8], length: u32) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok()?;
    if length > MAX_INFLATED {
        return None;
    }
    // Makes no room beyond the length.
    let inflated = decompress_to_vec_with_limit(content, length).ok()?;
    (inflated.len() == length).then_some(inflated)
}

fn unreadable(why: impl Into<BoxError>) -> StoreError {
    StoreError::new(StoreErrorKind::Unreadable, why)
}
