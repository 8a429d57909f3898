//! The `disk` engine: what the hardware allows.
//!
//! Rows lie in load order in one file of aligned blocks. A get that misses an ideal static row
//! cache of the same memory (the most popular keys) is one direct read of one block by io_uring:
//! one ring, one thread, registered file and buffers. There is no index, no filter, no check: a
//! key leads to its block by arithmetic. It only loads and reads; there is no limit to show for
//! updates without a design.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aquifer_tools::load::{
    About, Dataset, DeviceCounts, Op, OpKind, Ops, Outcome, Popularity, Setup, Target, TargetStats,
};
use memmap2::MmapMut;

use crate::bare::BareRing;

/// The unit of direct reads; a larger row is read in several, at once.
const BLOCK_BYTES: u64 = 4096;
/// What a row costs in memory beyond key and value: header, index, clock bit, list link.
const ROW_OVERHEAD_BYTES: u64 = 24;
const LOAD_WRITE_BYTES: u64 = 1 << 20;
/// The kernel registers at most this much as one buffer.
const BUFFER_BYTES_MAX: u64 = 1 << 30;

/// Where rows lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    row_bytes: u64,
    block_bytes: u64,
    rows_per_block: u64,
}

impl Layout {
    fn new(data: &Dataset) -> Self {
        let row_bytes = data.row_bytes();
        let block_bytes = row_bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        Self { row_bytes, block_bytes, rows_per_block: block_bytes / row_bytes }
    }

    /// The block of a record, and the offset of its row in the block.
    fn place(&self, index: u64) -> (u64, u64) {
        (index / self.rows_per_block, index % self.rows_per_block * self.row_bytes)
    }

    fn file_bytes(&self, records: u64) -> u64 {
        records.div_ceil(self.rows_per_block) * self.block_bytes
    }
}

/// A completed operation that has not been handed out.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Hit { rank: u64 },
    Absent,
    Done,
}

/// A read in flight, by the number of its buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    tag: u64,
    row_offset: u64,
}

/// See the module.
pub struct DiskTarget {
    data: Dataset,
    layout: Layout,
    popularity: Popularity,
    /// Values of the most popular records, by rank.
    cache: Vec<u8>,
    cached_rows: u64,
    memory_bytes: u64,
    ready: Vec<(u64, Ready)>,
    reads: Vec<Read>,
    loader: Option<Loader>,
    issued: DeviceCounts,
    row_hits: u64,
    file: File,
    ring: BareRing,
}

impl DiskTarget {
    /// Opens the file of an earlier load, or begins one.
    pub fn open(setup: &Setup) -> Result<Self> {
        let data = setup.data;
        let layout = Layout::new(&data);
        let path = setup.dir.join("rows");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(!setup.loaded).custom_flags(libc::O_DIRECT);
        let file = options.open(&path).with_context(|| {
            format!("{} does not open for direct I/O: choose a --dir on a disk", path.display())
        })?;
        if setup.loaded {
            let bytes = file.metadata()?.len();
            let want_bytes = layout.file_bytes(data.records);
            ensure!(
                bytes == want_bytes,
                "{} has {bytes} bytes, not {want_bytes}: load it again",
                path.display()
            );
        }
        let in_flight = setup.args.in_flight_all();
        let buffers_bytes = u64::from(in_flight) * layout.block_bytes;
        ensure!(
            buffers_bytes <= BUFFER_BYTES_MAX,
            "{buffers_bytes} bytes of reads in flight are over 1 GiB: lower --in-flight"
        );
        let ring = BareRing::open(&file, in_flight, usize::try_from(layout.block_bytes)?)?;
        let popularity = setup.popularity();
        let cached_rows = cached_rows(setup.memory_bytes, &data);
        Ok(Self {
            cache: fill_cache(&data, &popularity, cached_rows),
            data,
            layout,
            popularity,
            cached_rows,
            memory_bytes: setup.memory_bytes,
            ready: Vec::with_capacity(in_flight as usize),
            reads: vec![Read::default(); in_flight as usize],
            loader: if setup.loaded { None } else { Some(Loader::new(&layout)?) },
            issued: DeviceCounts::default(),
            row_hits: 0,
            file,
            ring,
        })
    }

    fn get(&mut self, tag: u64, index: u64) -> Result<()> {
        if index >= self.data.records {
            self.ready.push((tag, Ready::Absent));
            return Ok(());
        }
        let rank = self.popularity.rank_of(index);
        if rank < self.cached_rows {
            self.row_hits += 1;
            self.ready.push((tag, Ready::Hit { rank }));
            return Ok(());
        }
        let (block, row_offset) = self.layout.place(index);
        let buffer = self.ring.read(block * self.layout.block_bytes)?;
        self.reads[buffer as usize] = Read { tag, row_offset };
        self.issued.reads += 1;
        self.issued.read_bytes += self.layout.block_bytes;
        Ok(())
    }

    fn put(&mut self, op: Op<'_>, index: u64) -> Result<()> {
        match &mut self.loader {
            Some(loader) if loader.next_index == index => {
                self.issued.write_bytes += loader.append(&self.file, &self.layout, op)?;
                self.ready.push((op.tag, Ready::Done));
                Ok(())
            }
            _ => bail!("the disk engine writes its rows once, in load order: it has no updates"),
        }
    }

