//! A layer that only looks, and others inside or outside of it.

use std::convert::Infallible;

use tower::Layer;
use tower::util::{BoxCloneService, service_fn};
use tower_idempotency::ResponseBody;

use super::*;
use crate::support::Answer;

type Nested =
    BoxCloneService<Request<Body>, Response<ResponseBody<ResponseBody<Body>>>, Infallible>;

/// A handler behind two layers, which says what context it has.
fn nested<A: Store, B: Store>(
    outer: &IdempotencyLayer<A>,
    inner: &IdempotencyLayer<B>,
    handler: &Handler,
) -> Nested {
    let handler = handler.clone();
    let innermost = service_fn(move |request: Request<RequestBody<RequestBody<Body>>>| {
        handler.begin(request.extensions());
        std::future::ready(Ok(created(context(&request))))
    });
    outer.layer(inner.layer(innermost)).boxed_clone()
}

async fn ask(service: &Nested, body: &'static str) -> Answer {
    send(service, plain("k", body)).await
}

/// Layers that know nothing of each other's records, all over memory.
fn strangers() -> [(IdempotencyLayer<BoxStore>, IdempotencyLayer<BoxStore>); 4] {
    let layer = || IdempotencyLayer::default().boxed();
    let (clone, of_all) = (layer(), layer());
    let store = Arc::new(MemoryStore::new());
    let over_one_store = || IdempotencyLayer::new(Arc::clone(&store)).boxed();
    [
        (layer(), layer()),
        (over_one_store(), over_one_store().namespace("inner")),
        (clone.clone(), clone.namespace("inner")),
        (
            of_all.clone(),
            of_all.scope(Scope::shared().without_endpoint()),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_acts_although_an_outer_one_that_only_looks_has_claimed() {
    for (outer, inner) in strangers() {
        let (handler, seen, done) = (Handler::default(), Heard::default(), Heard::default());
        let (outer, inner) = (shadow(seen.of(outer)), done.of(inner));
        let service = nested(&outer, &inner, &handler);

        let first = ask(&service, "x").await;
        let second = ask(&service, "x").await;
        let other = ask(&service, "y").await;

        assert_eq!(
            (first.text(), first.outcome),
            ("protected", Outcome::Executed { recorded: true })
        );
        assert!(second.is_replay());
        assert_eq!(second.outcome, Outcome::Replayed);
        assert_eq!(other.code(), "idempotency_mismatch");
        assert_eq!(handler.executions(), 1);
        let told = ["executed", "replayed", "mismatch idempotency_mismatch"];
        assert_eq!(
            (seen.told(), done.told()),
            (
                told.map(String::from).to_vec(),
                told.map(String::from).to_vec()
            )
        );
        assert_eq!(outer.drain(HOUR).await.left, 0);
        assert_eq!(inner.drain(HOUR).await.left, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_the_context_of_the_layer_that_acts() {
    let (outer, inner) = (Spy::new(), Spy::new());
    let innermost = service_fn(async |request: Request<RequestBody<RequestBody<Body>>>| {
        let context = request.extensions().get::<Idempotency>().unwrap();
        context.point_of_no_return().await.unwrap();
        Ok::<_, Infallible>(created("done"))
    });
    let acting = IdempotencyLayer::new(inner.clone()).layer(innermost);
    let service = shadow(IdempotencyLayer::new(outer.clone())).layer(acting);

    send(&service, plain("k", "x")).await;

    assert_eq!(inner.verbs(), ["claim", "commit", "complete"]);
    assert_eq!(outer.verbs(), ["claim", "complete"]);
}

/// A layer and a clone of it, which have their records in common.
fn clones() -> [(IdempotencyLayer<BoxStore>, IdempotencyLayer<BoxStore>); 2] {
    let (plain, boxed) = (
        IdempotencyLayer::default(),
        IdempotencyLayer::default().boxed(),
    );
    [
        (plain.clone().boxed(), plain.boxed()),
        (boxed.clone(), boxed),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_clone_lets_through_what_the_layer_that_only_looks_has_claimed_and_acts_on_the_rest() {
    for (outer, inner) in clones() {
        let (handler, seen, done) = (Handler::default(), Heard::default(), Heard::default());
        let (outer, inner) = (
            shadow(seen.of(outer)),
            done.of(inner).require_key(true).keep(Keep::All),
        );
        let service = nested(&outer, &inner, &handler);

        let first = ask(&service, "x").await;
        assert_eq!(
            (seen.told(), done.told()),
            (vec!["executed".to_owned()], vec![])
        );
        let second = ask(&service, "x").await;
        let other = ask(&service, "y").await;
        let unkeyed = send(&service, post(PATH, &[], "x")).await;

        assert_eq!(
            (first.text(), first.outcome),
            ("protected", Outcome::Bypassed)
        );
        assert_eq!(first.headers, *created("").headers());
        assert!(second.is_replay());
        assert_eq!(second.outcome, Outcome::Replayed);
        assert_eq!(other.code(), "idempotency_mismatch");
        assert_eq!(unkeyed.code(), "idempotency_key_missing");
        assert_eq!(handler.executions(), 1);
        let mismatch = "mismatch idempotency_mismatch";
        assert_eq!(seen.told(), ["replayed", mismatch, "bypassed"]);
        let missing = "refused idempotency_key_missing";
        assert_eq!(done.told(), ["replayed", mismatch, missing]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_waits_for_what_the_layer_that_only_looks_has_claimed() {
    for (wait, outcome) in [
        (InFlight::reject(), Outcome::InProgress),
        (InFlight::wait(HOUR), Outcome::Replayed),
    ] {
        let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
        let inner = layer.clone().in_flight(wait).layer(handler.bare_held());
        let service = shadow(layer).layer(inner);
        let first = tokio::spawn(send(&service, plain("k", "x")));
        settle().await;

        let second = tokio::spawn(send(&service, plain("k", "x")));
        settle().await;
        handler.open();

        assert_eq!(first.await.unwrap().text(), "execution 1");
        assert_eq!(second.await.unwrap().outcome, outcome);
        assert_eq!(handler.executions(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_that_only_looks_does_not_look_at_what_an_outer_one_has_claimed() {
    let (spy, heard, handler) = (Spy::new(), Heard::default(), Handler::default());
    let inner = shadow(heard.of(IdempotencyLayer::new(spy.clone())));
    let service = nested(&IdempotencyLayer::default(), &inner, &handler);

    let first = ask(&service, "x").await;
    let second = ask(&service, "x").await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(second.is_replay());
    assert_eq!(handler.executions(), 1);
    assert!(spy.verbs().is_empty() && heard.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_layers_that_only_look_change_nothing() {
    for (outer, inner) in strangers().into_iter().chain(clones()) {
        let handler = Handler::default();
        let service = nested(&shadow(outer), &shadow(inner), &handler);

        for (body, context) in [("x", "protected"), ("x", "none"), ("y", "none")] {
            let answer = ask(&service, body).await;
            assert_eq!(
                (answer.text(), answer.outcome),
                (context, Outcome::Bypassed)
            );
            assert_eq!(answer.headers, *created("").headers());
        }
        assert_eq!(handler.executions(), 3);
    }
}
