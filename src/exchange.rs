//! The life of a guarded request, from its key to its answer. Read it top down: this is the promise.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower::Service;

use crate::answer::{Instead, as_recorded, decide, judge, refuse, without_body};
use crate::body::{Buffered, RequestBody, ResponseBody};
use crate::capture::Captured;
use crate::claiming::Core;
use crate::context::Idempotency;
use crate::drive::caught;
use crate::event::{Event, Outcome};
use crate::framing::fingerprint_of_version;
use crate::future::Progress;
use crate::giving_back::lengthened;
use crate::guard::{Ended, Ownership, Settlement};
use crate::identify::{Identity, identify};
use crate::key::{ClaimId, IdempotencyKey};
use crate::on_lost::OnLost;
use crate::policy::{Mode, OnStoreError};
use crate::reconcile::reconcile;
use crate::refusal::RefusalCode;
use crate::run::{Readiness, Run, run};
use crate::snapshot::unmark;
use crate::store::claim::{Claim, ClaimRequest};
use crate::store::traits::Store;
use crate::unowned::{Unowned, answer_unowned, run_unowned};
use crate::upload::Upload;
use crate::waiting::Patience;

/// Guards one request: claims its key, runs the service at most once, records the outcome, answers.
///
/// From the claim on the future that this is must be driven to its end, whatever happens to the client;
/// [`Progress`] says so to its owner. A block and not an async function, which would hold its arguments twice.
pub(crate) fn exchange<S, St, B, R>(
    progress: Arc<Progress<Arc<Core<St>>>>,
    service: S,
    request: Request<B>,
) -> impl Future<Output = Result<Response<ResponseBody<R>>, S::Error>>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    St: Store,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    let (mut parts, body) = request.into_parts();
    let mut service = Readiness::Ready(service);
    async move {
        let core = &progress.core;
        let (config, mut upload) = (&core.config, Upload::new(body, &core.bounds));
        let claimed = async {
            // 1. Key, scope, body and fingerprint. Whatever is wrong with them, nothing has been claimed yet.
            let identity = identify(core, &parts, &mut upload).await?;
            // 2. Claim. From here on the work no longer belongs to the connection.
            let body = upload.data();
            let claimed = claim(&progress, &mut service, &parts, body, identity).await?;
            if !claimed.is_doubtful() {
                return Ok(claimed);
            }
            Box::pin(made_sure(claimed, &parts, body)).await
        };
        let ownership = match claimed.await {
            Ok(ownership) => ownership,
            Err(unowned) => {
                return match answer_unowned(config, &*progress, &mut parts, unowned) {
                    Ok(answer) => Ok(answer),
                    Err(unprotected) => {
                        progress.let_go();
                        Box::pin(run_unowned(service, parts, upload, unprotected)).await
                    }
                };
            }
        };

        // 3. Run, and hold the response. The lease is renewed beside both.
        parts.extensions.insert(ownership.context());
        let is_head = parts.method == Method::HEAD;
        let (body, share) = upload.into_body();
        let request = Request::from_parts(parts, body);
        let run = {
            let run = pin!(caught(run(
                config, &*progress, &ownership, service, request
            )));
            ownership.executing(run).await
        };
        drop(share);

        // 4. Settle, before the client sees the response.
        let (record_key, attempt) = (*ownership.record_key(), ownership.attempt());
        let started = ownership.has_started();
        let report = |recorded| {
            if started {
                config.report(|| Event::executed(record_key, attempt, recorded));
            }
        };
        let (mut head, mut captured) = match run {
            Ok(Run::Responded(head, captured)) => (head, captured),
            Ok(Run::Failed(error)) => {
                let ended = ownership.give_up().await;
                report(matches!(ended, Ended::ByHandler(_)));
                return Err(error);
            }
            Err(panic) => {
                let ended = ownership.give_up().await;
                report(matches!(ended, Ended::ByHandler(_)));
                resume_unwind(panic);
            }
            Ok(Run::NotStarted) => {
                ownership.give_up().await;
                let refusal = config.refusal(RefusalCode::InProgress);
                if !progress.is_client_gone() {
                    config.report(|| Event::refused(refusal.code(), Some(record_key)));
                }
                return Ok(refuse(config, &refusal));
            }
        };
        let settlement = decide(config, &head, &captured, &ownership);
        let completes = matches!(settlement, Settlement::Complete(_));
        let ended = ownership.settle(settlement).await;
        let by_handler = matches!(ended, Ended::ByHandler(_));
        let recorded = by_handler || completes && ended.is_applied();

        // 5. Answer. A layer that only looks leaves the response as it is.
        report(recorded);
        if config.mode == Mode::Enforce {
            // What a transaction of the handler's has recorded is the outcome, whatever came after it.
            if let Ended::ByHandler(payload) = &ended {
                captured = as_recorded(config, &mut head, captured, payload);
            }
            unmark(&mut head.headers);
            head.extensions.insert(Outcome::Executed { recorded });
        }
        let mut response = Response::from_parts(
            head,
            match captured {
                Captured::Whole(body) => ResponseBody::whole(body),
                Captured::WrongLength(None) => ResponseBody::whole(Buffered::default()),
                Captured::WrongLength(Some(body)) => ResponseBody::wrong_length(body),
                Captured::Flowing(body, rest) => ResponseBody::flowing(body, rest),
                Captured::Broken(body, error) => ResponseBody::broken(body, error),
            },
        );
        // The handler's own answer to HEAD has no body, the recorded one may have.
        if is_head && by_handler && config.mode == Mode::Enforce {
            without_body(&mut response);
        }
        Ok(response)
    }
}

