//! The published test vectors of record keys, principals, fingerprints, child keys and steps.

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request};
use serde_json::Value;
use tower_idempotency::{
    ClaimRequest, FingerprintPolicy, Idempotency, IdempotencyLayer, KeyFrom, Scope,
};

use crate::spy::Spy;
use crate::support::{Body, Handler, created, keyed, post, send};

/// The rows of a table; as many as have been published, so that none is dropped unnoticed.
#[track_caller]
fn rows(table: &str, published: usize) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    let tables = vectors.as_object().unwrap();
    assert_eq!(tables.len(), 9, "a table that no test reads");
    let rows = tables[table].as_array().unwrap().clone();
    assert_eq!(rows.len(), published, "{table}");
    rows
}

fn text<'a>(row: &'a Value, member: &str) -> &'a str {
    row[member]
        .as_str()
        .unwrap_or_else(|| panic!("{member} of {row}"))
}

fn bytes(row: &Value, member: &str) -> Vec<u8> {
    let hex = text(row, member);
    let digits = hex.as_bytes().chunks_exact(2);
    assert!(digits.remainder().is_empty(), "{row}");
    digits
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

fn texts(list: &Value) -> Vec<&str> {
    let texts = list.as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap()).collect()
}

/// The header lines of a row.
fn lines(row: &Value) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    row["headers"].as_array().unwrap().iter().map(|line| {
        let (name, value) = (line[0].as_str().unwrap(), line[1].as_str().unwrap());
        (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
    })
}

#[test]
fn record_keys_are_the_published_ones() {
    for row in rows("record_keys", 11) {
        let layer = IdempotencyLayer::default().namespace(text(&row, "namespace"));
        let method: Method = text(&row, "method").parse().unwrap();

        let key = layer.record_key(
            &bytes(&row, "principal_hex"),
            &method,
            text(&row, "path"),
            text(&row, "key"),
        );

        assert_eq!(key.scope()[..], bytes(&row, "scope_hex"), "{row}");
        assert_eq!(key.key()[..], bytes(&row, "key_hex"), "{row}");
    }
}

#[test]
fn credentials_are_the_published_principals() {
    for row in rows("credentials", 8) {
        let layer = IdempotencyLayer::default().namespace("payments");
        let mut request = Request::post("/charges?a=1").body(()).unwrap();
        for (name, value) in lines(&row) {
            request.headers_mut().append(name, value);
        }

        let resolved = layer.record_key_for(&request.into_parts().0, "k").unwrap();

        let principal = bytes(&row, "principal_hex");
        assert_eq!(
            resolved,
            layer.record_key(&principal, &Method::POST, "/charges", "k"),
            "{row}"
        );
    }
}

#[test]
fn principals_of_headers_are_the_published_ones() {
    for row in rows("header_principals", 9) {
        let names = texts(&row["names"]);
        let names: Vec<HeaderName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let scope = match names.len() {
            1 => Scope::headers([names[0].clone()]),
            _ => Scope::headers([names[0].clone(), names[1].clone()]),
        };
        let layer = IdempotencyLayer::default().scope(scope);
        let mut request = Request::post("/charges").body(()).unwrap();
        for (name, value) in lines(&row) {
            request.headers_mut().append(name, value);
        }

        let resolved = layer.record_key_for(&request.into_parts().0, "k").unwrap();

        let principal = bytes(&row, "principal_hex");
        assert_eq!(
            resolved,
            layer.record_key(&principal, &Method::POST, "/charges", "k"),
            "{row}"
        );
    }
}

