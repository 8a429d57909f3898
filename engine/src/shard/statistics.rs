//! What an engine did and holds, as one value: counters since it was opened, levels of now, and
//! histograms of latencies. It serialises under stable names with their units at the end; names
//! are added, never changed.
//!
//! A shard counts as it works. Its driver publishes a copy into the slot of its shard, once a
//! second while it turns and when somebody asks, and never waits for a reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use serde::{Deserialize, Serialize};

use crate::cache::coalescer::CoalescerCounters;
use crate::cache::ssd::SsdCounters;
use crate::io::dfs::DfsCounters;
use crate::io::doorbell::Doorbell;
use crate::io::http::HttpCounters;
use crate::io::requests::Requests;
use crate::limits::STATISTICS_NS;
use crate::mem::histogram::Histogram;
use crate::shard::compactors::CompactorStatistics;
use crate::shard::executor::ExecutorCounters;
use crate::state::request::Op;
use crate::types::{Nanos, StateId};

/// Names the shape of what [`Statistics`] serialises to.
pub const SCHEMA: &str = "aquifer-statistics/1";

/// An engine: its shards, its DFS, and the executors of its process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// [`SCHEMA`].
    pub schema: String,
    /// Of the process.
    pub process_id: u32,
    /// Since the engine was opened.
    pub uptime_ns: Nanos,
    /// All memory the engine may use.
    pub budget_bytes: u64,
    /// The shards that were started.
    pub shards: Vec<ShardStatistics>,
    /// What jobs, checkpoints and restores asked of the DFS; reads for requests are each shard's.
    pub dfs: DfsCounters,
    /// The background executors of the process, which all its engines share.
    pub executors: Vec<ExecutorCounters>,
    /// Merges elsewhere.
    pub compactors: CompactorStatistics,
}

impl Statistics {
    /// Requests to the DFS, of jobs, checkpoints and shards together.
    #[must_use]
    pub fn requests(&self) -> Requests {
        let mut all = self.dfs.requests;
        self.shards.iter().for_each(|shard| all.add(&shard.requests));
        all
    }
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardStatistics {
    /// Its number.
    pub shard: usize,
    /// How old these figures are: a shard that nobody polls publishes nothing.
    pub age_ns: Nanos,
    /// What it counted.
    pub counters: ShardCounters,
    /// Background work.
    pub jobs: JobStatistics,
    /// Memory, by purpose.
    pub memory: MemoryStatistics,
    /// What is under way.
    pub in_flight: InFlight,
    /// Time that its sessions waited inside `poll` with requests in flight. Of sessions on several
    /// threads the times add up.
    pub blocked_ns: Nanos,
    /// Reads for requests that were submitted once more, after a short read or a failure.
    pub read_retries: u64,
    /// Of its connections to stores.
    pub http: HttpCounters,
    /// What it asked of the DFS by itself.
    pub requests: Requests,
    /// Of its cache on the SSD.
    pub ssd: SsdCounters,
    /// By kind and by what answered.
    pub latencies: Vec<LatencyStatistics>,
    /// Its open stores.
    pub stores: Vec<StoreStatistics>,
}

/// What a shard counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardCounters {
    /// Requests of all its stores, those closed since included.
    pub requests: RequestCounters,
    /// Units read for a key they did not hold.
    pub filter_false_positives: u64,
    /// Of the coalescer: the reads of requests.
    pub coalescer: CoalescerCounters,
    /// Flushes applied.
    pub flushes: u64,
    /// Merges applied.
    pub merges: u64,
    /// Jobs that opened tables of a restored store.
    pub openings: u64,
    /// Bytes that jobs of this shard wrote.
    pub job_bytes_written: u64,
    /// Of these, those of flushes.
    pub flush_bytes_written: u64,
    /// Jobs that failed and were tried again.
    pub job_failures: u64,
    /// Requests that waited because memory was full of dirty rows or jobs were behind.
    pub stalls: u64,
    /// Checkpoints completed.
    pub checkpoints: u64,
    /// Checkpoints that stores did not commit because another opening had taken them over.
    pub commits_fenced: u64,
    /// Checkpoints of which it is not known whether they were committed.
    pub commits_unknown: u64,
    /// Rows evicted from memory.
    pub rows_evicted: u64,
    /// Blocks and manifests that a store brought with wrong bytes and that were read once more.
    pub rereads: u64,
}

/// Requests served, by kind, and what answered the gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestCounters {
    /// Reads of one row.
    pub gets: u64,
    /// Writes of one row.
    pub puts: u64,
    /// Removals of one row.
    pub deletes: u64,
    /// Operands folded onto one row.
    pub merges: u64,
    /// Maps cleared.
    pub clears: u64,
    /// Batches of entries read.
    pub scans: u64,
    /// Gets answered by a row in memory.
    pub row_hits: u64,
    /// Gets answered by filters alone.
    pub filter_negatives: u64,
    /// Gets that needed the DFS.
    pub dfs_gets: u64,
    /// Gets that found nothing.
    pub absent: u64,
    /// Gets that read, and failed.
    pub failed: u64,
}

