//! What a request is about: its key, its record, its fingerprint.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;

use crate::answer::Instead;
use crate::claiming::Core;
use crate::config::Config;
use crate::context::Idempotency;
use crate::event::{Event, Outcome};
use crate::fingerprint::Fingerprint;
use crate::framing::Fingerprinter;
use crate::key::RecordKey;
use crate::lines::Head;
use crate::refusal::RefusalCode;
use crate::unowned::Unowned;
use crate::upload::Upload;

/// What the layer has to know of a request before it claims.
pub(crate) struct Identity<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) record_key: RecordKey,
    pub(crate) fingerprint: Fingerprint,
}

/// Looks at a request.
///
/// A key in the head is looked at first, so that nothing is read for a request without one. A scope that cannot be
/// resolved is an error, never a shared one.
pub(crate) async fn identify<'a, St, B: Body<Data = Bytes>>(
    core: &Core<St>,
    parts: &'a Parts,
    upload: &mut Upload<'_, B>,
) -> Result<Identity<'a>, Unowned> {
    let config = &core.config;
    let unowned = |record_key, instead| Unowned {
        record_key,
        instead,
    };
    let refused = |code| unowned(None, Instead::Refuse(config.refusal(code)));
    let head = Head::of(parts, config.key_from.header_name());
    let mut fingerprinter = Fingerprinter::new(&config.fingerprint, &head);
    if config.key_from.is_in_body() {
        let read = upload.read(config, &parts.headers, &mut fingerprinter);
        read.await.map_err(refused)?;
    }
    let named = named(config, &head, upload.data());
    let Some((key, record_key)) = named.map_err(refused)? else {
        config.report(|| Event::of(Outcome::Bypassed, None));
        return Err(unowned(None, Instead::Pass));
    };
    let claimed = parts.extensions.get::<Idempotency>();
    if claimed.is_some_and(|further_out| further_out.is_claim_of(&record_key, &core.bounds)) {
        return Err(unowned(Some(record_key), Instead::Pass));
    }
    let refused = |code| unowned(Some(record_key), Instead::Refuse(config.refusal(code)));
    let read = upload.read(config, &parts.headers, &mut fingerprinter);
    read.await.map_err(refused)?;
    let fingerprint = fingerprinter
        .finish(parts, upload.data())
        .map_err(refused)?;
    Ok(Identity {
        key,
        record_key,
        fingerprint,
    })
}

/// The key of a request, and that of its record; `None` where it is to pass through.
fn named<'a>(
    config: &Config,
    head: &Head<'a>,
    body: &[u8],
) -> Result<Option<(Cow<'a, str>, RecordKey)>, RefusalCode> {
    let key = match config.key_from.key(&config.key, head, body)? {
        Some(key) => key,
        None if config.require_key => return Err(RefusalCode::KeyMissing),
        None => return Ok(None),
    };
    let record_key = config.record_key_for(head, &key)?;
    Ok(record_key.map(|record_key| (key, record_key)))
}
