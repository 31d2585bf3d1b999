//! What happens to one call, drawn from the seed.

use std::fmt;
use std::time::Duration;

use super::random::Random;
use crate::store::error::StoreErrorKind;

/// How often what happens, of a hundred calls.
#[derive(Clone, Debug)]
pub(super) struct Odds {
    pub(super) delays: u8,
    pub(super) up_to: Duration,
    pub(super) failures: u8,
    pub(super) duplicates: u8,
    pub(super) lost_leases: u8,
    pub(super) panics: u8,
    pub(super) wrong_wakeups: u8,
    pub(super) jumps: u8,
    pub(super) jump: Duration,
}

impl Default for Odds {
    fn default() -> Self {
        Self {
            delays: 20,
            up_to: Duration::from_secs(3),
            failures: 10,
            duplicates: 5,
            lost_leases: 2,
            panics: 1,
            wrong_wakeups: 20,
            jumps: 0,
            jump: Duration::from_millis(1),
        }
    }
}

/// What happens to one call of a verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) jump: Option<Jump>,
    /// So much later it is applied.
    pub(super) before: Duration,
    /// It is applied even if its caller has gone meanwhile.
    pub(super) sent: bool,
    pub(super) fault: Option<Fault>,
    /// So much later it is answered.
    pub(super) after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    Back(Duration),
    Forward(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Fails, and is not applied.
    Fails(StoreErrorKind),
    /// Is applied, and fails all the same.
    Unanswered,
    Panics,
    /// Is applied, and panics all the same.
    PanicsAfter,
    /// Is applied twice, and answered as the second time.
    Twice,
    /// Is applied once more, so much later.
    Again(Duration),
    /// The owner's lease ends so much later.
    LosesLease(Duration),
}

impl Fate {
    /// Draws as often and in the same order whatever the odds, so that a knob changes nothing but its own faults.
    pub(super) fn draw(odds: &Odds, mut random: Random) -> Self {
        let random = &mut random;
        let (jumps, back) = (random.percent(odds.jumps), random.percent(25));
        let jump = random.time(odds.jump);
        let before = (random.percent(odds.delays), random.time(odds.up_to));
        let sent = random.percent(50);
        let after = (random.percent(odds.delays), random.time(odds.up_to));
        let (panics, fails) = (random.percent(odds.panics), random.percent(odds.failures));
        let (twice, loses) = (
            random.percent(odds.duplicates),
            random.percent(odds.lost_leases),
        );
        let (which, later) = (random.below(6), random.time(odds.up_to));

        let fault = match which {
            0..3 if panics => Fault::Panics,
            _ if panics => Fault::PanicsAfter,
            0 if fails => Fault::Fails(StoreErrorKind::Fatal),
            1 if fails => Fault::Fails(StoreErrorKind::Ambiguous),
            2 | 3 if fails => Fault::Fails(StoreErrorKind::NotApplied),
            _ if fails => Fault::Unanswered,
            0..2 if twice => Fault::Twice,
            _ if twice => Fault::Again(later),
            _ => Fault::LosesLease(later),
        };
        let given = |(given, time): (bool, Duration)| if given { time } else { Duration::ZERO };
        Self {
            jump: jumps.then_some(if back {
                Jump::Back(jump)
            } else {
                Jump::Forward(jump)
            }),
            before: given(before),
            sent: before.0 && sent,
            fault: (panics || fails || twice || loses).then_some(fault),
            after: given(after),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.jump {
            Some(Jump::Back(by)) => write!(f, ", the clock jumps back by {by:?}")?,
            Some(Jump::Forward(by)) => write!(f, ", the clock jumps by {by:?}")?,
            None => {}
        }
        if !self.before.is_zero() {
            let who = if self.sent { "on its way" } else { "held" };
            write!(f, ", {who} for {:?}", self.before)?;
        }
        match self.fault {
            Some(Fault::Fails(kind)) => write!(f, ", fails: {kind}")?,
            Some(Fault::Unanswered) => f.write_str(", applied, its answer is lost")?,
            Some(Fault::Panics) => f.write_str(", panics")?,
            Some(Fault::PanicsAfter) => f.write_str(", applied, panics")?,
            Some(Fault::Twice) => f.write_str(", applied twice")?,
            Some(Fault::Again(later)) => write!(f, ", applied once more {later:?} later")?,
            Some(Fault::LosesLease(later)) => write!(f, ", the lease ends {later:?} later")?,
            None => {}
        }
        if !self.after.is_zero() {
            write!(f, ", answered {:?} later", self.after)?;
        }
        Ok(())
    }
}

/// What happens to one call of `settled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// When the store says so.
    Right,
    /// After so long, whatever the store says.
    Early(Duration),
    /// So much later than the store says.
    Late(Duration),
}

