//! Responses that flow, over real connections: events, lines, parts, upgrades, long polls.

mod upgrades;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, poll_fn};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{Layer, service_fn};
use tower_idempotency::{IdempotencyLayer, InFlight, RequestBody};

use crate::support::{Handler, eventually, post};
use crate::watch::Watch;
use crate::wire::{Http1, Http2, PATIENCE, Raw, bounded, raw, serve, serve_at_once};

/// Each flows from its first byte.
const FLOWING: [&str; 3] = [
    "text/event-stream",
    "application/x-ndjson",
    "multipart/x-mixed-replace; boundary=b",
];

type Piece = Result<Bytes, &'static str>;
type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, &'static str>>>;

/// The other end of a body that flows: what is sent here is its next frame, and without this it is over.
type Feed = UnboundedSender<Piece>;

/// A server whose executions each answer with a body that the test feeds.
struct Streams {
    layer: IdempotencyLayer,
    address: SocketAddr,
    handler: Handler,
    begun: UnboundedReceiver<Feed>,
}

impl Streams {
    async fn of(content_type: &'static str) -> Self {
        // What is held is held for longer than any test waits.
        let layer = IdempotencyLayer::default().hold_for(2 * PATIENCE);
        let handler = Handler::default();
        let (begin, begun) = unbounded_channel();
        let counted = handler.clone();
        let streaming = service_fn(move |_: Request<RequestBody<Incoming>>| {
            counted.start();
            let (feed, mut pieces) = unbounded_channel();
            begin.send(feed).unwrap();
            let pieces = poll_fn(move |cx| pieces.poll_recv(cx));
            let response = Response::builder()
                .header("content-type", content_type)
                .header("location", "/made/7")
                .body(Body::new(
                    pieces.map(|it: Piece| it.map(Frame::data)).boxed(),
                ));
            async { response }
        });
        let address = serve(layer.layer(streaming)).await;
        Self {
            layer,
            address,
            handler,
            begun,
        }
    }

    /// The next execution's.
    async fn feed(&mut self) -> Feed {
        bounded("an execution", self.begun.recv()).await.unwrap()
    }

    /// Asks again, on either protocol; nothing runs for it, and it hears where the outcome is.
    async fn is_a_tombstone(&self) {
        let retry = exchange(self.address, &raw("k", "", "a")).await;
        assert_eq!(retry.status(), "409", "{retry:?}");
        let code = "idempotency_response_unavailable";
        assert!(retry.body.contains(code), "{retry:?}");
        assert_eq!(retry.header("location"), Some("/made/7"));
        assert!(!retry.is_replay());

        let mut http2 = Http2::to(self.address).await;
        let retry = http2.exchange("k", "a").await;
        assert_eq!((retry.status.as_u16(), retry.code().as_str()), (409, code));
        assert_eq!(retry.header("location"), Some("/made/7"));
        assert_eq!(self.handler.executions(), 1);
    }
}

async fn exchange(address: SocketAddr, request: &str) -> Raw {
    Http1::to(address).await.exchange(request).await
}

/// The next data of a body over HTTP/2.
async fn next(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    let frame = bounded("a frame", body.frame()).await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[tokio::test]
async fn over_http_1_the_first_piece_arrives_long_before_the_last() {
    for content_type in FLOWING {
        let mut streams = Streams::of(content_type).await;
        let mut client = Http1::to(streams.address).await;

        client.send(&raw("k", "", "a")).await;
        let feed = streams.feed().await;
        let head = client.head().await;
        feed.send(Ok("one".into())).unwrap();
        let one = client.take(8).await;
        streams.is_a_tombstone().await;
        feed.send(Ok("two".into())).unwrap();
        drop(feed);
        let rest = client.take(13).await;

        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert_eq!((&*one, &*rest), ("3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"));
        streams.is_a_tombstone().await;
        // The same connection goes on.
        let other = client.exchange(&raw("\"", "", "a")).await;
        assert_eq!(other.status(), "400");
    }
}

#[tokio::test]
async fn over_http_2_the_first_piece_arrives_long_before_the_last() {
    for content_type in FLOWING {
        let mut streams = Streams::of(content_type).await;
        let mut client = Http2::to(streams.address).await;

        let response = client.send("k", "a");
        let (feed, response) = tokio::join!(streams.feed(), bounded("a head", response));
        let mut body = response.unwrap().into_body();
        feed.send(Ok("one".into())).unwrap();
        let one = next(&mut body).await.unwrap().unwrap();
        streams.is_a_tombstone().await;
        feed.send(Ok("two".into())).unwrap();
        drop(feed);
        let two = next(&mut body).await.unwrap().unwrap();

        assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]));
        let rest = bounded("the end", body.collect()).await.unwrap();
        assert_eq!(rest.to_bytes(), "");
        streams.is_a_tombstone().await;
    }
}

#[tokio::test]
async fn a_body_that_flows_belongs_to_its_connection_and_ends_with_it() {
    let mut streams = Streams::of("text/event-stream").await;
    let mut client = Http1::to(streams.address).await;
    client.send(&raw("k", "", "a")).await;
    let feed = streams.feed().await;
    client.head().await;
    feed.send(Ok("one".into())).unwrap();
    client.take(8).await;

    drop(client);

    bounded("the body is dropped", feed.closed()).await;
    streams.is_a_tombstone().await;
    assert_eq!(streams.layer.drain(Duration::ZERO).await.left, 0);
}

