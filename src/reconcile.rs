//! An operation whose attempt was lost: the application is asked what became of it, under the lease of the next one.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request};

use crate::answer::{Instead, completed};
use crate::body::Buffered;
use crate::config::Config;
use crate::drive::{caught, within};
use crate::grpc::{GRPC_STATUS, is_grpc};
use crate::guard::{Ended, Ownership, Settlement};
use crate::on_lost::{Lost, Reconcile, Reconciled};
use crate::refusal::RefusalCode;
use crate::store::claim::Settled;
use crate::store::traits::Store;

/// Asks the hook. The ownership comes back where the handler is to run.
///
/// What has happened is recorded first and answered then, as any later request will be answered.
pub(crate) async fn reconcile<St: Store>(
    config: &Config,
    hook: &Reconcile,
    ownership: Ownership<St>,
    parts: &Parts,
    body: &[u8],
) -> Result<Ownership<St>, Instead> {
    // Nobody to be answered: the handler will not start, and the record is given back as it was.
    if ownership.is_client_gone() {
        return Ok(ownership);
    }
    let lost = Lost {
        key: ownership.key().clone(),
        record: *ownership.record_key(),
        attempt: ownership.attempt(),
        request: Request::from_parts(parts.clone(), Bytes::copy_from_slice(body)),
    };
    let asking = within(hook.at_most, caught(async { hook.ask(lost).await }));
    let response = match ownership.executing(asking).await {
        // An informational status is no answer.
        Some(Ok(Ok(Reconciled::Done(response)))) if !response.status().is_informational() => {
            response
        }
        Some(Ok(Ok(Reconciled::NotDone))) => return Ok(ownership),
        Some(Ok(Ok(Reconciled::Done(_)) | Err(_)) | Err(_)) | None => {
            let refusal = config.refusal(RefusalCode::ReconcileFailed);
            ownership.give_up().await;
            return Err(Instead::Refuse(refusal));
        }
    };

    let (mut head, body) = response.into_parts();
    // Of what a provider has sent, which may have been of another length; this one is known.
    head.headers.remove(CONTENT_LENGTH);
    // A message of gRPC is followed by its status, for which the hook's answer has no place.
    let trailers = (is_grpc(&head.headers) && !body.is_empty()).then(|| {
        let ok = HeaderValue::from_static("0");
        HeaderMap::from_iter([(GRPC_STATUS.clone(), ok)])
    });
    let whole = (body.len() <= config.max_kept_response).then(|| Buffered::new(body, trailers));
    let completed = completed(config, &head, whole.as_ref(), ownership.record_key());
    let (payload, tombstone) = (completed.payload().clone(), completed.tombstone().clone());
    let payload = match ownership.settle(Settlement::Complete(completed)).await {
        Ended::As(Settled::Applied) => payload,
        Ended::As(Settled::Tombstoned) => tombstone,
        Ended::ByHandler(payload) => payload,
        Ended::As(Settled::FencedOut | Settled::Missing) => {
            return Err(Instead::Refuse(config.refusal(RefusalCode::InProgress)));
        }
        Ended::Later => {
            return Err(Instead::Refuse(
                config.refusal(RefusalCode::StoreUnavailable),
            ));
        }
    };
    Err(Instead::Replay(payload))
}
