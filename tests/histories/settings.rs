//! What the layer, its store and the world around them are like in one history.

use std::time::Duration;

use tower_idempotency::{
    ChaosClock, ChaosStore, IdempotencyLayer, InFlight, Keep, OnLost, Reconcile, Scope, Store,
};

use crate::hook::Hook;
use crate::random::Random;

/// Who sends a request, put into its extensions.
#[derive(Clone)]
pub(crate) struct Principal(pub(crate) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    All,
    Final,
    Success,
}

/// What becomes of a lost owner's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Reconcile,
    Refuse,
    Rerun,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Nothing fails, nothing is killed, nobody stands still for long: then nothing may go wrong at all.
    pub(crate) is_gentle: bool,
    pub(crate) processes: usize,
    pub(crate) steps: usize,
    pub(crate) lost: Lost,
    pub(crate) rule: Rule,
    pub(crate) wait: Duration,
    pub(crate) lease: Duration,
    pub(crate) retention: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) settle_for: Duration,
    pub(crate) hold_for: Duration,
    pub(crate) max_execution: Option<Duration>,
    pub(crate) max_detached: usize,
    pub(crate) max_kept_response: usize,
    chaos: Odds,
}

#[derive(Clone, Debug)]
struct Odds {
    delays: (u8, Duration),
    failures: u8,
    duplicates: u8,
    lost_leases: u8,
    panics: u8,
    wrong_wakeups: u8,
    jumps: (u8, Duration),
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Settings {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::of(seed, "settings", 0);
        let random = &mut random;
        let is_gentle = random.percent(20);
        let lease = ms(random.of_these(&[1_500, 3_000, 6_000]));
        let retention = ms(random.of_these(&[4_000, 10_000, 20_000, 60_000]));
        Self {
            is_gentle,
            processes: random.of_these(&[1, 1, 2, 2, 3]),
            steps: random.within(15..45) as usize,
            lost: random.of_these(&[Lost::Rerun, Lost::Rerun, Lost::Refuse, Lost::Reconcile]),
            rule: random.of_these(&[Rule::Success, Rule::Success, Rule::Final, Rule::All]),
            wait: ms(random.of_these(&[0, 0, 500, 2_000, 10_000])),
            lease,
            retention,
            store_timeout: ms(random.of_these(&[100, 400, 1_000])),
            settle_for: ms(random.of_these(&[2_000, 8_000])),
            hold_for: ms(random.of_these(&[50, 500])),
            max_execution: random.of_these(&[None, Some(ms(2_500)), Some(ms(8_000))]),
            max_detached: random.of_these(&[1_000, 1_000, 1_000, 3]),
            max_kept_response: 200,
            chaos: Odds::draw(random, is_gentle, lease),
        }
    }

    /// The store, with what happens to its calls.
    pub(crate) fn chaos<St: Store>(
        &self,
        store: St,
        seed: u64,
        clock: &ChaosClock,
    ) -> ChaosStore<St> {
        let odds = &self.chaos;
        ChaosStore::new(store, seed)
            .delays(odds.delays.0, odds.delays.1)
            .failures(odds.failures)
            .duplicates(odds.duplicates)
            .lost_leases(odds.lost_leases)
            .panics(odds.panics)
            .wrong_wakeups(odds.wrong_wakeups)
            .clock_jumps(clock, odds.jumps.0, odds.jumps.1)
    }

    pub(crate) fn layer<St: Store>(&self, store: St, hook: &Hook) -> IdempotencyLayer<St> {
        let hook = hook.clone();
        let hook = Reconcile::new(move |lost| hook.clone().ask(lost)).at_most(self.lease);
        IdempotencyLayer::new(store)
            .scope(Scope::extension(|principal: &Principal| principal.0))
            .on_lost(match self.lost {
                Lost::Reconcile => OnLost::Reconcile(hook),
                Lost::Refuse => OnLost::Refuse,
                Lost::Rerun => OnLost::Rerun,
            })
            .keep(match self.rule {
                Rule::All => Keep::All,
                Rule::Final => Keep::Final,
                Rule::Success => Keep::Success,
            })
            .in_flight(match self.wait {
                Duration::ZERO => InFlight::reject(),
                wait => InFlight::wait(wait),
            })
            .lease(self.lease)
            .retention(self.retention)
            .store_timeout(self.store_timeout)
            .settle_for(self.settle_for)
            .hold_for(self.hold_for)
            .max_execution(self.max_execution)
            .max_detached(self.max_detached)
            .max_kept_response(self.max_kept_response)
    }

    /// Whether the rule keeps a response with this status.
    pub(crate) fn keeps(&self, status: u16) -> bool {
        match self.rule {
            Rule::All => true,
            Rule::Final => status < 500 && ![401, 403, 408, 409, 425, 429].contains(&status),
            Rule::Success => (200..400).contains(&status),
        }
    }
}

impl Odds {
    fn draw(random: &mut Random, is_gentle: bool, lease: Duration) -> Self {
        // Each fault is absent from some histories, so that none hides what another one shows.
        let mut some = |these: &[u8]| if is_gentle { 0 } else { random.of_these(these) };
        Self {
            delays: (
                some(&[0, 20, 50]),
                ms(1) + lease / some(&[1, 4, 20]).max(1).into(),
            ),
            failures: some(&[0, 0, 5, 10, 30]),
            duplicates: some(&[0, 0, 5, 20]),
            lost_leases: some(&[0, 0, 2, 10]),
            panics: some(&[0, 0, 1, 3]),
            wrong_wakeups: some(&[0, 0, 20, 60]),
            jumps: (some(&[0, 0, 0, 2]), 2 * lease),
        }
    }
}
