//! The word between a thread that sleeps and the threads that have something for it: they publish
//! it, then ring. How the sleeper is woken is up to the caller (`doorbell.rs`).
//!
//! One atomic holds the whole protocol, so no fence is needed:
//!
//! | from | by | to |
//! |---|---|---|
//! | awake | `ring` | rung |
//! | awake | sleeper, `try_sleep` | sleeping (may park) |
//! | rung | sleeper, `try_sleep` | awake (must look again) |
//! | sleeping | `ring` | rung, and the sleeper is to be woken |
//! | any | sleeper, `wake` | awake |
//!
//! A ringer publishes, then swaps; the sleeper swaps, then looks. Whichever swap comes second sees
//! the other, so a ring is never lost, and waking is needed only if the sleeper sleeps.
//! `tests/tests/interleavings.rs` tries every interleaving of this file.

use crate::io::sync::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const RUNG: u8 = 2;

/// See the module. Any thread may ring it; the other methods are the sleeper's.
#[derive(Debug)]
pub(crate) struct Bell(AtomicU8);

impl Bell {
    /// A bell whose owner is awake.
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(AWAKE))
    }

    /// Tells the sleeper that there is something new. True if it sleeps and must be woken. What
    /// was written before the call is visible to the sleeper once it looks.
    pub(crate) fn ring(&self) -> bool {
        self.0.swap(RUNG, Ordering::AcqRel) == SLEEPING
    }

    /// Announces that the sleeper will sleep. False if the bell rang since the last look: then it
    /// must look again instead.
    pub(crate) fn try_sleep(&self) -> bool {
        let slept = self.0.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Acquire);
        if slept == Err(RUNG) {
            self.wake();
        }
        slept != Err(RUNG)
    }

    /// The sleeper is awake and will look. True if the bell rang.
    pub(crate) fn wake(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == RUNG
    }

    /// True if the bell rang since the last look. A load where nothing happened.
    pub(crate) fn take_rung(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RUNG && self.wake()
    }
}
