//! gRPC: a service of tonic behind the layer, over loopback.

mod calls;
mod reconciling;
mod refusals;
mod streaming;
mod wire_form;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::uri::PathAndQuery;
use http_body::Body;
use tonic::body::Body as TonicBody;
use tonic::client::Grpc as Client;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{BoxError, Service, service_fn};
use tower_idempotency::{ErrorForm, Idempotency, IdempotencyLayer, Keep, MemoryStore};

use crate::support::Handler;
use crate::watch::Watch;
use crate::wire::{PATIENCE, bounded};

const CREATE: &str = "/shop.v1.Charges/Create";
const WATCH: &str = "/shop.v1.Charges/Watch";
const IMPORT: &str = "/shop.v1.Charges/Import";
const CONFIRM: &str = "/shop.v1.Charges/Confirm";

#[derive(Clone, PartialEq, prost::Message)]
struct Charge {
    #[prost(int64, tag = "1")]
    cents: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Receipt {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(int64, tag = "2")]
    cents: i64,
}

type Unary = Result<Response<Receipt>, Status>;
type Stream = BoxStream<'static, Result<Receipt, Status>>;

/// `shop.v1.Charges`, as tonic would generate it of a `.proto`.
///
/// Create is unary and does what a test says, Watch streams what a test says, Import takes a stream and answers with the
/// sum, Confirm answers each message of a stream.
#[derive(Clone)]
struct Charges {
    handler: Handler,
    create: Arc<dyn Fn(u32, Request<Charge>) -> BoxFuture<'static, Unary> + Send + Sync>,
    watch: Arc<dyn Fn() -> Stream + Send + Sync>,
}

impl Charges {
    /// Create answers with the number of its execution.
    fn new(handler: &Handler) -> Self {
        Self {
            handler: handler.clone(),
            create: Arc::new(|number, request| Box::pin(async move { receipt(number, &request) })),
            watch: Arc::new(|| Box::pin(futures_util::stream::empty())),
        }
    }

