//! Transactions of handlers: business rows and record are committed together, or neither is.

mod commits;
mod drivers;
mod killed;
mod lost;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, ServiceExt};
use tower_idempotency::{
    Idempotency, IdempotencyLayer, OnLost, Outcome, PostgresStore, RequestBody, ResponseBody,
    TransactionError,
};

use crate::servers::{Server, own_schema, within};

type Body = Full<Bytes>;
type Refused = TransactionError<sqlx::Error>;
type Service = BoxCloneService<Request<Body>, Response<ResponseBody<Body>>, Infallible>;

/// A schema with the records of a layer and the rows of a business.
struct World {
    server: &'static Server,
    schema: String,
    pool: PgPool,
    layer: IdempotencyLayer<PostgresStore>,
    executions: Arc<AtomicU32>,
}

impl World {
    async fn new() -> Self {
        let server = Server::shared().await;
        let schema = own_schema();
        let settings = PostgresStore::builder().schema(&schema);
        settings.migrate(&server.url()).await.unwrap();
        let rows =
            format!("CREATE TABLE {schema}.transfer (id text NOT NULL, fence bigint NOT NULL)");
        server.sql(&rows).await;
        let layer = layer(settings.connect(&server.url()).await.unwrap());
        Self {
            server,
            pool: pool(&server.url()).await,
            schema,
            layer,
            executions: Arc::default(),
        }
    }

    /// A service whose handler has its key.
    fn service<F, Fut>(&self, handle: F) -> Service
    where
        F: Fn(Idempotency) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Response<Body>, Refused>> + Send + 'static,
    {
        let executions = Arc::clone(&self.executions);
        serving(&self.layer, move |key| {
            executions.fetch_add(1, Ordering::SeqCst);
            handle(key)
        })
    }

    fn executions(&self) -> u32 {
        self.executions.load(Ordering::SeqCst)
    }

    /// How many transfers there are.
    async fn transfers(&self) -> i64 {
        let sql = format!("SELECT count(*) FROM {}.transfer", self.schema);
        self.server.number(&sql).await
    }

    fn insert(&self) -> Insert {
        Insert(self.schema.clone())
    }
}

/// Writes a row of the business.
#[derive(Clone)]
struct Insert(String);

impl Insert {
    async fn run(&self, tx: &mut PgConnection, key: &Idempotency) -> Result<(), sqlx::Error> {
        let sql = format!("INSERT INTO {}.transfer VALUES ($1, $2)", self.0);
        // Not prepared by name: poolers do not know it the next time.
        let insert = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let insert = insert.bind(key.key().as_str());
        let fence = key.fence().get().cast_signed();
        insert.bind(fence).execute(tx).await.map(drop)
    }
}

fn layer(store: PostgresStore) -> IdempotencyLayer<PostgresStore> {
    IdempotencyLayer::new(store).on_lost(OnLost::Rerun)
}

async fn pool(url: &str) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(3));
    within(pool.connect(url)).await.unwrap()
}

/// What is refused is a 503 that says why.
fn serving<F, Fut>(layer: &IdempotencyLayer<PostgresStore>, handle: F) -> Service
where
    F: Fn(Idempotency) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<Body>, Refused>> + Send + 'static,
{
    let handler = service_fn(move |request: Request<RequestBody<Body>>| {
        let key = request.extensions().get::<Idempotency>().unwrap().clone();
        let answer = handle(key);
        async move {
            Ok(answer.await.unwrap_or_else(|error| {
                let name = format!("{error:?}");
                let name = name.split(['(', ' ']).next().unwrap().to_owned();
                let mut response = Response::new(name.into());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response
            }))
        }
    });
    layer.layer(handler).boxed_clone()
}

/// A response that differs in each execution.
fn transferred(key: &Idempotency) -> Response<Body> {
    let body = format!(
        "transferred under {} in attempt {}",
        key.fence().get(),
        key.attempt()
    );
    let response = Response::builder()
        .status(201)
        .header("x-fence", key.fence().get());
    response.body(body.into()).unwrap()
}

/// The body is there.
async fn whole<R>(response: Response<ResponseBody<R>>) -> Response<Body>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, body.into())
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    text: String,
    is_replay: bool,
    recorded: bool,
}

impl Answer {
    fn is(&self, text: &str) -> bool {
        self.text.starts_with(text)
    }
}

fn send(service: &Service, key: &str) -> impl Future<Output = Answer> + use<> {
    let service = service.clone();
    let request = Request::post("/transfers").header("idempotency-key", key);
    let request = request.body(Body::from("100")).unwrap();
    async move {
        let response = within(service.oneshot(request)).await.unwrap();
        let (head, body) = whole(response).await.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            text: String::from_utf8(text.to_vec()).unwrap(),
            is_replay: head.headers.contains_key("idempotent-replayed"),
            recorded: Outcome::of(&head.extensions) == Outcome::Executed { recorded: true },
        }
    }
}
