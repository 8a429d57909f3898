//! What runs did, so that a test can tell whether they still reach everything.

use aquifer::shard::ShardCounters;

use crate::sim::faults::ByFault;

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
    /// Stores that claimed what was written before them.
    pub claims: u64,
    /// Tablets of the checkpoint that had most.
    pub tablets_max: u64,
    /// Faults that a simulated shard met.
    pub met: ByFault<u64>,
    /// Requests that failed with damage that stays.
    pub damage_seen: u64,
    /// Writes that were refused for it.
    pub refused_writes: u64,
    /// Checkpoints that could not be opened for it.
    pub refused_opens: u64,
    /// Extents that the cache on the SSD gave back.
    pub ssd_hits: u64,
    /// Extents that it gave back damaged.
    pub ssd_damaged: u64,
    /// Requests to it that failed.
    pub ssd_failures: u64,
    /// Merges that compactors did.
    pub errands_done: u64,
    /// Merges that came back from compactors.
    pub errands_returned: u64,
    /// Merges that compactors went on with when nobody waited for them any more.
    pub errands_late: u64,
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

fn sum(reports: &[Report], of: fn(&Report) -> u64) -> u64 {
    reports.iter().map(of).sum()
}

/// What runs asked for together, by name.
#[must_use]
fn asked_for(reports: &[Report]) -> Vec<(&'static str, u64)> {
    vec![
        ("requests", sum(reports, |r| r.requests)),
        ("checkpoints", sum(reports, |r| r.checkpoints)),
        ("crashes", sum(reports, |r| r.crashes)),
        ("restores", sum(reports, |r| r.restores)),
    ]
}

/// That, and what it had shards do.
#[must_use]
pub fn reached(reports: &[Report]) -> Vec<(&'static str, u64)> {
    let mut all = asked_for(reports);
    all.extend([
        ("flushes", sum(reports, |r| r.counters.flushes)),
        ("merges", sum(reports, |r| r.counters.merges)),
        ("stalls", sum(reports, |r| r.counters.stalls)),
        ("rows evicted", sum(reports, |r| r.counters.rows_evicted)),
        ("hits in memory", sum(reports, |r| r.counters.requests.row_hits)),
        ("reads", sum(reports, |r| r.counters.coalescer.reads)),
        ("joined reads", sum(reports, |r| r.counters.coalescer.joins)),
        ("merged reads", sum(reports, |r| r.counters.coalescer.merged)),
    ]);
    all
}

/// That, and merges of compactors.
#[must_use]
pub fn reached_elsewhere(reports: &[Report]) -> Vec<(&'static str, u64)> {
    let mut all = reached(reports);
    all.push(("merges elsewhere", sum(reports, |r| r.errands_done)));
    all
}

/// What programs through the C interface asked for; it has no counters of shards.
#[must_use]
pub fn asked_of_c(reports: &[Report]) -> Vec<(&'static str, u64)> {
    let mut all = asked_for(reports);
    all.push(("requests that a close ended", sum(reports, |r| r.failed)));
    all
}
