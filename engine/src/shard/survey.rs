//! What a shard says of itself: its counters and its levels, gathered from their owners.

use crate::cache::ssd::Ssd;
use crate::limits::{MEMORY_FIXED_BYTES, RUNS_MAX};
use crate::shard::background::JobKind;
use crate::shard::cold::Waiting;
use crate::shard::control::PendingControl;
use crate::shard::shard::Shard;
use crate::shard::statistics::{
    InFlight, JobStatistics, MemoryStatistics, RequestCounters, ShardCounters, ShardStatistics,
    StateStatistics, StoreStatistics,
};
use crate::shard::store::Store;
use crate::state::StateDescriptor;

impl Shard {
    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> ShardCounters {
        let mut counters = self.counters;
        counters.coalescer = self.coalescer.counters();
        for store in self.stores.iter().flatten() {
            counters.requests.add(&store.requests.all());
            counters.rows_evicted += store.rows.evicted();
        }
        counters
    }

    /// What it counted and what it holds. What its driver knows is left at zero.
    #[must_use]
    pub fn statistics(&self) -> ShardStatistics {
        ShardStatistics {
            counters: self.counters(),
            jobs: self.jobs_now(),
            memory: self.memory(),
            in_flight: self.in_flight(),
            ssd: self.ssd.as_ref().map(Ssd::counters).unwrap_or_default(),
            latencies: self.latencies.statistics(),
            stores: self.stores.iter().flatten().map(Store::statistics).collect(),
            ..ShardStatistics::default()
        }
    }

    /// Its memory, by purpose.
    pub(super) fn memory(&self) -> MemoryStatistics {
        let stores = || self.stores.iter().flatten();
        MemoryStatistics {
            budget_bytes: self.limits.memory_bytes as u64,
            fixed_bytes: MEMORY_FIXED_BYTES as u64,
            tables_bytes: stores().map(|s| s.table_bytes() as u64).sum(),
            jobs_bytes: self.jobs.iter().map(|j| j.grant_bytes as u64).sum(),
            buffers_bytes: self.pool.bytes() as u64,
            ssd_bytes: self.ssd.as_ref().map_or(0, Ssd::bytes),
            rows_bytes: stores().map(|s| s.rows.bytes() as u64).sum(),
            dirty_bytes: stores().map(|s| s.dirty_bytes() as u64).sum(),
        }
    }

    fn jobs_now(&self) -> JobStatistics {
        let running = |kind| self.jobs.iter().filter(|job| job.kind == kind).count() as u64;
        let stores = || self.stores.iter().flatten();
        JobStatistics {
            flushes_running: running(JobKind::Flush),
            merges_running: running(JobKind::Merge),
            openings_running: running(JobKind::Open),
            flushes_queued: stores().map(|s| s.frozen_waiting() as u64).sum(),
            merges_queued: stores().map(|s| s.merges_waiting() as u64).sum(),
            flush_debt_bytes: stores().map(|s| s.rows.frozen_bytes() as u64).sum(),
            merge_debt_bytes: stores().map(Store::merge_debt_bytes).sum(),
            pace: stores().map(|s| s.pace(self.limits.flush_bytes)).max().unwrap_or(0),
        }
    }

    fn in_flight(&self) -> InFlight {
        let cuts: usize = self.stores.iter().flatten().map(|store| store.cuts.len()).sum();
        let put = |control: &&PendingControl| matches!(control, PendingControl::Put { .. });
        let suspended = self.cold.len();
        let (stalled, stalled_bytes) = self.stalled.held();
        InFlight {
            suspended: suspended as u64,
            stalled,
            request_bytes: (suspended * size_of::<Waiting>()) as u64 + stalled_bytes,
            extents: self.coalescer.len() as u64,
            checkpoints: (cuts + self.controls.iter().filter(put).count()) as u64,
        }
    }
}

impl Store {
    fn dirty_bytes(&self) -> usize {
        self.rows.active_bytes() + self.rows.frozen_bytes()
    }

    // Newest runs beyond those that a tablet may keep.
    fn merge_debt_bytes(&self) -> u64 {
        let tablets = self.version.tablets().iter().filter(|tablet| tablet.is_open());
        let excess =
            |runs: &[u64]| runs.iter().take(runs.len().saturating_sub(RUNS_MAX)).sum::<u64>();
        tablets.map(|tablet| excess(&tablet.run_bytes)).sum()
    }

    fn statistics(&self) -> StoreStatistics {
        let tablets = self.version.tablets();
        let states = self.states.iter().zip(self.requests.each());
        let state = |((_, state), requests): ((_, &StateDescriptor), &RequestCounters)| {
            StateStatistics { name: state.name.clone(), requests: *requests }
        };
        StoreStatistics {
            number: self.number,
            states: states.map(state).collect(),
            rows_bytes: self.rows.bytes() as u64,
            dirty_bytes: self.dirty_bytes() as u64,
            tables_bytes: self.table_bytes() as u64,
            stored_bytes: tablets.iter().flat_map(|tablet| &tablet.run_bytes).sum(),
            tablets: tablets.len() as u64,
            tablets_unopened: tablets.iter().filter(|tablet| !tablet.is_open()).count() as u64,
            runs_max: tablets.iter().map(|tablet| tablet.runs.len() as u64).max().unwrap_or(0),
            job_failures_in_a_row: u64::from(self.failures()),
        }
    }
}