    /// Create does this.
    fn creating<F>(
        handler: &Handler,
        create: impl Fn(u32, Request<Charge>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Unary> + Send + 'static,
    {
        Self {
            create: Arc::new(move |number, request| Box::pin(create(number, request))),
            ..Self::new(handler)
        }
    }

    /// Create answers when the handler's gate was opened for it.
    fn held(handler: &Handler) -> Self {
        let gate = handler.clone();
        Self::creating(handler, move |number, request| {
            let gate = gate.clone();
            async move {
                gate.opened().await;
                gate.end();
                receipt(number, &request)
            }
        })
    }

    /// Watch streams this.
    fn watching(handler: &Handler, watch: impl Fn() -> Stream + Send + Sync + 'static) -> Self {
        Self {
            watch: Arc::new(watch),
            ..Self::new(handler)
        }
    }
}

fn receipt(number: u32, request: &Request<Charge>) -> Unary {
    let mut response = Response::new(Receipt {
        number,
        cents: request.get_ref().cents,
    });
    let id = format!("receipt-{number}").parse().unwrap();
    response.metadata_mut().insert("x-receipt", id);
    Ok(response)
}

impl NamedService for Charges {
    const NAME: &'static str = "shop.v1.Charges";
}

impl<B> Service<http::Request<B>> for Charges
where
    B: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self {
            handler,
            create,
            watch,
        } = self.clone();
        let mut server = Grpc::new(ProstCodec::<Receipt, Charge>::default());
        Box::pin(async move {
            Ok(match request.uri().path() {
                CREATE => {
                    let method = service_fn(move |request: Request<Charge>| {
                        create(handler.begin(request.extensions()), request)
                    });
                    server.unary(method, request).await
                }
                WATCH => {
                    let method = service_fn(move |_: Request<Charge>| {
                        handler.start();
                        std::future::ready(Ok(Response::new(watch())))
                    });
                    server.server_streaming(method, request).await
                }
                IMPORT => {
                    let method = service_fn(move |request: Request<Streaming<Charge>>| {
                        import(handler.start(), request.into_inner())
                    });
                    server.client_streaming(method, request).await
                }
                CONFIRM => {
                    let method = service_fn(move |request: Request<Streaming<Charge>>| {
                        let number = handler.start();
                        std::future::ready(Ok(Response::new(confirm(number, request.into_inner()))))
                    });
                    server.streaming(method, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn import(number: u32, mut charges: Streaming<Charge>) -> Unary {
    let mut cents = 0;
    while let Some(charge) = charges.message().await? {
        cents += charge.cents;
    }
    Ok(Response::new(Receipt { number, cents }))
}

fn confirm(number: u32, charges: Streaming<Charge>) -> Stream {
    use futures_util::TryStreamExt;

    Box::pin(charges.map_ok(move |Charge { cents }| Receipt { number, cents }))
}

/// A layer as a gRPC service has it.
fn layer() -> IdempotencyLayer {
    IdempotencyLayer::new(MemoryStore::new()).errors(ErrorForm::grpc())
}

/// Serves until the test's runtime ends.
fn serve(layer: &IdempotencyLayer, charges: Charges) -> SocketAddr {
    serve_watched(layer, charges).0
}

fn serve_watched(layer: &IdempotencyLayer, charges: Charges) -> (SocketAddr, Watch) {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let watch = Watch::default();
    let mut server = Server::builder().layer(watch.clone()).layer(layer.clone());
    tokio::spawn(server.add_service(charges).serve_with_incoming(incoming));
    (address, watch)
}

/// A client with these credentials.
#[derive(Clone)]
struct Shop {
    client: Client<Channel>,
    token: &'static str,
}

impl Shop {
    async fn at(address: SocketAddr) -> Self {
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        let channel = bounded("a connection", endpoint.connect()).await.unwrap();
        let (client, token) = (Client::new(channel), "alice");
        Self { client, token }
    }

    fn with_token(self, token: &'static str) -> Self {
        Self { token, ..self }
    }

    fn request<M>(&self, key: &str, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(
            "authorization",
            format!("Bearer {}", self.token).parse().unwrap(),
        );
        if !key.is_empty() {
            metadata.insert("idempotency-key", key.parse().unwrap());
        }
        request
    }

    async fn create(&self, key: &str, cents: i64) -> Unary {
        self.unary(self.request(key, Charge { cents })).await
    }

    async fn unary(&self, request: Request<Charge>) -> Unary {
        let mut client = self.client.clone();
        let call = async {
            client.ready().await.unwrap();
            let path = PathAndQuery::from_static(CREATE);
            let codec = ProstCodec::<Charge, Receipt>::default();
            client.unary(request, path, codec).await
        };
        bounded("an answer", call).await
    }

    async fn watch(&self, key: &str) -> Result<Response<Streaming<Receipt>>, Status> {
        let mut client = self.client.clone();
        let request = self.request(key, Charge { cents: 0 });
        let call = async {
            client.ready().await.unwrap();
            let path = PathAndQuery::from_static(WATCH);
            let codec = ProstCodec::<Charge, Receipt>::default();
            client.server_streaming(request, path, codec).await
        };
        bounded("an answer", call).await
    }
}

/// A message with the five bytes in front of it.
fn framed(message: &impl prost::Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.put_u32(message.len().try_into().unwrap());
    framed.extend(message);
    framed.into()
}

fn is_replay(metadata: &MetadataMap) -> bool {
    metadata
        .get("idempotent-replayed")
        .is_some_and(|it| it == "true")
}

/// The metadata without what belongs to one exchange.
fn lasting(metadata: &MetadataMap) -> http::HeaderMap {
    let mut headers = metadata.clone().into_headers();
    for name in ["date", "idempotent-replayed", "idempotency-key"] {
        headers.remove(name);
    }
    headers
}
