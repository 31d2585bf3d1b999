//! The API: who is served, by which rules, until when.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tower_idempotency::{IdempotencyLayer, InFlight, Keep, OnLost, PostgresStore, Scope};

use crate::customer::{Customer, authenticate};
use crate::provider::Provider;
use crate::settings::Settings;
use crate::{BoxError, accounts, books, payments, stop, transfers};

/// What the handlers have.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) pool: PgPool,
    pub(crate) provider: Provider,
}

pub(crate) async fn serve(settings: &Settings) -> Result<ExitCode, BoxError> {
    let url = settings.database()?;
    let ledger = Ledger {
        pool: pool(url)?,
        provider: Provider::at(settings.provider),
    };

    // Records in the database of the accounts: that is what makes one transaction of both.
    let idempotency = IdempotencyLayer::new(PostgresStore::connect(url).await?)
        .namespace("ledger")
        .scope(Scope::extension(|customer: &Customer| customer.0.clone()))
        .require_key(true)
        .keep(Keep::Final)
        .in_flight(InFlight::wait(Duration::from_secs(5)))
        .lease(settings.lease);
    // Only payments do anything outside of the database, so that only they have somebody to ask.
    let provider = ledger.provider.clone();
    let asking = OnLost::reconcile(move |lost| payments::became_of(lost, provider.clone()));
    let with_provider = idempotency.clone().on_lost(asking);

    let app = Router::new()
        .route("/v1/accounts", post(accounts::open))
        .route("/v1/transfers", post(transfers::transfer))
        .layer(idempotency.clone())
        .route("/v1/payments", post(payments::pay).layer(with_provider))
        .route("/v1/accounts/{id}", get(accounts::show))
        // Outside of the layer: it tells the layer who is calling, and replays are authenticated too.
        .layer(from_fn(authenticate))
        // For operators; do not show yours to everybody.
        .route("/v1/books", get(books::show))
        .with_state(ledger);

    let stop = stop::signal()?;
    let listener = TcpListener::bind(settings.address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let server = axum::serve(listener, app);
    server.with_graceful_shutdown(stop).await?;

    // Clients may have gone and left their requests running: those come to their end, and are recorded.
    let left = idempotency.drain(Duration::from_secs(25)).await.left;
    if left > 0 {
        eprintln!("executions left: {left}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The handlers' pool; the store has connections of its own. Nothing in it waits for ever: a handler that hangs holds
/// the rows of others.
fn pool(url: &str) -> Result<PgPool, sqlx::Error> {
    let limits = [("statement_timeout", "5s"), ("lock_timeout", "3s")];
    let options = PgConnectOptions::from_str(url)?.options(limits);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(3));
    // The store has seen that the server is there.
    Ok(pool.connect_lazy_with(options))
}
