//! The merge job: the newest runs of a tablet become one, or, if the oldest is among them, the
//! tables of new tablets.

use crate::codec::hash::hash64;
use crate::io::values::{JobDone, JobIo, JobState};
use crate::limits::{JOB_PIECES, JOB_READ_BYTES_MAX, JOB_READ_BYTES_MIN, PAGE_BYTES};
use crate::lsm::fold::MergeOps;
use crate::lsm::merged::{MergeOrder, Merged};
use crate::lsm::output::Output;
use crate::sst::clears::Clears;
use crate::types::key::prefix_end;
use crate::types::{ObjectName, Result, RowRef};

/// Merges the runs of a tablet.
#[derive(Debug)]
pub struct CompactJob {
    order: MergeOrder,
    merged: Merged,
    output: Output,
    ended: bool,
}

impl CompactJob {
    /// A merge as ordered, to `output`.
    #[must_use]
    pub fn new(order: MergeOrder, ops: MergeOps, output: Output) -> Self {
        Self { merged: Merged::new(&order, ops), order, output, ended: false }
    }

    /// What it was ordered to merge.
    #[must_use]
    pub fn order(&self) -> &MergeOrder {
        &self.order
    }

    /// Low key of its tablet and the tables it merges.
    #[must_use]
    pub fn inputs(&self) -> (Box<[u8]>, Vec<ObjectName>) {
        (self.order.low.clone(), self.order.inputs.iter().map(|t| *t.name()).collect())
    }

    /// Memory its inputs are read through, bytes.
    #[must_use]
    pub fn read_buffer_bytes(&self) -> usize {
        self.order.inputs.len() * JOB_PIECES * self.order.read_bytes
    }

    /// Bytes of its inputs, those in other tablets among them.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.order.inputs.iter().map(|table| table.table_ref().file_bytes).sum()
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
        for done in std::mem::take(&mut io.done) {
            match done {
                JobDone::Read { tag, result } => self.merged.answer(tag, result)?,
                other => self.output.answer(other),
            }
        }
        if self.output.congested() {
            self.merged.read_ahead(io)?;
            return Ok(JobState::Waiting);
        }
        let output = &mut self.output;
        let add = &mut |row: RowRef<'_>, io: &mut JobIo| output.add(hash64(row.key), row, io);
        match self.merged.step(io, add)? {
            JobState::Finished => self.end(io),
            state => Ok(state),
        }
    }

    /// True if no read and no write is outstanding.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.merged.settled() && self.output.settled()
    }

    fn end(&mut self, io: &mut JobIo) -> Result<JobState> {
        // Asked again until its writes ended, it must not start another table for the clears.
        if !self.ended {
            self.ended = true;
            for prefix in self.order.kept_clears().iter() {
                self.output.add_clear(prefix)?;
            }
            self.output.finish(io)?;
        }
        Ok(if self.settled() { JobState::Finished } else { JobState::Waiting })
    }
}

impl MergeOrder {
    /// What its output clears: if older runs remain, what the inputs cleared stays cleared for
    /// them.
    #[must_use]
    pub fn kept_clears(&self) -> Clears {
        let inputs = if self.bottom { &[] } else { &self.inputs[..] };
        let cleared = inputs.iter().flat_map(|table| table.clear_prefixes().iter());
        let kept = cleared.filter(|prefix| self.overlaps(prefix)).map(Box::from);
        Clears::new(kept.collect())
    }

    // An input may hold clears of maps that lie in other tablets.
    fn overlaps(&self, prefix: &[u8]) -> bool {
        self.high.as_deref().is_none_or(|high| prefix < high)
            && prefix_end(prefix).is_none_or(|end| end[..] > self.low[..])
    }
}

/// Bytes of the pieces that each of so many inputs is read in, within the memory of all.
#[must_use]
pub fn read_bytes(read_bytes_max: usize, inputs: usize) -> usize {
    let piece = read_bytes_max / (inputs * JOB_PIECES);
    (piece & !(PAGE_BYTES - 1)).clamp(JOB_READ_BYTES_MIN, JOB_READ_BYTES_MAX)
}
