//! The random numbers of the load generator: one multiplicative mixer, used as a generator and as a
//! bijection of the 64-bit words.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
const UNMIX: [u64; 2] = [inverse_of_odd(MIX[0]), inverse_of_odd(MIX[1])];

/// Scatters a word over all words; a bijection, see [`unmix64`].
#[inline]
pub fn mix64(word: u64) -> u64 {
    let mut x = word;
    x = (x ^ (x >> 30)).wrapping_mul(MIX[0]);
    x = (x ^ (x >> 27)).wrapping_mul(MIX[1]);
    x ^ (x >> 31)
}

/// The word that [`mix64`] turned into `word`.
#[inline]
pub fn unmix64(word: u64) -> u64 {
    let mut x = word;
    x = (x ^ (x >> 31) ^ (x >> 62)).wrapping_mul(UNMIX[1]);
    x = (x ^ (x >> 27) ^ (x >> 54)).wrapping_mul(UNMIX[0]);
    x ^ (x >> 30) ^ (x >> 60)
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each step doubles the correct
/// bits.
pub const fn inverse_of_odd(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

/// A generator that costs about a nanosecond a word. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        Self { state: mix64(seed ^ GOLDEN) }
    }

    /// The next word.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix64(self.state)
    }

    /// Uniform in `[0, bound)`; off by at most `bound / 2^64`, which no run is long enough to see.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `[0, 1)`, with 53 bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}
