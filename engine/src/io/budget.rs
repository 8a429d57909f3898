//! What may be tried again at one store, in all: a store that fails for everybody is not asked by
//! everybody again. What it serves earns tries, and each retry takes one; where none is left, those
//! who would try again wait, and now and then one of them is let through to see.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::limits::{RETRY_EARNED_MILLI, RETRY_FLOOR_NS, RETRY_REGAINED_MILLI, RETRY_TRIES_MAX};
use crate::types::Nanos;

/// A try, in the unit that tries are counted in.
const TRY: i64 = 1_000;
const MOST: i64 = RETRY_TRIES_MAX * TRY;

/// See the module; one for each store of an engine, for all its shards and jobs.
#[derive(Debug)]
pub(crate) struct Budget {
    // Thousandths of tries.
    left: AtomicI64,
    // When one is let through that has none.
    next_floor: AtomicU64,
    held: AtomicU64,
}

impl Budget {
    /// One that was not used yet.
    pub(crate) fn new() -> Self {
        let (next_floor, held) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { left: AtomicI64::new(MOST), next_floor, held }
    }

    /// The store served an operation, `retried` if not at its first try.
    pub(crate) fn served(&self, retried: bool) {
        let earned = if retried { RETRY_REGAINED_MILLI } else { RETRY_EARNED_MILLI };
        // A full one is looked at and not written, which shards would wait for.
        if self.left.load(Ordering::Relaxed) < MOST {
            let more = |left: i64| Some((left + earned).min(MOST));
            let _always = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// True if an operation that failed may be tried again now.
    pub(crate) fn take(&self, now: Nanos) -> bool {
        let less = |left: i64| (left >= TRY).then_some(left - TRY);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return true;
        }
        let due = |next: Nanos| (next <= now).then_some(now.saturating_add(RETRY_FLOOR_NS));
        self.next_floor.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }

    /// Counts an operation whose retry waits for more than its time.
    pub(crate) fn count_held(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// Those so far.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
