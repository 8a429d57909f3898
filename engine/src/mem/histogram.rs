//! A histogram of times: buckets that grow with the time, eight for each doubling. What it reports
//! of a time lies at most 1/16 (6.25 %) beside it. Recording is one addition; two histograms add
//! up; one takes 2.3 KiB and never grows.

use serde::{Deserialize, Serialize};

use crate::limits::LATENCY_NS_MAX;
use crate::types::Nanos;

/// Buckets of one doubling, as a power of two.
const PARTS_LOG: u32 = 3;
const PARTS: u64 = 1 << PARTS_LOG;
const BUCKETS: usize = bucket_of(LATENCY_NS_MAX) + 1;

/// See the module. It serialises with its quantiles, and the buckets that hold something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Summary", from = "Summary")]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
    max_ns: Nanos,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_ns: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Adds `count` times of `time_ns`; longer ones than `LATENCY_NS_MAX` count as that.
    #[inline]
    pub fn record(&mut self, time_ns: Nanos, count: u64) {
        let time_ns = time_ns.min(LATENCY_NS_MAX);
        self.counts[bucket_of(time_ns)] += count;
        self.sum_ns = self.sum_ns.saturating_add(time_ns.saturating_mul(count));
        if count > 0 {
            self.max_ns = self.max_ns.max(time_ns);
        }
    }

    /// Adds what another one recorded.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// What was recorded since `earlier`, a copy of this one then; the maximum is of all time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        since.sum_ns = since.sum_ns.saturating_sub(earlier.sum_ns);
        since
    }

    /// Times recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the times, nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The time that `share` (0 to 1) of those recorded do not exceed, nanoseconds; 0 of none.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> Nanos {
        let rank = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let (first, last) = (first_of(bucket), last_of(bucket));
                return (first + (last - first) / 2).min(self.max_ns);
            }
        }
        0
    }

    /// Times recorded of at most `time_ns`, where that is the last one of its bucket: a power of
    /// two minus one is.
    #[must_use]
    pub fn count_until(&self, time_ns: Nanos) -> u64 {
        self.counts[..=bucket_of(time_ns.min(LATENCY_NS_MAX))].iter().sum()
    }
}

const fn bucket_of(time_ns: Nanos) -> usize {
    if time_ns < PARTS {
        return time_ns as usize;
    }
    let doubling = time_ns.ilog2() - PARTS_LOG;
    (doubling as u64 * PARTS + (time_ns >> doubling)) as usize
}

fn first_of(bucket: usize) -> Nanos {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return bucket;
    }
    let doubling = bucket / PARTS - 1;
    (bucket % PARTS + PARTS) << doubling
}

fn last_of(bucket: usize) -> Nanos {
    first_of(bucket + 1) - 1
}

/// A histogram as it is written down.
#[derive(Serialize, Deserialize)]
struct Summary {
    count: u64,
    sum_ns: u64,
    max_ns: Nanos,
    p50_ns: Nanos,
    p90_ns: Nanos,
    p99_ns: Nanos,
    p99_9_ns: Nanos,
    // Last time of a bucket, and how many fell into it.
    buckets_ns: Vec<(Nanos, u64)>,
}

impl From<Histogram> for Summary {
    fn from(of: Histogram) -> Self {
        let buckets = of.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Self {
            count: of.count(),
            sum_ns: of.sum_ns,
            max_ns: of.max_ns,
            p50_ns: of.quantile_ns(0.5),
            p90_ns: of.quantile_ns(0.9),
            p99_ns: of.quantile_ns(0.99),
            p99_9_ns: of.quantile_ns(0.999),
            buckets_ns: buckets.map(|(bucket, count)| (last_of(bucket), *count)).collect(),
        }
    }
}

impl From<Summary> for Histogram {
    fn from(from: Summary) -> Self {
        let mut histogram = Self::default();
        for (last_ns, count) in from.buckets_ns {
            let bucket = bucket_of(last_ns.min(LATENCY_NS_MAX));
            histogram.counts[bucket] = histogram.counts[bucket].saturating_add(count);
        }
        Self { sum_ns: from.sum_ns, max_ns: from.max_ns, ..histogram }
    }
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
