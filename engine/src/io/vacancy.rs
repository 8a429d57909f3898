//! The word between who fills a bounded ring and who empties it: the one that found it full is told
//! when there are places again. `tests/tests/interleavings.rs` tries every interleaving.

use crate::io::sync::{AtomicBool, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Vacancy {
    wanted: AtomicBool,
}

impl Vacancy {
    /// Nobody waits for a place.
    pub(crate) fn new() -> Self {
        Self { wanted: AtomicBool::new(false) }
    }

    /// The filler found no place. It must try once more before it relies on being told: a place may
    /// have come just before. Whichever of the two swaps comes second sees the other side.
    pub(crate) fn want(&self) {
        self.wanted.swap(true, Ordering::AcqRel);
    }

    /// The emptier took something. True if the filler is to be told.
    pub(crate) fn made(&self) -> bool {
        self.wanted.swap(false, Ordering::AcqRel)
    }
}
