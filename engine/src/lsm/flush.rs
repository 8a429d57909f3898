//! The flush job: a frozen generation of rows becomes one table.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::codec::hash::hash64;
use crate::io::values::{JobIo, JobState};
use crate::limits::{JOB_ROWS_PER_STEP, JOB_SORTS_PER_STEP};
use crate::lsm::fold::{Folder, MergeOps};
use crate::lsm::heap::Heap;
use crate::lsm::output::Output;
use crate::lsm::rows::{FIRST_ROW, FrozenRows};
use crate::lsm::segment;
use crate::types::key::{collection_prefix, head_u64};
use crate::types::{Result, RowRef};

/// Sorts each segment, merges the segments, writes the table.
#[derive(Debug)]
pub struct FlushJob {
    rows: FrozenRows,
    clears: HashMap<Box<[u8]>, u64>,
    // Of each segment, the offsets of its live rows in key order.
    order: Vec<Vec<(u64, u32)>>,
    at: Vec<usize>,
    heap: Heap,
    folder: Folder,
    output: Output,
    started: bool,
}

impl FlushJob {
    /// A flush of `rows` to `output`.
    #[must_use]
    pub fn new(rows: FrozenRows, ops: MergeOps, output: Output) -> Self {
        let clears = rows.clears.iter().cloned().collect();
        Self {
            clears,
            order: Vec::with_capacity(rows.segments.len()),
            at: vec![0; rows.segments.len()],
            rows,
            heap: Heap::default(),
            folder: Folder::new(ops, false),
            output,
            started: false,
        }
    }

    /// Memory its order takes, bytes: 16 for each row, at 64 bytes a row.
    #[must_use]
    pub fn order_bytes(&self) -> usize {
        self.rows.bytes / 4
    }

    /// Bytes of its rows.
    #[must_use]
    pub fn rows_bytes(&self) -> usize {
        self.rows.bytes
    }

    /// The generation it flushes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.rows.generation
    }

    /// Its output.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Its rows, to be flushed by another job.
    #[must_use]
    pub fn into_rows(self) -> FrozenRows {
        self.rows
    }

    /// Its output, when finished.
    #[must_use]
    pub fn into_output(self) -> Output {
        self.output
    }

    /// A bounded piece of work.
    ///
    /// # Errors
    /// Damage or a broken invariant; the job must end.
    pub fn step(&mut self, io: &mut JobIo) -> Result<JobState> {
        for done in io.done.drain(..) {
            self.output.answer(done);
        }
        if self.order.len() < self.rows.segments.len() {
            for _ in 0..JOB_SORTS_PER_STEP {
                self.sort_next();
            }
            return Ok(JobState::Working);
        }
        if !self.started {
            self.start()?;
        }
        if self.output.congested() {
            return Ok(JobState::Waiting);
        }
        self.merge(io)
    }

    fn sort_next(&mut self) {
        let Some(segment) = self.rows.segments.get(self.order.len()) else { return };
        let bytes = &segment.memory[..];
        let mut order = Vec::with_capacity(segment.used / 64);
        let mut offset = FIRST_ROW;
        while offset < segment.used {
            let row = segment::read(bytes, offset);
            let written = segment.clears_before + u64::from(row.epoch);
            let masked = !self.clears.is_empty()
                && collection_prefix(row.key)
                    .and_then(|prefix| self.clears.get(prefix))
                    .is_some_and(|&count| written < count);
            if row.kind.is_some() && !masked {
                order.push((head_u64(row.key), offset as u32));
            }
            offset += row.slot_bytes;
        }
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                let key = |o: u32| segment::read(bytes, o as usize).key;
                key(a.1).cmp(key(b.1))
            })
        });
        self.order.push(order);
    }

    fn start(&mut self) -> Result<()> {
        self.started = true;
        let mut prefixes: Vec<&[u8]> = self.clears.keys().map(|p| &p[..]).collect();
        prefixes.sort_unstable();
        for prefix in prefixes {
            self.output.add_clear(prefix)?;
        }
        for source in 0..self.order.len() {
            if let Some(&(head, _)) = self.order[source].first() {
                let (rows, order, at) = (&self.rows, &self.order, &self.at);
                self.heap.push(head, source as u32, &|a, b| compare(rows, order, at, a, b));
            }
        }
        Ok(())
    }

    fn merge(&mut self, io: &mut JobIo) -> Result<JobState> {
        for _ in 0..JOB_ROWS_PER_STEP {
            let Some(source) = self.heap.top() else {
                let output = &mut self.output;
                self.folder.finish(&mut |row| output.add(hash64(row.key), row, io))?;
                self.output.finish(io)?;
                let settled = self.output.settled();
                return Ok(if settled { JobState::Finished } else { JobState::Waiting });
            };
            let row = current(&self.rows, &self.order, &self.at, source);
            let output = &mut self.output;
            self.folder.push(row, &mut |row| output.add(hash64(row.key), row, io))?;
            let index = source as usize;
            self.at[index] += 1;
            let (rows, order, at) = (&self.rows, &self.order, &self.at);
            let full = |a: u32, b: u32| compare(rows, order, at, a, b);
            match self.order[index].get(self.at[index]) {
                Some(&(head, offset)) => {
                    // Its turn comes after a row of most other segments: time to fetch it.
                    segment::prefetch_row(&self.rows.segments[index].memory, offset as usize);
                    self.heap.advance_top(head, &full);
                }
                None => self.heap.pop(&full),
            }
        }
        Ok(JobState::Working)
    }
}

fn current<'a>(
    rows: &'a FrozenRows,
    order: &[Vec<(u64, u32)>],
    at: &[usize],
    source: u32,
) -> RowRef<'a> {
    let index = source as usize;
    let (_, offset) = order[index][at[index]];
    let row = segment::read(&rows.segments[index].memory, offset as usize);
    RowRef { key: row.key, kind: row.kind.expect("dead rows were left out"), value: row.value }
}

fn compare(rows: &FrozenRows, order: &[Vec<(u64, u32)>], at: &[usize], a: u32, b: u32) -> Ordering {
    current(rows, order, at, a).key.cmp(current(rows, order, at, b).key)
}
