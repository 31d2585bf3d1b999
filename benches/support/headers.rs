//! Services whose responses have as many headers as are asked for.

#![allow(
    dead_code,
    reason = "every benchmark includes this file and uses a part of it"
)]

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower::Service;
use tower::util::service_fn;

use crate::support::{RESPONSE, collected};

/// The first ones are well known, others are an application's own; all of them are recorded.
pub(crate) fn headers(count: usize) -> HeaderMap {
    let known = [
        (CONTENT_TYPE, "application/json"),
        (LOCATION, "/v1/charges/ch_3QF1pS2eZv"),
        (
            HeaderName::from_static("x-request-id"),
            "req_7Hq0cWbVtM2kXe",
        ),
        (ETAG, "\"33a64df551425fcc\""),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_LANGUAGE, "en"),
    ];
    let known = known.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let own = (0..).map(|number| {
        let name = format!("x-header-{number:02}").parse();
        let Ok(name) = name else {
            unreachable!("this is a name")
        };
        (name, HeaderValue::from_static("a value of the service"))
    });
    known.into_iter().chain(own).take(count).collect()
}

/// The bytes of their names and values.
pub(crate) fn bytes_of(headers: &HeaderMap) -> usize {
    let lengths = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    lengths.sum()
}

/// A service without a framework that answers with these headers.
pub(crate) fn answering<B>(
    headers: HeaderMap,
) -> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    B: Body<Data = Bytes> + Send + 'static,
{
    service_fn(move |request: Request<B>| {
        let headers = headers.clone();
        async move {
            black_box(collected(request.into_body()).await);
            let mut response = Response::new(Full::from(Bytes::from_static(&RESPONSE)));
            *response.status_mut() = StatusCode::CREATED;
            *response.headers_mut() = headers;
            Ok(response)
        }
    })
}
