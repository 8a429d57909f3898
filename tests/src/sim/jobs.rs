//! Background jobs, stepped between ticks: every yield point is reachable between any two requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use aquifer::io::values::{JobDone, JobIo, JobRequest, JobState, ObjectSlot};
use aquifer::lsm::away::Verdict;
use aquifer::lsm::errand::{Errand, Report};
use aquifer::lsm::errand_job::ErrandJob;
use aquifer::lsm::job::{Job, Left, Unfinished};
use aquifer::mem::slab::Token;
use aquifer::shard::values::{JobOrder, JobReport};
use aquifer::sst::TableRef;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};

use crate::sim::driver::{Event, Sim};
use crate::sim::faults::{Fault, FaultMix};
use crate::sim::strike::{Call, Fate};

/// A merge makes hundreds of reads and starts again if one fails: at the rate of single reads it
/// would never end.
const JOB_READS_FAIL_RARER: u32 = 20;

type Opened = Vec<(ObjectName, ObjectSlot)>;

/// Memory of a merge on a compactor, bytes: for all that a simulated shard orders.
const ERRAND_BYTES: usize = 1 << 30;

/// What became of merges that compactors were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errands {
    /// Their tables were accepted.
    pub done: u64,
    /// The shard did them itself.
    pub returned: u64,
    /// They ended when nobody waited for them any more.
    pub late: u64,
}

/// What runs.
#[derive(Debug)]
enum Task {
    /// A job of the shard.
    Job(Token, Box<Job>),
    /// A merge on a compactor, for the job of this number, unless nobody waits for it any more.
    Errand(Box<ErrandJob>, Vec<ObjectName>, Option<u64>),
}

/// A job that was handed out.
#[derive(Debug)]
pub(super) struct Running {
    pub number: u64,
    task: Task,
    pub mailbox: JobIo,
    state: JobState,
    opened: Opened,
    // The store of the objects it asked for.
    store: Option<u64>,
    // Objects that it reads.
    readers: BTreeSet<ObjectName>,
    // Objects that it wrote.
    sealed: Vec<ObjectName>,
    // Its compactor died, or what it says is lost.
    is_lost: bool,
}

impl Running {
    fn new(number: u64, task: Task) -> Self {
        Self {
            number,
            task,
            mailbox: JobIo::default(),
            state: JobState::Working,
            opened: Vec::new(),
            store: None,
            readers: BTreeSet::new(),
            sealed: Vec::new(),
            is_lost: false,
        }
    }

    /// True if it can do nothing before an answer arrives.
    pub(super) fn waits(&self) -> bool {
        self.state == JobState::Waiting && self.mailbox.done.is_empty()
    }

    fn on_compactor(&self) -> bool {
        matches!(self.task, Task::Errand(..))
    }

    fn step(&mut self) -> JobState {
        match &mut self.task {
            Task::Job(_, job) => job.step(&mut self.mailbox),
            Task::Errand(job, ..) => job.step(&mut self.mailbox),
        }
    }
}

impl Sim {
    fn add(&mut self, task: Task) {
        self.next_job += 1;
        self.jobs.push(Running::new(self.next_job, task));
    }

    pub(super) fn start_job(&mut self, order: JobOrder) {
        self.add(Task::Job(order.token, order.job));
    }

    /// Lets every job make some steps.
    pub(super) fn step_jobs(&mut self) {
        for mut running in std::mem::take(&mut self.jobs) {
            for _ in 0..self.rng.between(0, self.faults.job_steps_max) {
                if running.waits() {
                    break;
                }
                if running.on_compactor() && self.meets(Fault::ErrandLost) {
                    running.state = JobState::Finished;
                    running.is_lost = true;
                    break;
                }
                running.state = running.step();
                for request in std::mem::take(&mut running.mailbox.requests) {
                    if let JobRequest::Errand { errand, .. } = request {
                        self.send(running.number, &errand);
                        continue;
                    }
                    let (fate, done) = self.perform_or_spare(&mut running, request);
                    self.answer(fate, Event::Job(running.number, done));
                }
                if running.state == JobState::Finished {
                    break;
                }
            }
            if running.state == JobState::Finished {
                self.end(running);
            } else {
                self.jobs.push(running);
            }
        }
    }