/// So often a request meets records of other releases than the last: two releases may be at one key in turn.
const MOST_OTHER_TERMS: u32 = 8;

/// Claims the record of a request, or says what happens instead. A block too.
fn claim<S, St>(
    progress: &Arc<Progress<Arc<Core<St>>>>,
    service: &mut Readiness<S>,
    parts: &Parts,
    body: &[u8],
    identity: Identity<'_>,
) -> impl Future<Output = Result<Ownership<St>, Unowned>>
where
    S: Clone,
    St: Store,
{
    let core = &progress.core;
    let config = &core.config;
    async move {
        let record_key = Some(identity.record_key);
        let unowned = |instead| Unowned {
            record_key,
            instead,
        };
        let refused = |code| unowned(Instead::Refuse(config.refusal(code)));
        let mut fingerprint = identity.fingerprint;
        let mut other_terms = 0;
        let mut patience = Patience::new(config, &core.bounds, &core.waiting, &parts.headers);
        loop {
            if !core.has_room() {
                return Err(refused(RefusalCode::Overloaded));
            }
            let (lease, retention) = (config.lease(), config.retention);
            let (key, id) = (identity.record_key, ClaimId::unique());
            let claim = ClaimRequest::new(key, id, fingerprint, lease, retention)
                .with_take_over(config.take_over());
            let sent_at = Instant::now();
            let running = core.bounds.lend(|bounds| &bounds.executions, 1);
            progress.hold();
            let record = match core.claim(&claim, sent_at).await {
                Ok(Claim::Owned(owned)) => {
                    let key = IdempotencyKey::new(&identity.key);
                    let (core, progress) = (Arc::clone(core), progress.clone());
                    let ownership =
                        Ownership::new(core, progress, key, &claim, owned, sent_at, running);
                    return Ok(ownership);
                }
                Ok(Claim::Existing(record)) => record,
                Ok(Claim::Full) => return Err(refused(RefusalCode::StoreFull)),
                Ok(Claim::OverQuota) => return Err(refused(RefusalCode::QuotaExceeded)),
                Err(failure) => {
                    let gives_back: Arc<Progress> = progress.clone();
                    let refusal = core.refuse_unclaimed(&failure, &claim, sent_at, &gives_back);
                    let run = config.on_store_error == OnStoreError::RunUnprotected;
                    if !run || !failure.is_outage() || progress.is_client_gone() {
                        return Err(unowned(Instead::Refuse(refusal)));
                    }
                    let context = Idempotency::unprotected(&identity.key, identity.record_key);
                    return Err(unowned(Instead::RunUnprotected(context, failure.reason)));
                }
            };
            drop(running);

            // A record that another release of this crate wrote is claimed again in its own terms.
            let version = record.fingerprint().version();
            if version != fingerprint.version() {
                let policy = &config.fingerprint;
                match fingerprint_of_version(version, policy, parts, body) {
                    Ok(in_its_terms) if other_terms < MOST_OTHER_TERMS => {
                        fingerprint = in_its_terms
                    }
                    Ok(_) => return Err(refused(RefusalCode::RecordUnreadable)),
                    Err(code) => return Err(refused(code)),
                }
                other_terms += 1;
                continue;
            }
            let (fence, refusal) = judge(config, record, &fingerprint).map_err(unowned)?;

            // Wait: without a claim, without readiness, and only as long as somebody listens.
            if progress.is_client_gone() || !patience.begins(identity.record_key, fence) {
                return Err(unowned(Instead::Refuse(refusal)));
            }
            progress.let_go();
            service.give_up();
            Box::pin(patience.wait(&*core.store, fence)).await;
        }
    }
}

/// An ownership that is good enough to begin with, or what happens instead.
async fn made_sure<St: Store>(
    ownership: Ownership<St>,
    parts: &Parts,
    body: &[u8],
) -> Result<Ownership<St>, Unowned> {
    let record_key = Some(*ownership.record_key());
    let unowned = |instead| Unowned {
        record_key,
        instead,
    };
    // Answered late, or by a store that gives less: renewed before anything is done under it.
    let ownership = if ownership.is_short() {
        let lengthened = lengthened(ownership).await;
        lengthened.map_err(|refusal| unowned(Instead::Refuse(refusal)))?
    } else {
        ownership
    };
    // An attempt before this one was lost: did it do what it was to do?
    let core = Arc::clone(ownership.core());
    match &core.config.on_lost {
        OnLost::Reconcile(hook) if ownership.attempt() > 1 => {
            let reconciled = reconcile(&core.config, hook, ownership, parts, body);
            reconciled.await.map_err(unowned)
        }
        _ => Ok(ownership),
    }
}
