//! The endpoints a layer covers, and the path they are matched on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{Extensions, Method, Uri};

use crate::error::InvalidEndpoint;
use crate::on_lost::OnLost;
use crate::policy::{InFlight, Keep, OnStoreError, positive};

/// A method and a path template: `POST /v1/refunds/{id}`, in the syntax of axum 0.8. What it sets counts before what
/// the layer sets, in whatever order they are set.
///
/// ```
/// use std::time::Duration;
/// use tower_idempotency::{Endpoint, IdempotencyLayer, Keep};
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
///
/// let layer = IdempotencyLayer::default().endpoints([
///     Endpoint::try_from("POST /v1/refunds/{id}")?,
///     Endpoint::post("/v1/payouts").retention(7 * DAY).keep(Keep::Final).require_key(true),
/// ]);
///
/// let listed: Vec<_> = layer.endpoint_list().unwrap().iter().map(ToString::to_string).collect();
/// assert_eq!(listed, ["POST /v1/refunds/{id}", "POST /v1/payouts"]);
/// assert!(Endpoint::try_from("/v1/refunds").is_err());
/// # Ok::<(), tower_idempotency::InvalidEndpoint>(())
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    method: Method,
    template: String,
    pub(crate) rules: Rules,
}

/// What an endpoint sets for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) keep: Option<Keep>,
    pub(crate) on_lost: Option<OnLost>,
    pub(crate) on_store_error: Option<OnStoreError>,
    pub(crate) require_key: Option<bool>,
    pub(crate) retention: Option<Duration>,
}

impl Endpoint {
    /// `POST` on this template.
    ///
    /// # Panics
    ///
    /// Where the template does not begin with `/` or is none that the router accepts.
    #[must_use]
    #[track_caller]
    pub fn post(template: &str) -> Self {
        match Self::new(Method::POST, template) {
            Ok(endpoint) => endpoint,
            Err(error) => panic!("{error}"),
        }
    }

    /// This method on this template.
    ///
    /// # Errors
    ///
    /// Where the template does not begin with `/`, has white space, a query, a fragment or parameters in another syntax
    /// (`/:id`, `/*rest`), or is none that the router accepts; where the method is `CONNECT`, or not in capitals.
    pub fn new(method: Method, template: &str) -> Result<Self, InvalidEndpoint> {
        let problem = if !template.starts_with('/') {
            "the path begins with '/'".into()
        } else if method == Method::CONNECT {
            "CONNECT is never covered".into()
        } else if method
            .as_str()
            .contains(|char: char| char.is_ascii_lowercase())
        {
            "methods are written in capitals".into()
        } else if template.contains(|char: char| char.is_whitespace() || "?#".contains(char)) {
            "a path has no white space, query or fragment".into()
        } else if template.contains("/:") || template.contains("/*") {
            "parameters are written {name}, the rest of a path {*name}".into()
        } else if let Err(error) = matchit::Router::new().insert(template, ()) {
            error.to_string()
        } else {
            let rules = Rules::default();
            return Ok(Self {
                method,
                template: template.into(),
                rules,
            });
        };
        Err(InvalidEndpoint {
            endpoint: format!("{method} {template}"),
            problem,
        })
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The template of the path.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// See [`IdempotencyLayer::retention`](crate::IdempotencyLayer::retention). Default: the layer's.
    ///
    /// # Panics
    ///
    /// For zero.
    #[must_use]
    #[track_caller]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.rules.retention = Some(positive("retention", retention));
        self
    }