#[test]
fn record_keys_without_an_endpoint_are_the_published_ones() {
    for row in rows("endpoint_free_record_keys", 10) {
        let scope = Scope::shared().without_endpoint();
        let layer = IdempotencyLayer::default().scope(scope);
        let layer = layer.namespace(text(&row, "namespace"));
        let principal = bytes(&row, "principal_hex");

        for (method, path) in [(Method::POST, "/charges"), (Method::PATCH, "/")] {
            let key = layer.record_key(&principal, &method, path, text(&row, "key"));

            assert_eq!(key.scope()[..], bytes(&row, "scope_hex"), "{row}");
            assert_eq!(key.key()[..], bytes(&row, "key_hex"), "{row}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_several_values_are_the_published_ones() {
    for row in rows("composite_keys", 9) {
        let spy = Spy::new();
        let source = KeyFrom::json(texts(&row["pointers"]));
        let layer = IdempotencyLayer::new(spy.clone()).key_from(source);
        let body = Body::from(text(&row, "body").to_owned());
        let request = post("/webhooks", &[], "").map(|_| body);

        send(&Handler::default().at_once(&layer), request).await;

        let named = layer.record_key(b"", &Method::POST, "/webhooks", text(&row, "key"));
        let [claim]: [ClaimRequest; 1] = spy.claims().try_into().unwrap();
        assert_eq!(claim.key().key()[..], bytes(&row, "key_hex"), "{row}");
        assert_eq!(*claim.key(), named, "{row}");
    }
}

/// The policy that a row describes.
fn policy(row: &Value) -> FingerprintPolicy {
    let described = &row["policy"];
    let mut policy = match text(described, "base") {
        "default" => FingerprintPolicy::default(),
        "none" => FingerprintPolicy::none(),
        "with" => FingerprintPolicy::with(|_, body| {
            let first_line = body.split(|byte| *byte == b'\n').next();
            Ok(first_line.unwrap_or_default().to_vec())
        }),
        other => panic!("{other}"),
    };
    for (member, values) in described.as_object().unwrap() {
        policy = match member.as_str() {
            "base" => policy,
            "canonical_content_type" => policy.canonical_content_type(),
            "canonical_query" => policy.canonical_query(),
            "exclude" => policy.exclude(texts(values)),
            "headers" => texts(values)
                .into_iter()
                .fold(policy, FingerprintPolicy::header),
            "include" => policy.include(texts(values)),
            "json" => policy.canonical_json(),
            other => panic!("{other}"),
        };
    }
    policy
}

#[tokio::test(start_paused = true)]
async fn fingerprints_of_other_policies_are_the_published_ones() {
    for row in rows("policy_fingerprints", 16) {
        let spy = Spy::new();
        let layer = IdempotencyLayer::new(spy.clone()).fingerprint(policy(&row));
        let uri = match row["query"].as_str() {
            Some(query) => format!("{}?{query}", text(&row, "path")),
            None => text(&row, "path").to_owned(),
        };
        let mut request = post(&uri, &[("idempotency-key", "k"), ("accept", "*/*")], "");
        for (name, value) in lines(&row) {
            request.headers_mut().append(name, value);
        }
        *request.body_mut() = text(&row, "body").to_owned().into();

        send(&Handler::default().at_once(&layer), request).await;

        let [claim]: [ClaimRequest; 1] = spy.claims().try_into().unwrap();
        let fingerprint = claim.fingerprint();
        assert_eq!(u64::from(fingerprint.version()), row["version"], "{row}");
        assert_eq!(fingerprint.digest()[..], bytes(&row, "digest_hex"), "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn fingerprints_are_the_published_ones() {
    for row in rows("fingerprints", 16) {
        let spy = Spy::new();
        let method: Method = text(&row, "method").parse().unwrap();
        let layer = IdempotencyLayer::new(spy.clone()).methods([method.clone()]);
        let uri = match row["query"].as_str() {
            Some(query) => format!("{}?{query}", text(&row, "path")),
            None => text(&row, "path").to_owned(),
        };
        let mut request = Request::builder().method(method).uri(uri);
        request = request
            .header("idempotency-key", "k")
            .header("accept", "*/*");
        for (member, name) in [
            ("content_type", "content-type"),
            ("content_encoding", "content-encoding"),
        ] {
            for line in row[member].as_array().unwrap() {
                request = request.header(name, line.as_str().unwrap());
            }
        }
        let request = request.body(Body::from(bytes(&row, "body_hex"))).unwrap();

        send(&Handler::default().at_once(&layer), request).await;

        let [claim]: [ClaimRequest; 1] = spy.claims().try_into().unwrap();
        assert_eq!(
            u64::from(claim.fingerprint().version()),
            row["version"],
            "{row}"
        );
        assert_eq!(
            claim.fingerprint().digest()[..],
            bytes(&row, "digest_hex"),
            "{row}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn child_keys_are_the_published_ones() {
    for row in rows("child_keys", 7) {
        let layer = IdempotencyLayer::default().namespace(text(&row, "namespace"));
        let name = text(&row, "child").to_owned();
        let service = Handler::default().answering(&layer, move |request| {
            let context: &Idempotency = request.extensions().get().unwrap();
            std::future::ready(created(context.child(&name).as_str()))
        });

        let answer = send(&service, keyed(text(&row, "key"), "a")).await;

        assert_eq!(answer.text(), text(&row, "child_key"), "{row}");
    }
}

#[test]
fn step_keys_are_the_published_ones() {
    for row in rows("step_keys", 7) {
        let layer = IdempotencyLayer::default().namespace(text(&row, "namespace"));
        let operation = layer.record_key(b"", &Method::POST, "/charges", text(&row, "key"));

        let step = operation.step(text(&row, "step"));

        assert_eq!(step.key()[..], bytes(&row, "key_hex"), "{row}");
        assert_eq!(step.scope(), operation.scope(), "{row}");
    }
}
