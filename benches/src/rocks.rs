//! RocksDB, tuned as its guide says for point reads under a memory limit: io_uring, direct I/O on
//! every path, no log, one limit over block cache and write buffers, bloom filters of 10 bits,
//! index and filter in the cache and pinned there, hash index in data blocks, `multi_get` with
//! `async_io`.
//!
//! One call takes everything that is in flight, so the batch of the load generator is the batch of
//! `multi_get`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use aquifer_tools::load::{About, Dataset, OpKind, Ops, Outcome, Setup, Target, TargetStats};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BlockBasedTablePinningTier, Cache,
    ColumnFamilyDescriptor, DB, DBCompressionType, DBPinnableSlice, DataBlockIndexType, Options,
    ReadOptions, WaitForCompactOptions, WriteBatch, WriteBufferManager, WriteOptions,
};

/// The family every database has; `multi_get` in batches wants it by handle.
const FAMILY: &str = "default";
const BLOCK_BYTES: u64 = 4096;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// An index entry per block: a separator, a block handle, a restart point.
const INDEX_ENTRY_BYTES: u64 = 36;
/// Index and filter are pinned whole up to this share of the memory; beyond it they are
/// partitioned.
const PINNED_SHARE_MAX: f64 = 0.4;
/// Write buffers take at most this share of the memory, and their memory comes out of the cache.
const WRITE_SHARE: u64 = 4;
const WRITE_BUFFER_BYTES_MAX: u64 = 64 << 20;
const WRITE_BUFFER_BYTES_MIN: u64 = 1 << 20;
const WRITE_BUFFERS: u64 = 3;
const COMPACTION_READ_BYTES: usize = 2 << 20;
const FORMAT_VERSION: i32 = 6;
const HASH_INDEX_LOAD: f64 = 0.75;

/// An operation waiting for its call.
struct Waiting {
    tag: u64,
    kind: OpKind,
    /// Where its key starts in `keys`.
    key_start: usize,
    /// Its value in `values`; empty unless it is a put.
    value: std::ops::Range<usize>,
}

/// See the module.
pub struct RocksTarget {
    data: Dataset,
    waiting: Vec<Waiting>,
    keys: Vec<u8>,
    values: Vec<u8>,
    read_options: ReadOptions,
    write_options: WriteOptions,
    calls: u64,
    ops: u64,
    memory_bytes: u64,
    settings: Vec<(&'static str, String)>,
    db: DB,
}

impl RocksTarget {
    /// Opens the database of an earlier load, or an empty one.
    pub fn open(setup: &Setup, lz4: bool) -> Result<Self> {
        let plan = Plan::new(setup.memory_bytes, &setup.data, lz4);
        let mut options = plan.options();
        options.create_if_missing(!setup.loaded);
        let path = setup.dir.join("db");
        let family = ColumnFamilyDescriptor::new(FAMILY, options.clone());
        let db = DB::open_cf_descriptors(&options, &path, [family])
            .with_context(|| format!("RocksDB does not open {}", path.display()))?;
        let mut read_options = ReadOptions::default();
        read_options.set_async_io(true);
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let in_flight = setup.args.in_flight_all() as usize;
        Ok(Self {
            data: setup.data,
            waiting: Vec::with_capacity(in_flight),
            keys: Vec::with_capacity(in_flight * setup.data.key_size_bytes as usize),
            values: Vec::new(),
            read_options,
            write_options,
            calls: 0,
            ops: 0,
            memory_bytes: setup.memory_bytes,
            settings: plan.settings(),
            db,
        })
    }

    fn key(&self, waiting: &Waiting) -> &[u8] {
        &self.keys[waiting.key_start..waiting.key_start + self.data.key_size_bytes as usize]
    }

