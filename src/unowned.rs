//! Requests that do not run as the owner of a record: passed on, replayed, refused, or run without protection.

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::answer::{refuse, replay};
use crate::body::{RequestBody, ResponseBody};
use crate::config::Config;
use crate::context::Idempotency;
use crate::event::{Event, Outcome};
use crate::future::Progress;
use crate::key::RecordKey;
use crate::policy::Mode;
use crate::refusal::{Refusal, RefusalCode};
use crate::run::Readiness;
use crate::snapshot::{REPLAYED, Snapshot};
use crate::upload::Upload;

/// What happens to a request instead of a guarded run.
pub(crate) enum Instead {
    /// It has no key, or a sender that is passed by: as if there were no layer.
    Pass,
    Replay(Snapshot),
    Refuse(Refusal),
    RunUnprotected,
}

impl From<Refusal> for Instead {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// A request without ownership.
pub(crate) struct Unowned<'a> {
    config: &'a Config,
    progress: &'a Progress,
    /// Key and record key, where it came so far.
    identity: Option<(&'a str, RecordKey)>,
}

impl<'a> Unowned<'a> {
    pub(crate) fn new(
        config: &'a Config,
        progress: &'a Progress,
        identity: Option<(&'a str, RecordKey)>,
    ) -> Self {
        Self {
            config,
            progress,
            identity,
        }
    }

    /// Answers, or runs the service: a layer that only looks runs it in any case.
    pub(crate) async fn end<S, B, R>(
        self,
        instead: Instead,
        service: Readiness<S>,
        mut parts: Parts,
        upload: Upload<B>,
    ) -> Result<Response<ResponseBody<R>>, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
        B: Body<Data = Bytes>,
        R: Body<Data = Bytes>,
    {
        let passes = matches!(instead, Instead::Pass);
        let acts = self.config.mode == Mode::Enforce || self.progress.is_client_gone();
        let (event, answer) = match instead {
            Instead::Pass => (Event::outcome_is(Outcome::Bypassed), None),
            Instead::RunUnprotected => (Event::outcome_is(Outcome::Unprotected), None),
            Instead::Replay(snapshot) => {
                let answer = acts.then(|| replay(self.config, &parts, snapshot));
                (Event::outcome_is(Outcome::Replayed), answer)
            }
            Instead::Refuse(refusal) => {
                // There is nothing to run where the body broke off.
                let acts = acts || refusal.code() == RefusalCode::RequestBodyUnreadable;
                let answer = acts.then(|| refuse(self.config, &refusal));
                (Event::refused_with(refusal.code()), answer)
            }
        };
        let record_key = self.identity.map(|(_, record_key)| record_key);
        self.config.report(|| event.about(record_key));
        if let Some(answer) = answer {
            return Ok(answer);
        }

        self.progress.let_go();
        if let Some((key, record_key)) = self.identity {
            let context = Idempotency::new(key, record_key, None);
            parts.extensions.insert(context);
        }
        let (body, _share) = upload.into_body();
        let mut response = service.call(Request::from_parts(parts, body)).await?;
        if !passes {
            response.headers_mut().remove(&REPLAYED);
            response.extensions_mut().insert(Outcome::Unprotected);
        }
        Ok(response)
    }
}
