//! Requests that are sent before their predecessors are answered.

use super::*;

#[tokio::test]
async fn requests_in_one_write_are_answered_in_order_whatever_becomes_of_each() {
    let handler = Handler::default();
    let address = serve_at_once(&layer(), &handler).await;
    let mut client = Http1::to(address).await;
    let requests = [
        (raw("k", "", "a"), "201", false, "execution 1"),
        (raw("k", "", "a"), "201", true, "execution 1"),
        (raw("k", "", "b"), "422", false, "idempotency_mismatch"),
        (raw("other", "", "a"), "201", false, "execution 2"),
        (raw("\"", "", "a"), "400", false, "idempotency_key_invalid"),
        (raw("k", "", "a"), "201", true, "execution 1"),
        (raw("other", "", "a"), "201", true, "execution 2"),
    ];
    let pipeline: String = requests.iter().map(|(request, ..)| &**request).collect();

    client.send(&pipeline).await;

    for (request, status, replayed, text) in requests {
        let answer = client.answer().await;
        assert_eq!(
            (answer.status(), answer.is_replay()),
            (status, replayed),
            "{request}"
        );
        assert!(answer.body.contains(text), "{answer:?}");
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test]
async fn what_follows_an_early_refusal_in_the_same_write_is_answered_itself_or_not_at_all() {
    for (request, status) in refused_early() {
        let handler = Handler::default();
        let address = serve_at_once(&layer(), &handler).await;
        let mut client = Http1::to(address).await;

        client
            .send(&(request.clone() + &raw("next", "", "a")))
            .await;

        let refused = client.answer().await;
        assert_eq!(refused.status(), status, "{request}");
        if refused.header("connection") == Some("close") {
            assert_eq!(client.rest_after("").await, "", "{request}");
            assert_eq!(handler.executions(), 0);
        } else {
            let next = client.answer().await;
            assert_eq!(
                (next.status(), &*next.body),
                ("201", "execution 1"),
                "{request}"
            );
        }
        let retry = Http1::to(address)
            .await
            .exchange(&raw("next", "", "a"))
            .await;
        assert_eq!((retry.status(), handler.executions()), ("201", 1));
    }
}

#[tokio::test]
async fn a_request_in_the_body_of_a_refused_one_is_never_taken_for_one() {
    let smuggled = raw("smuggled", "", "a");
    let hidden = format!("{smuggled:x<4096}");
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let by_chunk = |key: &str| {
        raw(key, "Transfer-Encoding: chunked\r\n", "").replace("Content-Length: 0\r\n", "") + &chunk
    };
    for (request, status) in [
        (raw("k", "", &hidden), "413"),
        (raw("\"", "", &hidden), "400"),
        (by_chunk("k"), "413"),
        (by_chunk("\""), "400"),
    ] {
        let handler = Handler::default();
        let address = serve_at_once(&layer(), &handler).await;
        let mut client = Http1::to(address).await;

        client.send(&request).await;
        let refused = client.answer().await;
        client.shut().await;
        let rest = client.rest_after("").await;

        assert_eq!(refused.status(), status, "{request}");
        assert_eq!((&*rest, handler.executions()), ("", 0), "{request}");
    }
}

#[tokio::test]
async fn a_retry_behind_its_own_first_request_is_answered_after_it() {
    let handler = Handler::default();
    let address = serve(layer().layer(handler.bare_held())).await;
    let mut client = Http1::to(address).await;

    client.send(&raw("k", "", "a").repeat(3)).await;
    eventually("the handler runs", || handler.executions() == 1).await;
    handler.open();

    for replayed in [false, true, true] {
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.is_replay()), ("201", replayed));
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn of_a_pipeline_that_is_cut_each_request_runs_once_before_or_after() {
    let handler = Handler::default();
    let layer = layer().in_flight(InFlight::wait(PATIENCE));
    let address = serve(layer.layer(handler.bare_held())).await;
    let mut client = Http1::to(address).await;
    client
        .send(&(raw("one", "", "a") + &raw("two", "", "a")))
        .await;
    eventually("the handler runs", || handler.executions() == 1).await;

    client.abort();
    handler.open();
    let one = Http1::to(address)
        .await
        .exchange(&raw("one", "", "a"))
        .await;
    // What has been read of it is with the server: whether that begins the second one is its affair.
    let mut again = Http1::to(address).await;
    again.send(&raw("two", "", "a")).await;
    eventually("the second runs", || handler.executions() == 2).await;
    handler.open();
    let two = again.answer().await;

    assert!(one.is_replay() && one.body == "execution 1", "{one:?}");
    assert_eq!((two.status(), &*two.body), ("201", "execution 2"));
    assert_eq!(layer.drain(PATIENCE).await.left, 0);
    assert_eq!((handler.executions(), handler.finished()), (2, 2));
}
