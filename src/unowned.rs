//! Requests that do not run as the owner of a record: answered, passed on, or run without protection.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use tower::Service;

use crate::answer::{Instead, recorded, refuse_into, replay, without_body};
use crate::body::{RequestBody, ResponseBody};
use crate::config::Config;
use crate::context::Idempotency;
use crate::event::{Event, Outcome};
use crate::future::Progress;
use crate::key::RecordKey;
use crate::policy::Mode;
use crate::refusal::RefusalCode;
use crate::run::Readiness;
use crate::snapshot::unmark;
use crate::upload::Upload;

/// A request that does not run as the owner of its record.
pub(crate) struct Unowned {
    /// Where it came so far.
    pub(crate) record_key: Option<RecordKey>,
    pub(crate) instead: Instead,
}

/// The layer's own answer. Where the service runs instead: the context of a run without protection, or `None` for one
/// that is none of the layer's business.
pub(crate) fn answer_unowned<R: Body<Data = Bytes>>(
    config: &Config,
    progress: &Progress,
    parts: &mut Parts,
    unowned: Unowned,
) -> Result<Response<ResponseBody<R>>, Option<Idempotency>> {
    let mut answer = answer_with_body(config, progress, parts, unowned);
    if parts.method == Method::HEAD
        && let Ok(answer) = &mut answer
    {
        without_body(answer);
    }
    answer
}

fn answer_with_body<R: Body>(
    config: &Config,
    progress: &Progress,
    parts: &mut Parts,
    unowned: Unowned,
) -> Result<Response<ResponseBody<R>>, Option<Idempotency>> {
    let Unowned {
        record_key,
        instead,
    } = unowned;
    // A layer that only looks runs what somebody waits for.
    let acts = config.mode == Mode::Enforce || progress.is_client_gone();
    let refusal = match instead {
        Instead::Pass => return Err(None),
        Instead::RunUnprotected(context, reason) => {
            config.report(|| Event::of(Outcome::Unprotected, record_key).because(Some(reason)));
            return Err(acts.then_some(context));
        }
        Instead::Replay(payload) => {
            let replayed = if acts {
                replay(config, parts, payload).map(Some)
            } else {
                recorded(&mut HeaderMap::new(), payload).map(|_| None)
            };
            match replayed {
                Ok(replay) => {
                    config.report(|| Event::of(Outcome::Replayed, record_key));
                    return replay.ok_or(None);
                }
                Err(refusal) => refusal,
            }
        }
        Instead::Refuse(refusal) => refusal,
    };
    config.report(|| Event::refused(refusal.code(), record_key).because(refusal.reason()));
    // There is nothing to run where the body broke off.
    if !acts && refusal.code() != RefusalCode::RequestBodyUnreadable {
        return Err(None);
    }
    let (headers, extensions) = (&mut parts.headers, &mut parts.extensions);
    Ok(refuse_into(config, &refusal, headers, extensions))
}

/// Runs the service, with its context where that is without protection, or as if there were no layer.
pub(crate) async fn run_unowned<S, B, R>(
    service: Readiness<S>,
    mut parts: Parts,
    upload: Upload<'_, B>,
    unprotected: Option<Idempotency>,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    let is_unprotected = unprotected.is_some();
    if let Some(context) = unprotected {
        parts.extensions.insert(context);
    }
    let (body, share) = upload.into_body();
    // What passes is none of the layer's business, and takes nothing of its bounds.
    let _share = is_unprotected.then_some(share);
    let mut response = service.call(Request::from_parts(parts, body)).await?;
    if is_unprotected {
        unmark(response.headers_mut());
        response.extensions_mut().insert(Outcome::Unprotected);
    }
    Ok(response)
}
