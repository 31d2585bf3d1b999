//! Methods beside POST.

use axum::Router;
use axum::routing::post as on_post;
use tower_http::cors::CorsLayer;

use super::*;

#[tokio::test]
async fn head_options_and_get_with_a_key_pass_and_leave_the_connection_in_step() {
    let handler = Handler::default();
    let counted = handler.clone();
    let plain = service_fn(move |request: Request<RequestBody<Incoming>>| {
        counted.begin(request.extensions());
        async { Ok::<_, std::convert::Infallible>(created("same")) }
    });
    let bare = service_fn(|_: Request<Incoming>| async {
        Ok::<_, std::convert::Infallible>(created("same"))
    });
    let mut client = Http1::to(serve(layer().layer(plain)).await).await;
    let mut bare = Http1::to(serve(bare).await).await;

    for (number, method) in (1..).zip(["HEAD", "OPTIONS", "GET", "HEAD", "HEAD"]) {
        let request = raw("k", "", "").replace("POST", method);
        let [answer, expected] = [&mut client, &mut bare].map(async |client: &mut Http1| {
            client.send(&request).await;
            let head = client.head().await;
            let body = if method == "HEAD" { "" } else { "same" };
            assert_eq!(client.take(body.len()).await, body);
            without_date(&head)
        });

        assert_eq!(answer.await, expected.await, "{method}");
        assert_eq!((handler.executions(), handler.last_attempt()), (number, 0));
    }
    assert!(!client.exchange(&raw("k", "", "a")).await.is_replay());
}

fn without_date(head: &str) -> String {
    let lines = head.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

#[tokio::test]
async fn a_covered_head_runs_once_and_its_replay_tells_the_length_of_a_body_that_does_not_come() {
    let handler = Handler::default();
    let layer = layer().methods([Method::POST, Method::HEAD]);
    let address = serve_at_once(&layer, &handler).await;
    let mut client = Http1::to(address).await;
    let head = raw("k", "", "").replace("POST", "HEAD");

    for replayed in [false, true, true] {
        client.send(&head).await;
        let answer = client.head().await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(answer.contains("content-length: 11\r\n"), "{answer}");
        assert_eq!(answer.contains("idempotent-replayed: true\r\n"), replayed);
    }
    assert_eq!(handler.executions(), 1);

    // A refusal has no body either, and what comes next is the next answer.
    client.send(&head.replace("/charges", "/charges?x=y")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 422 "));
    let post = client.exchange(&raw("k", "", "")).await;
    assert_eq!((post.status(), &*post.body), ("201", "execution 2"));
}

#[tokio::test]
async fn a_preflight_passes_through_a_layer_around_cors_with_a_key_too() {
    async fn charge() -> &'static str {
        "charged"
    }
    let covering = layer().methods([Method::POST, Method::PUT]);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let events = std::sync::Arc::clone(&seen);
    let covering = covering.on_event(move |event: &tower_idempotency::Event| {
        events.lock().unwrap().push(event.outcome());
    });
    let routes = Router::new().route("/charges", on_post(charge));
    let app = routes.layer(CorsLayer::permissive()).layer(covering);
    let (listener, address) = crate::wire::listen().await;
    tokio::spawn(axum::serve(listener, app).into_future());
    let mut client = Http1::to(address).await;
    let asking = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n\
                  Access-Control-Request-Headers: idempotency-key\r\n";

    for key in ["k", "\""] {
        let preflight = raw(key, asking, "").replace("POST /", "OPTIONS /");
        let answer = client.exchange(&preflight).await;
        assert_eq!(answer.status(), "200", "{answer:?}");
        assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
        assert!(!answer.is_replay());
    }
    assert!(seen.lock().unwrap().is_empty());
    let origin = "Origin: https://shop.example\r\n";
    for replayed in [false, true] {
        let answer = client.exchange(&raw("k", origin, "a")).await;
        assert_eq!((answer.status(), answer.is_replay()), ("200", replayed));
    }
    let executed = Some(Outcome::Executed { recorded: true });
    assert_eq!(*seen.lock().unwrap(), [executed, Some(Outcome::Replayed)]);
}