/// Background work of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStatistics {
    /// Flushes that run.
    pub flushes_running: u64,
    /// Merges that run.
    pub merges_running: u64,
    /// Openings of tables that run.
    pub openings_running: u64,
    /// Generations of rows that wait for a flush.
    pub flushes_queued: u64,
    /// Tablets that wait for a merge.
    pub merges_queued: u64,
    /// Rows frozen and not yet flushed.
    pub flush_debt_bytes: u64,
    /// The newest runs of tablets beyond what a tablet should have.
    pub merge_debt_bytes: u64,
    /// Most bytes that jobs must write for each byte of a write, over the stores; 0: not paced.
    pub pace: u64,
}

/// The memory of a shard, by purpose. All but the last are what the budget is charged with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatistics {
    /// Of the shard: a part of the engine's.
    pub budget_bytes: u64,
    /// What does not grow with the load: ring, queues, requests in flight, executors.
    pub fixed_bytes: u64,
    /// Resident parts of tables: filters and fences.
    pub tables_bytes: u64,
    /// What running jobs may hold.
    pub jobs_bytes: u64,
    /// Read buffers, in use or free.
    pub buffers_bytes: u64,
    /// Index and buffers of the cache on the SSD.
    pub ssd_bytes: u64,
    /// Rows and their index.
    pub rows_bytes: u64,
    /// Of the rows, written and not yet flushed.
    pub dirty_bytes: u64,
}

impl MemoryStatistics {
    /// What the budget is charged with.
    #[must_use]
    pub fn charged_bytes(&self) -> u64 {
        self.other_bytes() + self.rows_bytes
    }

    /// As `charged_bytes`, without the rows: these take what is left.
    pub(super) fn other_bytes(&self) -> u64 {
        let Self { fixed_bytes, tables_bytes, jobs_bytes, buffers_bytes, ssd_bytes, .. } = self;
        fixed_bytes + tables_bytes + jobs_bytes + buffers_bytes + ssd_bytes
    }
}

/// What is under way in a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InFlight {
    /// Gets and scans that wait for a read, or for tables of a restored store.
    pub suspended: u64,
    /// Requests that wait for memory, for jobs, or for a write before them.
    pub stalled: u64,
    /// Bytes of all of them, inside `fixed_bytes`.
    pub request_bytes: u64,
    /// Extents wanted or being read.
    pub extents: u64,
    /// Checkpoints cut whose manifest is not written yet.
    pub checkpoints: u64,
}

/// Kinds of requests that are timed apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Gets.
    Get,
    /// Puts, deletes, merges and clears.
    Write,
    /// Scans.
    Scan,
}

/// What a request was answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Rows in memory and filters, in the tick that took the request. One tick in `TIMED_TICKS` is
    /// timed, and all that it answers so took as long as that.
    Memory,
    /// The same, after it waited: for room, for an earlier write, for tables to be opened. Every
    /// request counts, from the tick that took it to the one that answered.
    Waited,
    /// Reads of the DFS. Every request counts, likewise.
    Dfs,
}

/// How long requests took inside the shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyStatistics {
    /// What was asked.
    pub kind: Kind,
    /// What answered.
    pub tier: Tier,
    /// The times.
    pub histogram: Histogram,
}

/// One store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreStatistics {
    /// The host's number.
    pub number: u64,
    /// By state, in the order of declaration.
    pub states: Vec<StateStatistics>,
    /// Rows in memory and their index.
    pub rows_bytes: u64,
    /// Of these, written and not yet flushed.
    pub dirty_bytes: u64,
    /// Resident parts of its tables.
    pub tables_bytes: u64,
    /// Bytes of its runs on the DFS.
    pub stored_bytes: u64,
    /// Key ranges with a stack of runs each.
    pub tablets: u64,
    /// Of these, not open yet after a restore.
    pub tablets_unopened: u64,
    /// Runs of the fullest tablet.
    pub runs_max: u64,
    /// Jobs that failed in a row.
    pub job_failures_in_a_row: u64,
}

/// One state of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateStatistics {
    /// Its name.
    pub name: String,
    /// Its requests.
    pub requests: RequestCounters,
}

impl RequestCounters {
    /// Requests of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.gets + self.puts + self.deletes + self.merges + self.clears + self.scans
    }

    /// Counts a request by its kind.
    #[inline]
    pub(super) fn count(&mut self, op: Op) {
        let count = match op {
            Op::Get => &mut self.gets,
            Op::Put => &mut self.puts,
            Op::Delete => &mut self.deletes,
            Op::Merge(_) => &mut self.merges,
            Op::Clear => &mut self.clears,
            Op::Scan => &mut self.scans,
        };
        *count += 1;
    }

    /// Adds the counts of others.
    pub fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.puts += other.puts;
        self.deletes += other.deletes;
        self.merges += other.merges;
        self.clears += other.clears;
        self.scans += other.scans;
        self.row_hits += other.row_hits;
        self.filter_negatives += other.filter_negatives;
        self.dfs_gets += other.dfs_gets;
        self.absent += other.absent;
        self.failed += other.failed;
    }
}

