//! The verbs as the server runs them: one script each, over one key.

use std::sync::LazyLock;

/// A script and the digest by which a server that has it is called.
pub(super) struct Script {
    pub(super) source: &'static str,
    pub(super) digest: String,
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let source = concat!($(include_str!($file)),+);
            let digest = redis::Script::new(source).get_hash().to_owned();
            Script { source, digest }
        });)*

        #[cfg(test)]
        static ALL: &[(&str, &LazyLock<Script>)] = &[$((stringify!($name), &$name)),*];
    };
}

scripts! {
    CLAIM = "claim.lua";
    RENEW = "owner.lua" "now.lua" "renew.lua";
    COMPLETE = "owner.lua" "now.lua" "free.lua" "complete.lua";
    ABANDON = "owner.lua" "now.lua" "free.lua" "abandon.lua";
    RELEASE = "owner.lua" "free.lua" "release.lua";
    FORGET = "now.lua" "free.lua" "forget.lua";
    LOOK = "now.lua" "look.lua";
}
