//! Bodies under a `Content-Length`, on a connection of HTTP/1.1 that is used again.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tower::{BoxError, service_fn};
use tower_idempotency::{Record, RequestBody, State};

use super::wire::{Http1, raw, serve};
use super::*;
use crate::support::{PATH, created};

/// A body, as far as a server can see.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// Says how long it is. Where it is not as long as its head tells, hyper without the layer panics in debug
    /// builds, and without debug assertions sends what it has, whatever the client will take it for.
    Sized(&'static str),
    /// Says nothing of its length.
    Frames(&'static [&'static str]),
    /// The same, with trailers.
    WithTrailers(&'static str),
}

/// A status, the lines of `Content-Length`, and the body below them.
#[derive(Clone, Copy, Debug)]
struct Answering(u16, &'static [&'static str], Sent);

impl Answering {
    /// The answer to `/charges`; at another path there is another one.
    fn to<B>(
        self,
        handler: &Handler,
        request: &Request<B>,
    ) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
        if request.uri().path() != PATH {
            let other = created("another answer");
            return other.map(|body| body.map_err(Into::into).boxed_unsync());
        }
        handler.begin(request.extensions());
        let Self(status, told, sent) = self;
        let head = Response::builder().status(status);
        let head = (told.iter()).fold(head, |head, told| head.header("content-length", *told));
        let data = |data: &'static str| Ok(Frame::data(Bytes::from(data)));
        let body = match sent {
            Sent::Sized(sent) => Body::from(sent).map_err(Into::into).boxed_unsync(),
            Sent::Frames(frames) => {
                let frames = frames.iter().map(move |frame| data(frame));
                StreamBody::new(stream::iter(frames)).boxed_unsync()
            }
            Sent::WithTrailers(sent) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("7"));
                let frames = [data(sent), Ok(Frame::trailers(trailers))];
                StreamBody::new(stream::iter(frames)).boxed_unsync()
            }
        };
        head.body(body).unwrap()
    }

    async fn guarded(self, layer: &IdempotencyLayer, handler: &Handler) -> Http1 {
        let handler = handler.clone();
        let service = service_fn(move |request: Request<RequestBody<Incoming>>| {
            std::future::ready(Ok::<_, Infallible>(self.to(&handler, &request)))
        });
        Http1::to(serve(layer.layer(service)).await).await
    }

    async fn bare(self) -> Http1 {
        let service = service_fn(move |request: Request<Incoming>| {
            std::future::ready(Ok::<_, Infallible>(self.to(&Handler::default(), &request)))
        });
        Http1::to(serve(service).await).await
    }
}

const IN_STEP: &str = "HTTP/1.1 201 Created\r\ncontent-type: text/plain\r\nlocation: /charges/1\r\n\
                       connection: close\r\ncontent-length: 14\r\n\r\nanother answer";

const MARKS: &str = "idempotent-replayed: true\r\nidempotency-key: k\r\n";

/// What a client sees of a connection on which it sends this request and another without a key, but for the
/// dates.
async fn transcript(mut client: Http1, request: &str) -> String {
    let another = "POST /another HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let all = client.rest_after(&(request.to_owned() + another)).await;
    let mut lines: Vec<_> = all.split_inclusive("\r\n").collect();
    lines.retain(|line| !line.starts_with("date: "));
    lines.concat()
}

async fn record(layer: &IdempotencyLayer) -> Option<Record> {
    let key = layer.record_key(b"", &Method::POST, PATH, "k");
    layer.store().inspect(&key).await.unwrap()
}

/// What a client sees of the body, and then the other answer; `None` where the connection is closed.
const DISAGREEING: [(Answering, Option<&str>); 4] = [
    (Answering(200, &["10"], Sent::Frames(&["12345"])), None),
    (Answering(200, &["10"], Sent::Frames(&[])), None),
    (
        Answering(200, &["3"], Sent::Frames(&["12", "345"])),
        Some("123"),
    ),
    (Answering(200, &["0"], Sent::Frames(&["12345"])), Some("")),
];

