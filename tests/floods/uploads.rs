//! Large bodies, all at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::util::service_fn;
use tower::{Layer, ServiceExt};
use tower_idempotency::{FingerprintPolicy, IdempotencyLayer, RequestBody};

use crate::leaves_nothing;
use crate::support::{Handler, created, plain, read};

const KIB: usize = 1 << 10;
const FRAME: usize = 16 * KIB;
const FRAMES: usize = 16;
const MOST: usize = 16 << 20;

/// A body that comes in frames, each of them memory of its own.
struct Upload {
    frames: usize,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Upload {
    fn new() -> Self {
        Self {
            frames: FRAMES,
            pause: pause(),
        }
    }
}

fn pause() -> Pin<Box<tokio::time::Sleep>> {
    Box::pin(tokio::time::sleep(Duration::from_millis(10)))
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pause.as_mut().poll(cx));
        if self.frames == 0 {
            return Poll::Ready(None);
        }
        self.frames -= 1;
        self.pause = pause();
        Poll::Ready(Some(Ok(Frame::data(vec![b'.'; FRAME].into()))))
    }
}

#[test]
fn take_no_more_memory_than_they_may() {
    let most = leaves_nothing(1_000, async |size| {
        let layer = IdempotencyLayer::default()
            .max_buffered_bytes(MOST)
            // What is hashed takes no memory, only time.
            .fingerprint(FingerprintPolicy::none());
        let handler = Handler::default();
        let service = {
            let handler = handler.clone();
            layer.layer(service_fn(
                move |request: http::Request<RequestBody<Upload>>| {
                    let number = handler.begin(request.extensions());
                    async move {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        assert_eq!(body.len(), FRAME * FRAMES);
                        Ok::<_, Infallible>(created(&format!("execution {number}")))
                    }
                },
            ))
        };

        let uploads = (0..size).map(|number| {
            let request = plain(&format!("k{number}"), "").map(|_| Upload::new());
            let service = service.clone();
            async move { read(service.oneshot(request).await.unwrap()).await }
        });
        let answers = join_all(uploads).await;

        let served = answers.iter().filter(|answer| answer.status == 201).count();
        let refused = answers
            .iter()
            .filter(|answer| answer.code() == "idempotency_overloaded");
        assert_eq!(served + refused.count(), size);
        assert_eq!(handler.executions() as usize, served);
        assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
        // There is room for all of it again.
        for number in 0..3 {
            let request = plain(&format!("later{number}"), "").map(|_| Upload::new());
            let answer = read(service.clone().oneshot(request).await.unwrap()).await;
            assert_eq!(answer.status, 201);
        }
    });

    let all = (1_000 * FRAMES * FRAME) as u64;
    // A body that grows takes up to twice its size, and a request some kilobytes.
    let bound = (2 * MOST + 1_000 * 10 * KIB) as u64;
    assert!(bound < all / 4, "there was nothing to bound");
    assert!(most < bound, "{most} bytes");
}
