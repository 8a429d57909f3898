//! The real driver of a shard: what reads for it and its link to the background executor around
//! `tick`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cache::ssd::SsdFile;
use crate::io::clock;
use crate::io::dfs::Dfs;
use crate::io::doorbell::Doorbell;
use crate::io::read_driver::{IoKind, ReadDriver};
use crate::io::reads::{Read, ReadCounters, Wait};
use crate::io::ring_open::RingMode;
use crate::io::ssd_file::{self, OpenSsd, SsdConfig};
use crate::io::values::IoRequest;
use crate::limits::{ERRAND_BYTES_MIN, EXECUTOR_SILENT_NS_MAX, SSD_REGION_BYTES, TIMED_TICKS};
use crate::lsm::job::{Job, Left, Unfinished};
use crate::shard::compactors::Compactors;
use crate::shard::executor::{ExecutorCounters, ExecutorLink, Executors, Finished, Order};
use crate::shard::job_run::Reach;
use crate::shard::statistics::{ShardStatistics, Slot};
use crate::shard::values::{Inbox, JobReport, Outbox, Park};
use crate::shard::{Shard, ShardLimits};
use crate::types::{Nanos, Result};

static EXECUTORS: Executors<Box<Job>> = Executors::new(|job, io| job.step(io));

/// What the background executors of this process did.
#[must_use]
pub fn executor_counters() -> Vec<ExecutorCounters> {
    EXECUTORS.counters()
}

/// What a shard has of its own.
pub struct Own {
    /// Its number.
    pub index: usize,
    /// Its budget, bytes.
    pub memory_bytes: usize,
    /// Where its objects live.
    pub dfs: Dfs,
    /// Who is asked for its merges.
    pub compactors: Arc<Compactors>,
    /// A cache on the SSD, and how many bytes of it are this shard's.
    pub ssd: Option<(SsdConfig, u64)>,
    /// Whether GETs that take long are sent once more.
    pub hedge: bool,
}

/// A shard with everything it needs to run; whoever calls `turn` is its thread.
pub struct Driver {
    shard: Shard,
    reads: ReadDriver,
    link: ExecutorLink<Box<Job>>,
    compactors: Arc<Compactors>,
    // Orders the link had no room for.
    backlog: VecDeque<Order<Box<Job>>>,
    // What the last tick said.
    park: Park,
    /// What the next tick gets.
    pub(super) inbox: Inbox,
    /// What the last tick made for sessions.
    pub(super) outbox: Outbox,
    slot: Arc<Slot>,
    // Whether a parked turn holds up a session.
    inline: bool,
    // Ticks with requests since the last one that was timed.
    untimed: u32,
}

// SAFETY: what is not `Send` in it are the counted references of its shard (`Rc`) to parts of its
// stores. All of them lie inside the shard: what leaves it (jobs, requests, completions) is `Send`
// by itself. So they move together, and one thread at a time counts. A ring in `RingMode::Owned`
// refuses another thread by itself.
unsafe impl Send for Driver {}

impl Driver {
    /// A shard.
    ///
    /// # Errors
    /// `Unsupported` where io_uring is wanted and forbidden, `NoMemory` for too small a budget.
    pub fn open(kind: IoKind, mode: RingMode, own: Own) -> Result<Self> {
        let Own { index, memory_bytes, dfs, compactors, ssd, hedge } = own;
        let errand_bytes_min = (!compactors.is_empty()).then_some(ERRAND_BYTES_MIN);
        let limits = ShardLimits::of_memory(memory_bytes)?;
        let patience_ns = dfs.patience().ns();
        let mut shard = Shard::new(ShardLimits { errand_bytes_min, patience_ns, ..limits });
        let mut reads = ReadDriver::open(kind, mode)?;
        reads.register_memory(shard.read_memory()?);
        if hedge {
            reads.set_hedge();
        }
        reads.set_patience(dfs.patience());
        let mut cache = None;
        if let Some((config, bytes)) = ssd {
            match ssd_file::open(&config, index, bytes) {
                Ok(OpenSsd { object, writer, stored_bytes, free_bytes }) => {
                    cache = Some(writer);
                    let (object, spare_bytes) = (reads.open_object(object), config.spare_bytes);
                    let region_bytes = SSD_REGION_BYTES;
                    shard.set_ssd(SsdFile {
                        object,
                        region_bytes,
                        bytes,
                        stored_bytes,
                        free_bytes,
                        spare_bytes,
                    });
                }
                Err(error) => log::warn!("no cache on the SSD, the DFS serves: {}", error.text),
            }
        }
        let reach = Reach { dfs, compactors: compactors.clone(), cache };
        let link = EXECUTORS.of(kind).link(&reads.doorbell(), &reach)?;
        let slot = Slot::new(index, reads.doorbell(), clock::now(), shard.statistics());
        Ok(Self {
            shard,
            reads,
            link,
            compactors,
            backlog: VecDeque::new(),
            park: Park::Idle,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            slot: Arc::new(slot),
            inline: mode == RingMode::Inline,
            untimed: 0,
        })
    }