/// The requests of a store, by state.
#[derive(Debug)]
pub(super) struct RequestsByState {
    // By state id. The first counts what names no state of the store, as the handle of another
    // store may.
    counters: Vec<RequestCounters>,
}

impl RequestsByState {
    /// Of so many states.
    pub fn new(states: usize) -> Self {
        Self { counters: vec![RequestCounters::default(); states + 1] }
    }

    /// The store has so many states now.
    pub fn grow(&mut self, states: usize) {
        self.counters.resize(states + 1, RequestCounters::default());
    }

    /// What counts the requests of a state.
    #[inline]
    pub fn of(&mut self, state: StateId) -> &mut RequestCounters {
        let known = usize::from(state.0) < self.counters.len();
        &mut self.counters[if known { usize::from(state.0) } else { 0 }]
    }

    /// By state, in the order of declaration.
    pub fn each(&self) -> impl Iterator<Item = &RequestCounters> {
        self.counters[1..].iter()
    }

    /// All together.
    pub fn all(&self) -> RequestCounters {
        let mut all = RequestCounters::default();
        self.counters.iter().for_each(|counters| all.add(counters));
        all
    }
}

const KINDS: [Kind; 3] = [Kind::Get, Kind::Write, Kind::Scan];
const TIERS: [Tier; 3] = [Tier::Memory, Tier::Waited, Tier::Dfs];

/// The histograms of a shard, and the requests of a tick that are not in them yet.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    histograms: [[Histogram; TIERS.len()]; KINDS.len()],
    at_once: [u64; KINDS.len()],
}

impl Latencies {
    /// A tick begins; the one before took `tick_ns`, if that was measured.
    pub fn begin_tick(&mut self, tick_ns: Option<Nanos>) {
        let at_once = std::mem::take(&mut self.at_once);
        let Some(tick_ns) = tick_ns else { return };
        for (tiers, count) in self.histograms.iter_mut().zip(at_once) {
            tiers[Tier::Memory as usize].record(tick_ns, count);
        }
    }

    /// Memory answered a request that came at `since`.
    #[inline]
    pub fn answered(&mut self, kind: Kind, since: Nanos, now: Nanos) {
        if since == now {
            self.at_once[kind as usize] += 1;
        } else {
            self.histograms[kind as usize][Tier::Waited as usize].record(now - since, 1);
        }
    }

    /// A request that came at `since` and read the DFS has ended.
    pub fn read(&mut self, kind: Kind, since: Nanos, now: Nanos) {
        self.histograms[kind as usize][Tier::Dfs as usize].record(now - since, 1);
    }

    /// A copy, by kind and tier. Writes read nothing.
    pub fn statistics(&self) -> Vec<LatencyStatistics> {
        let pairs = KINDS.into_iter().flat_map(|kind| TIERS.map(|tier| (kind, tier)));
        let pairs = pairs.filter(|&pair| pair != (Kind::Write, Tier::Dfs));
        let statistics = |(kind, tier)| {
            let histogram = self.histograms[kind as usize][tier as usize].clone();
            LatencyStatistics { kind, tier, histogram }
        };
        pairs.map(statistics).collect()
    }
}

/// Where the driver of a shard publishes its statistics.
pub(super) struct Slot {
    shard: usize,
    doorbell: Doorbell,
    wanted: AtomicBool,
    published: Mutex<ShardStatistics>,
    published_at: AtomicU64,
    blocked_ns: AtomicU64,
}

impl Slot {
    /// The slot of a shard whose driver sleeps on `doorbell`.
    pub fn new(shard: usize, doorbell: Doorbell, now: Nanos, first: ShardStatistics) -> Self {
        Self {
            shard,
            doorbell,
            wanted: AtomicBool::new(false),
            published: Mutex::new(first),
            published_at: AtomicU64::new(now),
            blocked_ns: AtomicU64::new(0),
        }
    }

    /// Driver: true if it is time to publish.
    #[inline]
    pub fn is_due(&self, now: Nanos) -> bool {
        now - self.published_at.load(Ordering::Relaxed) >= STATISTICS_NS || self.is_asked()
    }

    /// Driver: publishes; false if somebody reads the last ones at this moment.
    pub fn publish(&self, now: Nanos, statistics: ShardStatistics) -> bool {
        let mut published = match self.published.try_lock() {
            Ok(published) => published,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        *published = statistics;
        self.published_at.store(now, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Release);
        true
    }

    /// A session waited for its requests.
    pub fn add_blocked(&self, time_ns: Nanos) {
        self.blocked_ns.fetch_add(time_ns, Ordering::Relaxed);
    }

    /// Asks the driver to publish, and wakes it for that.
    pub fn ask(&self) {
        self.wanted.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    /// True until the driver has published what was asked for.
    pub fn is_asked(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// What was published last.
    pub fn read(&self, now: Nanos) -> ShardStatistics {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        ShardStatistics {
            shard: self.shard,
            age_ns: now.saturating_sub(self.published_at.load(Ordering::Relaxed)),
            blocked_ns: self.blocked_ns.load(Ordering::Relaxed),
            ..published.clone()
        }
    }
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
