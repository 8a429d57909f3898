//! What is measured between two moments: counts, latencies, pauses.

use hdrhistogram::Histogram;

use super::flight::Tally;
use super::report::LatencyUs;

const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Everything the load generator counts itself. Times are nanoseconds since the runner's start.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) tally: Tally,
    latency_ns: Histogram<u64>,
    completed_last_ns: u64,
    pause_ns_max: u64,
}

impl Window {
    pub(super) fn starting_at(now_ns: u64) -> Self {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the histogram accepts");
        Self { tally: Tally::default(), latency_ns, completed_last_ns: now_ns, pause_ns_max: 0 }
    }

    /// Records operations that completed by `now_ns`, by their start times.
    #[inline]
    pub(super) fn record(&mut self, starts_ns: &[u64], tally: Tally, now_ns: u64) {
        self.tally.ops += tally.ops;
        self.tally.writes += tally.writes;
        self.tally.wrong += tally.wrong;
        self.tally.missing += tally.missing;
        // Operations of one submit that complete in one poll share their latency: recorded at once.
        for run in starts_ns.chunk_by(|one, two| one == two) {
            let latency_ns = now_ns.saturating_sub(run[0]).clamp(1, LATENCY_NS_MAX);
            self.latency_ns.saturating_record_n(latency_ns, run.len() as u64);
        }
        if !starts_ns.is_empty() {
            self.close(now_ns);
            self.completed_last_ns = now_ns;
        }
    }

    /// Counts the stretch since the last completion as a pause, at the end too.
    pub(super) fn close(&mut self, now_ns: u64) {
        self.pause_ns_max = self.pause_ns_max.max(now_ns - self.completed_last_ns);
    }

    pub(super) fn longest_pause_ms(&self) -> f64 {
        self.pause_ns_max as f64 / 1e6
    }

    pub(super) fn latency_us(&self) -> LatencyUs {
        let us = |quantile: f64| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        LatencyUs {
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p99_9: us(0.999),
            p99_99: us(0.9999),
            max: self.latency_ns.max() as f64 / 1e3,
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
