//! Which responses of gRPC are kept.

use super::*;

const STATUSES: std::ops::RangeInclusive<i32> = 0..=17;

/// `grpc-status`, in headers or in trailers.
fn status(status: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", status.parse().unwrap());
    headers
}

/// A response of gRPC with a message and then this.
fn message(content_type: &'static str, then: impl IntoIterator<Item = Step>) -> Response<Frames> {
    let steps = [Step::Data("message")].into_iter().chain(then);
    let response = Response::builder().header("content-type", content_type);
    response.body(Frames::new(steps)).unwrap()
}

/// A response of gRPC with this status in its trailers, or of a header alone.
fn unary(number: i32, is_trailers_only: bool) -> Response<Frames> {
    let status = status(&number.to_string());
    if !is_trailers_only {
        return message("application/grpc+proto", [Step::Trailers(status)]);
    }
    let mut response = Response::new(Frames::empty());
    *response.headers_mut() = status;
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}

/// Whether the response to a first request is what a second one gets.
async fn is_kept(
    layer: &IdempotencyLayer,
    response: impl Fn(u32) -> Response<Frames> + Clone + Send + 'static,
) -> bool {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let namespace = NUMBER.fetch_add(1, Ordering::SeqCst).to_string();
    let (service, executions) = responding(&layer.clone().namespace(namespace), response);

    let first = ask(&service).await;
    let second = ask(&service).await;

    let is_recorded = first.outcome == Outcome::Executed { recorded: true };
    assert_eq!(second.is_replay(), is_recorded);
    assert_eq!(executions.count(), 2 - u32::from(is_recorded));
    if is_recorded {
        assert_eq!(
            (&second.body, second.trailers),
            (&first.body, first.trailers)
        );
    }
    is_recorded
}

#[tokio::test(start_paused = true)]
async fn a_rule_goes_by_the_grpc_status_wherever_it_stands() {
    let all: Vec<_> = STATUSES.collect();
    for (rule, expected) in [
        (Keep::default(), &[0][..]),
        (Keep::Success, &[0]),
        (Keep::Final, &[0, 3, 5, 6, 9, 11]),
        (Keep::All, &all),
        (Keep::Discard, &[]),
        (Keep::when(|reply| reply.grpc_status() == Some(14)), &[14]),
    ] {
        let layer = IdempotencyLayer::default().keep(rule.clone());
        for is_trailers_only in [false, true] {
            let mut kept = Vec::new();
            for status in STATUSES {
                if is_kept(&layer, move |_| unary(status, is_trailers_only)).await {
                    kept.push(status);
                }
            }
            assert_eq!(
                kept, expected,
                "{rule:?}, in the headers: {is_trailers_only}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_the_trailers_counts_before_that_of_the_headers() {
    let other = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("7"))]);
    for (header, trailers, expected) in [
        ("0", status("14"), false),
        ("14", status("0"), true),
        ("0", status("?"), false),
        ("0", other, true),
    ] {
        let sent = trailers.clone();
        let response = move |_| {
            let mut response = message("application/grpc", [Step::Trailers(sent.clone())]);
            response.headers_mut().extend(status(header));
            response
        };

        let kept = is_kept(&IdempotencyLayer::default(), response).await;

        assert_eq!(kept, expected, "{header} {trailers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_response_that_ended_without_a_status_is_no_success() {
    for rule in [Keep::Success, Keep::Final] {
        let layer = IdempotencyLayer::default().keep(rule);
        for then in [None, Some(Step::Trailers(status("OK")))] {
            let response = move |_| message("application/grpc", then.clone());

            assert!(!is_kept(&layer, response).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_content_types_go_by_the_status_of_http() {
    for content_type in [
        "application/json",
        "application/grpc-web+proto",
        "application/grpcs",
    ] {
        let response = move |_| message(content_type, [Step::Trailers(status("14"))]);

        assert!(
            is_kept(&IdempotencyLayer::default(), response).await,
            "{content_type}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_response_that_flows_before_its_status_is_known_leaves_a_tombstone() {
    for rule in [Keep::Success, Keep::Final] {
        let layer = IdempotencyLayer::default().keep(rule).max_kept_response(10);
        // Too large by one frame, and too slow.
        for then in [Step::Data("and more"), Step::Wait(5 * SECOND)] {
            let layer = layer.clone().namespace(format!("{then:?}"));
            let steps = [then, Step::Trailers(status("14"))];
            let response = move |_| message("application/grpc", steps.clone());
            let (service, executions) = responding(&layer.boxed(), response);

            let first = ask(&service).await;
            let retry = ask(&service).await;

            assert_eq!(first.outcome, Outcome::Executed { recorded: true });
            assert_eq!(first.trailers, Some(status("14")));
            assert_eq!(retry.code(), "idempotency_response_unavailable");
            assert_eq!(executions.count(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_response_that_flows_is_freed_where_its_head_tells_of_a_failure() {
    let slow = || [Step::Wait(5 * SECOND), Step::Trailers(status("0"))];
    let of_grpc = move |_| {
        let mut response = message("application/grpc", slow());
        response.headers_mut().extend(status("14"));
        response
    };
    let of_http = move |_| {
        let mut response = message("application/grpc", slow());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    };

    assert!(!is_kept(&IdempotencyLayer::default(), of_grpc).await);
    assert!(!is_kept(&IdempotencyLayer::default(), of_http).await);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_grpc_behind_the_point_of_no_return_is_never_run_again() {
    let (service, executions) = streaming(&IdempotencyLayer::default(), |_, request| async move {
        let key = request.extensions().get::<Idempotency>().unwrap();
        key.point_of_no_return().await.unwrap();
        unary(14, false)
    });

    let first = ask(&service).await;
    let retry = ask(&service).await;

    assert_eq!(first.trailers, Some(status("14")));
    assert_eq!(retry.code(), "idempotency_outcome_unknown");
    assert_eq!(executions.count(), 1);
}
