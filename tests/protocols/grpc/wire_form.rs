//! Every header, frame by frame, as a client that is no tonic gets them.

use http::HeaderMap;
use http_body_util::BodyExt;

use super::*;
use crate::wire::Http2;

/// What came, in the order of gRPC.
#[derive(Debug, PartialEq)]
struct Came {
    status: u16,
    headers: Vec<(String, String)>,
    /// Whether the head ended the stream.
    is_trailers_only: bool,
    body: Bytes,
    trailers: Vec<(String, String)>,
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let lines = headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    let mut lines: Vec<_> = lines.filter(|(name, _)| name != "date").collect();
    lines.sort();
    lines
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

async fn call(client: &mut Http2, address: SocketAddr, key: &str, cents: i64) -> Came {
    let request = http::Request::post(format!("http://{address}{CREATE}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("idempotency-key", key)
        .body(framed(&Charge { cents }).into())
        .unwrap();
    let response = bounded("an answer", client.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let is_trailers_only = body.is_end_stream();
    let collected = bounded("its body", body.collect()).await.unwrap();
    Came {
        status: head.status.into(),
        headers: lines(&head.headers),
        is_trailers_only,
        trailers: collected.trailers().map(lines).unwrap_or_default(),
        body: collected.to_bytes(),
    }
}

#[tokio::test]
async fn a_replay_is_the_first_answer_frame_by_frame_but_for_its_two_marks() {
    let handler = Handler::default();
    let address = serve(&layer(), Charges::new(&handler));
    let mut client = Http2::to(address).await;

    let first = call(&mut client, address, "k", 42).await;
    let retry = call(&mut client, address, "k", 42).await;

    let came = |headers| Came {
        status: 200,
        headers,
        is_trailers_only: false,
        body: framed(&Receipt {
            number: 1,
            cents: 42,
        }),
        trailers: pairs([("grpc-status", "0")]),
    };
    assert_eq!(
        first,
        came(pairs([
            ("content-type", "application/grpc"),
            ("x-receipt", "receipt-1"),
        ]))
    );
    assert_eq!(
        retry,
        came(pairs([
            ("content-type", "application/grpc"),
            ("idempotency-key", "k"),
            ("idempotent-replayed", "true"),
            ("x-receipt", "receipt-1"),
        ]))
    );
}

#[tokio::test]
async fn a_refusal_is_one_frame_of_headers_that_ends_the_stream() {
    let handler = Handler::default();
    let address = serve(&layer(), Charges::new(&handler));
    let mut client = Http2::to(address).await;
    call(&mut client, address, "k", 42).await;

    let mismatch = call(&mut client, address, "k", 43).await;

    let text = "Idempotency%20key%20has%20already%20been%20used%20with%20different%20parameters.";
    assert_eq!(
        mismatch,
        Came {
            status: 200,
            headers: pairs([
                ("content-type", "application/grpc"),
                ("grpc-message", text),
                ("grpc-status", "3"),
                ("idempotency-error", "idempotency_mismatch"),
            ]),
            is_trailers_only: true,
            body: Bytes::new(),
            trailers: Vec::new(),
        }
    );
}

#[tokio::test]
async fn an_error_that_is_kept_is_trailers_only_the_second_time_too() {
    let handler = Handler::default();
    let charges = Charges::creating(&handler, |_, _| async { Err(Status::not_found("no shop")) });
    let address = serve(&layer().keep(Keep::Final), charges);
    let mut client = Http2::to(address).await;

    let first = call(&mut client, address, "k", 42).await;
    let retry = call(&mut client, address, "k", 42).await;

    assert_eq!(handler.executions(), 1);
    assert!(first.is_trailers_only && retry.is_trailers_only);
    let marks = pairs([("idempotency-key", "k"), ("idempotent-replayed", "true")]);
    let mut expected = [first.headers.clone(), marks].concat();
    expected.sort();
    assert_eq!(
        retry,
        Came {
            headers: expected,
            ..first
        }
    );
}
