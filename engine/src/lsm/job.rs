//! Background work as a value: immutable inputs in, a version edit out. A job is a step machine
//! that names its I/O and never performs it, so the same code runs on the glommio executor and
//! inline in the simulator.

use std::sync::Arc;

use crate::cache::ssd::Through;
use crate::io::values::{JobIo, JobState};
use crate::lsm::away::{MergeJob, Verdict};
use crate::lsm::flush::FlushJob;
use crate::lsm::open::OpenJob;
use crate::lsm::output::Output;
use crate::lsm::rows::FrozenRows;
use crate::lsm::warm::WarmJob;
use crate::sst::table::Table;
use crate::types::{Error, ObjectName, Result};

/// The kinds of work.
#[derive(Debug)]
pub enum Work {
    /// Rows of a frozen generation become a table.
    Flush(FlushJob),
    /// Runs of a tablet become one.
    Merge(MergeJob),
    /// Tables of a restored store become resident.
    Open(OpenJob),
    /// Units that a checkpoint calls hot come into the cache on the SSD.
    Warm(WarmJob),
}

/// One background job.
#[derive(Debug)]
pub struct Job {
    work: Work,
    failure: Option<Error>,
    outstanding: usize,
}

/// What came out of a job.
#[derive(Debug)]
pub enum Outcome {
    /// The generation and its table; no table if no row of it was left.
    Flushed {
        /// Of the rows.
        generation: u64,
        /// Written and sealed.
        table: Option<Arc<Table>>,
    },
    /// Runs and what replaces them.
    Merged {
        /// Low key of the tablet.
        low: Box<[u8]>,
        /// The merged tables, newest first.
        inputs: Vec<ObjectName>,
        /// Written and sealed, in key order.
        outputs: Vec<Arc<Table>>,
    },
    /// The tables in the order they were asked for.
    Opened {
        /// Resident parts, or what is wrong with them.
        tables: Vec<(ObjectName, Result<Arc<Table>>)>,
    },
    /// What lies in the cache now is told by the job's regions.
    Warmed,
}

/// A job that failed.
#[derive(Debug)]
pub struct Unfinished {
    /// Why.
    pub error: Error,
    /// What is to be done again.
    pub left: Left,
}

/// What a failed job was to do.
#[derive(Debug)]
pub enum Left {
    /// Flush these rows.
    Flush(FrozenRows),
    /// Merge runs of the tablet with this low key.
    Merge(Box<[u8]>),
    /// Unknown: the job itself broke.
    Lost,
}

impl Job {
    /// A job that was not started.
    #[must_use]
    pub fn new(work: Work) -> Self {
        Self { work, failure: None, outstanding: 0 }
    }

    /// Bytes of what it reads: it will write so many at most.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        match &self.work {
            Work::Flush(job) => job.rows_bytes() as u64,
            Work::Merge(job) => job.input_bytes(),
            Work::Open(_) => 0,
            Work::Warm(job) => job.bytes(),
        }
    }

    fn output(&mut self) -> Option<&mut Output> {
        match &mut self.work {
            Work::Flush(job) => Some(job.output()),
            Work::Merge(job) => Some(job.output()),
            Work::Open(_) | Work::Warm(_) => None,
        }
    }

    /// Its tables are written through to the cache as well.
    pub fn write_through(&mut self, through: Through) {
        if let Work::Warm(job) = &mut self.work {
            job.write_through(through);
        } else if let Some(output) = self.output() {
            output.write_through(through);
        }
    }

    /// What a finished job wrote through; none of a job that failed.
    pub fn take_through(&mut self) -> Option<Through> {
        let through = match &mut self.work {
            Work::Warm(job) => job.take_through(),
            _ => self.output().and_then(Output::take_through),
        };
        through.filter(|_| self.failure.is_none())
    }

    /// A bounded piece of work. After a failure it only waits for what is outstanding.
    pub fn step(&mut self, io: &mut JobIo) -> JobState {
        self.outstanding -= io.done.len();
        if self.failure.is_some() {
            io.done.clear();
            return if self.outstanding == 0 { JobState::Finished } else { JobState::Waiting };
        }
        let asked = io.requests.len();
        let result = match &mut self.work {
            Work::Flush(job) => job.step(io),
            Work::Merge(job) => job.step(io),
            Work::Open(job) => Ok(job.step(io)),
            Work::Warm(job) => Ok(job.step(io)),
        };
        self.outstanding += io.requests.len() - asked;
        let write_failure = self.output().and_then(|output| output.failure().cloned());
        match (result, write_failure) {
            (Ok(state), None) => state,
            (Err(error), _) | (_, Some(error)) => {
                self.failure = Some(error);
                if self.outstanding == 0 { JobState::Finished } else { JobState::Waiting }
            }
        }
    }

    /// Ends it without an outcome, once nothing is outstanding.
    pub fn give_up(&mut self, why: Error) {
        self.failure.get_or_insert(why);
    }

    /// Bytes that it had written so far.
    pub fn bytes(&mut self) -> u64 {
        self.output().map_or(0, |output| output.bytes())
    }

    /// What a finished job makes of the compactor that did its work.
    pub fn verdict(&mut self) -> Option<Verdict> {
        match &mut self.work {
            Work::Merge(job) => job.verdict(),
            Work::Flush(_) | Work::Open(_) | Work::Warm(_) => None,
        }
    }

    /// The outcome of a finished job, and the bytes it wrote.
    ///
    /// # Errors
    /// What stopped it, and what it leaves undone; objects it wrote are orphans then.
    pub fn finish(self) -> std::result::Result<(Outcome, u64), Unfinished> {
        if let Some(error) = self.failure {
            let left = match self.work {
                Work::Flush(job) => Left::Flush(job.into_rows()),
                Work::Merge(job) => Left::Merge(job.inputs().0),
                Work::Open(_) => unreachable!("its tables fail one by one"),
                Work::Warm(_) => unreachable!("it leaves out what fails"),
            };
            return Err(Unfinished { error, left });
        }
        Ok(match self.work {
            Work::Flush(job) => {
                let generation = job.generation();
                let (mut tables, bytes) = job.into_output().into_tables();
                debug_assert!(tables.len() <= 1);
                (Outcome::Flushed { generation, table: tables.pop() }, bytes)
            }
            Work::Merge(job) => {
                let (low, inputs) = job.inputs();
                let (outputs, bytes) = job.into_tables();
                (Outcome::Merged { low, inputs, outputs }, bytes)
            }
            Work::Open(job) => (Outcome::Opened { tables: job.into_tables() }, 0),
            Work::Warm(_) => (Outcome::Warmed, 0),
        })
    }
}
