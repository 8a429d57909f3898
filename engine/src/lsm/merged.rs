//! The rows that the newest runs of a tablet hold together, in key order, one row a key: what a
//! merge writes, and what an export reads.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::io::values::{JobIo, JobRequest, JobState};
use crate::limits::JOB_ROWS_PER_STEP;
use crate::lsm::fold::{Folder, MergeOps};
use crate::lsm::heap::Heap;
use crate::lsm::stream::{Ready, Stream};
use crate::mem::pool::Buf;
use crate::sst::table::Table;
use crate::types::key::{collection_prefix, head_u64};
use crate::types::{Result, RowRef};

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

/// See the module.
#[derive(Debug)]
pub struct Merged {
    // Newest first.
    inputs: Vec<Arc<Table>>,
    streams: Vec<Stream>,
    // Some input has clears: rows of older inputs may be masked.
    clears: bool,
    heap: Heap,
    // The source that left the heap until its next row is there.
    waiting: Vec<u32>,
    reads: usize,
    folder: Folder,
}

impl Merged {
    /// The rows of what is ordered to be merged.
    #[must_use]
    pub fn new(order: &MergeOrder, ops: MergeOps) -> Self {
        let streams: Vec<Stream> = (0_u32..)
            .zip(&order.inputs)
            .map(|(tag, table)| {
                let (low, high) = (order.low.clone(), order.high.clone());
                Stream::new(Arc::clone(table), tag, low, high, order.read_bytes)
            })
            .collect();
        Self {
            inputs: order.inputs.clone(),
            clears: order.inputs.iter().any(|t| !t.clear_prefixes().is_empty()),
            waiting: (0..streams.len() as u32).collect(),
            heap: Heap::default(),
            reads: 0,
            folder: Folder::new(ops, order.bottom),
            streams,
        }
    }

    /// Takes the answer to a read.
    ///
    /// # Errors
    /// The read's failure.
    pub fn answer(&mut self, tag: u32, result: Result<Buf>) -> Result<()> {
        self.reads -= 1;
        self.streams[Stream::source_of(tag)].answer(tag, result)
    }

    /// True if no read is outstanding.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.reads == 0
    }

    /// A bounded piece of work: some rows go to `emit`. `Finished` is the end of the rows.
    ///
    /// # Errors
    /// Damage, a failed read, or those of `emit`.
    pub fn step(
        &mut self,
        io: &mut JobIo,
        emit: &mut impl FnMut(RowRef<'_>, &mut JobIo) -> Result<()>,
    ) -> Result<JobState> {
        let asked = io.requests.len();
        let state = self.wake(io).and_then(|()| self.work(io, emit));
        self.count(&io.requests[asked..]);
        state
    }

    /// Goes on reading ahead, for who has no room for rows.
    ///
    /// # Errors
    /// Damage, or a failed read.
    pub fn read_ahead(&mut self, io: &mut JobIo) -> Result<()> {
        let asked = io.requests.len();
        let woken = self.wake(io);
        self.count(&io.requests[asked..]);
        woken
    }

    fn count(&mut self, requests: &[JobRequest]) {
        let is_read = |r: &&JobRequest| matches!(r, JobRequest::Read { .. });
        self.reads += requests.iter().filter(is_read).count();
    }

    fn work(
        &mut self,
        io: &mut JobIo,
        emit: &mut impl FnMut(RowRef<'_>, &mut JobIo) -> Result<()>,
    ) -> Result<JobState> {
        if !self.waiting.is_empty() {
            return Ok(JobState::Waiting);
        }
        for _ in 0..JOB_ROWS_PER_STEP {
            let Some(source) = self.heap.top() else {
                self.folder.finish(&mut |row| emit(row, io))?;
                return Ok(JobState::Finished);
            };
            let index = source as usize;
            // A large value is fetched when its row is due.
            if self.streams[index].ready(io)? == Ready::Waiting {
                return Ok(JobState::Waiting);
            }
            let row = self.streams[index].row();
            if !(self.clears && masked(&self.inputs, index, row.key)) {
                self.folder.push(row, &mut |row| emit(row, io))?;
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
}

// A newer input cleared the map that this row belongs to.
fn masked(inputs: &[Arc<Table>], source: usize, key: &[u8]) -> bool {
    collection_prefix(key).is_some() && inputs[..source].iter().any(|t| t.clears(key))
}

fn compare(streams: &[Stream], a: u32, b: u32) -> Ordering {
    streams[a as usize].key().cmp(streams[b as usize].key())
}
