//! The payment provider as the API sees it.

mod charges;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::BoxError;
use crate::client::{Answer, Http};

pub(crate) use charges::{Charge, Outcome};
pub(crate) use server::serve;

/// After this nobody knows whether it has charged.
const AT_MOST: Duration = Duration::from_secs(2);

/// Its client.
#[derive(Clone)]
pub(crate) struct Provider {
    http: Http,
    address: SocketAddr,
}

impl Provider {
    pub(crate) fn at(address: SocketAddr) -> Self {
        let http = Http::new();
        Self { http, address }
    }

    /// Charges a card, once for each key. An error says nothing of whether it has.
    pub(crate) async fn charge(
        &self,
        key: &str,
        cents: i64,
        card: &str,
    ) -> Result<Charge, BoxError> {
        let body = json!({ "cents": cents, "card": card }).to_string();
        let answer = self.ask(Method::POST, "/charges", Some(key), body).await?;
        read(&answer)
    }

    /// What a key has charged, or was declined for.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Charge>, BoxError> {
        let path = format!("/charges/{key}");
        let answer = self.ask(Method::GET, &path, None, String::new()).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(&answer).map(Some)
    }

    /// All that it has been asked to charge.
    pub(crate) async fn charges(&self) -> Result<Vec<Charge>, BoxError> {
        let path = "/charges";
        let answer = self.ask(Method::GET, path, None, String::new()).await?;
        read(&answer)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: String,
    ) -> Result<Answer, BoxError> {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(key) = key {
            request = request
                .header("idempotency-key", key)
                .header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        self.http.send(request, AT_MOST).await
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, BoxError> {
    if !answer.status.is_success() {
        return Err(format!("it has answered {}", answer.status).into());
    }
    Ok(serde_json::from_slice(&answer.body)?)
}
