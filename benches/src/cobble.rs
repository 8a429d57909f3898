//! Cobble, an LSM engine for the state of streams on remote storage, as its documents advise for
//! point reads under a memory limit: bloom filters of 10 bits, index and filters pinned (or in
//! partitions in the block cache, where they are large), no log, write buffers whose structure
//! follows the load, no compression, merges that read ahead, and a hybrid block cache whose disk
//! tier is the local SSD. Write buffers, pinned metadata and block cache share the memory.
//!
//! Its calls block, so `cobble-N` has N host threads with a get or a read-modify-write each; puts
//! go to memory and are the caller's. Threads find operations queued and so rarely sleep between
//! two: latencies of this engine hold the wait in that queue. A get is a `multi_get` of one key,
//! which ends at the newest value; `get` of 0.5.3 looks into every file that has an older one too.
//! More keys a call would not help: `multi_get` reads one block after the other.
//!
//! Its objects lie in a folder of its own, as far away as `--dfs` says (module `objects`).

mod objects;
mod threads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aquifer_tools::load::{About, Dataset, Op, OpKind, Ops, Outcome, Setup, Target, TargetStats};
use cobble::{
    Config, Db, DbBuilder, GovernanceMode, MetricValue, SstCompressionAlgorithm, VolumeDescriptor,
    VolumeUsageKind,
};
use size::Size;

use self::objects::{Counts, Objects, VOLUME};
use self::threads::{Task, Threads};

/// Operations that are queued or running for each thread.
const IN_FLIGHT_PER_THREAD: u32 = 8;
/// Operations that are handed over at once, for each thread.
const BATCH_PER_THREAD: u32 = IN_FLIGHT_PER_THREAD / 2;
/// Cobble's name for a database, and the one bucket and column that it has here.
const DB: &str = "versus";
const BUCKET: u16 = 0;
const COLUMN: u16 = 0;
/// Write buffers take this share of the memory, two of them.
const WRITE_SHARE: u64 = 4;
const WRITE_BUFFERS: u64 = 2;
const BLOOM_BITS_PER_KEY: u32 = 10;
/// Cobble's, which cannot be set.
const BLOCK_BYTES: u64 = 4096;
/// An index entry per block: a key, a block handle, a restart point.
const INDEX_ENTRY_BYTES: u64 = 36;
/// Index and filters are pinned whole up to this share of the memory.
const PINNED_SHARE_MAX: f64 = 0.4;
/// Files merge into a first level of so many write buffers: Cobble's own proportion.
const LEVEL_1_BUFFERS: u64 = 4;
const LEVEL_1_BYTES_MIN: u64 = 64 << 20;
/// The disk tier takes no less: four blocks of 16 MiB, which cannot be set.
const SSD_BYTES_MIN: u64 = 64 << 20;
/// Merges that moved nothing for so long have ended: Cobble does not say when they have.
const QUIET: Duration = Duration::from_secs(1);
const QUIET_STEP: Duration = Duration::from_millis(50);

/// See the module.
pub struct CobbleTarget {
    /// Dropped before the database.
    threads: Threads,
    db: Arc<Db>,
    counts: Arc<Counts>,
    batch: usize,
    /// Puts that took effect and were not handed out.
    put: Vec<u64>,
    about: About,
    memory_bytes: u64,
}

/// Requests in flight of so many threads, and requests a submit.
#[must_use]
pub fn flight(threads: u32) -> (u32, u32) {
    (threads * IN_FLIGHT_PER_THREAD, threads * BATCH_PER_THREAD)
}

impl CobbleTarget {
    /// Opens the database of an earlier load, or an empty one, for so many threads.
    pub fn open(setup: &Setup, threads: u32) -> Result<Self> {
        let (place, counts) = Objects::lend(setup)?;
        let plan = Plan::new(setup.memory_bytes, &setup.data, setup.args.ssd);
        let config = plan.config(setup)?;
        let db = if setup.loaded {
            Db::resume(config, DB)
        } else {
            DbBuilder::new(config).bucket_ranges(vec![BUCKET..=BUCKET]).db_id(DB).open()
        };
        let db = Arc::new(db.with_context(|| format!("Cobble does not open {place}"))?);
        let mut settings = plan.settings();
        settings.push(("objects", place));
        settings.push(("threads", threads.to_string()));
        Ok(Self {
            threads: Threads::start(threads, &db, setup.data)?,
            db,
            counts,
            batch: flight(threads).1 as usize,
            put: Vec::new(),
            about: About {
                io: "threads".to_owned(),
                io_reason: "its calls block".to_owned(),
                settings,
            },
            memory_bytes: setup.memory_bytes,
        })
    }

    /// Flushes, and names what there is: where `resume` begins.
    fn snapshot(&self) -> Result<()> {
        let (tell, told) = std::sync::mpsc::channel();
        self.db.snapshot_with_callback(move |result| {
            // Nobody listens any more if the run has failed.
            let _heard = tell.send(result.map(drop));
        })?;
        told.recv().context("Cobble dropped a snapshot")?.context("a snapshot failed")
    }

    /// What Cobble has counted of this name, over all kinds.
    fn counted(&self, name: &str) -> u64 {
        let counters = self.db.metrics().into_iter().filter(|sample| sample.name == name);
        let counts = counters.map(|sample| match sample.value {
            MetricValue::Counter(count) => count,
            MetricValue::Gauge(_) | MetricValue::Histogram(_) => 0,
        });
        counts.sum()
    }

