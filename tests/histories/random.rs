//! What a history draws from its seed.

use std::ops::Range;

/// SplitMix64, so that a seed means the same for ever.
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one part of a history, whatever other parts draw.
    pub(crate) fn of(seed: u64, part: &str, number: u64) -> Self {
        let mut seed = Self(seed);
        for byte in part.bytes() {
            seed = Self(seed.next() ^ u64::from(byte));
        }
        Self(seed.next() ^ number)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number of this range.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        let length = u128::from(range.end - range.start);
        range.start + ((u128::from(self.next()) * length) >> 64) as u64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.within(0..bound as u64) as usize
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// One of these.
    pub(crate) fn of_these<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }
}
