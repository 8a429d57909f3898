//! The loop around `Shard::tick`: it carries out what the shard asks for, in virtual time, on one
//! thread. Requests take effect when they are made or, for deletes and some puts, when they are
//! answered; answers arrive in the order of their seeded latencies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use aquifer::cache::ssd::SsdFile;
use aquifer::io::values::{IoDone, IoRequest, JobDone, ObjectSlot};
use aquifer::limits::PAGE_BYTES;
use aquifer::shard::statistics::ShardStatistics;
use aquifer::shard::values::{Control, ControlDone, ControlOp, Inbox, JobReport, Outbox, Park};
use aquifer::shard::{Shard, ShardCounters, ShardLimits};
use aquifer::state::request::{Batch, Completion, Completions, Status};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName};

use crate::sim::dfs::{Dfs, LateCall};
use crate::sim::faults::{ByFault, Fault, FaultMix};
use crate::sim::jobs::{Errands, Running};
use crate::sim::rng::Rng;
use crate::sim::strike::{FATES, Strike};
use crate::sim::trace::Trace;

// Goes on from run to run: what `Sabotage::HiddenRandomness` lets in.
static HIDDEN: AtomicU64 = AtomicU64::new(0);

/// What will reach the shard or a job.
#[derive(Debug)]
pub(super) enum Event {
    Io(IoDone, Option<ObjectSlot>),
    Put(IoDone, ObjectName, Vec<u8>),
    Delete(ObjectName),
    Job(u64, JobDone),
    Report(JobReport),
}

/// A fault that the engine is not built to survive: the tests of the tests plant one and must see
/// it detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    None,
    /// Reads of the shard bring bytes of the object that was opened first.
    OlderObject,
    /// Reads of the shard bring the page behind the one asked for.
    NeighbourPage,
    /// A write is acknowledged and never reaches the shard.
    LostWrite,
    /// A delete is acknowledged and never reaches the shard.
    LostDelete,
    /// The first byte of a value is another on its way out.
    WrongValue,
    /// The last entry of a scan is missing.
    LostEntry,
    /// An answer is missing.
    LostAnswer,
    /// An answer comes twice.
    DoubleAnswer,
    /// A table of a retained checkpoint is deleted.
    DeletedTable,
    /// The model's snapshot of a checkpoint misses the write before the cut.
    LateSnapshot,
    /// Latencies depend on something that is not the seed.
    HiddenRandomness,
}

/// How a request ended, by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A write took effect.
    Done,
    /// A get found this.
    Value(Vec<u8>),
    /// A get found nothing.
    Absent,
    /// Entries of a scan, encoded; true: there may be more.
    Entries(Vec<u8>, bool),
    /// It failed.
    Failed(ErrorKind, String),
}

impl Answer {
    /// The answer that a completion is.
    #[must_use]
    pub fn of(done: &Completions, item: &Completion) -> Self {
        let value = done.value(item).to_vec();
        match item.status {
            Status::Done => Self::Done,
            Status::Value => Self::Value(value),
            Status::Absent => Self::Absent,
            Status::Entries { more } => Self::Entries(value, more),
            Status::Failed { index } => {
                let error = &done.errors[index as usize];
                Self::Failed(error.kind, error.text.to_string())
            }
        }
    }
}

/// What a turn brought.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Ends of requests, with the number of the request.
    pub answers: Vec<(u64, Answer)>,
    /// Ends of control requests.
    pub controls: Vec<ControlDone>,
}

/// The file of the shard's cache; objects are far fewer.
pub(super) const SSD: ObjectSlot = ObjectSlot(u32::MAX);

// Sixteen regions of eight pages: little data goes through everything that much goes through.
fn with_ssd(mut shard: Shard, stored_bytes: usize, free_bytes: u64) -> Shard {
    let region_bytes = 8 * PAGE_BYTES;
    shard.set_ssd(SsdFile {
        object: SSD,
        region_bytes,
        bytes: 16 * region_bytes as u64,
        stored_bytes: stored_bytes as u64,
        free_bytes,
        spare_bytes: 1,
    });
    shard
}

