//! Background work of a shard: which jobs to start, and what becomes of their outcomes.

use crate::io::values::{IoRequest, ObjectSlot};
use crate::limits::{JOB_BASE_BYTES, MERGES_MAX, WARM_READ_BYTES_MAX, WARM_READS_MAX};
use crate::lsm::away::MergeJob;
use crate::lsm::job::{Job, Left, Outcome, Unfinished, Work};
use crate::lsm::version::{MergeEdit, OpenTable};
use crate::shard::control::give_up;
use crate::shard::shard::Shard;
use crate::shard::values::{JobOrder, JobReport, Outbox};
use crate::sst::table::Table;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// A job that was handed out.
#[derive(Debug)]
pub(super) struct RunningJob {
    pub store: usize,
    pub grant_bytes: usize,
    pub kind: JobKind,
    /// Regions of the cache that are lent to it.
    pub lent: Vec<u32>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobKind {
    Flush,
    Merge,
    Open,
    Warm,
}

impl Shard {
    /// Starts what is due: flushes before merges, within the memory that jobs may hold.
    pub(super) fn start_jobs(&mut self, outbox: &mut Outbox) {
        let now = self.now;
        self.freeze_for_room();
        for index in 0..self.stores.len() {
            self.freeze_if_full(index);
            if let Some(job) = self.healthy_store(index).and_then(|s| s.next_flush(now)) {
                // A flush frees memory: it starts whatever its grant is.
                let grant = JOB_BASE_BYTES + job.order_bytes();
                self.start(index, Work::Flush(job), grant, outbox);
            }
            if let Some(job) = self.next_open(index) {
                // Requests wait for it, or merges will.
                let grant = JOB_BASE_BYTES + job.bytes();
                self.start(index, Work::Open(job), grant, outbox);
            }
        }
        for index in 0..self.stores.len() {
            while self.jobs.iter().filter(|j| j.kind == JobKind::Merge).count() < MERGES_MAX {
                let held: usize = self.jobs.iter().map(|j| j.grant_bytes).sum();
                if held > 0 && held >= self.limits.job_bytes_max {
                    return;
                }
                let Some(work) = self.next_merge(index) else { break };
                let grant = JOB_BASE_BYTES + work.read_buffer_bytes();
                self.start(index, Work::Merge(work), grant, outbox);
            }
        }
        for index in 0..self.stores.len() {
            if let Some(job) = self.next_warm(index) {
                let grant = WARM_READS_MAX * WARM_READ_BYTES_MAX;
                self.start(index, Work::Warm(job), grant, outbox);
            }
        }
    }

    fn next_merge(&mut self, index: usize) -> Option<MergeJob> {
        let read_bytes_max = self.limits.job_bytes_max;
        let now = self.now;
        self.healthy_store(index)?.next_merge(now, read_bytes_max)
    }

    fn healthy_store(&mut self, index: usize) -> Option<&mut crate::shard::store::Store> {
        self.stores[index].as_mut().filter(|s| s.poison.is_none())
    }

    // Memory is full and nothing is being flushed: no store is full by itself, all together are.
    fn freeze_for_room(&mut self) {
        if self.room_wanted.is_none() || self.stores.iter().flatten().any(|s| s.unflushed()) {
            return;
        }
        let stores = self.stores.iter_mut().flatten().filter(|s| s.poison.is_none());
        if let Some(store) = stores.max_by_key(|s| s.rows.active_segments()) {
            store.freeze();
        }
    }

    fn freeze_if_full(&mut self, index: usize) {
        let flush_bytes = self.limits.flush_bytes;
        let Some(store) = self.healthy_store(index) else { return };
        let draining = !store.drains.is_empty();
        let full = store.rows.active_bytes() >= flush_bytes;
        if !store.unflushed() && (full || draining) {
            store.freeze();
        }
    }

    fn start(&mut self, store: usize, work: Work, grant_bytes: usize, outbox: &mut Outbox) {
        let kind = match work {
            Work::Flush(_) => JobKind::Flush,
            Work::Merge(_) => JobKind::Merge,
            Work::Open(_) => JobKind::Open,
            Work::Warm(_) => JobKind::Warm,
        };
        let (mut job, mut lent) = (Job::new(work), Vec::new());
        if let Some(through) = self.ssd.as_mut().and_then(|ssd| ssd.lend(job.input_bytes())) {
            lent = through.regions().collect();
            job.write_through(through);
        }
        let token = self.jobs.insert(RunningJob { store, grant_bytes, kind, lent });
        outbox.jobs.push(JobOrder { token, job: Box::new(job) });
    }

