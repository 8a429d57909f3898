//! An errand on its compactor: the inputs are opened, then the merge runs that a store would run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::io::values::{JobIo, JobState};
use crate::limits::{JOB_BASE_BYTES, JOB_PIECES, PAGE_BYTES};
use crate::lsm::away::MergeJob;
use crate::lsm::compact::{CompactJob, read_bytes};
use crate::lsm::errand::Errand;
use crate::lsm::job::{Job, Outcome, Work};
use crate::lsm::merged::MergeOrder;
use crate::lsm::open::OpenJob;
use crate::lsm::output::Output;
use crate::sst::meta::TableRef;
use crate::sst::table::Table;
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// What an errand and whoever watches it tell each other.
#[derive(Debug, Default)]
pub struct Watch {
    written: AtomicU64,
    given_up: AtomicBool,
}

impl Watch {
    /// Bytes of the errand's tables that are written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Nobody waits for the errand any more: it ends without an outcome.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct ErrandJob {
    errand: Errand,
    read_bytes: usize,
    watch: Arc<Watch>,
    // The part that runs.
    job: Option<Job>,
    result: Option<Result<Vec<TableRef>>>,
}

impl ErrandJob {
    /// The job of an errand that may hold `memory_bytes`.
    ///
    /// # Errors
    /// `NoMemory` if it takes more.
    pub fn new(errand: Errand, memory_bytes: usize, watch: Arc<Watch>) -> Result<Self> {
        let inputs = errand.inputs.len();
        let resident = errand.inputs.iter().map(|input| input.meta_len as usize + PAGE_BYTES);
        // Those of the outputs are about as large.
        let fixed = JOB_BASE_BYTES + 2 * resident.sum::<usize>();
        let read_bytes = read_bytes(memory_bytes.saturating_sub(fixed), inputs);
        let needed = fixed + inputs * JOB_PIECES * read_bytes;
        if needed > memory_bytes {
            return Err(Error::new(
                ErrorKind::NoMemory,
                format!(
                    "the merge takes {needed} bytes of memory, and a merge there has \
                     {memory_bytes}: start the compactor with more memory or for fewer merges at \
                     once"
                ),
            ));
        }
        let job = Job::new(Work::Open(OpenJob::new(errand.inputs.clone())));
        Ok(Self { errand, read_bytes, watch, job: Some(job), result: None })
    }

    /// A bounded piece of work.
    pub fn step(&mut self, io: &mut JobIo) -> JobState {
        let Some(mut job) = self.job.take() else { return JobState::Finished };
        if self.watch.given_up.load(Ordering::Relaxed) {
            job.give_up(Error::new(ErrorKind::Closed, "nobody waits for the merge any more"));
        }
        let state = job.step(io);
        self.watch.written.store(job.bytes(), Ordering::Relaxed);
        if state != JobState::Finished {
            self.job = Some(job);
            return state;
        }
        let ended = job.finish().map_err(|unfinished| unfinished.error);
        self.result = ended.and_then(|(outcome, _)| self.next(outcome)).transpose();
        if self.result.is_some() { JobState::Finished } else { JobState::Working }
    }

    // A part has ended: the tables, if it was the last one.
    fn next(&mut self, outcome: Outcome) -> Result<Option<Vec<TableRef>>> {
        match outcome {
            Outcome::Opened { tables } => {
                let tables = tables.into_iter().map(|(_, table)| table);
                let merge = self.merge(tables.collect::<Result<_>>()?);
                self.job = Some(Job::new(Work::Merge(merge)));
                Ok(None)
            }
            Outcome::Merged { outputs, .. } => {
                Ok(Some(outputs.iter().map(|table| *table.table_ref()).collect()))
            }
            Outcome::Flushed { .. } | Outcome::Warmed => unreachable!("an errand merges"),
        }
    }

    fn merge(&self, inputs: Vec<Arc<Table>>) -> MergeJob {
        let Errand { low, high, bottom, filter_bits, target_bytes, ops, names, .. } = &self.errand;
        let order = MergeOrder {
            low: low.clone(),
            high: high.clone(),
            inputs,
            bottom: *bottom,
            read_bytes: self.read_bytes,
        };
        let output = Output::new(names.clone(), *filter_bits, *target_bytes);
        MergeJob::here(CompactJob::new(order, ops.clone(), output))
    }

    /// The tables of a finished errand, whole and durable.
    ///
    /// # Errors
    /// What stopped it; objects it wrote are orphans then.
    ///
    /// # Panics
    /// If it has not finished.
    pub fn into_tables(self) -> Result<Vec<TableRef>> {
        self.result.expect("it has finished")
    }
}
