//! What each layer does where it matters, run and not read.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::join;
use http::header::COOKIE;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::layers::{Crate, from_caller, is_replayed};
use crate::support::{PATH, request};

const OTHER_PATH: &str = "/v1/refunds";
/// So long does the handler take.
const HANDLER: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Runs {
    began: AtomicUsize,
    ended: AtomicUsize,
}

/// A router behind a layer, and what its handler has done.
struct Guarded {
    router: Router,
    runs: Arc<Runs>,
}

impl Guarded {
    fn by(peer: Crate) -> Self {
        let runs = Arc::new(Runs::default());
        let handler = {
            let runs = runs.clone();
            async move |_: Bytes| {
                runs.began.fetch_add(1, Ordering::Relaxed);
                sleep(HANDLER).await;
                runs.ended.fetch_add(1, Ordering::Relaxed);
                StatusCode::CREATED
            }
        };
        let router = Router::new()
            .route(PATH, post(handler.clone()))
            .route(OTHER_PATH, post(handler));
        let router = peer.guard(router);
        Self { router, runs }
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Answer {
        let Ok::<_, Infallible>(response) = self.router.clone().oneshot(request).await;
        Answer::of(&response)
    }

    /// What became of a second request, after the first one has run.
    fn second(&self, answer: Answer) -> String {
        match (self.began(), answer) {
            (1, Answer::Replayed) => "replayed".to_owned(),
            (1, Answer::Refused(status)) => format!("refused, {status}"),
            (2, Answer::Ran) => "runs".to_owned(),
            (runs, answer) => panic!("{runs} runs and {answer:?}"),
        }
    }

    fn began(&self) -> usize {
        self.runs.began.load(Ordering::Relaxed)
    }

    fn ended(&self) -> usize {
        self.runs.ended.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Ran,
    Replayed,
    Refused(u16),
}

impl Answer {
    fn of<B>(response: &Response<B>) -> Self {
        match response.status().as_u16() {
            201 if is_replayed(response.headers()) => Self::Replayed,
            201 => Self::Ran,
            status => Self::Refused(status),
        }
    }
}

fn charge(body: &'static str) -> Request<Full<Bytes>> {
    from_caller(request(Some(1), Bytes::from_static(body.as_bytes())), 1)
}

/// Two requests, one after the other.
async fn in_turn(peer: Crate, first: Request<Full<Bytes>>, second: Request<Full<Bytes>>) -> String {
    let guarded = Guarded::by(peer);
    guarded.call(first).await;
    let answer = guarded.call(second).await;
    guarded.second(answer)
}

async fn again(peer: Crate) -> String {
    in_turn(peer, charge("a"), charge("a")).await
}

async fn other_body(peer: Crate) -> String {
    in_turn(peer, charge("a"), charge("b")).await
}

async fn other_path(peer: Crate) -> String {
    let mut second = charge("a");
    *second.uri_mut() = Uri::from_static(OTHER_PATH);
    in_turn(peer, charge("a"), second).await
}

async fn other_caller(peer: Crate) -> String {
    let mut second = from_caller(charge("a"), 2);
    let token = "Bearer 0c5a7d1be2f94386a1d0c7b35e8f6a29".parse().unwrap();
    second.headers_mut().insert("authorization", token);
    in_turn(peer, charge("a"), second).await
}

async fn token_alone(peer: Crate) -> String {
    let without_cookie = || {
        let mut request = charge("a");
        request.headers_mut().remove(COOKIE);
        request
    };
    in_turn(peer, without_cookie(), without_cookie()).await
}

async fn at_once(peer: Crate) -> String {
    let guarded = Guarded::by(peer);
    let (_, second) = join(guarded.call(charge("a")), guarded.call(charge("a"))).await;
    match guarded.second(second).as_str() {
        "runs" => "both run".to_owned(),
        other => other.to_owned(),
    }
}

async fn client_gone(peer: Crate) -> String {
    let guarded = Guarded::by(peer);
    {
        let first = pin!(guarded.call(charge("a")));
        assert!(timeout(HANDLER / 4, first).await.is_err());
    }
    assert_eq!((guarded.began(), guarded.ended()), (1, 0));
    sleep(2 * HANDLER).await;
    let first = match guarded.ended() {
        0 => "cancelled",
        _ => "runs on",
    };
    let retry = guarded.call(charge("a")).await;
    format!("{first}; retry {}", guarded.second(retry))
}

pub(crate) async fn run() {
    print!("\n{:<38}", "the second of two requests");
    for peer in Crate::ALL {
        print!("{:<25}", peer.name());
    }
    println!();
    macro_rules! row {
        ($name:literal, $situation:ident) => {
            print!("{:<38}", $name);
            for peer in Crate::ALL {
                print!("{:<25}", $situation(*peer).await);
            }
            println!();
        };
    }
    row!("the same again", again);
    row!("same key, other body", other_body);
    row!("same key, other path", other_path);
    row!("same key, other token and session", other_caller);
    row!("the same again, without a cookie", token_alone);
    row!("two at once", at_once);
    row!("the client of the first has gone", client_gone);
}
