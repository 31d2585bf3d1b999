//! What a request is about: its key, its record, its fingerprint.

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;

use crate::config::Config;
use crate::fingerprint::Fingerprint;
use crate::key::RecordKey;
use crate::parameters::Fingerprinter;
use crate::refusal::RefusalCode;
use crate::upload::Upload;

/// What the layer has to know of a request before it claims.
pub(crate) struct Identity {
    pub(crate) key: String,
    pub(crate) record_key: RecordKey,
    pub(crate) fingerprint: Fingerprint,
}

/// Looks at a request; `None` where it has no key, or is to pass through for another reason.
///
/// A key in the head is looked at first, so that nothing is read for a request without one. A scope that cannot be
/// resolved is an error, never a shared one.
pub(crate) async fn identify<B: Body<Data = Bytes>>(
    config: &Config,
    parts: &Parts,
    upload: &mut Upload<B>,
) -> Result<Option<Identity>, RefusalCode> {
    let mut fingerprinter = Fingerprinter::new(&config.fingerprint, parts);
    if config.key_from.is_in_body() {
        upload
            .read(config, &parts.headers, &mut fingerprinter)
            .await?;
    }
    let key = config.key_from.key(&config.key, parts, upload.data())?;
    let Some(key) = key else {
        return match config.require_key {
            true => Err(RefusalCode::KeyMissing),
            false => Ok(None),
        };
    };
    let Some(record_key) = config.record_key_for(parts, &key)? else {
        return Ok(None);
    };
    let key = key.into_owned();
    upload
        .read(config, &parts.headers, &mut fingerprinter)
        .await?;
    let fingerprint = fingerprinter.finish(parts, upload.data())?;
    Ok(Some(Identity {
        key,
        record_key,
        fingerprint,
    }))
}
