//! What is waited for, and for how long.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits what does not take long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T, F>(what: &str, mut answer: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begin = Instant::now();
    loop {
        if let Some(answer) = answer().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "it takes too long until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
