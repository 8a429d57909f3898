//! When a request is late, as hedging asks.

use crate::limits::HEDGE_WINDOW;
use crate::mem::histogram::Histogram;
use crate::types::Nanos;

/// When a request to a server is late: after longer than 99 of 100 of its last answers took.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    times: Histogram,
    recorded: u32,
    late_after: Option<Nanos>,
}

impl Tail {
    /// A request was answered after so long.
    pub(crate) fn answered(&mut self, took: Nanos) {
        self.times.record(took, 1);
        self.recorded += 1;
        if self.recorded >= HEDGE_WINDOW {
            self.late_after = Some(self.times.quantile_ns(0.99));
            (self.times, self.recorded) = (Histogram::default(), 0);
        }
    }

    /// How long a request may take; `None` while that is not known.
    pub(crate) fn late_after(&self) -> Option<Nanos> {
        self.late_after
    }
}
