//! Numbers from a seed, written out here so that no update of a dependency changes what a seed means.

use std::time::Duration;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    /// The numbers of one call: whatever the calls before it have drawn.
    pub(super) fn of_call(seed: u64, call: u64) -> Self {
        let seed = Self(seed).next();
        Self(Self(seed ^ call).next())
    }

    /// Whether what happens to so many of a hundred happens now.
    pub(super) fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// A number below `bound`, which is above zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A time from a millisecond to `most`: as often around a hundredth of it as around a tenth.
    pub(super) fn time(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let scale = self.below(10);
        let most = (most >> scale).max(1);
        Duration::from_millis(1 + self.below(most))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut numbers = Random(1_234_567);

        // The published vectors of the generator.
        assert_eq!(numbers.next(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.next(), 3_203_168_211_198_807_973);
        assert_eq!(numbers.next(), 9_817_491_932_198_370_423);
        assert_eq!(Random::of_call(7, 3).next(), Random::of_call(7, 3).next());
        assert_ne!(Random::of_call(7, 3).next(), Random::of_call(7, 4).next());
        assert_ne!(Random::of_call(7, 3).next(), Random::of_call(8, 3).next());
    }

    #[test]
    fn times_stay_within_their_bound() {
        let mut numbers = Random(7);
        let most = Duration::from_millis(1_500);

        for _ in 0..10_000 {
            let time = numbers.time(most);
            assert!(!time.is_zero() && time <= most, "{time:?}");
        }
        assert_eq!(numbers.time(Duration::ZERO), Duration::from_millis(1));
    }

    #[test]
    fn nothing_happens_to_none_and_all_happens_to_all() {
        let mut numbers = Random(7);

        assert!((0..1_000).all(|_| !numbers.percent(0)));
        assert!((0..1_000).all(|_| numbers.percent(100)));
        let some = (0..10_000).filter(|_| numbers.percent(20)).count();
        assert!((1_800..2_200).contains(&some), "{some}");
    }
}
