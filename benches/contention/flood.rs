//! Floods: what they send, and what they get.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::util::service_fn;
use tower::{Layer, Service};
use tower_idempotency::{IdempotencyLayer, MemoryStore, RequestBody};

use crate::floods::FIRSTS;
use crate::support::{REQUEST_BYTES, RESPONSE, Serves, request, request_body};
use crate::{KNOWN, Others, context, guarded};

/// The store of those that fill it.
const FULL: u64 = 1_000;
/// The keys that one principal may have.
const QUOTA: u64 = 100_000;
/// As many as may go on without a client.
const DETACHED: u64 = 1_024;
const MIB: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flood {
    /// No flood for the layer: what a busy neighbour costs.
    NoKey,
    FullStore,
    OverQuota,
    Mismatches,
    TooLarge,
    Detached,
    LargeBodies,
    HangUps,
}

impl Flood {
    pub(crate) const ALL: [Self; 8] = [
        Self::NoKey,
        Self::FullStore,
        Self::OverQuota,
        Self::Mismatches,
        Self::TooLarge,
        Self::Detached,
        Self::LargeBodies,
        Self::HangUps,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no key (a busy neighbour)",
            Self::FullStore => "new keys, full store",
            Self::OverQuota => "new keys, over quota",
            Self::Mismatches => "mismatches",
            Self::TooLarge => "bodies over 2 MiB",
            Self::Detached => "new keys, 1,024 detached",
            Self::LargeBodies => "bodies of 2 MiB",
            Self::HangUps => "hang-ups once claimed",
        }
    }

    /// What each gets; 0 is nothing, because nobody listens any more.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::NoKey | Self::LargeBodies => 201,
            Self::FullStore | Self::Detached => 503,
            Self::OverQuota => 429,
            Self::Mismatches => 422,
            Self::TooLarge => 413,
            Self::HangUps => 0,
        }
    }

    pub(crate) fn is_refused(self) -> bool {
        self.status() >= 400
    }

    /// So many are compared with as many first requests.
    pub(crate) fn compared(self) -> u64 {
        match self {
            Self::LargeBodies => 50,
            _ => FIRSTS,
        }
    }

    /// Who is served meanwhile; nobody with a key is, where the executions without a client are at their bound.
    pub(crate) fn others(self) -> Option<Others> {
        match self {
            Self::FullStore => Some(Others::Replay),
            Self::Detached => None,
            _ => Some(Others::Run),
        }
    }

    /// A layer on which what comes before has been done.
    pub(crate) fn layer(self) -> IdempotencyLayer {
        let store = MemoryStore::new();
        let layer = IdempotencyLayer::new(match self {
            Self::FullStore => store.max_records(FULL as usize),
            Self::OverQuota => store.max_records_per_scope(QUOTA as usize),
            _ => store,
        });
        let mut service = guarded(&layer);
        let body = request_body(REQUEST_BYTES);
        let mut first = |key, is_of_flood| {
            let mut request = request(Some(key), body.clone());
            if is_of_flood {
                by_flood(&mut request);
            }
            assert_eq!(service.serve(request).0, 201);
        };
        match self {
            Self::FullStore => (KNOWN..KNOWN + FULL).for_each(|key| first(key, false)),
            Self::OverQuota => (0..QUOTA).for_each(|key| first(key, true)),
            _ => first(KNOWN, false),
        }
        if self == Self::Detached {
            // Dropped once they are claimed, they go on as tasks of the runtime.
            for number in 0..DETACHED {
                hang_up(&layer, request(Some(FLOOD + number), body.clone()));
            }
        }
        layer
    }

    /// One request after the other, numbered.
    pub(crate) fn requests(self, layer: &IdempotencyLayer) -> Box<dyn FnMut(u64)> {
        if self == Self::HangUps {
            return hang_ups(layer);
        }
        let mut service = guarded(layer);
        let body = match self {
            Self::Mismatches => vec![b'c'; REQUEST_BYTES].into(),
            Self::LargeBodies => request_body(2 * MIB),
            Self::TooLarge => request_body(2 * MIB + 1),
            _ => request_body(REQUEST_BYTES),
        };
        Box::new(move |number| {
            let key = match self {
                Self::NoKey => None,
                Self::Mismatches => Some(KNOWN),
                _ => Some(FLOOD + DETACHED + number),
            };
            let mut request = request(key, body.clone());
            if self == Self::OverQuota {
                by_flood(&mut request);
            }
            assert_eq!(service.serve(request).0, self.status());
        })
    }
}

/// The first key of a flood.
const FLOOD: u64 = 1 << 50;

/// Another principal than the others.
fn by_flood(request: &mut Request<Full<Bytes>>) {
    let flood = HeaderValue::from_static("flood");
    request.headers_mut().insert("x-api-key", flood);
}

/// A request that is claimed and whose handler never ends, and a client that goes.
fn hang_up(layer: &IdempotencyLayer, request: Request<Full<Bytes>>) {
    let handler = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    polled_and_dropped(layer.layer(handler).call(request));
}

fn polled_and_dropped(future: impl Future) {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
}

/// Requests whose clients leave while the handler runs, which goes on in a runtime of this thread and ends at its next turn.
fn hang_ups(layer: &IdempotencyLayer) -> Box<dyn FnMut(u64)> {
    let (runtime, body) = (context(), request_body(REQUEST_BYTES));
    let mut service = layer.layer(service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
        tokio::task::yield_now().await;
        let mut response = Response::new(Full::from(Bytes::from_static(&RESPONSE)));
        *response.status_mut() = StatusCode::CREATED;
        Ok::<_, Infallible>(response)
    }));
    Box::new(move |number| {
        let request = request(Some(FLOOD + number), body.clone());
        runtime.block_on(async {
            polled_and_dropped(service.call(request));
            tokio::task::yield_now().await;
        });
    })
}