    /// One `multi_get` of everything that reads, then one write batch of everything that writes.
    fn call(&self, done: &mut dyn FnMut(u64, Outcome<'_>)) -> Result<()> {
        let reads: Vec<&[u8]> = self
            .waiting
            .iter()
            .filter(|waiting| waiting.kind != OpKind::Put)
            .map(|waiting| self.key(waiting))
            .collect();
        let found = if reads.is_empty() {
            Vec::new()
        } else {
            let family = self.db.cf_handle(FAMILY).context("no column family")?;
            self.db.batched_multi_get_cf_opt(family, reads.iter(), false, &self.read_options)
        };
        let mut batch = WriteBatch::default();
        self.stage(&found, &mut batch)?;
        if !batch.is_empty() {
            self.db.write_opt(batch, &self.write_options).context("a write batch failed")?;
        }
        hand_out(&self.waiting, &found, done);
        Ok(())
    }

    /// Puts what the operations write into the batch, in their order: a change of a key that the
    /// same batch wrote before sees that value, not the one read.
    fn stage(&self, found: &[Found<'_>], batch: &mut WriteBatch) -> Result<()> {
        let mut written: HashMap<&[u8], Vec<u8>> = HashMap::new();
        // Only a change looks at what the batch wrote before.
        let changes = self.waiting.iter().any(|waiting| waiting.kind == OpKind::Rmw);
        let mut found = found.iter();
        for waiting in &self.waiting {
            let key = self.key(waiting);
            match waiting.kind {
                OpKind::Get | OpKind::Scan(_) => {
                    found.next();
                }
                OpKind::Put => {
                    let value = &self.values[waiting.value.clone()];
                    batch.put(key, value);
                    if changes {
                        written.insert(key, value.to_vec());
                    }
                }
                OpKind::Rmw => {
                    let read = match found.next() {
                        Some(Ok(read)) => read.as_deref(),
                        Some(Err(error)) => return Err(error.clone()).context("a read failed"),
                        None => None,
                    };
                    let mut next = Vec::with_capacity(self.data.value_size_bytes as usize);
                    let current = written.get(key).map(Vec::as_slice).or(read);
                    self.data.next_value(key, current, &mut next);
                    batch.put(key, &next);
                    written.insert(key, next);
                }
            }
        }
        Ok(())
    }
}

type Found<'a> = std::result::Result<Option<DBPinnableSlice<'a>>, rocksdb::Error>;

fn hand_out(waiting: &[Waiting], found: &[Found<'_>], done: &mut dyn FnMut(u64, Outcome<'_>)) {
    let mut found = found.iter();
    for waiting in waiting {
        let read = if waiting.kind == OpKind::Put { None } else { found.next() };
        let outcome = match (waiting.kind, read) {
            (OpKind::Get, Some(Ok(Some(value)))) => Outcome::Value(value),
            (OpKind::Get, Some(Ok(None)) | None) => Outcome::Absent,
            (OpKind::Get, Some(Err(error))) => Outcome::Failed(error.to_string()),
            (OpKind::Put | OpKind::Rmw, _) => Outcome::Done,
            // No comparison has scans.
            (OpKind::Scan(_), _) => Outcome::Failed("RocksDB is not asked for maps".to_owned()),
        };
        done(waiting.tag, outcome);
    }
}

impl Target for RocksTarget {
    fn about(&self) -> About {
        About {
            io: "uring".to_owned(),
            io_reason: "multi_get with async_io; direct reads, flushes and compactions".to_owned(),
            settings: self.settings.clone(),
        }
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        for op in ops.iter() {
            let (key_start, value_start) = (self.keys.len(), self.values.len());
            self.keys.extend_from_slice(op.key);
            self.values.extend_from_slice(op.value);
            let value = value_start..self.values.len();
            self.waiting.push(Waiting { tag: op.tag, kind: op.kind, key_start, value });
        }
        Ok(ops.len())
    }

    fn poll(
        &mut self,
        _wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let count = self.waiting.len();
        if count > 0 {
            self.call(done)?;
            self.calls += 1;
            self.ops += count as u64;
            self.waiting.clear();
            self.keys.clear();
            self.values.clear();
        }
        Ok(count)
    }

    fn drain_background(&mut self) -> Result<()> {
        let mut options = WaitForCompactOptions::default();
        options.set_flush(true);
        self.db.wait_for_compact(&options).context("compaction failed")
    }

    fn stats(&self) -> TargetStats {
        TargetStats {
            counters: vec![("requests", self.ops), ("calls", self.calls)],
            device: None,
            dfs: None,
            budget_bytes: self.memory_bytes,
        }
    }
}

/// The options that depend on memory and data.
#[derive(Clone, Copy, Debug)]
struct Plan {
    memory_bytes: u64,
    write_bytes: u64,
    write_buffer_bytes: u64,
    metadata_bytes: u64,
    partitioned: bool,
    background_jobs: i32,
    lz4: bool,
}

impl Plan {
    fn new(memory_bytes: u64, data: &Dataset, lz4: bool) -> Self {
        let filter_bytes = (data.records as f64 * BLOOM_BITS_PER_KEY / 8.0) as u64;
        let metadata_bytes = filter_bytes + data.data_bytes() / BLOCK_BYTES * INDEX_ENTRY_BYTES;
        let write_bytes = memory_bytes / WRITE_SHARE;
        let write_buffer_bytes =
            (write_bytes / WRITE_BUFFERS).clamp(WRITE_BUFFER_BYTES_MIN, WRITE_BUFFER_BYTES_MAX);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            memory_bytes,
            write_bytes,
            write_buffer_bytes,
            metadata_bytes,
            partitioned: metadata_bytes as f64 > memory_bytes as f64 * PINNED_SHARE_MAX,
            background_jobs: i32::try_from(cores.max(2)).unwrap_or(i32::MAX),
            lz4,
        }
    }

    fn options(&self) -> Options {
        let cache = Cache::new_hyper_clock_cache(self.memory_bytes as usize, 0);
        let writes = WriteBufferManager::new_write_buffer_manager_with_cache(
            self.write_bytes as usize,
            false,
            cache.clone(),
        );
        let mut options = Options::default();
        options.set_block_based_table_factory(&self.table(&cache));
        options.set_write_buffer_manager(&writes);
        options.set_write_buffer_size(self.write_buffer_bytes as usize);
        options.set_max_write_buffer_number(WRITE_BUFFERS as i32);
        options.set_use_direct_reads(true);
        options.set_use_direct_io_for_flush_and_compaction(true);
        options.set_compaction_readahead_size(COMPACTION_READ_BYTES);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_target_file_size_base(64 << 20);
        options.set_max_bytes_for_level_base(4 * self.write_buffer_bytes.max(16 << 20));
        options.set_max_background_jobs(self.background_jobs);
        options.set_max_open_files(-1);
        options.set_compression_type(if self.lz4 {
            DBCompressionType::Lz4
        } else {
            DBCompressionType::None
        });
        options
    }

    fn table(&self, cache: &Cache) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_block_size(BLOCK_BYTES as usize);
        table.set_format_version(FORMAT_VERSION);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(HASH_INDEX_LOAD);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        if self.partitioned {
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
            table.set_metadata_block_size(BLOCK_BYTES as usize);
            table.set_pin_top_level_index_and_filter(true);
        } else {
            table.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);
        }
        table
    }

