//! The table, a test for every row.

mod endings;
mod leases;
mod meetings;
mod reconciling;
mod stores;
mod uploads;

/// A test for every row.
macro_rules! rows {
    ($(fn $name:ident() => $row:expr,)*) => {
        $(#[test]
        fn $name() {
            crate::rounds::sweep(|| $row);
        })*
    };
}
pub(crate) use rows;
