//! What operators do with records.

use super::*;

fn record_key<St: Store>(layer: &IdempotencyLayer<St>) -> RecordKey {
    layer.record_key(b"", &Method::POST, PATH, "k")
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_request_is_found_by_its_parts() {
    let layer = IdempotencyLayer::default().namespace("payments");
    let handler = Handler::default();
    let service = handler.at_once(&layer);
    let request = text("/charges?a=1", &[("x-api-key", "alice")], "x");
    let (parts, _) = request.clone().into_parts();
    send(&service, request).await;

    let record_key = layer.record_key_for(&parts, "k").unwrap();
    let record = layer.store().inspect(&record_key).await.unwrap().unwrap();

    assert!(matches!(record.state(), State::Completed { .. }));
    assert_eq!(record.attempt(), 1);
    assert!(!record.is_committed());
    let another = layer.record_key_for(&parts, "\"k\"").unwrap();
    assert_ne!(another, record_key, "the key is taken as it is, unquoted");
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_key_that_must_be_quoted_is_found_by_the_key_that_the_handler_sees() {
    for (sent, unquoted) in [
        (r#""a,b""#, "a,b"),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        (r#""\"k\"""#, r#""k""#),
        (r#""k";v=1"#, "k"),
    ] {
        let layer = IdempotencyLayer::default();
        let service = Handler::default().answering(&layer, |request| {
            let context = request.extensions().get::<Idempotency>().unwrap();
            std::future::ready(created(context.key().as_str()))
        });
        let request = keyed(sent, "x");
        let (parts, _) = request.clone().into_parts();
        let seen = send(&service, request).await;

        let by_parts = layer.record_key_for(&parts, seen.text()).unwrap();

        assert_eq!(seen.text(), unquoted);
        assert_eq!(
            by_parts,
            layer.record_key(b"", &Method::POST, PATH, unquoted)
        );
        assert!(layer.store().inspect(&by_parts).await.unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_key_is_refused_for_what_the_layer_would_refuse() {
    let layer = IdempotencyLayer::default();
    let (cookie_only, _) = text(PATH, &[("cookie", "a=1")], "").into_parts();
    let (fine, _) = text(PATH, &[], "").into_parts();

    let unresolved = layer.record_key_for(&cookie_only, "k").unwrap_err();
    let invalid = layer.record_key_for(&fine, "not valid").unwrap_err();

    assert_eq!(unresolved.code(), RefusalCode::ScopeUnresolved);
    assert_eq!(invalid.code(), RefusalCode::KeyInvalid);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_key_is_a_new_key() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.at_once(&layer);
    send(&service, keyed("k", "x")).await;

    let forgotten = layer
        .store()
        .forget(&record_key(&layer), false)
        .await
        .unwrap();

    assert_eq!(forgotten, Forgotten::Forgotten);
    assert!(
        layer
            .store()
            .inspect(&record_key(&layer))
            .await
            .unwrap()
            .is_none()
    );
    let anew = send(&service, keyed("k", "y")).await;
    assert_eq!(anew.outcome, Outcome::Executed { recorded: true });
    assert_eq!(handler.last_attempt(), 1);
    let unknown = layer.record_key(b"", &Method::POST, PATH, "unknown");
    assert_eq!(
        layer.store().forget(&unknown, true).await.unwrap(),
        Forgotten::Unknown
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_request_is_forgotten_by_force_alone_and_its_client_is_answered() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.held(&layer);
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;

    let asked = layer
        .store()
        .forget(&record_key(&layer), false)
        .await
        .unwrap();
    let meanwhile = send(&service, keyed("k", "x")).await;
    let forced = layer
        .store()
        .forget(&record_key(&layer), true)
        .await
        .unwrap();
    let second = tokio::spawn(service.clone().oneshot(keyed("k", "y")));
    settle().await;
    handler.open();
    let first = read(running.await.unwrap().unwrap()).await;

    assert_eq!((asked, forced), (Forgotten::InFlight, Forgotten::Forgotten));
    assert_eq!(meanwhile.outcome, Outcome::InProgress);
    assert_eq!(first.text(), "execution 1");
    assert_eq!(first.outcome, Outcome::Executed { recorded: false });
    // The fenced-out owner has changed nothing of its successor's record.
    assert_eq!(
        send(&service, keyed("k", "y")).await.outcome,
        Outcome::InProgress
    );
    handler.open();
    let second = read(second.await.unwrap().unwrap()).await;
    assert_eq!(second.outcome, Outcome::Executed { recorded: true });
    assert_eq!(send(&service, keyed("k", "y")).await.text(), "execution 2");
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_erased_with_all_that_runs_in_it_and_nothing_else() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let (quick, held) = (handler.at_once(&layer), handler.held(&layer));
    let of = |user, key| {
        let mut request = text(PATH, &[("x-api-key", user)], "x");
        request
            .headers_mut()
            .insert("idempotency-key", HeaderValue::from_static(key));
        request
    };
    for (user, key) in [("alice", "1"), ("alice", "2"), ("bob", "1")] {
        send(&quick, of(user, key)).await;
    }
    let running = tokio::spawn(held.oneshot(of("alice", "3")));
    settle().await;
    let (parts, _) = of("alice", "any").into_parts();
    let scope = *layer.record_key_for(&parts, "any").unwrap().scope();

    let erased = layer.store().erase_scope(&scope).await.unwrap();
    handler.open();
    let answer = read(running.await.unwrap().unwrap()).await;

    assert_eq!(erased, 3);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
    assert!(send(&quick, of("bob", "1")).await.is_replay());
    assert!(!send(&quick, of("alice", "1")).await.is_replay());
    assert_eq!(layer.store().erase_scope(&scope).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_the_layer_is_what_it_seems() {
    let (spy, _, service) = spied();
    send(&service, keyed("k", "x")).await;
    send(&service, keyed("k", "x")).await;

    let claims: [ClaimRequest; 2] = spy.claims().try_into().unwrap();

    assert_eq!(claims[0].key(), claims[1].key());
    assert_ne!(claims[0].claim_id(), claims[1].claim_id());
    assert!(claims[0].fingerprint().matches(claims[1].fingerprint()));
    assert_eq!(claims[0].lease(), Duration::from_secs(30));
    assert_eq!(claims[0].retention(), Duration::from_secs(24 * 60 * 60));
    let again = spy.claim(&claims[1]).await.unwrap();
    assert!(matches!(again, Claim::Existing(_)));
}
