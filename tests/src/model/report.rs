//! What runs did, so that a test can tell whether they still reach everything.

use aquifer::shard::ShardCounters;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Hash over everything that crossed the boundary of a simulated shard.
    pub trace: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Checkpoints that gave a handle.
    pub checkpoints: u64,
    /// Crashes; of a real engine, its drops.
    pub crashes: u64,
    /// Stores opened from a checkpoint.
    pub restores: u64,
    /// Tablets of the checkpoint that had most.
    pub tablets_max: u64,
    /// Reads that brought a part of their bytes.
    pub short_reads: u64,
    /// Counters of all shards of the run.
    pub counters: ShardCounters,
}

impl Report {
    /// Adds the counters of a shard that ends.
    pub(super) fn add(&mut self, now: &ShardCounters) {
        let sum = &mut self.counters;
        sum.flushes += now.flushes;
        sum.merges += now.merges;
        sum.stalls += now.stalls;
        sum.rows_evicted += now.rows_evicted;
        sum.requests.add(&now.requests);
        sum.job_failures += now.job_failures;
        sum.coalescer.reads += now.coalescer.reads;
        sum.coalescer.joins += now.coalescer.joins;
        sum.coalescer.merged += now.coalescer.merged;
    }
}

/// What runs did together, by name.
#[must_use]
pub fn reached(reports: &[Report]) -> Vec<(&'static str, u64)> {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum();
    vec![
        ("requests", sum(|r| r.requests)),
        ("checkpoints", sum(|r| r.checkpoints)),
        ("crashes", sum(|r| r.crashes)),
        ("restores", sum(|r| r.restores)),
        ("flushes", sum(|r| r.counters.flushes)),
        ("merges", sum(|r| r.counters.merges)),
        ("stalls", sum(|r| r.counters.stalls)),
        ("rows evicted", sum(|r| r.counters.rows_evicted)),
        ("hits in memory", sum(|r| r.counters.requests.row_hits)),
        ("reads", sum(|r| r.counters.coalescer.reads)),
        ("joined reads", sum(|r| r.counters.coalescer.joins)),
        ("merged reads", sum(|r| r.counters.coalescer.merged)),
    ]
}
