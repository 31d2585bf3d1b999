//! What makes two requests one.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_parameter_that_differs_is_a_mismatch() {
    let (_, handler, service) = spied();
    send(
        &service,
        text(
            "/charges?to=alice&n=1",
            &[("content-encoding", "gzip")],
            "body",
        ),
    )
    .await;
    let mut json = text(
        "/charges?to=alice&n=1",
        &[("content-encoding", "gzip")],
        "body",
    );
    json.headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    let mut untyped = text(
        "/charges?to=alice&n=1",
        &[("content-encoding", "gzip")],
        "body",
    );
    untyped.headers_mut().remove("content-type");

    for other in [
        text(
            "/charges?to=mallory&n=1",
            &[("content-encoding", "gzip")],
            "body",
        ),
        text(
            "/charges?n=1&to=alice",
            &[("content-encoding", "gzip")],
            "body",
        ),
        text(
            "/charges?to=alice&n=1&",
            &[("content-encoding", "gzip")],
            "body",
        ),
        text("/charges?", &[("content-encoding", "gzip")], "body"),
        text("/charges", &[("content-encoding", "gzip")], "body"),
        text(
            "/charges?to=alice&n=1",
            &[("content-encoding", "br")],
            "body",
        ),
        text(
            "/charges?to=alice&n=1",
            &[("content-encoding", "gzip"), ("content-encoding", "gzip")],
            "body",
        ),
        text("/charges?to=alice&n=1", &[], "body"),
        text(
            "/charges?to=alice&n=1",
            &[("content-encoding", "gzip")],
            "bodz",
        ),
        text(
            "/charges?to=alice&n=1",
            &[("content-encoding", "gzip")],
            "body ",
        ),
        text("/charges?to=alice&n=1", &[("content-encoding", "gzip")], ""),
        json,
        untyped,
    ] {
        let told = format!("{other:?}");
        assert_eq!(
            send(&service, other).await.outcome,
            Outcome::Mismatch,
            "{told}"
        );
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn content_types_are_compared_by_their_bytes() {
    let (_, _, service) = spied();
    let typed = |content_type: &'static str| {
        let mut request = keyed("k", "{}");
        request
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(content_type));
        request
    };
    send(&service, typed("application/json; charset=utf-8")).await;

    let other = send(&service, typed("application/json;charset=UTF-8")).await;

    assert_eq!(other.outcome, Outcome::Mismatch);
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_no_parameters_do_not_matter() {
    let (_, handler, service) = spied();
    send(
        &service,
        text(PATH, &[("accept", "a/b"), ("x-request-id", "1")], "body"),
    )
    .await;

    for (name, value) in [
        ("accept", "c/d"),
        ("accept-encoding", "br"),
        ("user-agent", "curl"),
        ("prefer", "wait=1"),
        ("x-request-id", "2"),
        ("if-match", "\"v1\""),
        ("range", "bytes=0-1"),
        ("traceparent", "00-1-2-00"),
        ("content-language", "fr"),
    ] {
        assert!(
            send(&service, text(PATH, &[(name, value)], "body"))
                .await
                .is_replay(),
            "{name}"
        );
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn origin_form_and_absolute_form_are_one_request() {
    let (_, handler, service) = spied();
    send(&service, text("/charges?a=1", &[], "body")).await;
    let mut over_http2 = text("https://api.example/charges?a=1", &[], "body");
    *over_http2.version_mut() = http::Version::HTTP_2;

    assert!(send(&service, over_http2).await.is_replay());
    let elsewhere = text("http://other.example:8080/charges?a=1", &[], "body");
    assert!(send(&service, elsewhere).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_key_serves_several_endpoints() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().methods([Method::POST, Method::PATCH, Method::PUT]);
    let service = handler.at_once(&layer);
    let with_method = |method: Method| {
        let mut request = keyed("k", "x");
        *request.method_mut() = method;
        request
    };

    for (number, request) in [
        text("/charges", &[], "x"),
        text("/charges/", &[], "x"),
        text("/Charges", &[], "x"),
        text("/refunds", &[], "x"),
        with_method(Method::PATCH),
        with_method(Method::PUT),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = send(&service, request).await;
        assert_eq!(answer.text(), format!("execution {}", number + 1));
    }
    assert!(send(&service, text("/refunds", &[], "x")).await.is_replay());
}
