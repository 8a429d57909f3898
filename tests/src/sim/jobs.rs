//! Background jobs, stepped between ticks: every yield point is reachable between any two requests.

use aquifer::io::values::{JobDone, JobIo, JobRequest, JobState, ObjectSlot};
use aquifer::lsm::job::Job;
use aquifer::mem::slab::Token;
use aquifer::shard::values::{JobOrder, JobReport};
use aquifer::types::{ObjectName, Result};

use crate::sim::driver::{Event, Sim};

/// A merge makes hundreds of reads and starts again if one fails: at the rate of single reads it
/// would never end.
const JOB_READS_FAIL_RARER: u32 = 20;

/// A job that was handed out.
#[derive(Debug)]
pub(super) struct Running {
    pub number: u64,
    token: Token,
    job: Box<Job>,
    pub mailbox: JobIo,
    state: JobState,
    opened: Vec<(ObjectName, Result<ObjectSlot>)>,
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
                    let done = self.perform(&mut running.opened, request);
                    self.later(Event::Job(running.number, done));
                }
                if running.state == JobState::Finished {
                    break;
                }
            }
            if running.state == JobState::Finished {
                let Running { token, job, opened, .. } = running;
                let report = JobReport { token, result: job.finish(), opened };
                self.later(Event::Report(report));
            } else {
                self.jobs.push(running);
            }
        }
    }

    fn perform(
        &mut self,
        opened: &mut Vec<(ObjectName, Result<ObjectSlot>)>,
        request: JobRequest,
    ) -> JobDone {
        match request {
            JobRequest::Read { tag, object, offset, len, mut buf } => {
                let bytes = self.dfs.needed(&object, "a job");
                let result = bytes.and_then(|bytes| {
                    let out = &mut buf.bytes_mut()[..len];
                    self.read(&bytes, offset, out, JOB_READS_FAIL_RARER)?;
                    Ok(buf)
                });
                JobDone::Read { tag, result }
            }
            JobRequest::Append { object, mut bytes } => {
                let fails = self.rng.chance(self.faults.append_error);
                let result = self.dfs.append(object, &bytes, fails);
                self.job_bytes += bytes.len() as u64;
                bytes.clear();
                JobDone::Appended { bytes, result }
            }
            JobRequest::Seal { object } => {
                let fails = self.rng.chance(self.faults.seal_error);
                let mut result = self.dfs.seal(object, fails);
                if result.is_ok() && self.rng.chance(self.faults.seal_lost_reply) {
                    result = Err(self.injected("the reply to a seal was lost"));
                }
                if result.is_ok() {
                    opened.push((object, self.open(&object)));
                }
                JobDone::Sealed { object, result }
            }
            JobRequest::Open { object } => {
                let slot = self.open(&object);
                let result = slot.as_ref().map(|_| ()).map_err(Clone::clone);
                opened.push((object, slot));
                JobDone::Opened { object, result }
            }
        }
    }

    fn open(&mut self, object: &ObjectName) -> Result<ObjectSlot> {
        if self.rng.chance(self.faults.open_error) {
            return Err(self.injected("open"));
        }
        self.dfs.open(object)
    }
}
