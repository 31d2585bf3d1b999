//! What may be done to a store, in any order.

use proptest::prelude::*;
use tower_idempotency::{RecordKey, TakeOver};

use crate::support::key_of;

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Claim {
        key: RecordKey,
        print: u8,
        lease: u64,
        retention: u64,
        rule: TakeOver,
    },
    ClaimAgain {
        earlier: prop::sample::Index,
    },
    Renew {
        owner: prop::sample::Index,
        lease: u64,
        committed: bool,
    },
    Complete {
        owner: prop::sample::Index,
        retention: u64,
    },
    Abandon {
        owner: prop::sample::Index,
    },
    Release {
        owner: prop::sample::Index,
    },
    Forget {
        key: RecordKey,
        force: bool,
    },
    Erase {
        key: RecordKey,
    },
    Pass {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let key = || (1..=2_u8, 0..2_u64).prop_map(|(scope, number)| key_of(scope, number));
    let lease = || prop::sample::select(vec![0, 1, 5, 30]);
    let retention = || prop::sample::select(vec![1, 10, 40, 100]);
    let rule = prop::sample::select(vec![
        TakeOver::Never,
        TakeOver::Uncommitted,
        TakeOver::Uncommitted,
        TakeOver::Always,
    ]);
    let print = prop::sample::select(vec![1, 1, 1, 2]);
    let owner = any::<prop::sample::Index>;
    prop_oneof![
        6 => (key(), print, lease(), retention(), rule).prop_map(
            |(key, print, lease, retention, rule)| {
                Step::Claim { key, print, lease, retention, rule }
            }
        ),
        2 => owner().prop_map(|earlier| Step::ClaimAgain { earlier }),
        3 => (owner(), lease(), any::<bool>())
            .prop_map(|(owner, lease, committed)| Step::Renew { owner, lease, committed }),
        2 => (owner(), retention()).prop_map(|(owner, retention)| Step::Complete { owner, retention }),
        2 => owner().prop_map(|owner| Step::Abandon { owner }),
        2 => owner().prop_map(|owner| Step::Release { owner }),
        1 => (key(), any::<bool>()).prop_map(|(key, force)| Step::Forget { key, force }),
        1 => key().prop_map(|key| Step::Erase { key }),
        5 => (0..20_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}
