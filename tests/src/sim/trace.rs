//! A hash over everything that reaches the shard and leaves it, by value.

use aquifer::codec::hash::hash64;

/// The hash so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace(pub u64);

impl Trace {
    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.number(hash64(bytes));
    }

    /// Adds whether something went well.
    pub fn result<T, E>(&mut self, result: &Result<T, E>) {
        self.number(u64::from(result.is_ok()));
    }
}
