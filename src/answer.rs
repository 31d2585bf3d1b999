//! What a record means for a request, what a response means for the record, and the answers in between.

use std::mem;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, response};
use http_body::Body;

use crate::body::{Buffered, ResponseBody};
use crate::capture::Captured;
use crate::config::Config;
use crate::context::Idempotency;
use crate::event::{Outcome, Warning};
use crate::fingerprint::Fingerprint;
use crate::form::render;
use crate::guard::{Ownership, Settlement};
use crate::key::{Fence, RecordKey};
use crate::policy::{Reply, Retention};
use crate::refusal::{Refusal, RefusalCode};
use crate::snapshot::{REPLAYED, Snapshot, unmark};
use crate::store::claim::{Completed, Record, State, TakeOver};
use crate::store::error::Reason;
use crate::store::traits::Store;
use crate::store::wire;

/// What happens to a request that does not run as the owner of its record.
pub(crate) enum Instead {
    /// It is none of the layer's business.
    Pass,
    /// It is done already, with this payload.
    Replay(Bytes),
    Refuse(Refusal),
    RunUnprotected(Idempotency, Reason),
}

/// What a record means for a request that did not get it: who is at it, and the refusal of those who do not wait for them,
/// or what happens at once. The fingerprint is of the record's version.
pub(crate) fn judge(
    config: &Config,
    record: Record,
    fingerprint: &Fingerprint,
) -> Result<(Fence, Refusal), Instead> {
    if !record.fingerprint().matches(fingerprint) {
        return Err(Instead::Refuse(Refusal::new(RefusalCode::Mismatch)));
    }
    let (fence, is_committed) = (record.fence(), record.is_committed());
    let lease_left = match record.into_state() {
        State::Completed { payload } => return Err(Instead::Replay(payload)),
        State::InFlight { lease_left } => lease_left,
    };
    let may_run_again = match config.take_over() {
        TakeOver::Never => false,
        TakeOver::Uncommitted => !is_committed,
        TakeOver::Always => true,
    };
    if lease_left.is_zero() && !may_run_again {
        return Err(Instead::Refuse(Refusal::new(RefusalCode::OutcomeUnknown)));
    }
    let refusal = config.refuse_for_now(RefusalCode::InProgress, Some(lease_left));
    Ok((fence, refusal))
}

/// What becomes of the record.
pub(crate) fn decide<R: Body, St: Store>(
    config: &Config,
    head: &response::Parts,
    captured: &Captured<R>,
    ownership: &Ownership<St>,
) -> Settlement {
    let (trailers, whole) = match captured {
        Captured::Whole(body) => (body.trailers(), Some(body)),
        Captured::Flowing(..) => (None, None),
        Captured::WrongLength(_) | Captured::Broken(..) => return Settlement::Abandon,
    };
    let (status, headers) = (head.status, &head.headers);
    let reply = Reply {
        status,
        headers,
        trailers,
        has_ended: whole.is_some(),
        attempt: ownership.attempt(),
    };
    let keep = head.extensions.get().unwrap_or(&config.keep);
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if !switches && !keep.keeps(&reply) {
        return if ownership.frees() {
            Settlement::Release
        } else {
            Settlement::Abandon
        };
    }
    Settlement::Complete(completed(config, head, whole, ownership.record_key()))
}

/// A response as it is recorded, with its body where that is kept whole.
pub(crate) fn completed(
    config: &Config,
    head: &response::Parts,
    whole: Option<&Buffered>,
    record_key: &RecordKey,
) -> Completed {
    let (status, headers) = (head.status, config.headers.kept(&head.headers));
    let tombstone = wire::tombstone(status, &headers);
    let payload = match whole {
        Some(body) => wire::response(status, &headers, body),
        None => tombstone.clone(),
    };
    let retention = match head.extensions.get() {
        Some(Retention(asked)) if *asked > config.retention => {
            let (asked, retention) = (*asked, config.retention);
            let clamped = Warning::RetentionClamped { asked, retention };
            config.warn(clamped, Some(*record_key));
            retention
        }
        Some(Retention(asked)) => *asked,
        None => config.retention,
    };
    Completed::new(payload, tombstone, retention)
}

