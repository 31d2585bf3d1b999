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
        static ALL: &[&LazyLock<Script>] = &[$(&$name),*];
    };
}

scripts! {
    CLAIM = "put.lua" "claim.lua";
    RENEW = "owner.lua" "now.lua" "put.lua" "renew.lua";
    COMPLETE = "owner.lua" "now.lua" "put.lua" "free.lua" "complete.lua";
    ABANDON = "owner.lua" "now.lua" "put.lua" "free.lua" "abandon.lua";
    RELEASE = "owner.lua" "put.lua" "free.lua" "release.lua";
    FORGET = "now.lua" "put.lua" "free.lua" "forget.lua";
    LOOK = "now.lua" "look.lua";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_scripts_are_one() {
        let digests: std::collections::HashSet<_> = ALL.iter().map(|it| &it.digest).collect();
        assert_eq!(digests.len(), ALL.len());
    }

    #[test]
    fn the_window_is_that_of_the_reader() {
        use super::super::form::{HEADER, WINDOW};

        let last = (HEADER + WINDOW - 1).to_string();
        assert!(CLAIM.source.contains(&last));
        assert!(COMPLETE.source.contains(&format!("> {WINDOW}")));
    }
}