impl Wakeup {
    pub(super) fn draw(odds: &Odds, mut random: Random) -> Self {
        let random = &mut random;
        let (wrong, early) = (random.percent(odds.wrong_wakeups), random.percent(50));
        let (at_once, time) = (random.percent(50), random.time(odds.up_to));
        match (wrong, early) {
            (false, _) => Self::Right,
            (true, true) if at_once => Self::Early(Duration::ZERO),
            (true, true) => Self::Early(time),
            (true, false) => Self::Late(time),
        }
    }
}

impl fmt::Display for Wakeup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => Ok(()),
            Self::Early(after) => write!(f, ", returns after {after:?} at the latest"),
            Self::Late(by) => write!(f, ", returns {by:?} late"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Odds = Odds {
        delays: 0,
        up_to: Duration::from_secs(3),
        failures: 0,
        duplicates: 0,
        lost_leases: 0,
        panics: 0,
        wrong_wakeups: 0,
        jumps: 0,
        jump: Duration::from_millis(1),
    };

    fn fates(odds: &Odds) -> impl Iterator<Item = Fate> {
        (0..4_000).map(|call| Fate::draw(odds, Random::of_call(7, call)))
    }

    #[test]
    fn without_odds_nothing_happens() {
        assert!(fates(&CALM).all(|fate| fate == Fate::default()));
    }

    #[test]
    fn every_fault_happens() {
        let odds = Odds {
            jumps: 10,
            jump: Duration::from_secs(60),
            panics: 10,
            lost_leases: 10,
            ..Odds::default()
        };
        let all = |is: fn(&Fate) -> bool| fates(&odds).filter(is).count();

        assert!(all(|fate| matches!(fate.jump, Some(Jump::Back(_)))) > 20);
        assert!(all(|fate| matches!(fate.jump, Some(Jump::Forward(_)))) > 20);
        assert!(all(|fate| !fate.before.is_zero() && !fate.sent) > 20);
        assert!(all(|fate| !fate.before.is_zero() && fate.sent) > 20);
        assert!(all(|fate| !fate.after.is_zero()) > 20);
        let kinds = [
            StoreErrorKind::Fatal,
            StoreErrorKind::Ambiguous,
            StoreErrorKind::NotApplied,
        ];
        for kind in kinds {
            let failed = fates(&odds).filter(|fate| fate.fault == Some(Fault::Fails(kind)));
            assert!(failed.count() > 20, "{kind:?}");
        }
        assert!(all(|fate| fate.fault == Some(Fault::Unanswered)) > 20);
        assert!(all(|fate| fate.fault == Some(Fault::Panics)) > 20);
        assert!(all(|fate| fate.fault == Some(Fault::PanicsAfter)) > 20);
        assert!(all(|fate| fate.fault == Some(Fault::Twice)) > 20);
        assert!(all(|fate| matches!(fate.fault, Some(Fault::Again(_)))) > 20);
        assert!(all(|fate| matches!(fate.fault, Some(Fault::LosesLease(_)))) > 20);
    }

    #[test]
    fn a_knob_changes_nothing_but_its_own_faults() {
        let delayed = Odds { delays: 20, ..CALM };
        let failing = Odds {
            failures: 10,
            ..delayed
        };

        for (delayed, failing) in fates(&delayed).zip(fates(&failing)) {
            assert_eq!(delayed.fault, None);
            let fault = None;
            assert_eq!(Fate { fault, ..failing }, delayed);
        }
    }

    #[test]
    fn wakeups_are_right_early_or_late() {
        let wakeups = (0..1_000).map(|call| {
            let odds = Odds::default();
            Wakeup::draw(&odds, Random::of_call(7, call))
        });
        let (mut right, mut at_once, mut early, mut late) = (0, 0, 0, 0);
        for wakeup in wakeups {
            match wakeup {
                Wakeup::Right => right += 1,
                Wakeup::Early(Duration::ZERO) => at_once += 1,
                Wakeup::Early(_) => early += 1,
                Wakeup::Late(_) => late += 1,
            }
        }

        assert!(right > 700 && at_once > 20 && early > 20 && late > 50);
    }
}