#[tokio::test]
async fn a_body_that_flows_ends_with_its_stream_and_leaves_the_connection_alone() {
    let mut streams = Streams::of("text/event-stream").await;
    let mut client = Http2::to(streams.address).await;
    let response = client.send("k", "a");
    let (feed, response) = tokio::join!(streams.feed(), bounded("a head", response));
    let mut body = response.unwrap().into_body();
    feed.send(Ok("one".into())).unwrap();
    next(&mut body).await.unwrap().unwrap();

    drop(body);

    bounded("the body is dropped", feed.closed()).await;
    assert_eq!(client.exchange("k", "a").await.status, 409);
    streams.is_a_tombstone().await;
}

#[tokio::test]
async fn a_stream_that_errors_is_cut_off_and_not_run_again() {
    let mut streams = Streams::of("application/x-ndjson").await;
    let mut http1 = Http1::to(streams.address).await;
    http1.send(&raw("k", "", "a")).await;
    let feed = streams.feed().await;
    http1.head().await;
    feed.send(Ok("one".into())).unwrap();
    assert_eq!(http1.take(8).await, "3\r\none\r\n");

    feed.send(Err("reset")).unwrap();

    // The last chunk, which says that all is well, does not come.
    assert_eq!(http1.rest_after("").await, "");
    streams.is_a_tombstone().await;

    let mut streams = Streams::of("application/x-ndjson").await;
    let mut http2 = Http2::to(streams.address).await;
    let response = http2.send("k", "a");
    let (feed, response) = tokio::join!(streams.feed(), bounded("a head", response));
    let mut body = response.unwrap().into_body();
    feed.send(Ok("one".into())).unwrap();
    next(&mut body).await.unwrap().unwrap();

    feed.send(Err("reset")).unwrap();

    assert!(next(&mut body).await.unwrap().is_err());
    streams.is_a_tombstone().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_streams_without_an_end() {
    let mut streams = Streams::of("text/event-stream").await;
    let mut client = Http1::to(streams.address).await;
    client.send(&raw("k", "", "a")).await;
    let feed = streams.feed().await;
    client.head().await;

    let drained = bounded("the drain", streams.layer.drain(PATIENCE * 2)).await;
    feed.send(Ok("one".into())).unwrap();

    assert_eq!(drained.left, 0);
    assert_eq!(client.take(8).await, "3\r\none\r\n");
    streams.is_a_tombstone().await;
}

#[tokio::test]
async fn a_long_poll_that_is_cut_and_asked_again_gets_the_one_answer() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().in_flight(InFlight::wait(PATIENCE));
    let watch = Watch::default();
    let address = serve(watch.layer(layer.layer(handler.bare_held()))).await;
    let mut first = Http1::to(address).await;
    first.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;
    drop(first);
    eventually("the server gives up", || watch.given_up() == 1).await;

    let mut polls = [Http1::to(address).await, Http1::to(address).await];
    for poll in &mut polls {
        poll.send(&raw("k", "", "a")).await;
    }
    let mut cut = Http2::to(address).await;
    let third = tokio::spawn(cut.send("k", "a"));
    eventually("all of them wait", || watch.begun() == 4).await;
    third.abort();
    eventually("the server gives up", || watch.given_up() == 2).await;
    handler.open();

    for poll in &mut polls {
        let answer = poll.answer().await;
        assert!(
            answer.is_replay() && answer.body == "execution 1",
            "{answer:?}"
        );
    }
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_before_it_has_taken_a_long_answer_finds_it_whole() {
    const LONG: usize = 8 << 20;
    let handler = Handler::default();
    let counted = handler.clone();
    let long = service_fn(move |_: Request<RequestBody<Incoming>>| {
        counted.start();
        let response = Response::new(crate::support::Body::from(vec![b'x'; LONG]));
        async { Ok::<_, Infallible>(response) }
    });
    let layer = IdempotencyLayer::default().max_kept_response(LONG);
    let address = serve(layer.layer(long)).await;

    // More than the buffers between the two hold: the rest cannot be sent any more.
    let mut http1 = Http1::to(address).await;
    http1.send(&raw("k", "", "a")).await;
    http1.head().await;
    drop(http1);
    let mut http2 = Http2::to(address).await;
    drop(bounded("a head", http2.send("k", "a")).await.unwrap());

    let replay = http2.exchange("k", "a").await;
    assert!(replay.is_replay());
    assert_eq!(replay.body.len(), LONG);
    let replay = exchange(address, &raw("k", "", "a")).await;
    assert_eq!((replay.is_replay(), replay.body.len()), (true, LONG));
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_stream_without_a_key_is_none_of_the_layers_business() {
    let mut streams = Streams::of("text/event-stream").await;
    let mut client = Http2::to(streams.address).await;
    let uri = format!("http://{}/charges", streams.address);

    for execution in 1..=2 {
        let response = client.request(post(&uri, &[], "a"));
        let (feed, response) = tokio::join!(streams.feed(), bounded("a head", response));
        let mut body = response.unwrap().into_body();
        feed.send(Ok("one".into())).unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
        assert_eq!(streams.handler.executions(), execution);
    }
}
