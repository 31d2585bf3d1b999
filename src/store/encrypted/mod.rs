//! Payloads that the store cannot read.

mod keyring;
mod sealed;
mod store;
#[cfg(test)]
mod tests;

pub use keyring::{EncryptionKey, InvalidEncryptionKey, Keyring};
pub use store::Encrypted;
