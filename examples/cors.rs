//! CORS outside of the layer: scripts of other origins may send a key, and see what a replay is.
//!
//! ```text
//! cargo run --example cors
//! curl -i http://127.0.0.1:3000/charges -H "Origin: https://shop.example" \
//!   -H "Idempotency-Key: order-1" -H "Content-Type: text/plain" -d "42 EUR"
//! ```
//!
//! Asked again with `Origin: https://admin.example`, the same charge comes with that origin's
//! headers: those of CORS are never recorded. `ADDR` is where it listens (127.0.0.1:3000).

#[path = "common/stop.rs"]
mod stop;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;
use tower_idempotency::IdempotencyLayer;
use tower_idempotency::cors::{ALLOW_HEADERS, EXPOSE_HEADERS};

const ORIGINS: [HeaderValue; 2] = [
    HeaderValue::from_static("https://shop.example"),
    HeaderValue::from_static("https://admin.example"),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let idempotency = IdempotencyLayer::default();
    let [idempotency_key] = ALLOW_HEADERS;
    let cors = CorsLayer::new()
        .allow_origin(ORIGINS)
        .allow_methods([Method::POST])
        .allow_headers([CONTENT_TYPE, idempotency_key])
        .expose_headers(EXPOSE_HEADERS);
    // The layer that is added last is the outermost: it sees replays and refusals too.
    let app = Router::new()
        .route("/charges", post(charge))
        .layer(idempotency.clone())
        .layer(cors);

    let stop = stop::signal()?;
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    match idempotency.drain(Duration::from_secs(25)).await.left {
        0 => Ok(()),
        left => Err(format!("executions left: {left}").into()),
    }
}

async fn charge() -> (StatusCode, String) {
    static CHARGES: AtomicU64 = AtomicU64::new(0);

    let number = CHARGES.fetch_add(1, Ordering::Relaxed) + 1;
    (StatusCode::CREATED, format!("charge {number}\n"))
}
