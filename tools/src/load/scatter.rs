//! A bijection of `[0, count)` that scatters popularity ranks over the records, and its inverse.
//!
//! Three rounds of multiply, add and xor-shift permute the words of the smallest power of two that
//! holds `count`; a result outside `[0, count)` goes through again (cycle walking), on average
//! less than twice.

use super::rng::{Rng, inverse_of_odd};

const ROUNDS: usize = 3;

/// See the module.
#[derive(Clone, Debug)]
pub struct Scatter {
    count: u64,
    mask: u64,
    /// At least half of the bits, so that `x ^ (x >> shift)` is its own inverse.
    shift: u32,
    rounds: [Round; ROUNDS],
}

#[derive(Clone, Copy, Debug)]
struct Round {
    multiplier: u64,
    inverse: u64,
    addend: u64,
}

impl Scatter {
    /// A permutation of `[0, count)`, another one for every seed.
    ///
    /// # Panics
    /// If `count` is 0: there is nothing to permute.
    pub fn new(count: u64, seed: u64) -> Self {
        assert!(count > 0, "a permutation of nothing");
        let bits = (64 - (count - 1).leading_zeros()).max(1);
        let mut rng = Rng::new(seed);
        let rounds = [(); ROUNDS].map(|()| {
            let multiplier = rng.next_u64() | 1;
            Round { multiplier, inverse: inverse_of_odd(multiplier), addend: rng.next_u64() }
        });
        Self { count, mask: u64::MAX >> (64 - bits), shift: bits.div_ceil(2), rounds }
    }

    /// Where the permutation sends `rank`.
    #[inline]
    pub fn index_of(&self, rank: u64) -> u64 {
        debug_assert!(rank < self.count);
        let mut x = rank;
        loop {
            for round in &self.rounds {
                x = x.wrapping_mul(round.multiplier).wrapping_add(round.addend) & self.mask;
                x ^= x >> self.shift;
            }
            if x < self.count {
                return x;
            }
        }
    }

    /// What the permutation sends to `index`.
    #[inline]
    pub fn rank_of(&self, index: u64) -> u64 {
        debug_assert!(index < self.count);
        let mut x = index;
        loop {
            for round in self.rounds.iter().rev() {
                x ^= x >> self.shift;
                x = x.wrapping_sub(round.addend).wrapping_mul(round.inverse) & self.mask;
            }
            if x < self.count {
                return x;
            }
        }
    }
}

#[cfg(test)]
#[path = "scatter_tests.rs"]
mod tests;
