//! The knobs of a layer: times and bounds.

use std::time::Duration;

use crate::layer::IdempotencyLayer;
use crate::policy::positive;
use crate::store::traits::Store;

impl<St: Store> IdempotencyLayer<St> {
    /// How long a record lives, counted from the first request. Default: 24 hours.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().retention(Duration::from_secs(7 * 24 * 60 * 60));
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn retention(self, retention: Duration) -> Self {
        let retention = positive("retention", retention);
        self.with(|config| config.retention = retention)
    }

    /// How long an owner may stay silent before it is presumed lost; renewed at a third while the handler runs.
    /// Default: 30 seconds. At most the retention: the smaller of the two is used.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().lease(Duration::from_secs(10));
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn lease(self, lease: Duration) -> Self {
        let lease = positive("lease", lease);
        self.with(|config| config.lease = lease)
    }

    /// Renews the leases of all live claims in one task of the layer (one in each runtime that has some), instead of beside
    /// each handler. Default: beside.
    ///
    /// A handler that blocks its thread for two thirds of the lease is presumed lost, because nothing else of its request
    /// runs meanwhile. With this its lease is renewed by another thread, on a runtime of several; while there are claims, a
    /// thread of the layer makes sure that one of them looks after timers. A store whose connections wait for a blocked
    /// thread is not helped. Best is still `tokio::task::spawn_blocking`: a blocked thread serves nobody, and what it has
    /// woken, such as a request that waits for the same key, may wait for it. It costs some allocations and a lock per
    /// execution. [`max_execution`](Self::max_execution) bounds it all the same.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().renew_in_background();
    /// # let _ = layer;
    /// ```
    pub fn renew_in_background(self) -> Self {
        self.with(|config| config.renew_in_background = true)
    }

    /// How long an execution is kept alive, from its claim; then renewal stops, the lease-lost signal rises, and the
    /// record becomes abandoned at the end of its lease. Default: 15 minutes; `None` for no limit.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().max_execution(Duration::from_secs(60));
    /// let layer = layer.max_execution(None);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn max_execution(self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        // Not in a closure, which would hide the caller from the message.
        if let Some(limit) = limit {
            positive("max_execution", limit);
        }
        self.with(|config| config.max_execution = limit)
    }

    /// The `Retry-After` of 409, 429 and 503 answers, in whole seconds and at least one; at most what is left of a
    /// lease that is waited for. Default: 1 second.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().retry_after(Duration::from_secs(2));
    /// # let _ = layer;
    /// ```
    pub fn retry_after(self, after: Duration) -> Self {
        self.with(|config| config.retry_after = after)
    }

    /// How long a response is held, from its head on, before it flows to the client and leaves a tombstone. Default:
    /// 2 seconds.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().hold_for(Duration::from_millis(500));
    /// # let _ = layer;
    /// ```
    pub fn hold_for(self, hold_for: Duration) -> Self {
        self.with(|config| config.hold_for = hold_for)
    }

    /// How long a call of the store may take, repeats included. Default: 2 seconds.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().store_timeout(Duration::from_millis(500));
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn store_timeout(self, timeout: Duration) -> Self {
        let timeout = positive("store_timeout", timeout);
        self.with(|config| config.store_timeout = timeout)
    }

    /// How long settling goes on, beside the request, where the store failed at it. Default: 5 minutes.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().settle_for(Duration::from_secs(60));
    /// # let _ = layer;
    /// ```
    pub fn settle_for(self, settle_for: Duration) -> Self {
        self.with(|config| config.settle_for = settle_for)
    }

    /// The largest request body that is read, in bytes; 413 `request_too_large` beyond. Default: 2 MiB.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_request_bytes(64 * 1024);
    /// # let _ = layer;
    /// ```
    pub fn max_request_bytes(self, most: usize) -> Self {
        self.with(|config| config.max_request_bytes = most)
    }

    /// The largest response body that is kept, in bytes: a larger one reaches the client whole and leaves a tombstone.
    /// Default: 1 MiB. A store may keep less.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_kept_response(64 * 1024);
    /// # let _ = layer;
    /// ```
    pub fn max_kept_response(self, most: usize) -> Self {
        self.with(|config| config.max_kept_response = most)
    }

    /// How many bytes of request bodies may be in memory in all; 503 `idempotency_overloaded` beyond. Default: 256 MiB.
    ///
    /// A body that is larger by itself is refused with 413 `request_too_large`, whatever
    /// [`max_request_bytes`](Self::max_request_bytes) says.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_buffered_bytes(16 << 20);
    /// # let _ = layer;
    /// ```
    pub fn max_buffered_bytes(self, most: usize) -> Self {
        self.with(|config| config.max_buffered_bytes = most)
    }

    /// How many requests may wait for one key; 409 beyond. Default: 1,000.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_waiters_per_key(100);
    /// # let _ = layer;
    /// ```
    pub fn max_waiters_per_key(self, most: usize) -> Self {
        self.with(|config| config.max_waiters_per_key = most)
    }

    /// How many requests may wait in all; 409 beyond. Default: 10,000.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_waiters(1_000);
    /// # let _ = layer;
    /// ```
    pub fn max_waiters(self, most: usize) -> Self {
        self.with(|config| config.max_waiters = most)
    }

    /// How many executions may go on whose clients have gone; new claims are refused with 503
    /// `idempotency_overloaded` beyond. Default: 1,024.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_detached(256);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero, which would refuse every claim.
    #[track_caller]
    pub fn max_detached(self, most: usize) -> Self {
        assert!(most > 0, "max_detached takes at least 1, not 0");
        self.with(|config| config.max_detached = most)
    }

    /// How many outcomes may wait for a store that fails; new claims are refused with 503
    /// `idempotency_overloaded` beyond. Default: 1,024.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_unsettled(256);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero, which would refuse every claim.
    #[track_caller]
    pub fn max_unsettled(self, most: usize) -> Self {
        assert!(most > 0, "max_unsettled takes at least 1, not 0");
        self.with(|config| config.max_unsettled = most)
    }

    /// How many bytes of outcomes may wait for a store that fails; new claims are refused with 503
    /// `idempotency_overloaded` beyond. Default: 64 MiB.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_unsettled_bytes(16 << 20);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero, which would refuse every claim.
    #[track_caller]
    pub fn max_unsettled_bytes(self, most: usize) -> Self {
        assert!(most > 0, "max_unsettled_bytes takes at least 1, not 0");
        self.with(|config| config.max_unsettled_bytes = most)
    }
}
