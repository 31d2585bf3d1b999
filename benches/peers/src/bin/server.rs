//! The app that `benches/http.sh` compares with itself: one route, bare or behind the layer.
//!
//! ```text
//! server bare|around|inside
//! ```
//!
//! It takes a free port of 127.0.0.1 and prints its address. `around` is the layer around the whole router, as the crate documentation has it, `inside` is `Router::layer`. One
//! thread; HTTP/1.1 and HTTP/2 on one port.

use std::env;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::{Router, ServiceExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower::Layer;
use tower_idempotency::IdempotencyLayer;

const RESPONSE: &[u8; 512] = &[b'b'; 512];

fn app() -> Router {
    let charge = async |body: Bytes| {
        drop(body);
        let json = [(CONTENT_TYPE, "application/json")];
        (StatusCode::CREATED, json, Bytes::from_static(RESPONSE))
    };
    Router::new().route("/v1/charges/{id}", post(charge))
}

async fn serve(layer: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    match layer {
        "bare" => axum::serve(listener, app()).await,
        "inside" => axum::serve(listener, app().layer(IdempotencyLayer::default())).await,
        "around" => {
            let guarded = IdempotencyLayer::default().layer(app());
            let guarded = tower::ServiceExt::<Request>::map_response(guarded, |response| {
                response.map(Body::new)
            });
            let make_service = ServiceExt::<Request>::into_make_service(guarded);
            axum::serve(listener, make_service).await
        }
        other => panic!("bare, around or inside, and not {other}"),
    }
}

fn main() -> std::io::Result<()> {
    let layer = env::args().nth(1).unwrap_or_default();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&layer))
}
