//! The knobs of a layer: what it covers, how it tells requests apart, and what it does with them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderName, Method};

use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::form::Form;
use crate::key::Namespace;
use crate::key_policy::KeyPolicy;
use crate::layer::IdempotencyLayer;
use crate::on_lost::OnLost;
use crate::parameters::FingerprintPolicy;
use crate::policy::{InFlight, Keep, Mode, OnStoreError};
use crate::scope::Scope;
use crate::snapshot::is_never_kept;
use crate::source::{KeyFrom, header_name};
use crate::store::traits::Store;

impl<St: Store> IdempotencyLayer<St> {
    /// Which methods are covered where no endpoints are listed. Default: POST.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// use http::Method;
    ///
    /// let layer = IdempotencyLayer::default().methods([Method::POST, Method::PATCH]);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For CONNECT, which has no response to record, and for no method at all.
    #[track_caller]
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        let methods: Vec<_> = methods.into_iter().collect();
        assert!(
            !methods.contains(&Method::CONNECT),
            "methods takes any method but CONNECT, which is never covered"
        );
        assert!(
            !methods.is_empty(),
            "methods takes at least one method, not an empty list"
        );
        self.with(|config| config.methods = methods)
    }

    /// Which endpoints are covered: `"METHOD /path"`, templates in axum's syntax, matched on the original path.
    /// Default: all that the layer wraps.
    ///
    /// Everything else passes through untouched. The list says which methods are covered;
    /// [`methods`](Self::methods) does not count beside it. A trailing slash makes another path. An [`Endpoint`] may
    /// have settings of its own.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().endpoints(["POST /v1/charges", "POST /v1/refunds/{id}"]);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For what is no endpoint, for none at all, for one that is listed twice, and for two templates that the router cannot
    /// tell apart.
    #[track_caller]
    pub fn endpoints<I>(self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<Endpoint>,
        <I::Item as TryInto<Endpoint>>::Error: fmt::Display,
    {
        let mut list = Vec::new();
        for endpoint in endpoints {
            match endpoint.try_into() {
                Ok(endpoint) => list.push(endpoint),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(
            !list.is_empty(),
            "endpoints takes at least one endpoint, not an empty list"
        );
        self.with(|config| config.endpoints = Some(list.into()))
    }

    /// The endpoints that are listed, for documents and tools; `None` where all that the layer wraps are covered.
    #[must_use]
    pub fn endpoint_list(&self) -> Option<&[Endpoint]> {
        self.config().endpoints.as_deref()
    }

    /// A part of every record key. Default: empty.
    ///
    /// Needed for two services on one store, and for layers inside `nest` without feature `axum`, which see equal
    /// paths for different routes.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().namespace("payments");
    /// # let _ = layer;
    /// ```
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        let namespace = Namespace::new(namespace.into());
        self.with(|config| config.namespace = namespace)
    }

    /// Who sends a request. Default: [`Scope::credentials`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, Scope};
    /// # #[derive(Clone)] struct UserId(String);
    /// let layer = IdempotencyLayer::default().scope(Scope::extension(|user: &UserId| user.0.clone()));
    /// # let _ = layer;
    /// ```
    pub fn scope(self, scope: Scope) -> Self {
        self.with(|config| config.scope = scope)
    }

    /// Which keys are accepted. Default: 1 to 255 visible ASCII characters.
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, KeyPolicy};
    /// let layer = IdempotencyLayer::default().key(KeyPolicy::ascii(10..=255));
    /// # let _ = layer;
    /// ```
    pub fn key(self, policy: KeyPolicy) -> Self {
        self.with(|config| config.key = policy)
    }

    /// Whether a covered request without a key is refused with 400 `idempotency_key_missing`. Default: no, it passes
    /// through.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().require_key(true);
    /// # let _ = layer;
    /// ```
    pub fn require_key(self, required: bool) -> Self {
        self.with(|config| config.require_key = required)
    }

    /// Which outcomes are kept. Default: [`Keep::Success`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, Keep};
    /// let layer = IdempotencyLayer::default().keep(Keep::Final);
    /// # let _ = layer;
    /// ```
    pub fn keep(self, keep: Keep) -> Self {
        self.with(|config| config.keep = keep)
    }

    /// Who runs after an owner was lost. Default: [`OnLost::Rerun`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, OnLost};
    /// let layer = IdempotencyLayer::default().on_lost(OnLost::Refuse);
    /// # let _ = layer;
    /// ```
    pub fn on_lost(self, on_lost: OnLost) -> Self {
        self.with(|config| config.on_lost = on_lost)
    }

    /// What a retry meets while the first request runs. Default: [`InFlight::reject`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, InFlight};
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().in_flight(InFlight::wait(Duration::from_secs(5)));
    /// # let _ = layer;
    /// ```
    pub fn in_flight(self, in_flight: InFlight) -> Self {
        self.with(|config| config.in_flight = in_flight)
    }

    /// What happens where the store fails at the claim. Default: [`OnStoreError::Refuse`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, OnStoreError};
    /// let layer = IdempotencyLayer::default().on_store_error(OnStoreError::RunUnprotected);
    /// # let _ = layer;
    /// ```
    pub fn on_store_error(self, on_store_error: OnStoreError) -> Self {
        self.with(|config| config.on_store_error = on_store_error)
    }

    /// The form of the layer's own answers. Default: [`ErrorForm::flat`](crate::ErrorForm::flat).
    ///
    /// ```
    /// # use tower_idempotency::{ErrorForm, IdempotencyLayer};
    /// let layer = IdempotencyLayer::default().errors(ErrorForm::flat());
    /// # let _ = layer;
    /// ```
    pub fn errors(self, form: impl Form) -> Self {
        let form = Arc::new(form);
        self.with(|config| config.form = form)
    }

    /// Where the key stands in a request. Default: the header `Idempotency-Key`.
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, KeyFrom};
    /// let layer = IdempotencyLayer::default().key_from(KeyFrom::header("webhook-id"));
    /// # let _ = layer;
    /// ```
    pub fn key_from(self, source: KeyFrom) -> Self {
        self.with(|config| {
            config.headers.key = source.header_name().cloned();
            config.key_from = source;
        })
    }

    /// Which parameters make it the same request. Default: method, original path, query, `Content-Type`,
    /// `Content-Encoding` and body, byte by byte.
    ///
    /// ```
    /// # use tower_idempotency::{FingerprintPolicy, IdempotencyLayer};
    /// let layer = IdempotencyLayer::default().fingerprint(FingerprintPolicy::default().header("if-match"));
    /// # let _ = layer;
    /// ```
    pub fn fingerprint(self, policy: FingerprintPolicy) -> Self {
        self.with(|config| config.fingerprint = policy)
    }

    /// Records these response headers as well, of those that are not by default: `Set-Cookie`, say.
    ///
    /// Headers that `Connection` names are not recorded all the same. Default: none.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().keep_headers(["set-cookie"]);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For what is no name of a header, for a hop-by-hop header, and for the layer's own two.
    #[track_caller]
    pub fn keep_headers<I>(self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<HeaderName> + fmt::Debug,
        <I::Item as TryInto<HeaderName>>::Error: fmt::Display,
    {
        let names = header_names("keep_headers", names);
        if let Some(name) = names.iter().find(|name| is_never_kept(name)) {
            panic!("keep_headers takes end-to-end headers of the service's own, not {name}");
        }
        self.with(|config| config.headers.keep.extend(names))
    }

    /// Does not record these response headers and trailers. Default: none beside the usual ones, which
    /// [`keep_headers`](Self::keep_headers) brings back.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().drop_headers(["x-request-id"]);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For what is no name of a header.
    #[track_caller]
    pub fn drop_headers<I>(self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<HeaderName> + fmt::Debug,
        <I::Item as TryInto<HeaderName>>::Error: fmt::Display,
    {
        let names = header_names("drop_headers", names);
        self.with(|config| config.headers.drop.extend(names))
    }

    /// Whether the layer acts, or only looks. Default: [`Mode::Enforce`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, Mode};
    /// let layer = IdempotencyLayer::default().mode(Mode::Shadow);
    /// # let _ = layer;
    /// ```
    pub fn mode(self, mode: Mode) -> Self {
        self.with(|config| config.mode = mode)
    }

    /// A switch for run time: where it is `false`, every request passes through; what has begun goes on. Default: on.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let switch = Arc::new(AtomicBool::new(true));
    /// let layer = IdempotencyLayer::default().enabled(switch.clone());
    /// switch.store(false, Ordering::Relaxed);
    /// # let _ = layer;
    /// ```
    pub fn enabled(self, switch: Arc<AtomicBool>) -> Self {
        self.with(|config| config.enabled = Some(switch))
    }

    /// Hears what happens to every request that is covered, and every [`Warning`](crate::Warning): for metrics and logs.
    ///
    /// One event per request, when it is decided what becomes of it (a covered request without a key is `bypassed`); for an execution when it has ended, its client
    /// there or gone. A request whose client leaves before its handler starts need not have one, nor one whose service does
    /// not get ready. The closure runs on the request's path:
    /// it must not block. Its panics are dropped.
    ///
    /// ```
    /// # use tower_idempotency::{Event, IdempotencyLayer};
    /// let layer = IdempotencyLayer::default().on_event(|event: &Event| println!("{event}"));
    /// # let _ = layer;
    /// ```
    pub fn on_event(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let observer = Arc::new(observer);
        self.with(|config| config.observer = Some(observer))
    }
}

#[track_caller]
fn header_names<I>(knob: &str, names: I) -> Vec<HeaderName>
where
    I: IntoIterator,
    I::Item: TryInto<HeaderName> + fmt::Debug,
    <I::Item as TryInto<HeaderName>>::Error: fmt::Display,
{
    let mut parsed = Vec::new();
    for name in names {
        parsed.push(header_name(knob, name));
    }
    parsed
}
