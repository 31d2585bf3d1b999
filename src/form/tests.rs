//! The built-in forms, and what is made of an application's own.

use std::time::Duration;

use http::HeaderName;
use serde_json::Value;

use super::*;

/// An answer in the memory of other headers, which leave no trace.
fn answered(refusal: &Refusal, form: &dyn Form) -> Rendered {
    let other = |name| (HeaderName::from_static(name), HeaderValue::from_static("?"));
    let mut others = HeaderMap::from_iter(["cookie", "location", "x-other"].map(other));
    others.append("cookie", HeaderValue::from_static("!"));
    let rendered = render(refusal, form, &mut others);
    let headers = rendered.response.headers();
    assert!(!headers.contains_key("cookie") && !headers.contains_key("x-other"));
    assert_eq!(headers.get(LOCATION), refusal.location());
    rendered
}

#[test]
fn the_built_in_forms_are_compact_and_in_order() {
    let refusal = Refusal::new(RefusalCode::Mismatch);

    for (form, expected) in [
        (
            &ErrorForm::flat() as &dyn Form,
            r#"{"error":"idempotency_mismatch","detail":"…","status_code":422}"#,
        ),
        (
            &ErrorForm::nested(),
            r#"{"error":{"code":"idempotency_mismatch","message":"…","type":"invalid_request_error"}}"#,
        ),
        (
            &ErrorForm::stripe(),
            r#"{"error":{"type":"idempotency_error","code":"idempotency_mismatch","message":"…"}}"#,
        ),
        (
            &ErrorForm::problem(),
            r#"{"type":"about:blank","title":"Unprocessable Content","status":422,"detail":"…","code":"idempotency_mismatch","retryable":false}"#,
        ),
    ] {
        let expected = expected.replace('…', refusal.detail());
        assert_eq!(form.render(&refusal).body(), &expected);
    }
}

#[test]
fn every_code_in_every_built_in_form_is_an_error_and_holds_its_code() {
    let (flat, nested, stripe) = (ErrorForm::flat(), ErrorForm::nested(), ErrorForm::stripe());
    let (problem, docs) = (
        ErrorForm::problem(),
        ErrorForm::problem().docs("https://d.example"),
    );
    let forms: [(&dyn Form, &str, &str); 5] = [
        (&flat, "/error", "application/json"),
        (&nested, "/error/code", "application/json"),
        (&stripe, "/error/code", "application/json"),
        (&problem, "/code", "application/problem+json"),
        (&docs, "/code", "application/problem+json"),
    ];

    for code in RefusalCode::ALL {
        for (form, pointer, content_type) in forms {
            let Rendered {
                response,
                is_form_refused,
            } = answered(&Refusal::new(code), form);
            let body = serde_json::from_slice::<Value>(response.body()).unwrap();

            assert!(!is_form_refused && is_error(response.status()), "{code}");
            assert_eq!(response.headers()["content-type"], content_type);
            assert_eq!(body.pointer(pointer).unwrap(), code.as_str());
        }
    }
}

#[test]
fn a_form_that_has_answered_may_be_changed() {
    let refusal = Refusal::new(RefusalCode::Mismatch);
    let body = |form: &dyn Form| form.render(&refusal).into_body();
    let (flat, problem) = (ErrorForm::flat(), ErrorForm::problem());
    let before = [body(&flat), body(&problem)];

    let flat = flat.code(RefusalCode::Mismatch, "changed");
    let problem = problem.docs("https://changed.example");

    for (form, before) in [&flat as &dyn Form, &problem].into_iter().zip(before) {
        assert_eq!(body(form), body(form));
        assert_ne!(body(form), before);
        assert!(body(form).windows(7).any(|part| part == b"changed"));
    }
}

#[test]
fn a_form_that_panics_or_makes_no_error_of_a_refusal_is_refused_itself() {
    let refusal = Refusal::new(RefusalCode::InProgress);
    let panics = |_: &Refusal| -> Response<Bytes> { panic!("a form that panics") };
    let succeeds = |_: &Refusal| Response::new(Bytes::from_static(b"all is well"));

    for form in [&panics as &dyn Form, &succeeds] {
        let rendered = answered(&refusal, form);

        assert!(rendered.is_form_refused);
        assert_eq!(rendered.response.status(), 409);
    }
}

#[test]
fn when_to_try_again_and_where_are_headers_in_every_form() {
    let refusal = Refusal::new(RefusalCode::ResponseUnavailable)
        .retry_after_about(Duration::from_secs(3))
        .at(Some(HeaderValue::from_static("/made/7")));
    let own = |_: &Refusal| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::GONE;
        response
    };
    let wrong = |_: &Refusal| Response::new(Bytes::new());

    for (form, status) in [
        (&own as &dyn Form, 410),
        (&wrong, 409),
        (&ErrorForm::flat(), 409),
        (&ErrorForm::grpc(), 200),
        (&ErrorForm::nested(), 409),
        (&ErrorForm::stripe(), 400),
        (&ErrorForm::problem(), 409),
    ] {
        let response = answered(&refusal, form).response;

        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(response.headers()["location"], "/made/7");
    }
}

#[test]
fn a_header_tells_any_number() {
    for told in [0, 1, 9, 10, 11, 3_600, u64::MAX] {
        assert_eq!(number(told), told.to_string());
    }
}

#[test]
fn of_a_200_only_trailers_of_grpc_with_an_error_are_a_refusal() {
    let refusal = Refusal::new(RefusalCode::InProgress);
    let rendered =
        |status: u16, content_type: &'static str, grpc_status: &'static str, body: &'static str| {
            let form = move |_: &Refusal| {
                let mut response = Response::new(Bytes::from_static(body.as_bytes()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                for (name, value) in [("content-type", content_type), ("grpc-status", grpc_status)]
                {
                    if !value.is_empty() {
                        response
                            .headers_mut()
                            .insert(name, HeaderValue::from_static(value));
                    }
                }
                response
            };
            !answered(&refusal, &form).is_form_refused
        };

    assert!(rendered(200, "application/grpc", "7", ""));
    assert!(rendered(200, "application/grpc+proto", "14", ""));
    assert!(rendered(409, "application/grpc", "0", "text"));

    assert!(!rendered(200, "application/grpc", "0", ""));
    assert!(!rendered(200, "application/grpc", "", ""));
    assert!(!rendered(200, "application/grpc", "busy", ""));
    assert!(!rendered(200, "application/grpc", "14", "text"));
    assert!(!rendered(200, "application/grpc-web", "14", ""));
    assert!(!rendered(200, "", "14", ""));
    assert!(!rendered(201, "application/grpc", "14", ""));
    assert!(!rendered(302, "application/grpc", "14", ""));
}