/// See the module.
#[derive(Debug)]
pub struct Sim {
    shard: Shard,
    inbox: Inbox,
    // What the shard said at the last tick.
    park: Park,
    // What jobs have written in all.
    pub(super) job_bytes: u64,
    // Failures of jobs in a row, by the number of their store.
    pub(super) job_failures: BTreeMap<u64, u32>,
    outbox: Outbox,
    // The file of its cache; it outlives the shard.
    pub(super) ssd: Vec<u8>,
    /// The objects; they outlive the shard.
    pub dfs: Dfs,
    /// What goes wrong, and how often.
    pub faults: FaultMix,
    /// How often it went wrong.
    pub met: ByFault<u64>,
    // Until when objects are not found that were just put, and the DFS refuses what it is asked.
    pub(super) hidden: BTreeMap<ObjectName, u64>,
    pub(super) refuses: Option<(Fault, u64)>,
    /// What was planted.
    pub sabotage: Sabotage,
    pub(super) rng: Rng,
    pub(super) jobs: Vec<Running>,
    pub(super) next_job: u64,
    /// What became of merges that compactors were asked for.
    pub errands: Errands,
    /// The one call that goes wrong.
    pub strike: Strike,
    pub(super) events: BTreeMap<(u64, u64), Event>,
    pub(super) now: u64,
    sequence: u64,
    pub(super) trace: Trace,
}

impl Sim {
    /// A shard without stores over an empty DFS.
    #[must_use]
    pub fn new(limits: ShardLimits, faults: FaultMix, rng: Rng) -> Self {
        Self {
            shard: with_ssd(Shard::new(limits), 0, u64::MAX),
            inbox: Inbox::default(),
            park: Park::Busy,
            job_bytes: 0,
            job_failures: BTreeMap::new(),
            outbox: Outbox::default(),
            ssd: Vec::new(),
            dfs: Dfs::default(),
            faults,
            met: ByFault::default(),
            hidden: BTreeMap::new(),
            refuses: None,
            sabotage: Sabotage::None,
            rng,
            jobs: Vec::new(),
            next_job: 0,
            errands: Errands::default(),
            strike: Strike::default(),
            events: BTreeMap::new(),
            now: 0,
            sequence: 0,
            trace: Trace::default(),
        }
    }

    /// The hash of all that happened.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// What the shard counted.
    #[must_use]
    pub fn counters(&self) -> ShardCounters {
        self.shard.counters()
    }

    /// What the shard counted and holds.
    #[must_use]
    pub fn statistics(&self) -> ShardStatistics {
        self.shard.statistics()
    }

