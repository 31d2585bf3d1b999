//! The application's closures, whose panics are no concern of the layer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a closure of the application's; `None` where it panicked.
pub(crate) fn shielded<T>(closure: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(closure))
        .map_err(dispose_of)
        .ok()
}

/// Drops what a panic was thrown with, which may panic itself; what that one was thrown with is leaked.
#[expect(clippy::mem_forget, reason = "a third panic would be the next")]
fn dispose_of(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}
