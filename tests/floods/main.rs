//! Bounds, and floods that they hold against: nothing grows beyond them, who keeps within is served, and afterwards all is
//! as it was.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bounds;
mod defaults;
mod hang_ups;
mod keys;
mod settlements;
mod uploads;
mod waiters;

#[path = "../middleware/frames.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod frames;
#[path = "../middleware/heard.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod heard;
#[path = "../middleware/scripted.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod scripted;
#[path = "../middleware/support.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod support;

/// Runs a flood of this size in a runtime of its own, its clock paused; when all of it has gone, nothing that it has
/// allocated is left. The most that it had at a time, in bytes.
fn leaves_nothing(size: usize, flood: impl AsyncFn(usize)) -> u64 {
    let run = |size| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(flood(size));
    };
    // What is made once per process or thread is there before anything is counted.
    run(size / 100);

    let left = allocation_counter::measure(|| run(size));

    assert_eq!(left.bytes_current, 0, "{left:?}");
    left.bytes_max
}

/// Numbers that look random, the same ones for every seed.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