    /// See [`IdempotencyLayer::keep`](crate::IdempotencyLayer::keep). Default: the layer's.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.rules.keep = Some(keep);
        self
    }

    /// See [`IdempotencyLayer::require_key`](crate::IdempotencyLayer::require_key). Default: the layer's.
    #[must_use]
    pub fn require_key(mut self, required: bool) -> Self {
        self.rules.require_key = Some(required);
        self
    }

    /// See [`IdempotencyLayer::on_lost`](crate::IdempotencyLayer::on_lost). Default: the layer's.
    #[must_use]
    pub fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.rules.on_lost = Some(on_lost);
        self
    }

    /// See [`IdempotencyLayer::in_flight`](crate::IdempotencyLayer::in_flight). Default: the layer's.
    #[must_use]
    pub fn in_flight(mut self, in_flight: InFlight) -> Self {
        self.rules.in_flight = Some(in_flight);
        self
    }

    /// See [`IdempotencyLayer::on_store_error`](crate::IdempotencyLayer::on_store_error). Default: the layer's.
    #[must_use]
    pub fn on_store_error(mut self, on_store_error: OnStoreError) -> Self {
        self.rules.on_store_error = Some(on_store_error);
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(endpoint: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = |problem: &str| InvalidEndpoint {
            endpoint: endpoint.into(),
            problem: problem.into(),
        };
        let Some((method, template)) = endpoint.split_once(' ') else {
            return Err(invalid(
                "it takes a method and a path, as in \"POST /v1/charges\"",
            ));
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| invalid("the method is no HTTP method"))?;
        Self::new(method, template)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(endpoint: String) -> Result<Self, InvalidEndpoint> {
        Self::try_from(endpoint.as_str())
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(endpoint: &str) -> Result<Self, InvalidEndpoint> {
        Self::try_from(endpoint)
    }
}

/// Listed endpoints, ready to be matched, each with what belongs to it.
pub(crate) struct Endpoints<T>(matchit::Router<Vec<(Method, T)>>);

impl<T> Endpoints<T> {
    pub(crate) fn new(
        endpoints: &[Endpoint],
        of: impl Fn(&Endpoint) -> T,
    ) -> Result<Self, InvalidEndpoint> {
        let invalid = |endpoint: String, problem: String| InvalidEndpoint { endpoint, problem };
        let mut templates = Vec::<(&str, Vec<(Method, T)>)>::new();
        for endpoint in endpoints {
            let template = &*endpoint.template;
            let at = templates.iter().position(|(listed, _)| *listed == template);
            let at = at.unwrap_or_else(|| {
                templates.push((template, Vec::new()));
                templates.len() - 1
            });
            let methods = &mut templates[at].1;
            if methods.iter().any(|(method, _)| *method == endpoint.method) {
                return Err(invalid(endpoint.to_string(), "it is listed twice".into()));
            }
            methods.push((endpoint.method.clone(), of(endpoint)));
        }
        let mut router = matchit::Router::new();
        for (template, methods) in templates {
            let named = methods
                .first()
                .map_or_else(String::new, |(method, _)| format!("{method} "));
            router
                .insert(template, methods)
                .map_err(|error| invalid(named + template, format!("in this list: {error}")))?;
        }
        Ok(Self(router))
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<&T> {
        let methods = self.0.at(path).ok()?.value;
        let (_, found) = methods.iter().find(|(listed, _)| listed == method)?;
        Some(found)
    }
}

/// The URI as the client sent it: inside axum's `Router::nest` the request's own has lost its prefix.
pub(crate) fn original_uri<'a>(uri: &'a Uri, extensions: &'a Extensions) -> &'a Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(original)) = extensions.get() {
        return original;
    }
    let _ = extensions;
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_as_axum_does() {
        let endpoints = ["POST /a", "PUT /a", "POST /b/{id}/test", "POST /c/{*rest}"];
        let endpoints = endpoints.map(|endpoint| Endpoint::try_from(endpoint).unwrap());
        let endpoints = Endpoints::new(&endpoints, |_| ()).unwrap();

        for (method, path, covered) in [
            (Method::POST, "/a", true),
            (Method::PUT, "/a", true),
            (Method::PATCH, "/a", false),
            (Method::POST, "/a/", false),
            (Method::POST, "/b/7/test", true),
            (Method::POST, "/b/7", false),
            (Method::POST, "/c/d/e", true),
        ] {
            let found = endpoints.find(&method, path);
            assert_eq!(found.is_some(), covered, "{method} {path}");
        }
    }

    #[test]
    fn what_is_no_endpoint_says_why() {
        for (endpoint, problem) in [
            ("/v1/charges", "takes a method and a path"),
            ("POST v1/charges", "begins with '/'"),
            ("P@ST /v1", "no HTTP method"),
            ("CONNECT /v1", "never covered"),
            ("POST /v1/{id", "valid name"),
            ("post /v1", "capitals"),
            ("POST /v1 ", "no white space"),
            ("POST /v1?a=1", "no white space, query"),
            ("POST /v1#a", "no white space, query"),
            ("POST /v1/:id", "written {name}"),
            ("POST /v1/*rest", "written {name}"),
        ] {
            let error = Endpoint::try_from(endpoint).unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains(endpoint),
                "{error}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "begins with '/'")]
    fn a_wrong_template_panics_where_it_is_written() {
        let _ = Endpoint::post("charges");
    }
}