    fn wait_for_merges(&self) {
        let moved = || {
            let requests = self.counts.read();
            (self.counted("compactions_total"), requests.get_bytes, requests.put_bytes)
        };
        let (mut last, mut since) = (moved(), Instant::now());
        while since.elapsed() < QUIET {
            std::thread::sleep(QUIET_STEP);
            let now = moved();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

impl Target for CobbleTarget {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        let (puts, rest): (Vec<_>, Vec<_>) = ops.iter().partition(|op| op.kind == OpKind::Put);
        for op in puts {
            self.db.put(BUCKET, op.key, COLUMN, op.value).context("a put failed")?;
            self.put.push(op.tag);
        }
        let task = |op: Op<'_>| Task { tag: op.tag, kind: op.kind, key: op.key.to_vec() };
        self.threads.give(rest.into_iter().map(task));
        Ok(ops.len())
    }

    fn poll(
        &mut self,
        wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let mut count = self.put.len();
        self.put.drain(..).for_each(|tag| done(tag, Outcome::Done));
        let wanted = match wait {
            _ if count > 0 => 0,
            None => self.batch,
            Some(_) => 1,
        };
        for (tag, end) in self.threads.take(wanted, wait) {
            end.outcome(|outcome| done(tag, outcome));
            count += 1;
        }
        Ok(count)
    }

    fn drain_background(&mut self) -> Result<()> {
        self.snapshot()?;
        self.wait_for_merges();
        self.snapshot()
    }

    fn stats(&self) -> TargetStats {
        TargetStats {
            counters: vec![
                ("cache_hits", self.counted("block_cache_hits_total")),
                ("cache_misses", self.counted("block_cache_misses_total")),
                ("flushes", self.counted("memtable_flushes_total")),
                ("merges", self.counted("compactions_total")),
                ("write_stalls", self.counted("write_stall_waits_total")),
            ],
            device: None,
            dfs: Some(self.counts.read()),
            budget_bytes: self.memory_bytes,
        }
    }
}

/// The options that depend on memory and data.
#[derive(Clone, Copy, Debug)]
struct Plan {
    write_buffer_bytes: u64,
    metadata_bytes: u64,
    partitioned: bool,
    cache_bytes: u64,
    ssd_bytes: u64,
}

impl Plan {
    fn new(memory_bytes: u64, data: &Dataset, ssd_bytes: u64) -> Self {
        let filter_bytes = data.records * u64::from(BLOOM_BITS_PER_KEY) / 8;
        let metadata_bytes = filter_bytes + data.data_bytes() / BLOCK_BYTES * INDEX_ENTRY_BYTES;
        let write_bytes = memory_bytes / WRITE_SHARE;
        let partitioned = metadata_bytes as f64 > memory_bytes as f64 * PINNED_SHARE_MAX;
        let pinned_bytes = if partitioned { 0 } else { metadata_bytes };
        Self {
            write_buffer_bytes: write_bytes / WRITE_BUFFERS,
            metadata_bytes,
            partitioned,
            cache_bytes: memory_bytes - write_bytes - pinned_bytes,
            ssd_bytes: if ssd_bytes > 0 { ssd_bytes.max(SSD_BYTES_MIN) } else { 0 },
        }
    }

    fn config(&self, setup: &Setup) -> Result<Config> {
        let size = |bytes: u64| i64::try_from(bytes).map(Size::from_bytes);
        let level_1_bytes = (self.write_buffer_bytes * LEVEL_1_BUFFERS).max(LEVEL_1_BYTES_MIN);
        let mut volumes = VolumeDescriptor::single_volume(VOLUME);
        if self.ssd_bytes > 0 {
            let dir = std::path::absolute(setup.dir.join("ssd")).context("--dir")?;
            let dir = dir.to_str().context("--dir is not UTF-8")?;
            volumes.push(VolumeDescriptor::new(dir, vec![VolumeUsageKind::Cache]));
        }
        Ok(Config {
            volumes,
            memtable_capacity: size(self.write_buffer_bytes)?,
            memtable_buffer_count: WRITE_BUFFERS as usize,
            l1_base_bytes: size(level_1_bytes)?,
            block_cache_size: size(self.cache_bytes)?,
            block_cache_hybrid_enabled: self.ssd_bytes > 0,
            block_cache_hybrid_disk_size: (self.ssd_bytes > 0)
                .then(|| size(self.ssd_bytes))
                .transpose()?,
            sst_bloom_filter_enabled: true,
            sst_bloom_bits_per_key: BLOOM_BITS_PER_KEY,
            sst_partitioned_index: self.partitioned,
            sst_pinned_metadata_max_level: Some(u8::MAX),
            sst_compression_by_level: vec![SstCompressionAlgorithm::None],
            // The run is the one owner of its directory.
            governance_mode: GovernanceMode::Noop,
            snapshot_retention: Some(1),
            ..Config::default()
        })
    }

    /// The effective options, for the report.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let metadata = if self.partitioned { "partitioned, top level pinned" } else { "pinned" };
        vec![
            ("block_cache_size", self.cache_bytes.to_string()),
            ("hybrid_disk_size", self.ssd_bytes.to_string()),
            ("memtable_capacity", self.write_buffer_bytes.to_string()),
            ("memtable_buffer_count", WRITE_BUFFERS.to_string()),
            ("memtable_type", "adaptive".to_owned()),
            ("bloom_bits_per_key", BLOOM_BITS_PER_KEY.to_string()),
            ("index_and_filter", format!("{metadata}, {} bytes", self.metadata_bytes)),
            ("compression", "none".to_owned()),
            ("wal", "off".to_owned()),
        ]
    }
}

#[cfg(test)]
#[path = "cobble_tests.rs"]
mod tests;
