//! Who is calling.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use crate::failure::Failure;

/// A customer, known by a token. The scope of every key: two customers with equal keys never meet.
#[derive(Clone, Debug)]
pub(crate) struct Customer(pub(crate) String);

/// Knows the customer by `Authorization: Bearer sk_NAME`; yours will ask a table.
///
/// A middleware OUTSIDE the idempotency layer, not an extractor of the handlers: a replay never gets to a handler. And
/// a customer, not a token, is the scope: after a token was rotated a retry is still the same customer's.
pub(crate) async fn authenticate(mut request: Request, next: Next) -> Result<Response, Failure> {
    let header = request.headers().get(AUTHORIZATION);
    let name = header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer sk_"))
        .filter(|name| !name.is_empty())
        .ok_or(Failure::Unauthorized)?;
    let customer = Customer(name.to_owned());
    request.extensions_mut().insert(customer);
    Ok(next.run(request).await)
}
