//! A disk that refuses or damages something: after some of that the cache is left alone for a
//! while, and tried again. The log has one line when that begins and one when it is over, however
//! often it is tried in between.

use crate::limits::{SSD_FAILURES_MAX, SSD_PAUSE_NS};
use crate::types::Nanos;

#[derive(Debug, Default)]
pub(super) struct Trouble {
    // In a row.
    failures: u32,
    paused_until: Nanos,
    // The log has said that it began.
    told: bool,
    // The last write was refused.
    refused: bool,
    // Something succeeded since the last pause.
    worked: bool,
}

impl Trouble {
    pub fn is_paused(&self, now: Nanos) -> bool {
        self.paused_until > now
    }

    /// A read or a look failed, or brought something else.
    pub fn failed(&mut self, now: Nanos, why: &str) {
        self.failures += 1;
        if self.failures < SSD_FAILURES_MAX || self.is_paused(now) {
            return;
        }
        self.failures = 0;
        self.worked = false;
        self.paused_until = now.saturating_add(SSD_PAUSE_NS);
        if !self.told {
            self.told = true;
            let pause_s = SSD_PAUSE_NS / 1_000_000_000;
            log::warn!(
                "the cache on the SSD is left alone, the DFS serves, and it is tried again every \
                 {pause_s} s: {why}"
            );
        }
    }

    /// A write failed: that is enough.
    pub fn refused(&mut self, now: Nanos, why: &str) {
        self.refused = true;
        self.failures = SSD_FAILURES_MAX;
        self.failed(now, why);
    }

    /// A read brought what was written.
    pub fn worked(&mut self) {
        self.failures = 0;
        self.worked = true;
    }

    /// A write succeeded.
    pub fn written(&mut self) {
        self.refused = false;
        self.worked();
    }

    /// Tells that it is over once it has worked for as long as it would have been left alone: a
    /// disk that is full still reads, and one that damages still writes.
    pub fn look(&mut self, now: Nanos) {
        let well_since = self.paused_until.saturating_add(SSD_PAUSE_NS);
        if self.told && self.worked && !self.refused && now >= well_since {
            self.told = false;
            log::info!("the cache on the SSD serves again");
        }
    }
}

#[cfg(test)]
#[path = "trouble_tests.rs"]
mod tests;