    /// The effective options, for the report.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let metadata = if self.partitioned { "partitioned, top level pinned" } else { "pinned" };
        vec![
            ("block_cache", format!("hyper clock, {} bytes, all memory", self.memory_bytes)),
            ("write_buffer_manager", format!("{} bytes, out of the cache", self.write_bytes)),
            ("write_buffer_size", self.write_buffer_bytes.to_string()),
            ("max_write_buffer_number", WRITE_BUFFERS.to_string()),
            ("bloom_bits_per_key", BLOOM_BITS_PER_KEY.to_string()),
            (
                "index_and_filter",
                format!("in the cache, {metadata}, {} bytes", self.metadata_bytes),
            ),
            ("data_block_index", format!("binary and hash, load {HASH_INDEX_LOAD}")),
            ("block_size", BLOCK_BYTES.to_string()),
            ("format_version", FORMAT_VERSION.to_string()),
            ("compression", if self.lz4 { "lz4" } else { "none" }.to_owned()),
            ("direct_io", "reads, flush, compaction".to_owned()),
            ("async_io", "on".to_owned()),
            ("wal", "off".to_owned()),
            ("compaction", "level, dynamic level bytes".to_owned()),
            ("max_background_jobs", self.background_jobs.to_string()),
        ]
    }
}

#[cfg(test)]
#[path = "rocks_tests.rs"]
mod tests;
