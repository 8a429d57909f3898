//! The shard: one core's worth of the engine, a deterministic machine of values in and out. It
//! never names a ring, a socket, a thread, a clock or a random source.

use std::sync::Arc;

use memmap2::MmapRaw;

use crate::cache::coalescer::Coalescer;
use crate::cache::ssd::{self, Ssd, SsdFile};
use crate::io::values::IoDone;
use crate::limits::{
    FLUSH_DIVISOR, JOB_DIVISOR, MEMORY_MIN_BYTES, PACE_CREDIT_BYTES_MAX, PACE_LOOK_NS,
    PATIENCE_NS_DEFAULT, ROOT_SPACING, ROWS_MIN_BYTES, SEGMENT_BYTES, TABLE_BYTES_TARGET,
};
use crate::mem::pool::Pool;
use crate::mem::prefetch::prefetch_all;
use crate::mem::slab::{Slab, Token};
use crate::shard::answers::Answers;
use crate::shard::background::RunningJob;
use crate::shard::cold::Waiting;
use crate::shard::control::PendingControl;
use crate::shard::stalled::StalledQueues;
use crate::shard::statistics::{Latencies, ShardCounters};
use crate::shard::store::Store;
use crate::shard::values::{Inbox, Outbox, Park};
use crate::state::request::StoreId;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

/// One shard.
#[derive(Debug)]
pub struct Shard {
    pub(super) stores: Vec<Option<Store>>,
    pub(super) stores_opened: u16,
    pub(super) cold: Slab<Waiting>,
    pub(super) coalescer: Coalescer,
    pub(super) ssd: Option<Ssd>,
    pub(super) pool: Pool,
    pub(super) stalled: StalledQueues,
    pub(super) answers: Answers,
    pub(super) jobs: Slab<RunningJob>,
    pub(super) controls: Slab<PendingControl>,
    // Without what its parts count.
    pub(super) counters: ShardCounters,
    pub(super) latencies: Latencies,
    // Gets that memory could not answer and that were not looked up yet.
    pub(super) misses: Vec<Token>,
    // Bytes that the longest stalled request that wants memory found no room for, and its store.
    pub(super) room_wanted: Option<(StoreId, usize)>,
    pub(super) value: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    pub(super) limits: ShardLimits,
    pub(super) now: Nanos,
    job_bytes: u64,
}

/// The sizes that steer a shard. Drivers take those that follow from a memory budget; a test may
/// set them smaller, so that few rows go through everything that many go through.
#[derive(Clone, Copy, Debug)]
pub struct ShardLimits {
    /// All the memory it may use.
    pub memory_bytes: usize,
    /// Rows get at least this, whatever else is charged.
    pub rows_bytes_min: usize,
    /// Dirty rows of a store are flushed when they take this.
    pub flush_bytes: usize,
    /// Jobs may hold this much at once.
    pub job_bytes_max: usize,
    /// Size at which the output of a merge starts another table.
    pub table_bytes_target: u64,
    /// Merges of so many bytes are offered to compactors; `None` without compactors.
    pub errand_bytes_min: Option<u64>,
    /// Of so many roots of a store one is never deleted.
    pub root_spacing: u64,
    /// Who waits for jobs that fail waits so long, nanoseconds.
    pub patience_ns: u64,
}

impl ShardLimits {
    /// What follows from a budget of `memory_bytes`.
    ///
    /// # Errors
    /// `NoMemory` under the minimum.
    pub fn of_memory(memory_bytes: usize) -> Result<Self> {
        if memory_bytes < MEMORY_MIN_BYTES {
            return Err(Error::new(
                ErrorKind::NoMemory,
                format!(
                    "a memory budget of {memory_bytes} bytes a shard is below the minimum of \
                     {MEMORY_MIN_BYTES}; raise it or use fewer shards"
                ),
            ));
        }
        Ok(Self {
            memory_bytes,
            rows_bytes_min: ROWS_MIN_BYTES,
            flush_bytes: memory_bytes / FLUSH_DIVISOR,
            job_bytes_max: memory_bytes / JOB_DIVISOR,
            table_bytes_target: TABLE_BYTES_TARGET,
            errand_bytes_min: None,
            root_spacing: ROOT_SPACING,
            patience_ns: PATIENCE_NS_DEFAULT,
        })
    }
}

impl Shard {
    /// A shard that keeps to these limits.
    #[must_use]
    pub fn new(limits: ShardLimits) -> Self {
        Self {
            stores: Vec::new(),
            stores_opened: 0,
            cold: Slab::default(),
            coalescer: Coalescer::default(),
            ssd: None,
            pool: Pool::default(),
            stalled: StalledQueues::default(),
            answers: Answers::default(),
            jobs: Slab::default(),
            controls: Slab::default(),
            counters: ShardCounters::default(),
            latencies: Latencies::default(),
            misses: Vec::new(),
            room_wanted: None,
            value: Vec::new(),
            scratch: Vec::new(),
            limits,
            now: 0,
            job_bytes: 0,
        }
    }

    /// The memory that most of its reads go to, for the driver to register.
    ///
    /// # Errors
    /// `NoMemory`: the kernel refused to map it.
    pub fn read_memory(&mut self) -> Result<Arc<MmapRaw>> {
        self.pool.pages().map_err(|cause| {
            let what = format!("the kernel refuses to map the memory of reads: {cause}");
            Error::new(ErrorKind::NoMemory, what)
        })
    }

    /// Gives it a cache on the SSD.
    pub fn set_ssd(&mut self, file: SsdFile) {
        self.ssd = Some(Ssd::new(file));
    }

