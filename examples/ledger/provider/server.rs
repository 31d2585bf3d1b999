//! A fake provider: a process of its own, which a request tells how to misbehave.
//!
//! The card says what happens: with `declined` in it, it is declined; and the call by which a key is first heard of is
//!
//! * `failing`: answered with 500, and nothing is charged;
//! * `slow`: charged, and answered a second later;
//! * `silent`: charged, and never answered.

use std::collections::HashSet;
use std::future::pending;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::charges::{Charge, Charges, Outcome};
use crate::settings::Settings;
use crate::{BoxError, stop};

#[derive(Clone)]
struct Till(Arc<Mutex<Inside>>);

struct Inside {
    charges: Charges,
    /// The keys that have come since the process began, with cards that fail.
    heard: HashSet<String>,
}

pub(crate) async fn serve(settings: &Settings) -> Result<ExitCode, BoxError> {
    let till = Till(Arc::new(Mutex::new(Inside {
        charges: Charges::open(&settings.charges)?,
        heard: HashSet::new(),
    })));
    let app = Router::new()
        .route("/charges", post(charge).get(list))
        .route("/charges/{key}", get(show))
        .with_state(till);
    let stop = stop::signal()?;
    let listener = TcpListener::bind(settings.provider).await?;
    println!("listening on http://{}", listener.local_addr()?);
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        () = stop => {}
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Wanted {
    cents: i64,
    card: String,
}

/// `POST /charges`, with an `Idempotency-Key`.
async fn charge(
    State(till): State<Till>,
    headers: HeaderMap,
    Json(wanted): Json<Wanted>,
) -> Response {
    let key = headers.get("idempotency-key");
    let Some(key) = key.and_then(|value| value.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "there is no Idempotency-Key").into_response();
    };
    let fails = wanted.card.contains("failing");
    if fails && till.inside().heard.insert(key.to_owned()) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "it fails").into_response();
    }
    let (charge, is_new) = match till.charge(key, &wanted) {
        Ok(charged) => charged,
        Err(error) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
        }
    };
    if (charge.cents, &charge.card) != (wanted.cents, &wanted.card) {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            "another charge has this key",
        )
            .into_response();
    }
    if is_new && charge.card.contains("slow") {
        sleep(Duration::from_secs(1)).await;
    }
    if is_new && charge.card.contains("silent") {
        pending::<()>().await;
    }
    Json(charge).into_response()
}

async fn show(State(till): State<Till>, Path(key): Path<String>) -> Response {
    match till.inside().charges.find(&key) {
        Some(charge) => Json(charge).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn list(State(till): State<Till>) -> Response {
    Json(till.inside().charges.all()).into_response()
}

impl Till {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The charge of this key, and whether it was not there before.
    fn charge(&self, key: &str, wanted: &Wanted) -> io::Result<(Charge, bool)> {
        let outcome = match wanted.card.contains("declined") {
            true => Outcome::Declined,
            false => Outcome::Charged,
        };
        let charges = &mut self.inside().charges;
        let is_new = charges.find(key).is_none();
        let charge = charges.charge(key, wanted.cents, &wanted.card, outcome)?;
        Ok((charge, is_new))
    }
}
