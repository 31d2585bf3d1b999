//! The life of a guarded request, from its key to its answer. Read it top down: this is the promise.

use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower::Service;

use crate::answer::{Verdict, decide, judge, refuse};
use crate::body::{Buffered, RequestBody, ResponseBody};
use crate::capture::Captured;
use crate::event::{Event, Outcome};
use crate::future::Progress;
use crate::guard::{Core, Ownership, Settlement};
use crate::identify::{Identity, identify};
use crate::key::ClaimId;
use crate::parameters::fingerprint_of_version;
use crate::policy::OnStoreError;
use crate::refusal::RefusalCode;
use crate::run::{Readiness, Run, run};
use crate::snapshot::REPLAYED;
use crate::store::claim::{Claim, ClaimRequest, Settled};
use crate::store::traits::Store;
use crate::unowned::{Instead, Unowned};
use crate::upload::Upload;
use crate::waiting::Patience;

/// Guards one request: claims its key, runs the service at most once, records the outcome, answers.
///
/// From the claim on the future that this is must be driven to its end, whatever happens to the client;
/// [`Progress`] says so to its owner.
pub(crate) async fn exchange<S, St, B, R>(
    core: Arc<Core<St>>,
    progress: Arc<Progress>,
    service: S,
    request: Request<B>,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    St: Store,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    let config = &core.config;
    let (mut parts, body) = request.into_parts();
    let mut upload = Upload::new(body, &core.bounds);
    let mut service = Readiness::Ready(service);

    // 1. Key, scope, body and fingerprint. Whatever is wrong with them, nothing has been claimed yet.
    let identified = identify(config, &parts, &mut upload).await;
    let Identity {
        key,
        record_key,
        mut fingerprint,
    } = match identified {
        Ok(Some(identity)) => identity,
        Ok(None) => {
            let unowned = Unowned::new(config, &progress, None);
            return unowned.end(Instead::Pass, service, parts, upload).await;
        }
        Err(code) => {
            let unowned = Unowned::new(config, &progress, None);
            let instead = Instead::Refuse(config.refusal(code));
            return unowned.end(instead, service, parts, upload).await;
        }
    };

    // 2. Claim. From here on the work no longer belongs to the connection.
    let mut patience = Patience::new(config, &core.bounds, &core.waiting, &parts.headers);
    let claimed = loop {
        if !core.has_room() {
            break Err(config.refusal(RefusalCode::Overloaded).into());
        }
        let (id, lease, retention) = (ClaimId::unique(), config.lease(), config.retention);
        let claim = ClaimRequest::new(record_key, id, fingerprint, lease, retention)
            .with_take_over(config.take_over());
        let sent_at = Instant::now();
        let running = core.bounds.take(|bounds| &bounds.executions, 1);
        progress.hold();
        let record = match core.claim(&claim, sent_at).await {
            Ok(Claim::Owned(owned)) => {
                let (core, progress) = (Arc::clone(&core), Arc::clone(&progress));
                let ownership = Ownership::new(core, progress, &claim, owned, sent_at, running);
                if !ownership.is_short() {
                    break Ok(ownership);
                }
                // Answered late, or by a store that gives less: renewed before anything is done under it.
                let code = match ownership.renew().await {
                    Ok(Settled::FencedOut | Settled::Missing) => RefusalCode::InProgress,
                    Ok(_) if !ownership.is_short() => break Ok(ownership),
                    Ok(_) | Err(()) => RefusalCode::StoreUnavailable,
                };
                ownership.give_up().await;
                break Err(config.refusal(code).into());
            }
            Ok(Claim::Existing(record)) => record,
            Ok(Claim::Full) => break Err(config.refusal(RefusalCode::StoreFull).into()),
            Ok(Claim::OverQuota) => break Err(config.refusal(RefusalCode::QuotaExceeded).into()),
            Err(failure) => {
                let refusal = core.refuse_unclaimed(&failure, &claim, sent_at, &progress);
                let run = config.on_store_error == OnStoreError::RunUnprotected;
                break Err(
                    match run && failure.is_outage() && !progress.is_client_gone() {
                        true => Instead::RunUnprotected,
                        false => refusal.into(),
                    },
                );
            }
        };
        drop(running);

        // A record that another release of this crate wrote is claimed again in its own terms.
        let version = record.fingerprint().version();
        if version != fingerprint.version() {
            let policy = &config.fingerprint;
            match fingerprint_of_version(version, policy, &parts, upload.data()) {
                Ok(of_that_version) => fingerprint = of_that_version,
                Err(code) => break Err(config.refusal(code).into()),
            }
            continue;
        }
        let (fence, refusal) = match judge(config, &record, &fingerprint) {
            Verdict::Replay(snapshot) => break Err(Instead::Replay(snapshot)),
            Verdict::Refuse(refusal) => break Err(refusal.into()),
            Verdict::Busy(fence, refusal) => (fence, refusal),
        };

        // Wait: without a claim, without readiness, and only as long as somebody listens.
        if progress.is_client_gone() || !patience.begins(record_key, fence) {
            break Err(refusal.into());
        }
        progress.let_go();
        service.give_up();
        patience.wait(&*core.store, fence).await;
    };
    drop(patience);
    let ownership = match claimed {
        Ok(ownership) => ownership,
        Err(instead) => {
            let unowned = Unowned::new(config, &progress, Some((&key, record_key)));
            return unowned.end(instead, service, parts, upload).await;
        }
    };

    // 3. Run, and hold the response. The lease is renewed beside both.
    parts.extensions.insert(ownership.context(&key));
    let (body, share) = upload.into_body();
    let request = Request::from_parts(parts, body);
    let run = run(config, &progress, &ownership, service, request);
    let run = ownership.renewing(run).await;
    drop(share);

    // 4. Settle, before the client sees the response.
    let executed = Event::executed(record_key, ownership.attempt());
    let (mut head, captured) = match run {
        Run::Responded(head, captured) => (head, captured),
        Run::Failed(error) => {
            ownership.give_up().await;
            config.report(|| executed.recorded(false));
            return Err(error);
        }
        Run::Panicked(panic) => {
            ownership.give_up().await;
            config.report(|| executed.recorded(false));
            resume_unwind(panic);
        }
        Run::NotStarted => {
            ownership.give_up().await;
            let refusal = config.refusal(RefusalCode::InProgress);
            config.report(|| Event::refused_with(refusal.code()).about(Some(record_key)));
            return Ok(refuse(config, &refusal));
        }
    };
    let settlement = decide(config, &head, &captured, &ownership);
    let completes = matches!(settlement, Settlement::Complete(_));
    let settled = ownership.settle(settlement).await;
    let recorded = completes && matches!(settled, Some(Settled::Applied | Settled::Tombstoned));

    // 5. Answer.
    config.report(|| executed.recorded(recorded));
    head.headers.remove(&REPLAYED);
    head.extensions.insert(Outcome::Executed { recorded });
    Ok(Response::from_parts(
        head,
        match captured {
            Captured::Whole(body) => ResponseBody::whole(body),
            Captured::WrongLength(None) => ResponseBody::whole(Buffered::default()),
            Captured::WrongLength(Some(body)) => ResponseBody::wrong_length(body),
            Captured::Flowing(body, rest) => ResponseBody::flowing(body, rest),
            Captured::Broken(body, error) => ResponseBody::broken(body, error),
        },
    ))
}
