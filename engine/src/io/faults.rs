//! Latency and failures that a DFS url injects. They act on ring reads, on job I/O and on
//! blocking operations alike; nothing here sleeps or draws real randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

/// What to inject into each operation. Shared by every thread that uses the DFS.
#[derive(Debug)]
pub struct Faults {
    latency: Nanos,
    // An operation fails if its draw is below this: the probability times 2^64.
    fail_below: u64,
    draws: AtomicU64,
}

impl Faults {
    /// Injects `latency` into each operation, and a failure with probability `fail`, drawn from a
    /// sequence that `seed` fixes.
    #[must_use]
    pub fn new(latency: Nanos, fail: f64, seed: u64) -> Self {
        // The cast saturates: a probability of one becomes the largest number.
        let fail_below = (fail * 2f64.powi(64)) as u64;
        Self { latency, fail_below, draws: AtomicU64::new(seed) }
    }

    /// True if nothing is injected.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.latency == 0 && self.fail_below == 0
    }

    /// What an operation takes longer, nanoseconds.
    #[must_use]
    pub fn latency(&self) -> Nanos {
        self.latency
    }

    /// Draws the fate of one operation.
    ///
    /// # Errors
    /// The injected failure.
    pub fn draw(&self, operation: &str) -> Result<()> {
        if self.fail_below == 0 || self.next() >= self.fail_below {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Io,
            format!("injected failure of {operation} (fail= of the DFS url)"),
        ))
    }

    // SplitMix64: its state is a counter, so threads share it with one addition.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.draws.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
