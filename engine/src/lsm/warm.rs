//! The warm-up job: units that a checkpoint calls hot are read from the DFS and written to the
//! cache on the SSD. It is only a cache: what fails is left out, and nobody hears of it. Nor is
//! anything checked here: whoever finds it in the cache does that.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::ssd::Through;
use crate::io::values::{JobDone, JobIo, JobRequest, JobState};
use crate::limits::{GAP_BYTES_MIN, WARM_READ_BYTES_MAX, WARM_READS_MAX};
use crate::mem::pool::Buf;
use crate::sst::layout::Extent;
use crate::sst::table::Table;

/// Units of one table on their way to the cache.
#[derive(Debug)]
pub struct WarmJob {
    // Held, so that its object is not deleted meanwhile.
    table: Arc<Table>,
    extents: Vec<Extent>,
    next: usize,
    // By tag, what is being read.
    reads: Vec<Range<usize>>,
    in_flight: usize,
    // Read, and not yet on their way to the cache.
    landed: Vec<(u32, Buf)>,
    through: Option<Through>,
    ended: bool,
}

impl WarmJob {
    /// Brings in these whole pages of a table, which are in order.
    #[must_use]
    pub fn new(table: Arc<Table>, extents: Vec<Extent>) -> Self {
        let (reads, landed, through) = (Vec::new(), Vec::new(), None);
        Self { table, extents, next: 0, reads, in_flight: 0, landed, through, ended: false }
    }

    /// Bytes that it brings in.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.len)).sum()
    }

    /// Where they go; without it there is nothing to do.
    pub fn write_through(&mut self, through: Through) {
        self.through = Some(through);
    }

    /// What was written; the job has finished.
    pub fn take_through(&mut self) -> Option<Through> {
        self.through.take()
    }

    /// A bounded piece of work.
    pub fn step(&mut self, io: &mut JobIo) -> JobState {
        let Some(mut through) = self.through.take() else { return JobState::Finished };
        for done in std::mem::take(&mut io.done) {
            match done {
                JobDone::Read { tag, result } => {
                    self.in_flight -= 1;
                    self.landed.extend(result.ok().map(|buf| (tag, buf)));
                }
                JobDone::Cached { region, buf, result } => through.written(region, buf, result),
                other => unreachable!("a warm-up writes to the cache alone: {other:?}"),
            }
        }
        while through.has_buf()
            && let Some((tag, buf)) = self.landed.pop()
        {
            let mut placed = self.extents[self.reads[tag as usize].clone()].to_vec();
            let start = placed.first().map_or(0, |first| first.offset);
            let key = self.table.object_key();
            io.requests.extend(through.push(key, start, buf.bytes(), &mut placed));
        }
        while self.next < self.extents.len() && self.in_flight + self.landed.len() < WARM_READS_MAX
        {
            self.ask(io);
        }
        let idle = self.in_flight == 0 && self.landed.is_empty();
        if self.next == self.extents.len() && idle && !self.ended {
            self.ended = true;
            io.requests.extend(through.end());
        }
        let over = self.ended && through.is_settled();
        self.through = Some(through);
        if over { JobState::Finished } else { JobState::Waiting }
    }

    // Reads the next extent, and with it those close behind.
    fn ask(&mut self, io: &mut JobIo) {
        let first = self.extents[self.next];
        let end_of = |extent: &Extent| extent.offset + u64::from(extent.len);
        let (mut end, mut to) = (end_of(&first), self.next + 1);
        while let Some(next) = self.extents.get(to)
            && next.offset <= end + GAP_BYTES_MIN
            && end_of(next) - first.offset <= WARM_READ_BYTES_MAX as u64
        {
            end = end.max(end_of(next));
            to += 1;
        }
        let extents = std::mem::replace(&mut self.next, to)..to;
        let len = (end - first.offset) as usize;
        let Ok(buf) = Buf::map(len) else { return };
        let (tag, object) = (self.reads.len() as u32, *self.table.name());
        self.reads.push(extents);
        self.in_flight += 1;
        io.requests.push(JobRequest::Read { tag, object, offset: first.offset, len, buf });
    }
}
