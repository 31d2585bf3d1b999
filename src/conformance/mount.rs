//! The macro.

/// Makes the tests of a store, one for each obligation: see the [module](crate::conformance).
///
/// It takes a closure that makes a new, empty store, and is async where that takes waiting:
///
/// ```
/// # #[cfg(feature = "memory")] mod tests {
/// # use tower_idempotency::MemoryStore;
/// # struct MyStore;
/// # impl MyStore { async fn connect(_: &str) -> Result<MemoryStore, std::io::Error> { Ok(MemoryStore::new()) } }
/// tower_idempotency::store_conformance!(async || MyStore::connect("my://localhost").await.unwrap());
/// # }
/// ```
///
/// The tests stand in modules beside it, so each store has its own:
///
/// ```
/// # #[cfg(feature = "memory")] mod tests {
/// # use tower_idempotency::MemoryStore;
/// mod in_a_box {
///     use tower_idempotency::{BoxStore, MemoryStore, store_conformance};
///
///     store_conformance!(|| BoxStore::new(MemoryStore::new()));
/// }
/// # }
/// ```
///
/// A store that can do more is examined for that too, by further closures, sync or async. `quota`, `room` and `limit`
/// get a number and make a store:
///
/// * `quota`: one that keeps so many records of a scope, and then answers [`OverQuota`](crate::Claim::OverQuota);
/// * `room`: one that keeps so many records in all, and then answers [`Full`](crate::Claim::Full). In both, a record
///   that has expired may take its place for a second more;
/// * `limit`: one that keeps a payload of so many bytes, and the tombstone of one that is sixteen times as long
///   ([`Tombstoned`](crate::Settled::Tombstoned)).
///
/// ```
/// # #[cfg(feature = "memory")] mod tests {
/// # use tower_idempotency::MemoryStore;
/// tower_idempotency::store_conformance!(
///     || MemoryStore::new(),
///     quota: |records| MemoryStore::new().max_records_per_scope(records),
///     room: |records| MemoryStore::new().max_records(records),
///     limit: |bytes| MemoryStore::new().max_bytes(bytes * 4),
/// );
/// # }
/// ```
///
/// `corrupt` gets a store that the first closure made, and the key of a record, and spoils whatever the store has of
/// it: from then on the record is [`Unreadable`](crate::StoreErrorKind::Unreadable). It is always async:
///
/// ```
/// tower_idempotency::store_conformance!(
///     async || MyStore::connect("my://localhost").await.unwrap(),
///     corrupt: async |store, key| store.set(name_of(key), b"garbage").await.unwrap(),
/// );
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($store:expr $(, $capability:ident: $how:expr)* $(,)?) => {
        #[cfg(test)]
        fn conforms(part: &str, obligation: &str) {
            static CLOCK: $crate::conformance::Clock = $crate::conformance::Clock::new();
            $crate::conformance::Candidate::new($store)
                $(.$capability($how))*
                .check(&CLOCK, part, obligation);
        }

        $crate::__obligations!(every => $crate::__tests);
        $($crate::__obligations!($capability => $crate::__tests);)*
    };
}

/// One test per obligation.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($($part:ident { $($obligation:ident)* })*) => {
        $(
            #[cfg(test)]
            mod $part {
                $(
                    #[test]
                    fn $obligation() {
                        super::conforms(stringify!($part), stringify!($obligation));
                    }
                )*
            }
        )*
    };
}