    /// The doorbell that wakes it.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.reads.doorbell()
    }

    /// Where it publishes its statistics.
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Publishes the statistics of now; false if somebody reads the last ones at this moment.
    pub(super) fn publish(&self, now: Nanos) -> bool {
        let counters = self.reads.counters();
        let ReadCounters { repeats: read_retries, http, .. } = counters;
        let requests = counters.requests();
        let of_shard = self.shard.statistics();
        self.slot.publish(now, ShardStatistics { read_retries, http, requests, ..of_shard })
    }

    /// True if sessions have something to take.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outbox.controls.is_empty()
            || self.outbox.completions.iter().any(|c| !c.items.is_empty())
    }

    /// One turn: tick with what arrived, pass on what the shard asks for, submit reads once.
    /// Parks as `wait` says if the tick made nothing for a session; what ends meanwhile is served
    /// by the next turn.
    ///
    /// # Errors
    /// What reads broke, or the executor's thread is gone.
    pub fn turn(&mut self, wait: Wait) -> Result<()> {
        let now = clock::now();
        self.link.nudge(now)?;
        while let Some(finished) = self.link.finished() {
            self.take(finished);
        }
        self.inbox.now = now;
        self.inbox.job_bytes = self.link.bytes_written();
        let timed = !self.inbox.batches.is_empty() && self.is_timed();
        self.park = self.shard.tick(&mut self.inbox, &mut self.outbox);
        self.inbox.tick_ns = timed.then(|| clock::now() - now);
        self.dispatch(now);
        if self.slot.is_due(now) {
            // If not now, then with the next turn.
            let _published = self.publish(now);
        }
        let wait = match (wait, self.park) {
            (Wait::No, _) | (_, Park::Busy) => Wait::No,
            _ if self.has_output() => Wait::No,
            (wait, Park::Until(look)) => wait.at_most_until(look),
            (wait, Park::Idle) => wait,
        };
        // An executor that owes answers is looked after now and then.
        let owed = self.link.owed() > 0;
        let wait = if owed { wait.at_most_until(now + EXECUTOR_SILENT_NS_MAX) } else { wait };
        if wait == Wait::No || !self.inline {
            return self.reads.turn(now, wait, &mut self.inbox.io);
        }
        let parked = clock::now();
        let turned = self.reads.turn(now, wait, &mut self.inbox.io);
        self.slot.add_blocked(clock::now() - parked);
        turned
    }

    fn is_timed(&mut self) -> bool {
        let timed = self.untimed == 0;
        self.untimed = (self.untimed + 1) % TIMED_TICKS;
        timed
    }

    /// For a host that will poll the doorbell's number: from here to the next turn it becomes
    /// readable when there is something to do. `Some` is how long the host may sleep. `None` if
    /// something is to be done already: then turn first.
    ///
    /// # Errors
    /// As `turn`.
    pub fn arm(&mut self) -> Result<Option<Nanos>> {
        let Inbox { io, jobs, controls, batches, .. } = &self.inbox;
        let nothing = io.is_empty() && jobs.is_empty() && controls.is_empty() && batches.is_empty();
        let idle = nothing && !self.has_output() && self.park != Park::Busy;
        if !idle || !self.reads.wait_on_number()? {
            return Ok(None);
        }
        let now = clock::now();
        let look = match self.park {
            Park::Until(look) => Some(look),
            Park::Busy | Park::Idle => None,
        };
        let owed = (self.link.owed() > 0).then(|| now + EXECUTOR_SILENT_NS_MAX);
        let until = self.reads.next_due().into_iter().chain(look).chain(owed).min();
        Ok(Some(until.map_or(Nanos::MAX, |until| until.saturating_sub(now))))
    }

    fn take(&mut self, finished: Finished<Box<Job>>) {
        match finished {
            Finished::Job { token, job, opened } => {
                let opened = opened
                    .into_iter()
                    .map(|(name, object)| (name, self.reads.open_object(object)))
                    .collect();
                let (through, result) = match job {
                    Ok(mut job) => {
                        if let Some(verdict) = job.verdict() {
                            self.compactors.settle(verdict);
                        }
                        (job.take_through(), job.finish())
                    }
                    Err(error) => (None, Err(Unfinished { error, left: Left::Lost })),
                };
                self.inbox.jobs.push(JobReport { token, through, result, opened });
            }
            Finished::Io(done) => self.inbox.io.push(done),
        }
    }

    fn dispatch(&mut self, now: Nanos) {
        for request in self.outbox.io.drain(..) {
            match request {
                IoRequest::Read { token, object, offset, buf, again } => {
                    self.reads.submit(Read { token, object, offset, buf, again }, now);
                }
                IoRequest::Write { token, object, offset, buf } => {
                    let write = Read { token, object, offset, buf, again: false };
                    self.reads.submit_write(write, now);
                }
                IoRequest::Close { object } => self.reads.close_object(object),
                elsewhere => self.backlog.push_back(Order::Io(elsewhere)),
            }
        }
        for order in self.outbox.jobs.drain(..) {
            self.backlog.push_back(Order::Job { token: order.token, job: order.job });
        }
        while let Some(order) = self.backlog.pop_front() {
            if let Err(order) = self.link.start(order) {
                self.backlog.push_front(order);
                break;
            }
        }
    }
}
