//! First requests and replays, through the layers.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use ruts::store::moka::MokaStore;
use ruts::{CookieOptions, SessionLayer};
use tower::{Layer, Service};
use tower_cookies::CookieManagerLayer;
use tower_idempotency::{IdempotencyLayer, IdempotencyService, MemoryStore};

use crate::cratestack::Reservations;
use crate::notes::{first_notes, replay_notes};
use crate::rounds::{CALLS, Rounds};
use crate::support::{REQUEST_BYTES, request, request_body, router};

/// A crate that guards a router from inside, by `Router::layer`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crate {
    Ours,
    AxumIdempotent,
    #[cfg(feature = "rustango")]
    Rustango,
    Cratestack,
}

impl Crate {
    pub(crate) const ALL: &[Self] = &[
        Self::Ours,
        Self::AxumIdempotent,
        #[cfg(feature = "rustango")]
        Self::Rustango,
        Self::Cratestack,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::AxumIdempotent => "axum-idempotent 0.6",
            #[cfg(feature = "rustango")]
            Self::Rustango => "rustango 0.62",
            Self::Cratestack => "cratestack-axum 0.8",
        }
    }

    /// With nothing but its defaults, where they are not named here.
    pub(crate) fn guard(self, router: Router) -> Router {
        match self {
            Self::Ours => router.layer(IdempotencyLayer::new(MemoryStore::new())),
            Self::AxumIdempotent => {
                let options = IdempotentOptions::default().use_idempotency_key_header(None, false);
                // By default its store keeps 10,000 sessions and evicts others with their records.
                let store = Arc::new(MokaStore::builder().max_capacity(1_000_000).build());
                let cookies = CookieOptions::build().name("session").path("/");
                router
                    .layer(IdempotentLayer::<MokaStore>::new(options))
                    .layer(SessionLayer::new(store).with_cookie_options(cookies))
                    .layer(CookieManagerLayer::new())
            }
            #[cfg(feature = "rustango")]
            Self::Rustango => {
                use rustango::cache::InMemoryCache;
                use rustango::idempotency::{IdempotencyLayer, IdempotencyRouterExt};

                router.idempotency(IdempotencyLayer::new(Arc::new(InMemoryCache::new())))
            }
            Self::Cratestack => router.layer(cratestack_axum::idempotency::IdempotencyLayer::new(
                Arc::new(Reservations::default()),
                Duration::from_secs(24 * 60 * 60),
            )),
        }
    }
}

enum App {
    Inside(Router),
    Around(IdempotencyService<Router, MemoryStore>),
}

impl App {
    async fn serve(&mut self, request: Request<Full<Bytes>>) -> Answer {
        match self {
            Self::Inside(router) => answer(router.call(request).await).await,
            Self::Around(service) => answer(service.call(request).await).await,
        }
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

async fn answer<B, E>(response: Result<Response<B>, E>) -> Answer
where
    B: Body<Data = Bytes>,
{
    let Ok(response) = response else {
        panic!("a router does not fail")
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        panic!("these bodies do not break")
    };
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.to_bytes(),
    }
}

pub(crate) fn is_replayed(headers: &HeaderMap) -> bool {
    ["idempotent-replayed", "idempotency-replayed"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// What tells the crates who asks: all but axum-idempotent read the token, it and rustango the cookie.
pub(crate) fn from_caller(mut request: Request<Full<Bytes>>, caller: u64) -> Request<Full<Bytes>> {
    let token = HeaderValue::from_static("Bearer 9b3c41f2d07e4a6c8f51b2a7e3d90c64");
    // A session id is 22 characters of Base64, the last one with four bits to spare.
    let session = HeaderValue::from_str(&format!("session={caller:021}A")).unwrap();
    request.headers_mut().insert(AUTHORIZATION, token);
    request.headers_mut().insert(COOKIE, session);
    request
}

const BARE: usize = 0;
const OURS: usize = 1;

struct Contestant {
    name: &'static str,
    app: App,
    /// How many keys come with one session; without a session and a token where there is none.
    keys_per_session: Option<u64>,
}

impl Contestant {
    fn inside(name: &'static str, peer: Crate, keys_per_session: Option<u64>) -> Self {
        Self {
            name,
            app: App::Inside(peer.guard(router())),
            keys_per_session,
        }
    }

    fn request(&self, key: u64, body: &Bytes) -> Request<Full<Bytes>> {
        let request = request(Some(key), body.clone());
        match self.keys_per_session {
            Some(keys) => from_caller(request, key / keys),
            None => request,
        }
    }

    /// How long it takes to answer them all.
    async fn serve(&mut self, requests: Vec<Request<Full<Bytes>>>, are_replays: bool) -> Duration {
        let began = Instant::now();
        for request in requests {
            let answer = self.app.serve(request).await;
            assert_eq!(answer.status, 201);
            assert_eq!(is_replayed(&answer.headers), are_replays);
            black_box(answer.body);
        }
        began.elapsed()
    }
}

/// Bare and ours first, then those that guard the same.
fn contestants() -> Vec<Contestant> {
    let around = IdempotencyLayer::new(MemoryStore::new()).layer(router());
    let with_session = |name, app| Contestant {
        name,
        app,
        keys_per_session: Some(16),
    };
    vec![
        with_session("bare Router", App::Inside(router())),
        Contestant::inside("ours, inside", Crate::Ours, Some(16)),
        with_session("ours, around the Router", App::Around(around)),
        Contestant::inside("ours, inside, nobody's token", Crate::Ours, None),
        Contestant::inside("axum-idempotent", Crate::AxumIdempotent, Some(16)),
        #[cfg(feature = "rustango")]
        Contestant::inside("rustango", Crate::Rustango, Some(16)),
        Contestant::inside("cratestack-axum 0.8", Crate::Cratestack, Some(16)),
    ]
}

pub(crate) async fn run() {
    let body = request_body(REQUEST_BYTES);
    first_requests(&body).await;
    replays(&body).await;
}

async fn first_requests(body: &Bytes) {
    let mut contestants = contestants();
    // Its store makes an entry per session, and walks all records of a session at each that it adds.
    for (name, keys) in [
        ("axum-idempotent, 1 key a session", 1),
        ("axum-idempotent, 1,000 keys a session", 1_000),
    ] {
        contestants.push(Contestant::inside(name, Crate::AxumIdempotent, Some(keys)));
    }
    let names: Vec<_> = contestants.iter().map(|peer| peer.name).collect();
    let rounds = Rounds::run(&names, async |turn, first| {
        let peer = &mut contestants[turn];
        let requests = (first..first + CALLS)
            .map(|key| peer.request(key, body))
            .collect();
        peer.serve(requests, false).await
    })
    .await;
    rounds.print("first request", &[BARE, OURS], first_notes);
}

async fn replays(body: &Bytes) {
    const KEY: u64 = 7;
    let mut contestants = contestants();
    for peer in &mut contestants {
        let first = peer.request(KEY, body);
        peer.serve(vec![first], false).await;
    }
    let names: Vec<_> = contestants.iter().map(|peer| peer.name).collect();
    let rounds = Rounds::run(&names, async |turn, _| {
        let peer = &mut contestants[turn];
        let requests = (0..CALLS).map(|_| peer.request(KEY, body)).collect();
        peer.serve(requests, turn != BARE).await
    })
    .await;
    rounds.print("replay", &[BARE, OURS], replay_notes);
}
