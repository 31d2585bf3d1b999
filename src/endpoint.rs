//! The endpoints a layer covers, and the path they are matched on.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use http::{Extensions, Method, Uri};

use crate::error::InvalidEndpoint;

/// A method and a path template: `POST /v1/refunds/{id}`, in the syntax of axum 0.8.
///
/// ```
/// use tower_idempotency::Endpoint;
///
/// let refund = Endpoint::try_from("POST /v1/refunds/{id}")?;
/// assert_eq!(refund.to_string(), "POST /v1/refunds/{id}");
/// assert!(Endpoint::try_from("/v1/refunds").is_err());
/// # Ok::<(), tower_idempotency::InvalidEndpoint>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    method: Method,
    template: String,
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
        match Self::new(Method::POST, template.into()) {
            Ok(endpoint) => endpoint,
            Err(error) => panic!("{error}"),
        }
    }

    /// This method on this template.
    ///
    /// # Errors
    ///
    /// Where the template does not begin with `/`, is none that the router accepts, or the method is `CONNECT`.
    pub fn new(method: Method, template: String) -> Result<Self, InvalidEndpoint> {
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
        } else if let Err(error) = matchit::Router::new().insert(&template, ()) {
            error.to_string()
        } else {
            return Ok(Self { method, template });
        };
        Err(InvalidEndpoint {
            endpoint: format!("{method} {template}"),
            problem,
        })
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
        Self::new(method, template.into())
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

/// Listed endpoints, ready to be matched.
#[derive(Clone)]
pub(crate) struct Endpoints(matchit::Router<Vec<Method>>);

impl Endpoints {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Result<Self, InvalidEndpoint> {
        let mut templates = HashMap::<String, Vec<Method>>::new();
        for Endpoint { method, template } in endpoints {
            templates.entry(template).or_default().push(method);
        }
        let mut router = matchit::Router::new();
        for (template, methods) in templates {
            router
                .insert(template.as_str(), methods)
                .map_err(|error| InvalidEndpoint {
                    endpoint: template,
                    problem: error.to_string(),
                })?;
        }
        Ok(Self(router))
    }

    pub(crate) fn cover(&self, method: &Method, path: &str) -> bool {
        self.0
            .at(path)
            .is_ok_and(|found| found.value.contains(method))
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
        let endpoints = Endpoints::new(endpoints.into()).unwrap();

        for (method, path, covered) in [
            (Method::POST, "/a", true),
            (Method::PUT, "/a", true),
            (Method::PATCH, "/a", false),
            (Method::POST, "/a/", false),
            (Method::POST, "/b/7/test", true),
            (Method::POST, "/b/7", false),
            (Method::POST, "/c/d/e", true),
        ] {
            assert_eq!(endpoints.cover(&method, path), covered, "{method} {path}");
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