/// The first answer of an outcome that a transaction of the handler's has recorded: what a replay will show, and of the
/// handler's response what is never kept. Where the response itself was not recorded, it stays as it is.
pub(crate) fn as_recorded<R: Body>(
    config: &Config,
    head: &mut response::Parts,
    captured: Captured<R>,
    payload: &Bytes,
) -> Captured<R> {
    let Ok((headers, Snapshot::Response { status, body })) = wire::decode(payload) else {
        return captured;
    };
    let given = mem::replace(&mut head.headers, headers);
    for (name, value) in config.headers.not_kept(&given) {
        head.headers.append(name, value.clone());
    }
    head.status = status;
    Captured::Whole(body)
}

const NONE: HeaderValue = HeaderValue::from_static("");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The recorded response, marked as such, its headers and extensions in the memory of the request's.
pub(crate) fn replay<R: Body>(
    config: &Config,
    request: &mut Parts,
    payload: Bytes,
) -> Result<Response<ResponseBody<R>>, Refusal> {
    let (headers, extensions) = (&mut request.headers, &mut request.extensions);
    let name = config.key_from.header_name();
    // Not removed: the map is emptied as a whole.
    let line = name.and_then(|name| headers.iter_mut().find(|(header, _)| *header == name));
    let key = line.map(|(name, line)| (name.clone(), mem::replace(line, NONE)));
    let (status, body) = recorded(headers, payload)?;
    headers.insert(REPLAYED.clone(), TRUE);
    if let Some((name, key)) = key {
        headers.insert(name, key);
    }
    extensions.clear();
    extensions.insert(Outcome::Replayed);
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    mem::swap(response.headers_mut(), headers);
    mem::swap(response.extensions_mut(), extensions);
    Ok(response)
}

/// Status and body of the recorded response, its headers in place of others.
pub(crate) fn recorded(
    headers: &mut HeaderMap,
    payload: Bytes,
) -> Result<(StatusCode, Buffered), Refusal> {
    match wire::decode_into(headers, payload) {
        Some(Snapshot::Response { status, body }) => Ok((status, body)),
        Some(Snapshot::Tombstone { location, .. }) => {
            Err(Refusal::new(RefusalCode::ResponseUnavailable).at(location))
        }
        None => Err(Refusal::new(RefusalCode::RecordUnreadable)),
    }
}

/// The layer's own answer.
pub(crate) fn refuse<R: Body>(config: &Config, refusal: &Refusal) -> Response<ResponseBody<R>> {
    refuse_into(
        config,
        refusal,
        &mut HeaderMap::new(),
        &mut Extensions::new(),
    )
}

/// The same, with headers and extensions in the memory of a request's.
pub(crate) fn refuse_into<R: Body>(
    config: &Config,
    refusal: &Refusal,
    headers: &mut HeaderMap,
    extensions: &mut Extensions,
) -> Response<ResponseBody<R>> {
    let rendered = render(refusal, &*config.form, headers);
    if rendered.is_form_refused {
        config.warn(Warning::FormRefused, None);
    }
    let (mut head, body) = rendered.response.into_parts();
    unmark(&mut head.headers);
    if head.extensions.is_empty() {
        extensions.clear();
        mem::swap(&mut head.extensions, extensions);
    }
    head.extensions.insert(Outcome::from(refusal.code()));
    Response::from_parts(head, ResponseBody::whole(Buffered::new(body, None)))
}

/// The answer to HEAD, which tells the length of a body that it does not have (RFC 9110, section 9.3.2). Over HTTP/2
/// servers send what they are given, and clients reset the stream.
pub(crate) fn without_body<R: Body<Data = Bytes>>(response: &mut Response<ResponseBody<R>>) {
    let length = response.body().size_hint().exact().unwrap_or(0);
    *response.body_mut() = ResponseBody::whole(Buffered::default());
    if length > 0 {
        let told = response.headers_mut().entry(CONTENT_LENGTH);
        told.or_insert(length.into());
    }
}
