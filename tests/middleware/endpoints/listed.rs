//! The list itself.

use super::*;

#[test]
fn without_a_list_there_is_none_to_read() {
    assert_eq!(
        IdempotencyLayer::default().endpoint_list().map(<[_]>::len),
        None
    );
}

#[test]
#[should_panic(expected = "endpoints takes at least one endpoint")]
fn a_list_of_nothing_is_refused() {
    let _ = IdempotencyLayer::default().endpoints([] as [&str; 0]);
}

#[test]
fn a_list_is_read_back_in_its_order() {
    let written = [
        "PUT /z/{id}",
        "POST /a",
        "DELETE /a",
        "M-SEARCH /m/{*rest}",
        "POST /b",
    ];

    let layer = IdempotencyLayer::default().endpoints(written);
    let clone = layer.clone().keep(Keep::All).boxed();

    for list in [
        layer.endpoint_list().unwrap(),
        clone.endpoint_list().unwrap(),
    ] {
        let read = list
            .iter()
            .map(|it| format!("{} {}", it.method(), it.template()));
        assert_eq!(read.collect::<Vec<_>>(), written);
        assert_eq!(
            list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            written
        );
    }
}

#[test]
#[should_panic(expected = "\"POST /charges/{id}\" is not an endpoint: it is listed twice")]
fn an_endpoint_that_is_listed_twice_is_named() {
    let _ = IdempotencyLayer::default().endpoints([
        Endpoint::post("/charges/{id}").retention(HOUR),
        Endpoint::post("/other"),
        Endpoint::post("/charges/{id}"),
    ]);
}

#[test]
#[should_panic(expected = "conflict with previously registered route")]
fn two_templates_that_cannot_be_told_apart_are_refused() {
    let _ = IdempotencyLayer::default().endpoints(["POST /charges/{id}", "POST /charges/{name}"]);
}

#[tokio::test(start_paused = true)]
async fn two_methods_of_one_template_have_their_own_settings() {
    let put = Endpoint::new(Method::PUT, "/charges/{id}").unwrap();
    let layer = IdempotencyLayer::default()
        .endpoints([Endpoint::post("/charges/{id}"), put.require_key(true)]);
    let service = Handler::default().at_once(&layer);
    let unkeyed = |method| {
        let mut request = post("/charges/7", &[], "x");
        *request.method_mut() = method;
        request
    };

    assert_eq!(
        send(&service, unkeyed(Method::POST)).await.outcome,
        Outcome::Bypassed
    );
    assert_eq!(
        send(&service, unkeyed(Method::PUT)).await.code(),
        "idempotency_key_missing"
    );
    assert_eq!(
        send(&service, unkeyed(Method::PATCH)).await.outcome,
        Outcome::Bypassed
    );
}

#[tokio::test(start_paused = true)]
async fn an_exact_template_counts_before_one_with_a_parameter() {
    let layer = IdempotencyLayer::default().endpoints([
        Endpoint::post("/charges/{id}").require_key(true),
        Endpoint::post("/charges/test"),
    ]);
    let service = Handler::default().at_once(&layer);

    let exact = send(&service, post("/charges/test", &[], "x")).await;
    let any = send(&service, post("/charges/7", &[], "x")).await;

    assert_eq!(exact.outcome, Outcome::Bypassed);
    assert_eq!(any.code(), "idempotency_key_missing");
}

#[tokio::test(start_paused = true)]
async fn a_list_says_which_methods_are_covered_whatever_the_layer_says() {
    let list = ["POST /a", "DELETE /a"];
    for layer in [
        IdempotencyLayer::default()
            .methods([Method::PUT])
            .endpoints(list),
        IdempotencyLayer::default()
            .endpoints(list)
            .methods([Method::PUT]),
    ] {
        let service = Handler::default().at_once(&layer);
        for (method, covered) in [("POST", true), ("DELETE", true), ("PUT", false)] {
            let mut request = to("/a", "k");
            *request.method_mut() = method.parse().unwrap();
            let outcome = send(&service, request).await.outcome;
            assert_eq!(outcome != Outcome::Bypassed, covered, "{method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clones_with_other_endpoints_cover_those_and_share_their_records() {
    let handler = Handler::default();
    let one = IdempotencyLayer::default().endpoints(["POST /a", "POST /both"]);
    let other = one.clone().endpoints(["POST /b", "POST /both"]);
    let (first, second) = (handler.at_once(&one), handler.at_once(&other));

    for (path, covered) in [
        ("/a", [true, false]),
        ("/b", [false, true]),
        ("/both", [true, true]),
    ] {
        for (service, covered) in [&first, &second].into_iter().zip(covered) {
            let outcome = send(service, to(path, path)).await.outcome;
            assert_eq!(outcome != Outcome::Bypassed, covered, "{path}");
        }
    }

    assert!(send(&second, to("/both", "/both")).await.is_replay());
    assert_eq!(one.endpoint_list().unwrap()[0].template(), "/a");
    assert_eq!(other.endpoint_list().unwrap()[0].template(), "/b");
}
