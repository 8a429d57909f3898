//! The merge job: the newest runs of a tablet become one, or, if the oldest is among them, the
//! tables of new tablets.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::io::values::{JobDone, JobIo, JobRequest, JobState};
use crate::limits::{JOB_PIECES, JOB_ROWS_PER_STEP};
use crate::lsm::fold::{Folder, MergeOps};
use crate::lsm::heap::Heap;
use crate::lsm::output::Output;
use crate::lsm::stream::{Ready, Stream};
use crate::sst::table::Table;
use crate::types::key::{collection_prefix, head_u64, prefix_end};
use crate::types::{ObjectName, Result};

/// What to merge.
#[derive(Debug)]
pub struct MergeOrder {
    /// Low key of the tablet.
    pub low: Box<[u8]>,
    /// End of the tablet.
    pub high: Option<Box<[u8]>>,
    /// The runs' tables, newest first.
    pub inputs: Vec<Arc<Table>>,
    /// True if no older run is left below.
    pub bottom: bool,
    /// Bytes of a piece that an input is read in.
    pub read_bytes: usize,
}

/// Merges the runs of a tablet.
#[derive(Debug)]
pub struct CompactJob {
    order: MergeOrder,
    streams: Vec<Stream>,
    // Some input has clears: rows of older inputs may be masked.
    clears: bool,
    heap: Heap,
    // The source that left the heap until its next row is there.
    waiting: Vec<u32>,
    reads: usize,
    folder: Folder,
    output: Output,
    ended: bool,
}

impl CompactJob {
    /// A merge as ordered, to `output`.
    #[must_use]
    pub fn new(order: MergeOrder, ops: MergeOps, output: Output) -> Self {
        let streams: Vec<Stream> = (0_u32..)
            .zip(&order.inputs)
            .map(|(tag, table)| {
                let (low, high) = (order.low.clone(), order.high.clone());
                Stream::new(Arc::clone(table), tag, low, high, order.read_bytes)
            })
            .collect();
        Self {
            clears: order.inputs.iter().any(|t| !t.clear_prefixes().is_empty()),
            waiting: (0..streams.len() as u32).collect(),
            heap: Heap::default(),
            reads: 0,
            folder: Folder::new(ops, order.bottom),
            streams,
            order,
            output,
            ended: false,
        }
    }

    /// Low key of its tablet and the tables it merges.
    #[must_use]
    pub fn inputs(&self) -> (Box<[u8]>, Vec<ObjectName>) {
        (self.order.low.clone(), self.order.inputs.iter().map(|t| *t.name()).collect())
    }

    /// Memory its inputs are read through, bytes.
    #[must_use]
    pub fn read_buffer_bytes(&self) -> usize {
        self.streams.len() * JOB_PIECES * self.order.read_bytes
    }

    /// Its output.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Its output, when finished.
    #[must_use]
    pub fn into_output(self) -> Output {
        self.output
    }

    /// A bounded piece of work.
    ///
    /// # Errors
    /// Damage or a failed read; the job must end.
    pub fn step(&mut self, io: &mut JobIo) -> Result<JobState> {
        let asked = io.requests.len();
        for done in std::mem::take(&mut io.done) {
            match done {
                JobDone::Read { tag, result } => {
                    self.reads -= 1;
                    self.streams[Stream::source_of(tag)].answer(tag, result)?;
                }
                other => self.output.answer(other),
            }
        }
        let state = self.work(io);
        let is_read = |r: &&JobRequest| matches!(r, JobRequest::Read { .. });
        self.reads += io.requests[asked..].iter().filter(is_read).count();
        state
    }

    /// True if no read and no write is outstanding.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.reads == 0 && self.output.settled()
    }

    fn work(&mut self, io: &mut JobIo) -> Result<JobState> {
        self.wake(io)?;
        if !self.waiting.is_empty() || self.output.congested() {
            return Ok(JobState::Waiting);
        }
        for _ in 0..JOB_ROWS_PER_STEP {
            let Some(source) = self.heap.top() else { return self.end(io) };
            let index = source as usize;
            // A large value is fetched when its row is due.
            if self.streams[index].ready(io)? == Ready::Waiting {
                return Ok(JobState::Waiting);
            }
            let row = self.streams[index].row();
            if !(self.clears && masked(&self.order.inputs, index, row.key)) {
                self.folder.push(row, &mut self.output, io)?;
            }
            self.streams[index].next();
            if !self.next_row(source, io)? {
                return Ok(JobState::Waiting);
            }
        }
        Ok(JobState::Working)
    }

    // Moves the top source to its next row; false if that is not in memory yet.
    fn next_row(&mut self, source: u32, io: &mut JobIo) -> Result<bool> {
        let ready = self.streams[source as usize].ready_key(io)?;
        let streams = &self.streams;
        let full = |a: u32, b: u32| compare(streams, a, b);
        match ready {
            Ready::Row => {
                self.heap.advance_top(head_u64(streams[source as usize].key()), &full);
                Ok(true)
            }
            Ready::Ended => {
                self.heap.pop(&full);
                Ok(true)
            }
            Ready::Waiting => {
                self.heap.pop(&full);
                self.waiting.push(source);
                Ok(false)
            }
        }
    }

    // Puts the sources whose next row has arrived back into the heap.
    fn wake(&mut self, io: &mut JobIo) -> Result<()> {
        let mut still = Vec::new();
        for source in std::mem::take(&mut self.waiting) {
            match self.streams[source as usize].ready_key(io)? {
                Ready::Row => {
                    let streams = &self.streams;
                    let head = head_u64(streams[source as usize].key());
                    self.heap.push(head, source, &|a, b| compare(streams, a, b));
                }
                Ready::Ended => {}
                Ready::Waiting => still.push(source),
            }
        }
        self.waiting = still;
        Ok(())
    }

    fn end(&mut self, io: &mut JobIo) -> Result<JobState> {
        // Asked again until its writes ended, it must not start another table for the clears.
        if !self.ended {
            self.ended = true;
            self.folder.finish(&mut self.output, io)?;
            if !self.order.bottom {
                self.keep_clears()?;
            }
            self.output.finish_table(io)?;
        }
        Ok(if self.settled() { JobState::Finished } else { JobState::Waiting })
    }

    // An input may hold clears of maps that lie in other tablets.
    fn overlaps(&self, prefix: &[u8]) -> bool {
        let MergeOrder { low, high, .. } = &self.order;
        high.as_deref().is_none_or(|high| prefix < high)
            && prefix_end(prefix).is_none_or(|end| end[..] > low[..])
    }

    // Older runs remain: what the inputs cleared stays cleared for them.
    fn keep_clears(&mut self) -> Result<()> {
        let mut prefixes: Vec<Vec<u8>> = Vec::new();
        for table in &self.order.inputs {
            let clears = table.clear_prefixes().iter();
            prefixes.extend(clears.filter(|prefix| self.overlaps(prefix)).map(<[u8]>::to_vec));
        }
        prefixes.sort_unstable();
        prefixes.dedup();
        for prefix in prefixes {
            self.output.add_clear(&prefix)?;
        }
        Ok(())
    }
}

// A newer input cleared the map that this row belongs to.
fn masked(inputs: &[Arc<Table>], source: usize, key: &[u8]) -> bool {
    collection_prefix(key).is_some() && inputs[..source].iter().any(|t| t.clears(key))
}

fn compare(streams: &[Stream], a: u32, b: u32) -> Ordering {
    streams[a as usize].key().cmp(streams[b as usize].key())
}