    fn ssd_mut(&mut self) -> &mut Ssd {
        self.ssd.as_mut().expect("only a cache asks for it")
    }

    /// Takes what arrived, does what can be done, asks for what is needed.
    pub fn tick(&mut self, inbox: &mut Inbox, outbox: &mut Outbox) -> Park {
        self.now = inbox.now;
        self.answers.untaken.clone_from(&inbox.untaken);
        self.answers.stalled.clear();
        self.latencies.begin_tick(inbox.tick_ns.take());
        self.prefetch_landed(&inbox.io);
        let mut arrived = inbox.io.drain(..);
        while let Some(done) = arrived.next() {
            if let Some(IoDone::Read { buf, .. }) = arrived.as_slice().first() {
                prefetch_all(buf.bytes());
            }
            match done {
                IoDone::Read { token, buf, result, .. } if ssd::is_own(token) => {
                    self.ssd_mut().landed(token, buf, result);
                }
                IoDone::Read { token, buf, result, of_store } => {
                    let brought = of_store && result.is_ok();
                    let landed = self.coalescer.finish(token, brought, self.now);
                    self.landed(landed, buf, result, outbox);
                }
                IoDone::Write { token, buf, result } => self.ssd_mut().written(token, buf, result),
                IoDone::Room { result } => self.ssd_mut().room(result),
                IoDone::Put { token, result } => self.object_put(token, result, outbox),
                IoDone::Load { token, result, of_store } => {
                    self.object_loaded(token, result, of_store, outbox);
                }
            }
        }
        drop(arrived);
        for report in inbox.jobs.drain(..) {
            self.job_ended(report, outbox);
        }
        self.share_memory();
        self.grant_credit(inbox.job_bytes);
        self.serve_stalled(outbox);
        self.serve_held(outbox);
        let mut controls = inbox.controls.drain(..).peekable();
        for (at, (session, batch)) in inbox.batches.iter_mut().enumerate() {
            while let Some(control) = controls.next_if(|control| control.after <= at) {
                self.take_control(control, outbox);
            }
            self.take_batch(*session, batch, outbox);
        }
        for control in controls {
            self.take_control(control, outbox);
        }
        if self.room_wanted.is_some() {
            // Other stores may have what is missing.
            self.share_memory();
            self.serve_stalled(outbox);
        }
        self.start_jobs(outbox);
        self.close_retired(outbox);
        // A refusal of memory leaves the reads wanted; the next tick asks again.
        let refused = self.coalescer.issue(self.now, &mut self.pool, &mut outbox.io).is_err();
        if let Some(ssd) = &mut self.ssd {
            ssd.ask(self.now, &mut outbox.io);
        }
        let quiet = self.jobs.is_empty() && self.coalescer.is_empty() && self.jobs_due().is_none();
        let hopeless = self.room_wanted.filter(|_| quiet);
        if let Some((store, _)) = hopeless {
            self.refuse_stalled(store, outbox);
        }
        let busy = refused || hopeless.is_some() || self.held_is_ready();
        if busy { Park::Busy } else { self.park() }
    }

    // What the shard waits for by itself: the progress of jobs that stalled writes follow, or the
    // time when failed jobs are due again.
    fn park(&self) -> Park {
        if !self.stalled.is_empty() && !self.jobs.is_empty() {
            return Park::Until(self.now + PACE_LOOK_NS);
        }
        self.jobs_due().map_or(Park::Idle, Park::Until)
    }

    // When the next job is due that waits for its time.
    fn jobs_due(&self) -> Option<Nanos> {
        self.stores.iter().flatten().filter_map(|s| s.jobs_due(self.now)).min()
    }

    /// Writes of a store whose jobs are behind follow their progress.
    fn grant_credit(&mut self, job_bytes: u64) {
        let progress = job_bytes.saturating_sub(self.job_bytes);
        self.job_bytes = job_bytes;
        for store in self.stores.iter_mut().flatten() {
            store.note_progress(job_bytes, self.jobs.len() as u64);
            let pace = store.pace(self.limits.flush_bytes);
            let credit = store.credit_bytes + progress / pace.max(1);
            store.credit_bytes = credit.min(PACE_CREDIT_BYTES_MAX);
        }
    }

    /// Rows may take what nothing else needs.
    fn share_memory(&mut self) {
        let other = self.memory().other_bytes() as usize;
        let rows = self.limits.memory_bytes.saturating_sub(other).max(self.limits.rows_bytes_min);
        self.give_back(rows);
        let all: usize = self.stores.iter().flatten().map(|s| s.rows.bytes()).sum();
        for store in self.stores.iter_mut().flatten() {
            let others = all - store.rows.bytes();
            store.rows.set_limit(rows.saturating_sub(others));
        }
    }

    fn rows_held(&self) -> Vec<usize> {
        self.stores.iter().map(|s| s.as_ref().map_or(0, |s| s.rows.bytes())).collect()
    }

    /// Has stores give clean rows back for the request that found no room, those that hold most
    /// first: a store that only reads would keep them for ever.
    fn give_back(&mut self, rows: usize) {
        let Some((_, wanted)) = self.room_wanted.take() else { return };
        let held = self.rows_held();
        let mut missing =
            (held.iter().sum::<usize>() + wanted + SEGMENT_BYTES).saturating_sub(rows);
        let mut order: Vec<usize> = (0..held.len()).collect();
        order.sort_unstable_by_key(|&index| std::cmp::Reverse(held[index]));
        for index in order {
            if let Some(store) = &mut self.stores[index] {
                missing = missing.saturating_sub(store.rows.give_back(missing));
            }
        }
    }
}