#[tokio::test]
async fn a_body_that_disagrees_with_its_length_is_sent_as_without_the_layer_and_abandoned() {
    for (answering, seen) in DISAGREEING {
        let (layer, handler) = (IdempotencyLayer::default(), Handler::default());

        for attempt in 1..=2 {
            let client = answering.guarded(&layer, &handler).await;
            let guarded = transcript(client, &raw("k", "", "a")).await;

            let bare = transcript(answering.bare().await, &raw("k", "", "a")).await;
            assert_eq!(guarded, bare, "{answering:?}");
            assert_eq!(handler.last_attempt(), attempt);
            let record = record(&layer).await.unwrap();
            assert!(!record.is_live() && record.attempt() == attempt);
            assert!(matches!(record.state(), State::InFlight { .. }));
            match seen {
                Some(seen) => assert!(guarded.ends_with(&format!("\r\n\r\n{seen}{IN_STEP}"))),
                None => assert!(!guarded.contains("another answer"), "{guarded}"),
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_knows_its_size_and_disagrees_is_never_taken_for_the_next_answer() {
    for (answering, as_if) in [
        (
            Answering(200, &["10"], Sent::Sized("12345")),
            DISAGREEING[0],
        ),
        (Answering(200, &["3"], Sent::Sized("12345")), DISAGREEING[2]),
        (Answering(200, &["0"], Sent::Sized("12345")), DISAGREEING[3]),
    ] {
        let (layer, handler) = (IdempotencyLayer::default(), Handler::default());

        for attempt in 1..=2 {
            let client = answering.guarded(&layer, &handler).await;
            let guarded = transcript(client, &raw("k", "", "a")).await;

            let bare = transcript(as_if.0.bare().await, &raw("k", "", "a")).await;
            assert_eq!(guarded, bare, "{answering:?}");
            assert_eq!(handler.last_attempt(), attempt);
            let record = record(&layer).await.unwrap();
            assert!(matches!(record.state(), State::InFlight { .. }));
            assert!(!record.is_live());
        }
    }
}

/// Hyper puts the length right where there is no body from the beginning.
#[tokio::test]
async fn a_body_that_is_over_before_it_began_is_answered_as_without_the_layer() {
    let answering = Answering(200, &["10"], Sent::Sized(""));
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());

    let client = answering.guarded(&layer, &handler).await;
    let guarded = transcript(client, &raw("k", "", "a")).await;

    let bare = transcript(answering.bare().await, &raw("k", "", "a")).await;
    assert_eq!(
        bare,
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{IN_STEP}")
    );
    assert_eq!(guarded, bare);
    let record = record(&layer).await.unwrap();
    assert!(matches!(record.state(), State::InFlight { .. }));
    assert!(!record.is_live());
}

#[tokio::test]
async fn a_body_that_agrees_with_its_length_is_sent_as_without_the_layer() {
    for answering in [
        Answering(200, &["5"], Sent::Sized("12345")),
        Answering(200, &["5"], Sent::Frames(&["12", "345"])),
        Answering(200, &["5", "5"], Sent::Frames(&["12345"])),
        Answering(200, &["5"], Sent::WithTrailers("12345")),
        Answering(200, &["0"], Sent::Frames(&[])),
        Answering(204, &[], Sent::Frames(&[])),
    ] {
        let (layer, handler) = (IdempotencyLayer::default(), Handler::default());

        let client = answering.guarded(&layer, &handler).await;
        let first = transcript(client, &raw("k", "", "a")).await;
        let client = answering.guarded(&layer, &handler).await;
        let replay = transcript(client, &raw("k", "", "a")).await;

        let bare = transcript(answering.bare().await, &raw("k", "", "a")).await;
        assert_eq!(first, bare, "{answering:?}");
        assert_eq!(replay.replacen(MARKS, "", 1), bare, "{answering:?}");
        assert_eq!(
            (replay.len(), handler.executions()),
            (bare.len() + MARKS.len(), 1)
        );
    }
}

#[tokio::test]
async fn a_length_that_is_told_of_no_body_leaves_the_connection_in_step() {
    let post = raw("k", "", "a");
    let head = post.replace("POST", "HEAD");
    for (answering, request) in [
        (Answering(304, &["10"], Sent::Sized("")), &post),
        (Answering(200, &["10"], Sent::Sized("")), &head),
        (Answering(200, &["10"], Sent::Frames(&[])), &head),
    ] {
        let layer = IdempotencyLayer::default().methods([Method::POST, Method::HEAD]);
        let handler = Handler::default();

        let client = answering.guarded(&layer, &handler).await;
        let first = transcript(client, request).await;
        let client = answering.guarded(&layer, &handler).await;
        let replay = transcript(client, request).await;

        let bare = transcript(answering.bare().await, request).await;
        assert_eq!(first, bare, "{answering:?}");
        assert_eq!(replay.replacen(MARKS, "", 1), bare, "{answering:?}");
        assert!(bare.ends_with(&format!("\r\n\r\n{IN_STEP}")), "{bare}");
        assert_eq!(
            (replay.len(), handler.executions()),
            (bare.len() + MARKS.len(), 1)
        );
    }
}
