//! The life of a guarded request, from its key to its answer. Read it top down: this is the promise.

use std::borrow::Cow;
use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower::Service;

use crate::answer::{Verdict, decide, judge, refuse, replay};
use crate::body::{Buffered, RequestBody, ResponseBody};
use crate::bounds::Share;
use crate::capture::{Captured, read_request};
use crate::config::{Config, KEY_HEADER};
use crate::context::Idempotency;
use crate::endpoint::original_uri;
use crate::event::Outcome;
use crate::fingerprint::{Fingerprint, Fingerprinter};
use crate::future::Progress;
use crate::guard::{Core, Ownership, Settlement};
use crate::key::{ClaimId, RecordKey};
use crate::policy::OnStoreError;
use crate::refusal::{Refusal, RefusalCode};
use crate::run::{Readiness, Run, run};
use crate::snapshot::REPLAYED;
use crate::store::claim::{Claim, ClaimRequest, Settled};
use crate::store::traits::Store;
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
    let refused = |refusal: Refusal| Ok(refuse(config, &refusal));
    let refused_for_now = |code| Ok(refuse(config, &config.refuse_for_now(code, None)));
    let (mut parts, body) = request.into_parts();

    // 1. Key, scope, body and fingerprint. Whatever is wrong with them, nothing has been claimed yet.
    let (key, record_key) = match identify(config, &parts) {
        Ok(identified) => identified,
        Err(refusal) => return refused(refusal),
    };
    let mut buffered = core.bounds.take(|bounds| &bounds.buffered, 0);
    let (body, fingerprint) = match fingerprint(config, &parts, body, &mut buffered).await {
        Ok(read) => read,
        Err(refusal) => return refused(refusal),
    };

    // 2. Claim. From here on the work no longer belongs to the connection.
    let mut service = Readiness::Ready(service);
    let mut patience = Patience::new(config, &core.bounds, &core.waiting, &parts.headers);
    let ownership = loop {
        if !core.has_room() {
            return refused_for_now(RefusalCode::Overloaded);
        }
        let (lease, retention) = (config.lease(), config.retention);
        let claim = ClaimRequest::new(record_key, ClaimId::unique(), fingerprint, lease, retention)
            .with_take_over(config.take_over());
        let sent_at = Instant::now();
        let running = core.bounds.take(|bounds| &bounds.executions, 1);
        progress.hold();
        let (fence, refusal) = match core.claim(&claim, sent_at).await {
            Ok(Claim::Owned(owned)) => {
                let (core, progress) = (Arc::clone(&core), Arc::clone(&progress));
                let ownership = Ownership::new(core, progress, &claim, owned, sent_at, running);
                if !ownership.is_short() {
                    break ownership;
                }
                // Answered late, or by a store that gives less: renewed before anything is done under it.
                let code = match ownership.renew().await {
                    Ok(Settled::FencedOut | Settled::Missing) => RefusalCode::InProgress,
                    Ok(_) if !ownership.is_short() => break ownership,
                    Ok(_) | Err(()) => RefusalCode::StoreUnavailable,
                };
                ownership.give_up().await;
                return refused_for_now(code);
            }
            Ok(Claim::Existing(record)) => match judge(config, &record, &fingerprint) {
                Verdict::Replay(snapshot) => return Ok(replay(config, &parts, snapshot)),
                Verdict::Refuse(refusal) => return refused(refusal),
                Verdict::Busy(fence, refusal) => (fence, refusal),
            },
            Ok(Claim::Full) => return refused_for_now(RefusalCode::StoreFull),
            Ok(Claim::OverQuota) => return refused_for_now(RefusalCode::QuotaExceeded),
            Err(failure) => {
                let refusal = core.refuse_unclaimed(&failure, &claim, sent_at, &progress);
                let run = config.on_store_error == OnStoreError::RunUnprotected;
                if !run || !failure.is_outage() || progress.is_client_gone() {
                    return refused(refusal);
                }
                progress.let_go();
                let context = Idempotency::new(&key, record_key, None);
                parts.extensions.insert(context);
                let request = Request::from_parts(parts, RequestBody::read(body));
                return service.run_unprotected(request).await;
            }
        };
        drop(running);

        // Wait: without a claim, without readiness, and only as long as somebody listens.
        if progress.is_client_gone() || !patience.begins(record_key, fence) {
            return refused(refusal);
        }
        progress.let_go();
        service = service.given_up();
        patience.wait(&*core.store, fence).await;
    };
    drop(patience);

    // 3. Run, and hold the response. The lease is renewed beside both.
    parts.extensions.insert(ownership.context(&key));
    let request = Request::from_parts(parts, RequestBody::read(body));
    let run = run(config, &progress, &ownership, service, request);
    let run = ownership.renewing(run).await;
    drop(buffered);

    // 4. Settle, before the client sees the response.
    let (mut head, captured) = match run {
        Run::Responded(head, captured) => (head, captured),
        Run::Failed(error) => {
            ownership.give_up().await;
            return Err(error);
        }
        Run::Panicked(panic) => {
            ownership.give_up().await;
            resume_unwind(panic);
        }
        Run::NotStarted => {
            ownership.give_up().await;
            return refused_for_now(RefusalCode::InProgress);
        }
    };
    let settlement = decide(config, &head, &captured, &ownership);
    let completes = matches!(settlement, Settlement::Complete(_));
    let settled = ownership.settle(settlement).await;
    let recorded = completes && matches!(settled, Some(Settled::Applied | Settled::Tombstoned));

    // 5. Answer.
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

/// Which record a request is about.
fn identify<'a>(config: &Config, parts: &'a Parts) -> Result<(String, RecordKey), Refusal> {
    let mut lines = parts.headers.get_all(&KEY_HEADER).iter();
    let Some(line) = lines.next() else {
        return Err(Refusal::new(RefusalCode::KeyMissing));
    };
    let key: Option<Cow<'a, str>> = config.key.accept(line.as_bytes());
    let Some(key) = key.filter(|_| lines.next().is_none()) else {
        return Err(Refusal::new(RefusalCode::KeyInvalid));
    };
    let record_key = config.record_key_for(parts, &key)?;
    Ok((key.into_owned(), record_key))
}

/// Reads a request to its end.
async fn fingerprint<B: Body<Data = Bytes>>(
    config: &Config,
    parts: &Parts,
    body: B,
    buffered: &mut Share,
) -> Result<(Buffered, Fingerprint), Refusal> {
    let uri = original_uri(&parts.uri, &parts.extensions);
    let mut fingerprint = Fingerprinter::new(&parts.method, uri, &parts.headers);
    let (most, most_in_all) = (config.max_request_bytes, config.max_buffered_bytes);
    let body = read_request(
        body,
        &parts.headers,
        &mut fingerprint,
        most,
        buffered,
        most_in_all,
    )
    .await;
    match body {
        Ok(body) => Ok((body, fingerprint.finish())),
        Err(code @ RefusalCode::Overloaded) => Err(config.refuse_for_now(code, None)),
        Err(code) => Err(Refusal::new(code)),
    }
}
