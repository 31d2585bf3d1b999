//! No framework: a plain function behind the layer, on hyper's HTTP/1.1 and HTTP/2 in one.
//!
//! ```text
//! cargo run --example hyper
//! curl -i http://127.0.0.1:3000/charges -H "Idempotency-Key: order-1" -d "42 EUR"
//! ```
//!
//! However often it is sent, there is one charge. `ADDR` is where it listens (127.0.0.1:3000).

#[path = "common/stop.rs"]
mod stop;

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_idempotency::{IdempotencyLayer, RequestBody};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut stop = pin!(stop::signal()?);
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;

    let idempotency = IdempotencyLayer::default();
    let service = ServiceBuilder::new()
        .layer(idempotency.clone())
        .service(service_fn(charge));
    let service = TowerToHyperService::new(service);

    let server = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => TokioIo::new(accepted?.0),
            () = &mut stop => break,
        };
        let connection = server.serve_connection(stream, service.clone());
        tokio::spawn(connections.watch(connection.into_owned()));
    }

    drop(listener);
    connections.shutdown().await;
    // Executions whose clients have hung up are not among the connections.
    match idempotency.drain(Duration::from_secs(25)).await.left {
        0 => Ok(()),
        left => Err(format!("executions left: {left}").into()),
    }
}

/// The inner service sees the same request; only the body has another type.
async fn charge(
    _request: Request<RequestBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    static CHARGES: AtomicU64 = AtomicU64::new(0);

    let number = CHARGES.fetch_add(1, Ordering::Relaxed) + 1;
    let mut response = Response::new(Full::from(format!("charge {number}\n")));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}