    /// True if nothing is on its way: without new requests nothing will happen any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.events.is_empty()
            && self.jobs.is_empty()
            && self.inbox.batches.is_empty()
            && self.inbox.controls.is_empty()
    }

    /// Hands a batch to the shard with its next tick.
    pub fn submit(&mut self, session: u16, batch: Batch) {
        self.inbox.batches.push((session, Box::new(batch)));
    }

    /// Hands a control request to the shard with its next tick, behind the batches before it.
    pub fn control(&mut self, session: u16, user_data: u64, op: ControlOp) {
        let after = self.inbox.batches.len();
        self.inbox.controls.push(Control { session, user_data, after, op });
    }

    /// The process dies and another takes its place. Puts and deletes on their way may have been
    /// applied, or will be when nobody thinks of them any more, and compactors go on.
    pub fn crash(&mut self, limits: ShardLimits) {
        let written = self.leave_errands();
        for (at, event) in std::mem::take(&mut self.events) {
            match event {
                Event::Put(_, name, bytes) => {
                    let fate = self.rng.pick(&FATES);
                    self.apply_as(fate, name, bytes);
                }
                Event::Delete(name) => {
                    self.strike.orphans.insert(name);
                    if self.rng.chance(5000) {
                        self.dfs.float(LateCall::Delete(name));
                    }
                }
                Event::Job(number, done) if self.jobs.iter().any(|job| job.number == number) => {
                    self.events.insert(at, Event::Job(number, done));
                }
                _ => {}
            }
        }
        self.inbox = Inbox::default();
        self.outbox = Outbox::default();
        // The disk of the cache may be another one.
        if self.rng.chance(3000) {
            self.ssd.clear();
        }
        let free_bytes = self.free_bytes();
        self.shard = with_ssd(Shard::new(limits), self.ssd.len(), free_bytes);
        self.park = Park::Busy;
        self.dfs.crash(&written);
    }

    /// One turn: deliver what is due, tick, carry out what the shard asks for, let jobs step.
    /// With `wait`, time jumps to the next answer.
    pub fn turn(&mut self, wait: bool) -> Arrived {
        self.now += self.rng.below(10) as u64;
        if wait && self.jobs.iter().all(Running::waits) {
            let event = self.events.first_key_value().map(|(&(time, _), _)| time);
            // What the shard itself waits for: a failed job that is due again.
            let due = match self.park {
                Park::Until(time) => Some(time),
                Park::Busy | Park::Idle => None,
            };
            if let Some(time) = event.into_iter().chain(due).min() {
                self.now = self.now.max(time);
            }
        }
        self.may_refuse();
        self.deliver();
        self.inbox.now = self.now;
        self.inbox.job_bytes = self.job_bytes;
        let park = self.shard.tick(&mut self.inbox, &mut self.outbox);
        self.trace.number(u64::from(park == Park::Busy));
        self.park = park;
        self.inbox.batches.clear();
        for request in std::mem::take(&mut self.outbox.io) {
            self.start(request);
        }
        for order in std::mem::take(&mut self.outbox.jobs) {
            self.start_job(order);
        }
        self.step_jobs();
        self.take_output()
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Event::Io(done, slot) => {
                    if let Some(slot) = slot {
                        self.dfs.end_read(slot);
                    }
                    self.trace_io(&done);
                    self.inbox.io.push(done);
                }
                Event::Put(done, name, bytes) => {
                    self.apply(name, bytes);
                    self.trace_io(&done);
                    self.inbox.io.push(done);
                }
                Event::Delete(name) => self.dfs.delete(&name),
                Event::Job(number, done) => {
                    if let Some(job) = self.jobs.iter_mut().find(|job| job.number == number) {
                        job.mailbox.done.push(done);
                    }
                }
                Event::Report(report) => {
                    self.trace.number(report.token.0);
                    self.trace.result(&report.result);
                    for (name, slot) in &report.opened {
                        self.trace.bytes(&name.encode());
                        self.trace.number(u64::from(slot.0));
                    }
                    self.inbox.jobs.push(report);
                }
            }
        }
    }

    fn trace_io(&mut self, done: &IoDone) {
        match done {
            IoDone::Read { token, buf, result, .. } => {
                self.trace.number(token.0);
                self.trace.result(result);
                if result.is_ok() {
                    self.trace.bytes(buf.bytes());
                }
            }
            IoDone::Write { token, result, .. } => {
                self.trace.number(token.0);
                self.trace.result(result);
            }
            IoDone::Room { result } => self.trace.number(*result.as_ref().unwrap_or(&0)),
            IoDone::Put { token, result } => {
                self.trace.number(token.0);
                self.trace.result(result);
            }
            IoDone::Load { token, result, .. } => {
                self.trace.number(token.0);
                self.trace.bytes(result.as_deref().unwrap_or_default());
            }
        }
    }

    /// Puts an event behind its latency.
    pub(super) fn later(&mut self, event: Event) {
        let mut latency = 1 + self.rng.below(self.faults.latency_max as usize) as u64;
        if self.meets(Fault::Slow) {
            latency *= 100;
        }
        if self.sabotage == Sabotage::HiddenRandomness {
            latency += HIDDEN.fetch_add(1, Ordering::Relaxed) % 7;
        }
        self.sequence += 1;
        self.events.insert((self.now + latency, self.sequence), event);
    }

    /// Puts an event where everything else has long arrived.
    pub(super) fn much_later(&mut self, event: Event) {
        self.sequence += 1;
        let latency = 1000 * self.faults.latency_max;
        self.events.insert((self.now + latency, self.sequence), event);
    }

    pub(super) fn injected(&self, what: &str) -> Error {
        Error::new(ErrorKind::Io, format!("injected: {what}"))
    }

    /// True if a fault is met, which is counted.
    pub(super) fn meets(&mut self, fault: Fault) -> bool {
        let rate = self.faults[fault];
        let meets = rate > 0 && self.rng.chance(rate);
        self.met[fault] += u64::from(meets);
        meets
    }

    fn start(&mut self, request: IoRequest) {
        self.trace_request(&request);
        if let Some(request) = self.strike_io(request) {
            self.start_well(request);
        }
    }

    fn trace_request(&mut self, request: &IoRequest) {
        match request {
            IoRequest::Read { offset, again, .. } => {
                self.trace.number(*offset);
                self.trace.number(u64::from(*again));
            }
            IoRequest::Put { bytes, .. } | IoRequest::Create { bytes, .. } => {
                self.trace.bytes(bytes);
            }
            IoRequest::Close { object } => self.trace.number(u64::from(object.0)),
            IoRequest::Delete { name } => self.trace.bytes(&name.encode()),
            _ => {}
        }
    }

    fn start_well(&mut self, request: IoRequest) {
        match request {
            IoRequest::Read { token, object: SSD, offset, mut buf, .. } => {
                let result = self.read_ssd(offset, buf.bytes_mut());
                let of_store = false;
                self.later(Event::Io(IoDone::Read { token, buf, result, of_store }, None));
            }
            IoRequest::Read { token, object, offset, mut buf, .. } => {
                let bytes = self.dfs.start_read(object);
                let result =
                    bytes.and_then(|bytes| self.read_for_shard(&bytes, offset, buf.bytes_mut()));
                let of_store = self.faults.is_store;
                let done = IoDone::Read { token, buf, result, of_store };
                self.later(Event::Io(done, Some(object)));
            }
            IoRequest::Write { token, offset, buf, .. } => {
                let result = self.write_ssd(offset, buf.bytes());
                self.later(Event::Io(IoDone::Write { token, buf, result }, None));
            }
            IoRequest::Room { end } => {
                if let Some(end) = end {
                    self.ssd.truncate(end as usize);
                }
                let result = Ok(self.free_bytes());
                self.later(Event::Io(IoDone::Room { result }, None));
            }
            IoRequest::Put { token, name, bytes } | IoRequest::Create { token, name, bytes } => {
                self.start_put(token, name, bytes);
            }
            IoRequest::Probe { token } => {
                self.later(Event::Io(IoDone::Put { token, result: Ok(()) }, None));
            }
            IoRequest::Load { token, name, bytes_max, expected } => {
                let result = self.load(&name, bytes_max, expected);
                let of_store = self.faults.is_store;
                self.later(Event::Io(IoDone::Load { token, result, of_store }, None));
            }
            IoRequest::Close { object } => self.dfs.close(object),
            IoRequest::Delete { name } => self.later(Event::Delete(name)),
        }
    }

    /// The next process finds an empty disk for its cache.
    pub fn lose_ssd(&mut self) {
        self.ssd.clear();
    }

    fn take_output(&mut self) -> Arrived {
        let mut arrived = Arrived::default();
        for done in &mut self.outbox.completions {
            for item in &done.items {
                let answer = Answer::of(done, item);
                self.trace.number(item.user_data);
                self.trace.number(u64::from(matches!(answer, Answer::Failed(..))));
                self.trace.bytes(done.value(item));
                arrived.answers.push((item.user_data, answer));
            }
            done.clear();
        }
        for done in self.outbox.controls.drain(..) {
            self.trace.number(done.user_data);
            self.trace.result(&done.result);
            arrived.controls.push(done);
        }
        arrived
    }
}
