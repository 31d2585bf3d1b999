//! gRPC: a unary method of tonic that is safe to retry, and refusals that are a status like any other.
//!
//! ```text
//! cargo run --example grpc
//! printf '\0\0\0\0\2\x08\x2a' | curl --http2-prior-knowledge --data-binary @- -sD - -o /dev/null \
//!   http://127.0.0.1:3000/shop.v1.Charges/Create -H "TE: trailers" \
//!   -H "Content-Type: application/grpc" -H "Idempotency-Key: order-1"
//! ```
//!
//! The second time it says `idempotent-replayed: true`; with another amount (`\x2b`) it is `grpc-status: 3`. The service is
//! written out as tonic's build step writes it, so that no `protoc` is needed. `ADDR` is where it listens (127.0.0.1:3000).

#[path = "common/stop.rs"]
mod stop;

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::future::{Future, ready};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_idempotency::{ErrorForm, IdempotencyLayer, Keep};

#[derive(Clone, PartialEq, prost::Message)]
struct Charge {
    #[prost(int64, tag = "1")]
    cents: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Receipt {
    #[prost(uint64, tag = "1")]
    number: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let idempotency = IdempotencyLayer::default()
        // Unary methods only: a streaming one would be read, and held, to its end.
        .endpoints(["POST /shop.v1.Charges/Create"])
        .keep(Keep::Final)
        .errors(ErrorForm::grpc());

    let stop = stop::signal()?;
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let incoming = TcpIncoming::bind(address.parse()?)?;
    let address = incoming.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    Server::builder()
        .layer(idempotency.clone())
        .add_service(Charges)
        .serve_with_incoming_shutdown(incoming, stop)
        .await?;
    // Executions whose clients have hung up are not among the connections.
    match idempotency.drain(Duration::from_secs(25)).await.left {
        0 => Ok(()),
        left => Err(format!("executions left: {left}").into()),
    }
}

async fn create(request: Request<Charge>) -> Result<Response<Receipt>, Status> {
    static CHARGES: AtomicU64 = AtomicU64::new(0);

    if request.get_ref().cents <= 0 {
        return Err(Status::invalid_argument("there is nothing to charge"));
    }
    let number = CHARGES.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(Response::new(Receipt { number }))
}

/// What tonic generates of a service with one method.
#[derive(Clone)]
struct Charges;

impl NamedService for Charges {
    const NAME: &'static str = "shop.v1.Charges";
}

type Answer = Result<http::Response<Body>, Infallible>;

/// tonic boxes the body before its services see it.
impl Service<http::Request<Body>> for Charges {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != "/shop.v1.Charges/Create" {
            return Box::pin(ready(Ok(Status::unimplemented("").into_http())));
        }
        Box::pin(async {
            let mut server = Grpc::new(ProstCodec::default());
            Ok(server.unary(service_fn(create), request).await)
        })
    }
}
