//! What runs as if there were no layer counts for no bound of those that act.

use tower::Layer;

use super::*;
use crate::frames::streaming;

#[tokio::test(start_paused = true)]
async fn an_upload_that_a_layer_only_looks_at_closes_no_door_to_others() {
    let layer = IdempotencyLayer::default().max_buffered_bytes(5);
    let gate = Arc::new(tokio::sync::Notify::new());
    let (looking, _) = streaming(&layer.clone().mode(Mode::Shadow), |_, request| async move {
        request.into_body().collect().await.unwrap();
        Response::new(Frames::data(["seen"]))
    });
    let body = [
        Step::Data("abcdef"),
        Step::Gate(gate.clone()),
        Step::Data("gh"),
    ];
    let slow = tokio::spawn(looking.oneshot(upload("slow", Frames::new(body))));
    settle().await;

    let acting = Handler::default().at_once(&layer);
    let answer = send(&acting, plain("k", "x")).await;

    gate.notify_one();
    slow.await.unwrap().unwrap();
    assert_eq!(
        answer.outcome,
        Outcome::Executed { recorded: true },
        "{}",
        answer.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_clone_inside_of_a_layer_that_only_looks_has_all_bounds_for_itself() {
    let layer = IdempotencyLayer::default().max_buffered_bytes(5);
    let handler = Handler::default();
    let service = layer
        .clone()
        .mode(Mode::Shadow)
        .layer(layer.layer(handler.bare()));
    assert_eq!(send(&service, plain("k", "abc")).await.status, 201);

    let retry = send(&service, plain("k", "abc")).await;

    assert_eq!(retry.outcome, Outcome::Replayed, "{}", retry.text());
}