    fn end(&mut self, running: Running) {
        let Running { task, opened, store, sealed, is_lost, .. } = running;
        let (token, mut job) = match task {
            Task::Job(token, job) => (token, job),
            Task::Errand(job, names, asked_by) => {
                self.strike.orphans.extend(sealed);
                let lost = || Err(self.injected("the compactor died"));
                let tables = if is_lost { lost() } else { job.into_tables() };
                // What it has not sealed goes with its process.
                self.dfs.abandon(&names);
                return self.end_errand(tables, asked_by);
            }
        };
        match job.verdict() {
            Some(Verdict::Accepted(..)) => self.errands.done += 1,
            Some(Verdict::Rejected(..)) => self.errands.returned += 1,
            None => {}
        }
        let (through, result) = if self.meets(Fault::JobBreaks) {
            let error = Error::new(ErrorKind::Poisoned, "injected: the job broke");
            (None, Err(Unfinished { error, left: Left::Lost }))
        } else {
            (job.take_through(), job.finish())
        };
        if result.is_err() {
            self.strike.orphans.extend(sealed);
        }
        if let Some(store) = store {
            let failures = self.job_failures.entry(store).or_default();
            *failures = if result.is_ok() { 0 } else { *failures + 1 };
        }
        self.later(Event::Report(JobReport { token, through, result, opened }));
    }

    // A compactor takes a merge, or none does.
    fn send(&mut self, asked_by: u64, errand: &[u8]) {
        let (fate, error) = self.fate(Call::Errand, None).unzip();
        let waits = !matches!(fate, Some(Fate::NotApplied | Fate::Late));
        if let Some(error) = error.filter(|_| !waits) {
            self.report(asked_by, Err(error));
        }
        if fate != Some(Fate::NotApplied) {
            let errand = Errand::decode(errand).expect("a shard orders what compactors take");
            let names = errand.names.clone();
            if fate.is_some() {
                self.strike.orphans.extend(&names);
            }
            let job = ErrandJob::new(errand, ERRAND_BYTES, Arc::default()).expect("it has room");
            self.add(Task::Errand(Box::new(job), names, waits.then_some(asked_by)));
            let added = self.jobs.last_mut().expect("it was just added");
            added.is_lost = fate == Some(Fate::ReplyLost);
        }
    }

    fn end_errand(&mut self, tables: Result<Vec<TableRef>>, asked_by: Option<u64>) {
        let result = tables.map(|tables| (0, Report::Done(tables).encode()));
        match asked_by {
            Some(asked_by) => self.report(asked_by, result),
            None => self.errands.late += 1,
        }
    }

    fn report(&mut self, asked_by: u64, result: Result<(usize, Vec<u8>)>) {
        self.errands.returned += u64::from(result.is_err());
        self.later(Event::Job(asked_by, JobDone::Errand { result }));
    }

    /// The shard is gone, and compactors go on: what they write.
    pub(super) fn leave_errands(&mut self) -> BTreeSet<ObjectName> {
        self.jobs.retain(Running::on_compactor);
        let mut written = BTreeSet::new();
        for running in &mut self.jobs {
            let Task::Errand(_, names, asked_by) = &mut running.task else { continue };
            *asked_by = None;
            written.extend(names.iter().copied());
        }
        written
    }

    // See `FaultMix::job_failures_max`.
    fn perform_or_spare(
        &mut self,
        running: &mut Running,
        request: JobRequest,
    ) -> (Option<Fate>, JobDone) {
        let (call, object) = match &request {
            JobRequest::Read { object, .. } => (Call::JobRead, *object),
            JobRequest::Append { object, .. } => (Call::Append, *object),
            JobRequest::Seal { object } => (Call::Seal, *object),
            JobRequest::Open { object, .. } => (Call::Open, *object),
            JobRequest::Cache { .. } => {
                let fate = self.fate(Call::SsdWrite, None);
                return self.perform_as(fate, running, request);
            }
            JobRequest::Errand { .. } => unreachable!("an errand is sent, not performed"),
        };
        running.store = Some(object.store);
        let failures = self.job_failures.get(&object.store).copied().unwrap_or_default();
        let spared = failures >= self.faults.job_failures_max;
        let faults = spared.then(|| std::mem::replace(&mut self.faults, FaultMix::calm()));
        let fate = self.fate(call, Some(&object));
        let done = self.perform_as(fate, running, request);
        if let Some(faults) = faults {
            self.faults = faults;
        }
        done
    }

