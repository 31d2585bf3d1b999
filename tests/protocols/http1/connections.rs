//! How connections end, and what they are.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::wire::listen;

#[tokio::test]
async fn a_connection_that_is_to_be_closed_is_and_its_answer_is_replayed_on_one_that_is_kept() {
    let handler = Handler::default();
    let counted = handler.clone();
    // The handler closes, too.
    let closing = service_fn(move |_: Request<RequestBody<Incoming>>| {
        let mut response = created(&format!("execution {}", counted.start()));
        response
            .headers_mut()
            .insert("connection", HeaderValue::from_static("close"));
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let address = serve(layer().layer(closing)).await;
    let by_client = raw("k", "Connection: close\r\n", "a");

    let first = closed(address, &raw("k", "", "a")).await;
    let mut kept = Http1::to(address).await;
    let on_kept = [
        kept.exchange(&raw("k", "", "a")).await,
        kept.exchange(&raw("k", "", "a")).await,
    ];
    let last = closed(address, &by_client).await;
    let mismatch = closed(address, &raw("k", "Connection: close\r\n", "b")).await;

    assert_eq!((first.status(), first.is_replay()), ("201", false));
    for replay in on_kept {
        assert!(
            replay.is_replay() && replay.header("connection").is_none(),
            "{replay:?}"
        );
    }
    assert!(last.is_replay() && last.body == "execution 1");
    assert_eq!(mismatch.status(), "422");
    assert_eq!(handler.executions(), 1);
}

/// An answer after which the server closes.
async fn closed(address: SocketAddr, request: &str) -> Raw {
    let mut client = Http1::to(address).await;
    let answer = client.exchange(request).await;
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert_eq!(client.rest_after("").await, "");
    answer
}

#[tokio::test]
async fn http_1_0_is_guarded_like_1_1_and_shares_its_records() {
    let handler = Handler::default();
    let address = serve_at_once(&layer(), &handler).await;
    let old = |headers: &str, body: &str| raw("k", headers, body).replace("HTTP/1.1", "HTTP/1.0");

    let mut client = Http1::to(address).await;
    let first = client.exchange(&old("", "a")).await;
    assert_eq!(client.rest_after("").await, "");
    let mut client = Http1::to(address).await;
    let kept_alive = client
        .exchange(&old("Connection: keep-alive\r\n", "a"))
        .await;
    let new = client.exchange(&raw("k", "", "a")).await;
    let mismatch = client.exchange(&old("", "b")).await;

    assert!(first.head.starts_with("HTTP/1.0 201 "), "{first:?}");
    assert_eq!((first.is_replay(), &*first.body), (false, "execution 1"));
    for replay in [kept_alive, new] {
        assert!(
            replay.is_replay() && replay.body == "execution 1",
            "{replay:?}"
        );
    }
    assert_eq!(mismatch.status(), "422");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_stream_to_http_1_0_ends_with_its_connection_and_its_replay_tells_its_length() {
    let handler = Handler::default();
    let counted = handler.clone();
    let in_frames = service_fn(move |_: Request<RequestBody<Incoming>>| {
        counted.start();
        let frames =
            ["first, ", "second"].map(|it| Ok::<_, &str>(http_body::Frame::data(Bytes::from(it))));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
    });
    let address = serve(layer().layer(in_frames)).await;
    let old = raw("k", "", "a").replace("HTTP/1.1", "HTTP/1.0");

    for replayed in [false, true] {
        let mut client = Http1::to(address).await;
        let answer = client.exchange(&old).await;

        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(
            (answer.is_replay(), &*answer.body),
            (replayed, "first, second")
        );
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_handler_and_how_it_is_cut_does_not_matter() {
    let handler = Handler::default();
    let counted = handler.clone();
    let telling = service_fn(move |request: Request<RequestBody<Incoming>>| {
        counted.start();
        async {
            let body = request.into_body().collect().await.unwrap();
            let sum = body
                .trailers()
                .and_then(|trailers| trailers.get("x-sum"))
                .cloned();
            let sum = sum.map(|sum| sum.to_str().unwrap().to_owned());
            let data = body.to_bytes();
            Ok::<_, std::convert::Infallible>(created(&format!("{data:?} {sum:?}")))
        }
    });
    let address = serve(layer().layer(telling)).await;
    let mut client = Http1::to(address).await;
    let chunked = |chunks: &str| {
        raw("k", "Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n", "")
            .replace("Content-Length: 0\r\n", "")
            + chunks
    };

    let first = client
        .exchange(&chunked("3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"))
        .await;
    let retry = client
        .exchange(&chunked("1\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 7\r\n\r\n"))
        .await;
    let unchunked = client.exchange(&raw("k", "", "abc")).await;
    let mismatch = client
        .exchange(&chunked("2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n"))
        .await;

    assert_eq!(first.body, "b\"abc\" Some(\"7\")");
    for replay in [retry, unchunked] {
        assert!(
            replay.is_replay() && replay.body == first.body,
            "{replay:?}"
        );
    }
    assert_eq!(mismatch.status(), "422");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn trailers_of_a_response_are_sent_again_to_whoever_takes_them() {
    let with_trailers = service_fn(|_: Request<RequestBody<Incoming>>| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let body = Body::from("abc").with_trailers(async { Some(Ok(trailers)) });
        Response::builder().header("trailer", "x-sum").body(body)
    });
    let address = serve(layer().layer(with_trailers)).await;
    let mut client = Http1::to(address).await;
    let taking = raw("k", "TE: trailers\r\nConnection: TE\r\n", "a");

    for (request, replayed, last) in [
        (&taking, false, "0\r\nx-sum: 7\r\n\r\n"),
        (&taking, true, "0\r\nx-sum: 7\r\n\r\n"),
        (&raw("k", "", "a"), true, "0\r\n\r\n"),
    ] {
        client.send(request).await;
        let head = client.head().await;
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert!(head.contains("trailer: x-sum\r\n"), "{head}");
        assert_eq!(head.contains("idempotent-replayed: true\r\n"), replayed);
        assert_eq!(client.take(8).await, "3\r\nabc\r\n");
        assert_eq!(client.take(last.len()).await, last);
    }
}

#[tokio::test]
async fn a_client_that_half_closes_is_gone_to_hyper_and_finds_its_answer_later() {
    let (handler, layer, watch) = (Handler::default(), layer(), Watch::default());
    let address = serve(watch.layer(layer.layer(handler.bare_held()))).await;
    let mut client = Http1::to(address).await;
    client.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;

    client.shut().await;

    eventually("the server gives up", || watch.given_up() == 1).await;
    assert_eq!(client.rest_after("").await, "");
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);
    let retry = Http1::to(address).await.exchange(&raw("k", "", "a")).await;
    assert!(
        retry.is_replay() && retry.body == "execution 1",
        "{retry:?}"
    );
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

#[tokio::test]
async fn a_client_that_half_closes_is_answered_where_the_server_allows_it() {
    let (handler, watch) = (Handler::default(), Watch::default());
    let service = watch.layer(layer().layer(handler.bare_held()));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().half_close(true);
        let service = TowerToHyperService::new(service);
        builder
            .serve_connection(TokioIo::new(stream), service)
            .await
            .unwrap();
    });
    let mut client = Http1::to(address).await;
    client.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;

    client.shut().await;
    handler.open();

    assert_eq!(
        bounded("an answer", client.answer()).await.body,
        "execution 1"
    );
    assert_eq!(watch.given_up(), 0);
}

#[tokio::test]
async fn a_connection_that_is_reset_is_a_client_that_has_gone() {
    let (handler, layer, watch) = (Handler::default(), layer(), Watch::default());
    let address = serve(watch.layer(layer.layer(handler.bare_held()))).await;
    let mut client = Http1::to(address).await;
    client.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;

    client.abort();

    eventually("the server gives up", || watch.given_up() == 1).await;
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);
    let retry = Http1::to(address).await.exchange(&raw("k", "", "a")).await;
    assert!(
        retry.is_replay() && retry.body == "execution 1",
        "{retry:?}"
    );
    assert_eq!(handler.executions(), 1);
}
