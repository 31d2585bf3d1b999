//! The published test vectors of record keys, credentials and fingerprints.

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request};
use serde_json::Value;
use tower_idempotency::{ClaimRequest, IdempotencyLayer};

use crate::spy::Spy;
use crate::support::{Body, Handler, send};

/// The rows of a table; as many as have been published, so that none is dropped unnoticed.
#[track_caller]
fn rows(table: &str, published: usize) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    let tables = vectors.as_object().unwrap();
    assert_eq!(tables.len(), 3, "a table that no test reads");
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
        for line in row["headers"].as_array().unwrap() {
            let (name, value) = (line[0].as_str().unwrap(), line[1].as_str().unwrap());
            let name: HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(value).unwrap());
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
