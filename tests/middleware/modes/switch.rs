//! The switch for run time.

use super::*;

fn switched<St: Store>(layer: IdempotencyLayer<St>) -> (IdempotencyLayer<St>, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(true));
    (layer.enabled(switch.clone()), switch)
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_off_is_not_there_and_one_that_is_on_again_knows_its_records() {
    let (spy, handler, heard) = (Spy::new(), Handler::default(), Heard::default());
    let layer = heard
        .of(IdempotencyLayer::new(spy.clone()))
        .require_key(true);
    let (layer, switch) = switched(layer);
    let service = handler.answering(&layer, |request: Request<RequestBody<Body>>| {
        let mut response = created(context(&request));
        let spoofed = HeaderValue::from_static("upstream");
        response
            .headers_mut()
            .insert("idempotent-replayed", spoofed);
        std::future::ready(response)
    });
    send(&service, plain("k", "x")).await;
    let calls = spy.verbs().len();
    heard.take();

    switch.store(false, Ordering::SeqCst);
    for request in [
        plain("k", "x"),
        plain("k", "other"),
        plain("new", "x"),
        post(PATH, &[], "x"),
        post(PATH, &[("idempotency-key", "\"")], "x"),
        post(PATH, &[("idempotency-key", "k"), ("cookie", "a=1")], "x"),
    ] {
        let answer = send(&service, request).await;
        assert_eq!((answer.text(), answer.outcome), ("none", Outcome::Bypassed));
        assert_eq!(answer.header("idempotent-replayed"), Some("upstream"));
    }
    assert_eq!(spy.verbs().len(), calls);
    assert_eq!(heard.told(), [""; 0]);

    switch.store(true, Ordering::SeqCst);
    let replayed = send(&service, plain("k", "x")).await;
    assert_eq!((replayed.text(), replayed.is_replay()), ("protected", true));
    assert_eq!(
        send(&service, plain("k", "other")).await.outcome,
        Outcome::Mismatch
    );
    assert_eq!(send(&service, plain("new", "x")).await.text(), "protected");
    assert_eq!(
        send(&service, post(PATH, &[], "x")).await.code(),
        "idempotency_key_missing"
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_before_the_switch_goes_on_and_is_recorded() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let (layer, switch) = switched(heard.of(IdempotencyLayer::default()));
    let service = handler.held(&layer);
    let stays = tokio::spawn(service.clone().oneshot(plain("stays", "x")));
    let leaves = tokio::spawn(service.clone().oneshot(plain("leaves", "x")));
    settle().await;

    switch.store(false, Ordering::SeqCst);
    leaves.abort();
    settle().await;
    // Longer than a lease: it is renewed all the same.
    tokio::time::sleep(100 * SECOND).await;
    handler.open();
    settle().await;
    handler.open();

    assert_eq!(layer.drain(HOUR).await.left, 0);
    let stays = read(stays.await.unwrap().unwrap()).await;
    assert_eq!(stays.outcome, Outcome::Executed { recorded: true });
    assert_eq!(heard.told(), ["executed", "executed"]);
    switch.store(true, Ordering::SeqCst);
    for key in ["stays", "leaves"] {
        assert!(send(&service, plain(key, "x")).await.is_replay(), "{key}");
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_switch_is_for_all_clones_and_endpoints() {
    let handler = Handler::default();
    let (layer, switch) = switched(IdempotencyLayer::default());
    let listed = layer.clone().endpoints(["POST /charges"]);
    let services = [handler.at_once(&layer), handler.at_once(&listed)];
    switch.store(false, Ordering::SeqCst);

    for service in &services {
        assert_eq!(
            send(service, plain("k", "x")).await.outcome,
            Outcome::Bypassed
        );
    }
    switch.store(true, Ordering::SeqCst);

    assert_ne!(
        send(&services[0], plain("k", "x")).await.outcome,
        Outcome::Bypassed
    );
    assert!(send(&services[1], plain("k", "x")).await.is_replay());
}