    fn reap(&mut self, done: &mut dyn FnMut(u64, Outcome<'_>)) -> usize {
        let value_at = u64::from(self.data.key_size_bytes);
        let row_bytes = self.layout.row_bytes;
        let reads = &self.reads;
        self.ring.reap(|buffer, result| {
            let Read { tag, row_offset } = reads[buffer as usize];
            match result {
                Ok(block) => {
                    let value = row_offset + value_at..row_offset + row_bytes;
                    done(tag, Outcome::Value(&block[value.start as usize..value.end as usize]));
                }
                Err(why) => done(tag, Outcome::Failed(why)),
            }
        })
    }

    fn hand_out_ready(&mut self, done: &mut dyn FnMut(u64, Outcome<'_>)) -> usize {
        let value_bytes = self.data.value_size_bytes as usize;
        let count = self.ready.len();
        for (tag, ready) in self.ready.drain(..) {
            match ready {
                Ready::Hit { rank } => {
                    let start = rank as usize * value_bytes;
                    done(tag, Outcome::Value(&self.cache[start..start + value_bytes]));
                }
                Ready::Absent => done(tag, Outcome::Absent),
                Ready::Done => done(tag, Outcome::Done),
            }
        }
        count
    }
}

impl Target for DiskTarget {
    fn about(&self) -> About {
        About {
            io: "uring".to_owned(),
            io_reason: "one ring, SINGLE_ISSUER, DEFER_TASKRUN, registered file and buffers"
                .to_owned(),
            settings: vec![
                ("block_bytes", self.layout.block_bytes.to_string()),
                ("rows_per_block", self.layout.rows_per_block.to_string()),
                ("cached_rows", self.cached_rows.to_string()),
            ],
        }
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        for op in ops.iter() {
            let index = self.data.index_of(op.key).context("a key without an index")?;
            match op.kind {
                OpKind::Get => self.get(op.tag, index)?,
                OpKind::Put => self.put(op, index)?,
                OpKind::Rmw | OpKind::Scan(_) => {
                    bail!("the disk engine only loads and reads")
                }
            }
        }
        Ok(ops.len())
    }

    fn poll(
        &mut self,
        wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let mut count = self.hand_out_ready(done);
        loop {
            if self.ring.in_flight() == 0 {
                return Ok(count);
            }
            let want = match wait {
                _ if count > 0 => 0,
                None => self.ring.share(),
                Some(_) => 1,
            };
            self.ring.enter(want, wait)?;
            count += self.reap(done);
            if count > 0 || wait.is_some() {
                return Ok(count);
            }
        }
    }

    fn drain_background(&mut self) -> Result<()> {
        if let Some(loader) = self.loader.take() {
            ensure!(
                loader.next_index == self.data.records,
                "only {} of {} rows were loaded",
                loader.next_index,
                self.data.records
            );
            self.issued.write_bytes += loader.finish(&self.file)?;
        }
        Ok(())
    }

    fn stats(&self) -> TargetStats {
        TargetStats {
            counters: vec![("row_hits", self.row_hits), ("reads_issued", self.issued.reads)],
            device: Some(self.issued),
            dfs: None,
            budget_bytes: self.memory_bytes,
        }
    }
}

/// Writes the rows in load order, really: no hole and no extent that the file system knows to be
/// empty, since reading either costs no disk.
struct Loader {
    buffer: MmapMut,
    filled_bytes: u64,
    file_offset_bytes: u64,
    next_index: u64,
}

impl Loader {
    fn new(layout: &Layout) -> Result<Self> {
        let room_bytes = LOAD_WRITE_BYTES + layout.block_bytes;
        let buffer = MmapMut::map_anon(usize::try_from(room_bytes)?)?;
        Ok(Self { buffer, filled_bytes: 0, file_offset_bytes: 0, next_index: 0 })
    }

    /// Adds a row; returns the bytes it made the file grow by.
    fn append(&mut self, file: &File, layout: &Layout, op: Op<'_>) -> Result<u64> {
        let (block, row_offset) = layout.place(self.next_index);
        let block_start = block * layout.block_bytes - self.file_offset_bytes;
        let row_start = (block_start + row_offset) as usize;
        let value_start = row_start + op.key.len();
        self.buffer[row_start..value_start].copy_from_slice(op.key);
        self.buffer[value_start..value_start + op.value.len()].copy_from_slice(op.value);
        self.next_index += 1;
        self.filled_bytes = block_start + layout.block_bytes;
        let block_full = self.next_index.is_multiple_of(layout.rows_per_block);
        if block_full && self.filled_bytes >= LOAD_WRITE_BYTES { self.write(file) } else { Ok(0) }
    }

    fn write(&mut self, file: &File) -> Result<u64> {
        let bytes = std::mem::take(&mut self.filled_bytes);
        file.write_all_at(&self.buffer[..bytes as usize], self.file_offset_bytes)
            .context("rows cannot be written: is the disk full?")?;
        self.file_offset_bytes += bytes;
        Ok(bytes)
    }

    fn finish(mut self, file: &File) -> Result<u64> {
        let bytes = self.write(file)?;
        file.sync_all().context("rows cannot be made durable")?;
        Ok(bytes)
    }
}

/// Rows that fit the memory.
fn cached_rows(memory_bytes: u64, data: &Dataset) -> u64 {
    (memory_bytes / (data.row_bytes() + ROW_OVERHEAD_BYTES)).min(data.records)
}

fn fill_cache(data: &Dataset, popularity: &Popularity, cached_rows: u64) -> Vec<u8> {
    let value_bytes = data.value_size_bytes as usize;
    let mut cache = vec![0; cached_rows as usize * value_bytes];
    for (rank, value) in cache.chunks_exact_mut(value_bytes).enumerate() {
        data.value(popularity.index_of(rank as u64), 0, value);
    }
    cache
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
