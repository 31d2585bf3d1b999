//! What must hold whatever the input: one function for each kind of input, which makes something of any bytes and panics
//! where its property does not hold.
//!
//! The unit tests drive them with random bytes and with the seeds of `fuzz/seeds/`; the targets of `fuzz/` are these very
//! functions, driven by coverage.

mod canonical;
mod json;
mod key;
mod pointer;
mod quoted;
mod request;
mod wire;

pub use canonical::canonical;
pub use key::key;
pub use pointer::pointer;
pub use quoted::quoted;
pub use request::request;
pub use wire::wire;

/// Stands in no UTF-8 text, and so between the parts of an input.
const END: u8 = 0xff;

/// The parts of an input.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == END)
}

/// An input that is read from its front; what is behind its end is zero.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// A number below `bound`. Digits stand for themselves, so that seeds can be read.
    fn below(&mut self, bound: u8) -> u8 {
        let digit = self.bytes(1).first();
        digit.map_or(0, |digit| digit.wrapping_sub(b'0') % bound)
    }

    /// So many bytes, or those that there are.
    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

#[cfg(test)]
mod tests;