    /// Applies the outcome of a job, or has it tried again.
    pub(super) fn job_ended(&mut self, report: JobReport, outbox: &mut Outbox) {
        let Some(job) = self.jobs.remove(report.token) else { return };
        if let Some(ssd) = &mut self.ssd {
            ssd.give_back(&job.lent, report.through);
        }
        let opened = &report.opened;
        let result = report.result.and_then(|(outcome, bytes)| {
            self.counters.job_bytes_written += bytes;
            if job.kind == JobKind::Flush {
                self.counters.flush_bytes_written += bytes;
            }
            opened_tables(outcome, opened)
        });
        let store = self.stores[job.store].as_mut().expect("a store outlives its jobs");
        if store.closed {
            return close_all(opened, outbox);
        }
        match result {
            Ok(Applied::Flush { generation, table }) => {
                store.apply_flush(generation, table);
                store.job_succeeded();
                self.counters.flushes += 1;
                self.finish_cuts(job.store, outbox);
            }
            Ok(Applied::Merge(edit)) => {
                // A compactor's tables that do not hold were opened too.
                let named = |name| edit.outputs.iter().any(|output| *output.table.name() == name);
                let left = opened.iter().filter(|&&(name, _)| !named(name));
                close_objects(left.map(|&(_, object)| object), outbox);
                store.apply_merge(edit);
                store.job_succeeded();
                self.counters.merges += 1;
            }
            Ok(Applied::Open(tables)) => self.tables_opened(job.store, tables, opened, outbox),
            Ok(Applied::Warmed) => {}
            // It is only a cache.
            Err(_) if job.kind == JobKind::Warm => {}
            Err(unfinished) => {
                self.counters.job_failures += 1;
                close_all(opened, outbox);
                store.job_failed(self.now, unfinished);
                give_up(store, outbox);
                if let Some(poison) = store.poison.clone() {
                    self.refuse_waiting(job.store, &poison, outbox);
                }
            }
        }
        self.finish_drains(job.store, outbox);
    }

    /// Closes the tables nobody reads any more, and deletes those that are this store's to delete.
    /// Frees the places of closed stores that nothing names any more.
    pub(super) fn close_retired(&mut self, outbox: &mut Outbox) {
        for (index, slot) in self.stores.iter_mut().enumerate() {
            let Some(store) = slot else { continue };
            for (open, delete) in store.reap_retired(|object| self.coalescer.reads(object)) {
                outbox.io.push(IoRequest::Close { object: open.object });
                if delete {
                    outbox.io.push(IoRequest::Delete { name: *open.table.name() });
                }
            }
            let id = store.id;
            let named = || self.jobs.iter().any(|job| job.store == index) || self.stalled.names(id);
            if store.is_gone() && !named() {
                // What the shard counted does not shrink with its stores.
                self.counters.requests.add(&store.requests.all());
                self.counters.rows_evicted += store.rows.evicted();
                *slot = None;
            }
        }
    }
}

/// An outcome whose tables are open for reading.
pub(super) enum Applied {
    Flush { generation: u64, table: Option<OpenTable> },
    Merge(MergeEdit),
    Open(Vec<(ObjectName, Result<OpenTable>)>),
    Warmed,
}

pub(super) type Opened = [(ObjectName, ObjectSlot)];

fn opened_tables(outcome: Outcome, opened: &Opened) -> std::result::Result<Applied, Unfinished> {
    let open = |table: std::sync::Arc<Table>| -> Result<OpenTable> {
        let opened = opened.iter().find(|(name, _)| name == table.name());
        let &(_, object) = opened.ok_or_else(|| {
            let what = format!("the executor did not open {}", table.name());
            Error::new(ErrorKind::Poisoned, what)
        })?;
        Ok(OpenTable { table, object })
    };
    let applied = || match outcome {
        Outcome::Flushed { generation, table } => {
            Ok(Applied::Flush { generation, table: table.map(open).transpose()? })
        }
        Outcome::Merged { low, inputs, outputs } => {
            let outputs = outputs.into_iter().map(open).collect::<Result<_>>()?;
            Ok(Applied::Merge(MergeEdit { low, inputs, outputs }))
        }
        Outcome::Opened { tables } => {
            let tables = tables.into_iter().map(|(name, table)| (name, table.and_then(open)));
            Ok(Applied::Open(tables.collect()))
        }
        Outcome::Warmed => Ok(Applied::Warmed),
    };
    applied().map_err(|error| Unfinished { error, left: Left::Lost })
}

fn close_all(opened: &Opened, outbox: &mut Outbox) {
    close_objects(opened.iter().map(|&(_, object)| object), outbox);
}

/// Closes objects that no table names.
pub(super) fn close_objects(objects: impl Iterator<Item = ObjectSlot>, outbox: &mut Outbox) {
    outbox.io.extend(objects.map(|object| IoRequest::Close { object }));
}
