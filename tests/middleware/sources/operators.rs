//! The record that operators find is the one that the layer used.

use super::*;

#[derive(Clone)]
struct User(&'static str);

const BODY: &str = r#"{"id":"550E8400-e29b-41d4-a716-446655440000","type":"550e8400-e29b-41d4-a716-446655440001"}"#;

/// A request that has a key for every source and a sender for every scope.
fn request(path: &str) -> Request<Body> {
    let mut request = json_with(
        &[
            (
                "idempotency-key",
                "\"550E8400-e29b-41d4-a716-446655440000\";v=1",
            ),
            ("webhook-id", "550e8400-E29B-41d4-A716-446655440000"),
            ("authorization", "Bearer alice"),
            ("x-tenant", "t1"),
        ],
        BODY,
    );
    request.extensions_mut().insert(User("alice"));
    *request.uri_mut() = path.parse().unwrap();
    request
}

fn sources() -> [KeyFrom; 5] {
    [
        KeyFrom::default(),
        KeyFrom::header("Webhook-Id"),
        KeyFrom::json(["/id"]),
        KeyFrom::json(["/type", "/id"]),
        KeyFrom::with(|parts| Some(parts.headers["webhook-id"].to_str().ok()?.to_owned())),
    ]
}

fn scopes() -> Vec<Scope> {
    let tenant = || [http::HeaderName::from_static("x-tenant")];
    let scopes = [
        Scope::credentials(),
        Scope::credentials().anonymous(Anonymous::Refuse),
        Scope::shared(),
        Scope::headers(tenant()),
        Scope::headers(tenant()).anonymous(Anonymous::Bypass),
        Scope::extension(|user: &User| user.0.to_owned()),
        Scope::with(|parts| Ok(parts.headers["x-tenant"].as_bytes().to_vec())),
    ];
    let without = scopes.clone().map(Scope::without_endpoint);
    scopes.into_iter().chain(without).collect()
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_request_is_found_for_every_source_and_scope() {
    for source in sources() {
        for scope in scopes() {
            for policy in [KeyPolicy::default(), KeyPolicy::uuid()] {
                for namespace in ["", "payments"] {
                    let told = format!("{source:?} {scope:?} {policy:?} {namespace}");
                    let world = World::new(|layer| {
                        let layer = layer.key_from(source.clone()).scope(scope.clone());
                        layer.key(policy.clone()).namespace(namespace)
                    });
                    let (parts, _) = request("/charges?a=1").into_parts();
                    let (_, seen) = world.key(request("/charges?a=1")).await;

                    let found = world.layer.record_key_for(&parts, &seen).unwrap();

                    assert_eq!(world.records(), [found], "{told}");
                    let again = world.ask(request("/charges?a=1")).await;
                    assert!(again.is_replay(), "{told}");
                    assert_eq!(world.records(), [found, found], "{told}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_uuid_is_folded_for_operators_too() {
    for source in [
        KeyFrom::default(),
        KeyFrom::header("webhook-id"),
        KeyFrom::json(["/id"]),
        KeyFrom::with(|_| Some(UUID.to_uppercase())),
    ] {
        let world = World::new(|layer| {
            let layer = layer.key_from(source).key(KeyPolicy::uuid());
            layer.scope(Scope::shared())
        });
        let (parts, _) = request(PATH).into_parts();
        world.ask(request(PATH)).await;

        for named in [UUID, &UUID.to_uppercase()] {
            let by_parts = world.layer.record_key(b"", &Method::POST, PATH, named);
            let by_request = world.layer.record_key_for(&parts, named).unwrap();

            assert_eq!(world.records(), [by_parts]);
            assert_eq!(by_parts, by_request);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_folding_the_case_counts_for_operators_too() {
    let layer = IdempotencyLayer::default();

    let of = |key: &str| layer.record_key(b"", &Method::POST, PATH, key);

    assert_ne!(of(UUID), of(&UUID.to_uppercase()));
}

#[tokio::test(start_paused = true)]
async fn without_the_endpoint_method_and_path_do_not_matter_to_operators() {
    let layer = IdempotencyLayer::default().scope(Scope::shared().without_endpoint());
    let by_endpoint = IdempotencyLayer::default().scope(Scope::shared());

    let of = |method, path| layer.record_key(b"", &method, path, "k");

    assert_eq!(of(Method::POST, "/a"), of(Method::PATCH, "/b"));
    let other = by_endpoint.record_key(b"", &Method::POST, "/a", "k");
    assert_ne!(of(Method::POST, "/a"), other);
    assert_eq!(of(Method::POST, "/a").scope(), other.scope());
}

#[tokio::test(start_paused = true)]
async fn operators_are_refused_what_the_layer_would_refuse_for_every_source() {
    let (parts, _) = with(&[("cookie", "a=1")]).into_parts();
    let code =
        |layer: &IdempotencyLayer, key: &str| layer.record_key_for(&parts, key).unwrap_err().code();
    for source in sources() {
        let layer = IdempotencyLayer::default().key_from(source);

        assert_eq!(code(&layer, "k"), RefusalCode::ScopeUnresolved);
    }
    let shared = IdempotencyLayer::default().scope(Scope::shared());
    let panicking = shared
        .clone()
        .key(KeyPolicy::with(|_| panic!("a policy that panics")));
    assert_eq!(code(&shared, "not valid"), RefusalCode::KeyInvalid);
    assert_eq!(code(&shared, ""), RefusalCode::KeyInvalid);
    assert_eq!(code(&panicking, "k"), RefusalCode::Internal);
    let failing = shared.clone().scope(Scope::with(|_| Err("no user".into())));
    assert_eq!(code(&failing, "k"), RefusalCode::Internal);
    let (nobody, _) = with(&[]).into_parts();
    for anonymous in [Anonymous::Refuse, Anonymous::Bypass] {
        let scope = Scope::credentials().anonymous(anonymous);
        let refused = shared.clone().scope(scope).record_key_for(&nobody, "k");
        assert_eq!(refused.unwrap_err().code(), RefusalCode::ScopeUnresolved);
    }
}
