//! Which faults a seed injects, and how often. Each seed draws its own mix (swarm testing): a
//! fault that is always on hides what needs a long undisturbed run.

use aquifer::limits::{JOB_FAILURES_MAX, MERGES_MAX};

use crate::sim::rng::Rng;

/// Chances in ten thousand.
#[derive(Clone, Debug, Default)]
pub struct FaultMix {
    /// A read of the shard or a job fails.
    pub read_error: u32,
    /// A bit of what a read returns is flipped.
    pub read_flip: u32,
    /// A read brings a part of its bytes; behind them its buffer keeps what an older read left.
    /// Half of these reads fail. The others say that they brought all of it: the real ring repeats
    /// a short read until it is whole or has failed, so a part that passes for the whole is what
    /// may come from below it, and only a checksum tells. A job gets no buffer with a failure, so
    /// for its reads this is the case that counts.
    pub read_short: u32,
    /// An append of a job fails.
    pub append_error: u32,
    /// A seal fails, the object did not become visible.
    pub seal_error: u32,
    /// A seal fails although the object became visible.
    pub seal_lost_reply: u32,
    /// A put fails and was not applied.
    pub put_error: u32,
    /// A put fails although it was applied.
    pub put_lost_reply: u32,
    /// A put of a root fails, and is applied when nobody thinks of it any more.
    pub create_late: u32,
    /// A put of a root is applied once more then.
    pub create_twice: u32,
    /// A look at a root that was put not long ago finds nothing.
    pub look_stale: u32,
    /// A load fails.
    pub load_error: u32,
    /// A job cannot start to write an object.
    pub create_error: u32,
    /// An object cannot be opened, for the shard when it is sealed or for the reads of a job.
    pub open_error: u32,
    /// An object of a restore cannot be opened for the shard.
    pub reopen_error: u32,
    /// A job breaks, and its store with it.
    pub job_breaks: u32,
    /// A request to the cache on the SSD fails.
    pub ssd_error: u32,
    /// A bit of what it brings is flipped.
    pub ssd_flip: u32,
    /// What is written to it is lost, and nobody is told.
    pub ssd_lost: u32,
    /// No compactor takes a merge.
    pub errand_refused: u32,
    /// A compactor is lost at a step of a merge.
    pub errand_lost: u32,
    /// A compactor that took a merge is given up, and goes on.
    pub errand_late: u32,
    /// Others have filled the disk of the cache.
    pub ssd_full: u32,
    /// A delete never happens.
    pub delete_lost: u32,
    /// An answer takes a hundred times as long.
    pub slow: u32,
    /// Longest usual latency, virtual microseconds.
    pub latency_max: u64,
    /// The DFS is one that is reached over a network.
    pub is_store: bool,
    /// Most steps a job makes between two ticks.
    pub job_steps_max: usize,
    /// After so many failures in a row the jobs of a store meet no fault until one succeeds.
    pub job_failures_max: u32,
}

/// Faults of a seed are hiccups: in an outage writes are refused, which the model does not know.
/// At the last failure the other jobs of the store may be about to fail too.
const HICCUPS_MAX: u32 = JOB_FAILURES_MAX - 1 - JOBS;

// Of a store at once: a flush, an opening and merges.
const JOBS: u32 = 2 + MERGES_MAX as u32;

impl FaultMix {
    /// No fault, and some latency.
    #[must_use]
    pub fn calm() -> Self {
        Self { latency_max: 100, job_steps_max: 16, job_failures_max: u32::MAX, ..Self::default() }
    }

    /// The mix of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut mix = Self {
            latency_max: rng.pick(&[1, 20, 200, 2000]),
            job_steps_max: rng.pick(&[1, 3, 16, 64]),
            job_failures_max: HICCUPS_MAX,
            ..Self::default()
        };
        mix.is_store = mix.latency_max > 20;
        if rng.chance(3000) {
            return mix;
        }
        let mut rate =
            |often: u32| if rng.chance(4000) { rng.below(often as usize) as u32 } else { 0 };
        mix.read_error = rate(500);
        mix.read_flip = rate(500);
        mix.append_error = rate(500);
        mix.seal_error = rate(2000);
        mix.seal_lost_reply = rate(2000);
        mix.put_error = rate(3000);
        mix.put_lost_reply = rate(3000);
        mix.load_error = rate(3000);
        mix.create_error = rate(2000);
        mix.open_error = rate(500);
        mix.job_breaks = rate(20);
        mix.delete_lost = rate(2000);
        mix.slow = rate(1000);
        mix.read_short = rate(1000);
        mix.reopen_error = rate(500);
        mix.ssd_error = rate(500);
        mix.ssd_flip = rate(500);
        mix.ssd_lost = rate(2000);
        mix.ssd_full = rate(5000);
        mix.errand_refused = rate(3000);
        mix.errand_lost = rate(300);
        mix.errand_late = rate(3000);
        mix
    }

    /// True if nothing goes wrong: answers may only be slow.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        !self.leaves_orphans() && self.put_error + self.put_lost_reply + self.load_error == 0
    }

    /// True if reads may fail.
    #[must_use]
    pub fn reads_fail(&self) -> bool {
        let opens = self.open_error + self.reopen_error;
        self.read_error + self.read_flip + self.read_short + opens > 0
    }

    /// True if what a job wrote may stay behind without an owner.
    #[must_use]
    pub fn leaves_orphans(&self) -> bool {
        self.reads_fail()
            || self.append_error
                + self.seal_error
                + self.seal_lost_reply
                + self.create_error
                + self.job_breaks
                + self.errand_lost
                + self.errand_late
                + self.delete_lost
                > 0
    }
}