    // Does what is asked for, or lets it meet its fate.
    fn perform_as(
        &mut self,
        fate: Option<(Fate, Error)>,
        running: &mut Running,
        request: JobRequest,
    ) -> (Option<Fate>, JobDone) {
        let Some((fate, error)) = fate else { return (None, self.perform(running, request)) };
        let done = match request {
            request @ (JobRequest::Read { .. } | JobRequest::Open { .. }) if fate == Fate::Late => {
                self.perform(running, request)
            }
            JobRequest::Read { tag, .. } if fate == Fate::NotApplied => {
                JobDone::Read { tag, result: Err(error) }
            }
            request @ JobRequest::Read { len, .. } => {
                let mut done = self.perform(running, request);
                if let JobDone::Read { result: Ok(buf), .. } = &mut done {
                    // Padding is zeros anyway.
                    buf.bytes_mut()[len / 4..len].fill(0xa5);
                }
                done
            }
            JobRequest::Open { object, .. } => JobDone::Opened { object, result: Err(error) },
            JobRequest::Append { object, mut bytes } => {
                let fault = (fate == Fate::NotApplied).then(|| error.clone());
                drop(self.dfs.append(object, &bytes, fault));
                self.job_bytes += bytes.len() as u64;
                bytes.clear();
                JobDone::Appended { bytes, result: Err(error) }
            }
            JobRequest::Seal { object } => {
                // None if an append failed too.
                if let Ok(bytes) = self.dfs.take_written(&object) {
                    self.apply_as(fate, object, bytes);
                }
                JobDone::Sealed { object, result: Err(error) }
            }
            JobRequest::Cache { region, offset, buf } => {
                let result = self.write_ssd_as((fate, error), offset, buf.bytes());
                JobDone::Cached { region, buf, result }
            }
            JobRequest::Errand { .. } => unreachable!("an errand is sent, not performed"),
        };
        (Some(fate), done)
    }

    fn perform(&mut self, running: &mut Running, request: JobRequest) -> JobDone {
        match request {
            JobRequest::Read { tag, object, offset, len, mut buf } => {
                let bytes = self.open_to_read(running, &object);
                let result = bytes.and_then(|bytes| {
                    let out = &mut buf.bytes_mut()[..len];
                    self.read(&bytes, offset, out, JOB_READS_FAIL_RARER)?;
                    Ok(buf)
                });
                JobDone::Read { tag, result }
            }
            JobRequest::Cache { region, offset, buf } => {
                let result = self.write_ssd(offset, buf.bytes());
                JobDone::Cached { region, buf, result }
            }
            JobRequest::Append { object, mut bytes } => {
                let creates = !self.dfs.is_written(&object);
                let fault = if creates && self.meets(Fault::CreateError) {
                    Some(self.injected(&format!("creating {object}")))
                } else if self.meets(Fault::AppendError) {
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
                let written = self.dfs.take_written(&object);
                let mut result = written.map(|bytes| self.apply(object, bytes));
                if result.is_ok() && self.meets(Fault::OpenError) {
                    result = Err(self.injected("open"));
                }
                if result.is_ok() {
                    running.sealed.push(object);
                }
                let result = result.and_then(|()| self.hand_over(running, object));
                JobDone::Sealed { object, result }
            }
            JobRequest::Open { object, .. } => {
                let result = self.hand_over(running, object);
                JobDone::Opened { object, result }
            }
            JobRequest::Errand { .. } => unreachable!("an errand is sent, not performed"),
        }
    }

    // Opens an object for the shard; on a compactor nobody reads it.
    fn hand_over(&mut self, running: &mut Running, object: ObjectName) -> Result<()> {
        if running.on_compactor() {
            return self.dfs.found(&object).map(drop);
        }
        running.opened.push((object, self.dfs.open(&object)?));
        Ok(())
    }

    // The bytes of an object; a job opens it with its first read.
    fn open_to_read(&mut self, running: &mut Running, object: &ObjectName) -> Result<Arc<Vec<u8>>> {
        if !running.readers.contains(object) && self.meets(Fault::OpenError) {
            return Err(self.injected("open"));
        }
        running.readers.insert(*object);
        if running.on_compactor() {
            // A store that gave the merge up may have done it, and deleted the inputs.
            return self.dfs.found(object);
        }
        self.dfs.needed(object, "a job")
    }
}
