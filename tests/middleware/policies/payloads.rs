//! Closures that panic with something that panics when it is dropped.

use std::panic::{AssertUnwindSafe, panic_any};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use tower_idempotency::{
    FingerprintPolicy, IdempotencyLayer, Keep, KeyFrom, KeyPolicy, Refusal, Scope,
};

use crate::support::{Handler, plain, send};

/// Panics when it is dropped, unless a panic unwinds already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a payload that panics");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_closure_is_an_answer_whatever_it_was_thrown_with() {
    let layer = IdempotencyLayer::default;
    let mut unwound = Vec::new();
    for (name, layer, expected) in [
        (
            "scope",
            layer().scope(Scope::with(|_| panic_any(Bomb))),
            500,
        ),
        (
            "extension",
            layer().scope(Scope::extension(|_: &u8| -> String { panic_any(Bomb) })),
            500,
        ),
        (
            "key source",
            layer().key_from(KeyFrom::with(|_| panic_any(Bomb))),
            500,
        ),
        (
            "key policy",
            layer().key(KeyPolicy::with(|_| panic_any(Bomb))),
            500,
        ),
        (
            "fingerprint",
            layer().fingerprint(FingerprintPolicy::with(|_, _| panic_any(Bomb))),
            500,
        ),
        (
            "form",
            layer()
                .key(KeyPolicy::uuid())
                .errors(|_: &Refusal| -> Response<Bytes> { panic_any(Bomb) }),
            400,
        ),
        ("observer", layer().on_event(|_| panic_any(Bomb)), 201),
        ("keep", layer().keep(Keep::when(|_| panic_any(Bomb))), 201),
    ] {
        let handler = Handler::default();
        let mut request = plain("k", "x");
        request.extensions_mut().insert(7_u8);
        let answer = AssertUnwindSafe(send(&handler.at_once(&layer), request))
            .catch_unwind()
            .await;
        match answer {
            Ok(answer) if answer.status == expected => {}
            Ok(answer) => unwound.push(format!("{name}: {}", answer.status)),
            Err(_) => unwound.push(format!(
                "{name}: unwound after {} executions",
                handler.executions()
            )),
        }
    }
    assert_eq!(unwound, [""; 0]);
}
