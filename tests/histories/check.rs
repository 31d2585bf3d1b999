//! What is checked, by name.

/// What must hold of every history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Another request, with other parameters, never owns or reads a record.
    AnotherRequest,
    /// A request is answered with what is so: a refusal has its reason, a response is what the handler gave.
    AnswerFits,
    /// The attempts of a record count 1, 2, 3.
    AttemptsCount,
    /// Behind a point of no return nothing runs again; under `OnLost::Refuse` nothing lost does.
    CommittedStays,
    /// The fences of a key increase, also across deletion.
    FencesIncrease,
    /// A key is freed by its own owner, when nothing of it runs, and only where the rule says so.
    FreedRightly,
    /// Each attempt runs once, and each request runs at most one.
    HandlerOnce,
    /// What runs owns its record.
    HandlerOwns,
    /// Two handlers of one key run at a time only where the first one's lease was over, or somebody deleted its record.
    HandlersApart,
    /// Every key can be used in the end.
    KeyUsable,
    /// In the end nothing detached runs, nobody waits, no bound is taken.
    NothingLeft,
    /// A live lease has one owner.
    OneOwner,
    /// What a handler gave that is to be kept is kept, if its process lives and its lease held.
    OutcomeKept,
    /// Who was fenced out changes nothing, and an owner can always write.
    OwnerWrites,
    /// An outcome is in the store before its client hears that it is.
    RecordedFirst,
    /// A record stays as it is until it is released, forgotten or expired; what is kept of it never changes.
    RecordStays,
    /// A replay is the kept outcome, byte for byte.
    ReplayIsKept,
    /// Nobody reads the answer to another scope or key.
    ScopeIsOwn,
    /// The lease-lost signal rises before the store's lease ends.
    SignalFirst,
    /// The store holds what live records explain.
    SizeExplained,
}

/// What does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) check: Check,
    pub(crate) text: String,
}

pub(crate) type Checked = Result<(), Violation>;

pub(crate) fn ensure(holds: bool, check: Check, text: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    let text = text();
    Err(Violation { check, text })
}
