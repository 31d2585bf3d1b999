//! Completions that are not made.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tower_idempotency::{OnStoreError, TransactionError};

use super::*;

/// What the handler was told, in the answer.
fn told<B: http_body::Body>(
    completion: Result<tower_idempotency::Completion<B>, TransactionError>,
) -> Response<Body> {
    match completion {
        Ok(_) => created("made"),
        Err(error) => bad_gateway(&format!("{error:?}")),
    }
}

#[tokio::test(start_paused = true)]
async fn by_a_store_that_is_in_no_database() {
    let (_, service) = handling(&IdempotencyLayer::default(), |key| async move {
        told(key.completion(created("x")))
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "Unsupported");
}

#[tokio::test(start_paused = true)]
async fn without_protection() {
    let store = Scripted::new();
    store.always(Verb::Claim, Fault::Before(StoreErrorKind::NotApplied));
    let layer = IdempotencyLayer::new(store).on_store_error(OnStoreError::RunUnprotected);
    let (_, service) = handling(
        &layer,
        |key| async move { told(key.completion(created("x"))) },
    );

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "Unprotected");
}

#[tokio::test(start_paused = true)]
async fn by_a_store_that_panics() {
    let store = Scripted::new();
    store.next(Verb::Completion, Fault::Panic);
    let (_, service) = handling(&IdempotencyLayer::new(store), |key| async move {
        told(key.completion(created("x")))
    });

    let answer = send(&service, keyed("k", "x")).await;

    assert!(answer.text().starts_with("Store("), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn once_the_lease_is_lost() {
    let layer = IdempotencyLayer::new(Scripted::new())
        .lease(6 * SECOND)
        .max_execution(10 * SECOND);
    let (_, service) = handling(&layer, |key| async move {
        tokio::time::sleep(20 * SECOND).await;
        told(key.completion(created("x")))
    });

    assert_eq!(send(&service, keyed("k", "x")).await.text(), "LeaseLost");
}

/// A body that would have to be waited for.
struct Slow;

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn for_a_body_that_is_not_there_or_broken() {
    let layer = IdempotencyLayer::new(Scripted::new());
    let (_, service) = handling(&layer, |key| async move {
        let slow = told(key.completion(Response::new(Slow)));
        let frames = [Ok(Frame::data(Bytes::from("a"))), Err("broken")];
        let broken = StreamBody::new(futures_util::stream::iter(frames));
        let broken = told(key.completion(Response::new(broken)));
        let mut wrong = created("four");
        wrong
            .headers_mut()
            .insert("content-length", "5".parse().unwrap());
        let wrong = told(key.completion(wrong));
        let mut said = String::new();
        for response in [slow, broken, wrong] {
            said.push_str(read(response).await.text());
        }
        created(&said)
    });

    let first = send(&service, keyed("k", "x")).await;

    assert_eq!(first.text(), "BodyBodyBody");
    // Nothing was handed out: the layer settles.
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test(start_paused = true)]
async fn but_a_body_of_several_frames_is_recorded_with_its_trailers() {
    let store = Scripted::new();
    let committing = store.clone();
    let (_, service) = handling(&IdempotencyLayer::new(store), move |key| {
        let store = committing.clone();
        async move {
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                "7".parse().unwrap(),
            )]);
            let frames = [
                Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("one "))),
                Ok(Frame::data(Bytes::from("two"))),
                Ok(Frame::trailers(trailers)),
            ];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let completion = key.completion(Response::new(body)).unwrap();
            store.commit().await;
            whole(completion.committed()).await
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let replay = send(&service, keyed("k", "x")).await;

    for answer in [&first, &replay] {
        assert_eq!(answer.text(), "one two");
        assert_eq!(answer.trailers.as_ref().unwrap()["x-sum"], "7");
    }
}
