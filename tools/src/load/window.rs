//! What is measured between two moments: counts, latencies, pauses.

use hdrhistogram::Histogram;

use super::flight::Tally;
use super::report::{LatencyUs, Sample};

const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
/// What is left of a phase behind its last second is a sample of its own if it is as long: of
/// less, the rate would be noise.
const SAMPLE_NS_MIN: u64 = 200_000_000;
/// Points of the spectrum of latencies for each decade of operations.
const SPECTRUM_STEPS: i32 = 8;
/// Decades of it at most: the slowest of a million operations.
const SPECTRUM_DECADES_MAX: i32 = 6;

/// Everything the load generator counts itself. Times are nanoseconds since the runner's start.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) tally: Tally,
    /// Up to the last sample.
    latency_ns: Histogram<u64>,
    /// Since then.
    recent_ns: Histogram<u64>,
    started_ns: u64,
    sampled_ns: u64,
    samples: Vec<Sample>,
    completed_last_ns: u64,
    pause_ns_max: u64,
}

impl Window {
    pub(super) fn starting_at(now_ns: u64) -> Self {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the histogram accepts");
        Self {
            tally: Tally::default(),
            recent_ns: latency_ns.clone(),
            latency_ns,
            started_ns: now_ns,
            sampled_ns: now_ns,
            samples: Vec::new(),
            completed_last_ns: now_ns,
            pause_ns_max: 0,
        }
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
            self.recent_ns.saturating_record_n(latency_ns, run.len() as u64);
        }
        if !starts_ns.is_empty() {
            self.close(now_ns);
            self.completed_last_ns = now_ns;
        }
    }

    /// Makes a sample of what was recorded since the last one.
    pub(super) fn sample(&mut self, now_ns: u64, rss_bytes: u64) {
        let recent = &self.recent_ns;
        let us = |quantile: f64| recent.value_at_quantile(quantile) as f64 / 1e3;
        self.samples.push(Sample {
            at_s: (now_ns - self.started_ns) as f64 / 1e9,
            ops_per_s: recent.len() as f64 / ((now_ns - self.sampled_ns).max(1) as f64 / 1e9),
            p50_us: us(0.5),
            p99_us: us(0.99),
            max_us: recent.max() as f64 / 1e3,
            rss_bytes,
        });
        self.sampled_ns = now_ns;
        self.gather();
    }

    /// The end of what is measured.
    pub(super) fn end(&mut self, now_ns: u64, rss_bytes: u64) {
        self.close(now_ns);
        if now_ns - self.sampled_ns >= SAMPLE_NS_MIN {
            self.sample(now_ns, rss_bytes);
        }
        self.gather();
    }

    fn gather(&mut self) {
        self.latency_ns.add(&self.recent_ns).expect("both have the same bounds");
        self.recent_ns.reset();
    }

    /// Second by second, the last one perhaps shorter.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.clone()
    }

    /// Quantiles and their latencies, evenly spread over the decades of 1 / (1 - quantile).
    pub(super) fn spectrum_us(&self) -> Vec<[f64; 2]> {
        let tail = |step: i32| 10_f64.powf(-f64::from(step) / f64::from(SPECTRUM_STEPS));
        let ops = self.latency_ns.len() as f64;
        let steps = 0..=SPECTRUM_DECADES_MAX * SPECTRUM_STEPS;
        let known = steps.map(|step| (1.0 - tail(step), tail(step) * ops));
        let known = known.take_while(|(_, behind)| *behind >= 1.0);
        let us = |quantile: f64| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        known.map(|(quantile, _)| [quantile, us(quantile)]).collect()
    }

    /// Counts the stretch since the last completion as a pause, at the end too.
    pub(super) fn close(&mut self, now_ns: u64) {
        self.pause_ns_max = self.pause_ns_max.max(now_ns - self.completed_last_ns);
    }

    pub(super) fn longest_pause_ms(&self) -> f64 {
        self.pause_ns_max as f64 / 1e6
    }

    /// Up to the last sample.
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
