//! Background jobs, stepped between ticks: every yield point is reachable between any two requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use aquifer::io::values::{JobDone, JobIo, JobRequest, JobState, ObjectSlot};
use aquifer::lsm::job::{Job, Left, Unfinished};
use aquifer::mem::slab::Token;
use aquifer::shard::values::{JobOrder, JobReport};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};

use crate::sim::driver::{Event, Sim};
use crate::sim::faults::FaultMix;

/// A merge makes hundreds of reads and starts again if one fails: at the rate of single reads it
/// would never end.
const JOB_READS_FAIL_RARER: u32 = 20;

type Opened = Vec<(ObjectName, ObjectSlot)>;

/// A job that was handed out.
#[derive(Debug)]
pub(super) struct Running {
    pub number: u64,
    token: Token,
    job: Box<Job>,
    pub mailbox: JobIo,
    state: JobState,
    opened: Opened,
    // The store of the objects it asked for.
    store: Option<u64>,
    // Objects that it reads.
    readers: BTreeSet<ObjectName>,
}

impl Running {
    /// True if it can do nothing before an answer arrives.
    pub(super) fn waits(&self) -> bool {
        self.state == JobState::Waiting && self.mailbox.done.is_empty()
    }
}

impl Sim {
    pub(super) fn start_job(&mut self, order: JobOrder) {
        self.next_job += 1;
        self.jobs.push(Running {
            number: self.next_job,
            token: order.token,
            job: order.job,
            mailbox: JobIo::default(),
            state: JobState::Working,
            opened: Vec::new(),
            store: None,
            readers: BTreeSet::new(),
        });
    }

    /// Lets every job make some steps.
    pub(super) fn step_jobs(&mut self) {
        for mut running in std::mem::take(&mut self.jobs) {
            for _ in 0..self.rng.between(0, self.faults.job_steps_max) {
                if running.waits() {
                    break;
                }
                running.state = running.job.step(&mut running.mailbox);
                for request in std::mem::take(&mut running.mailbox.requests) {
                    let done = self.perform_or_spare(&mut running, request);
                    self.later(Event::Job(running.number, done));
                }
                if running.state == JobState::Finished {
                    break;
                }
            }
            if running.state == JobState::Finished {
                let Running { token, job, opened, store, .. } = running;
                let result = if self.rng.chance(self.faults.job_breaks) {
                    let error = Error::new(ErrorKind::Poisoned, "injected: the job broke");
                    Err(Unfinished { error, left: Left::Lost })
                } else {
                    job.finish()
                };
                if let Some(store) = store {
                    let failures = self.job_failures.entry(store).or_default();
                    *failures = if result.is_ok() { 0 } else { *failures + 1 };
                }
                self.later(Event::Report(JobReport { token, result, opened }));
            } else {
                self.jobs.push(running);
            }
        }
    }

    // See `FaultMix::job_failures_max`.
    fn perform_or_spare(&mut self, running: &mut Running, request: JobRequest) -> JobDone {
        let (JobRequest::Read { object, .. }
        | JobRequest::Append { object, .. }
        | JobRequest::Seal { object }
        | JobRequest::Open { object, .. }) = &request;
        running.store = Some(object.store);
        let failures = self.job_failures.get(&object.store).copied().unwrap_or_default();
        if failures < self.faults.job_failures_max {
            return self.perform(running, request);
        }
        let faults = std::mem::replace(&mut self.faults, FaultMix::calm());
        let done = self.perform(running, request);
        self.faults = faults;
        done
    }

    fn perform(&mut self, running: &mut Running, request: JobRequest) -> JobDone {
        match request {
            JobRequest::Read { tag, object, offset, len, mut buf } => {
                let bytes = self.open_to_read(&mut running.readers, &object);
                let result = bytes.and_then(|bytes| {
                    let out = &mut buf.bytes_mut()[..len];
                    self.read(&bytes, offset, out, JOB_READS_FAIL_RARER)?;
                    Ok(buf)
                });
                JobDone::Read { tag, result }
            }
            JobRequest::Append { object, mut bytes } => {
                let creates = !self.dfs.is_written(&object);
                let fault = if creates && self.rng.chance(self.faults.create_error) {
                    Some(self.injected(&format!("creating {object}")))
                } else if self.rng.chance(self.faults.append_error) {
                    Some(self.injected(&format!("append to {object}")))
                } else {
                    None
                };
                let result = self.dfs.append(object, &bytes, fault);
                self.job_bytes += bytes.len() as u64;
                bytes.clear();
                JobDone::Appended { bytes, result }
            }
            JobRequest::Seal { object } => {
                let fails = self.rng.chance(self.faults.seal_error);
                let fault = fails.then(|| self.injected("seal"));
                let mut result = self.dfs.seal(object, fault);
                if result.is_ok() && self.rng.chance(self.faults.seal_lost_reply) {
                    result = Err(self.injected("the reply to a seal was lost"));
                }
                if result.is_ok() && self.rng.chance(self.faults.open_error) {
                    result = Err(self.injected("open"));
                }
                let result = result.and_then(|()| self.hand_over(&mut running.opened, object));
                JobDone::Sealed { object, result }
            }
            JobRequest::Open { object, .. } => {
                let fails = self.rng.chance(self.faults.reopen_error);
                let opened = if fails { Err(self.injected("open")) } else { Ok(()) };
                let result = opened.and_then(|()| self.hand_over(&mut running.opened, object));
                JobDone::Opened { object, result }
            }
        }
    }

    // Opens an object for the shard.
    fn hand_over(&mut self, opened: &mut Opened, object: ObjectName) -> Result<()> {
        opened.push((object, self.dfs.open(&object)?));
        Ok(())
    }

    // The bytes of an object; a job opens it with its first read.
    fn open_to_read(
        &mut self,
        readers: &mut BTreeSet<ObjectName>,
        object: &ObjectName,
    ) -> Result<Arc<Vec<u8>>> {
        if !readers.contains(object) && self.rng.chance(self.faults.open_error) {
            return Err(self.injected("open"));
        }
        readers.insert(*object);
        self.dfs.needed(object, "a job")
    }
}
