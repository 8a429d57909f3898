//! One store on its shard: rows in memory, the version below them, and what is going on in the
//! background.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::checkpoint::handle::Handle;
use crate::checkpoint::ownership::Ownership;
use crate::codec::hash::hash64;
use crate::io::retry::{self, Failures};
use crate::io::values::ObjectSlot;
use crate::limits::{
    FILTER_BITS_LAST, FILTER_BITS_UPPER, FLUSH_SILENT_DIVISOR, OPEN_UNASKED_NS, RUNS_MAX, RUNS_PACE,
};
use crate::lsm::away::MergeJob;
use crate::lsm::compact::{CompactJob, read_bytes};
use crate::lsm::errand::Errand;
use crate::lsm::flush::FlushJob;
use crate::lsm::fold::MergeOps;
use crate::lsm::job::{Left, Unfinished};
use crate::lsm::merged::MergeOrder;
use crate::lsm::output::Output;
use crate::lsm::pick::{self, Choice};
use crate::lsm::rows::{Found, FrozenRows, Rows};
use crate::lsm::scan::DirtyEntry;
use crate::lsm::version::{MergeEdit, OpenTable, Version};
use crate::shard::ShardLimits;
use crate::shard::opening::Opening;
use crate::shard::roots::Lineage;
use crate::shard::statistics::RequestsByState;
use crate::shard::values::OpenStore;
use crate::shard::warm::HotTable;
use crate::state::StateTable;
use crate::state::request::StoreId;
use crate::types::error::ErrorKind;
use crate::types::{Error, Incarnation, Nanos, ObjectKind, ObjectName};

/// A cut whose rows are not all flushed yet.
#[derive(Debug)]
pub(super) struct Cut {
    pub session: u16,
    pub user_data: u64,
    /// The last generation that belongs to it.
    pub generation: Option<u64>,
}

/// See the module. Fields are the shard's to use; methods keep what must hold together.
#[derive(Debug)]
pub(super) struct Store {
    /// Given when it gets its place.
    pub id: StoreId,
    pub number: u64,
    pub key_groups: u32,
    pub range: (u16, u16),
    pub states: StateTable,
    pub ops: MergeOps,
    pub rows: Rows,
    pub requests: RequestsByState,
    pub version: Rc<Version>,
    /// Flushes applied: a cold read that began before the last one installs nothing.
    pub flushes: u64,
    /// Clears taken: likewise.
    pub clears: u64,
    pub ownership: Ownership,
    /// Its roots, if it keeps its checkpoints itself.
    pub lineage: Option<Lineage>,
    pub cuts: VecDeque<Cut>,
    pub drains: Vec<(u16, u64)>,
    pub opening: Opening,
    /// What the cache should have of it first.
    pub hot: Vec<HotTable>,
    // Failures in a row, the last of them, and when the next job may start.
    failures: Failures,
    failure: Option<Error>,
    retry_at: Nanos,
    // They have failed for so long that nobody waits for them any more.
    hopeless: bool,
    patience_ns: u64,
    /// Set when an invariant broke or the store was closed: every request is answered with it.
    pub poison: Option<Error>,
    /// Bytes of writes that the progress of jobs allows while the store is paced.
    pub credit_bytes: u64,
    // As of the last tick; and the bytes when the flush began.
    job_bytes: u64,
    jobs: u64,
    flush_from: u64,
    // Of the version of now; every write looks at them.
    excess_runs: usize,
    table_bytes: usize,
    /// The store was closed. It keeps its place until nothing names it any more: jobs, reads and
    /// stalled requests must not meet the next store.
    pub closed: bool,
    frozen: VecDeque<FrozenRows>,
    flushing: bool,
    merging: Vec<Box<[u8]>>,
    tables: BTreeMap<ObjectName, OpenTable>,
    retired: Vec<OpenTable>,
    pub incarnation: Incarnation,
    next_seq: u64,
    random: u64,
    table_bytes_target: u64,
    errand_bytes_min: Option<u64>,
}

impl Store {
    /// An empty store; its key groups were checked.
    pub fn new(open: OpenStore, limits: &ShardLimits) -> Self {
        Self {
            id: StoreId(0),
            number: open.number,
            key_groups: open.key_groups,
            range: open.range,
            ops: open.states.merge_ops(),
            requests: RequestsByState::new(open.states.len()),
            states: open.states,
            rows: Rows::default(),
            version: Rc::default(),
            flushes: 0,
            clears: 0,
            ownership: Ownership::new(open.incarnation),
            lineage: None,
            cuts: VecDeque::new(),
            drains: Vec::new(),
            opening: Opening::default(),
            hot: Vec::new(),
            failures: Failures::default(),
            failure: None,
            retry_at: 0,
            hopeless: false,
            patience_ns: limits.patience_ns,
            poison: None,
            credit_bytes: 0,
            job_bytes: 0,
            jobs: 0,
            flush_from: 0,
            excess_runs: 0,
            table_bytes: 0,
            closed: false,
            frozen: VecDeque::new(),
            flushing: false,
            merging: Vec::new(),
            tables: BTreeMap::new(),
            retired: Vec::new(),
            incarnation: open.incarnation,
            next_seq: 1,
            random: open.seed,
            table_bytes_target: limits.table_bytes_target,
            errand_bytes_min: limits.errand_bytes_min,
        }
    }

    /// A name that was never used.
    pub fn new_name(&mut self, kind: ObjectKind) -> ObjectName {
        let seq = self.next_seq;
        self.next_seq += 1;
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let rand = z ^ (z >> 31);
        ObjectName { store: self.number, incarnation: self.incarnation, kind, seq, rand }
    }

    /// Memory of the resident parts of all its tables, bytes.
    pub fn table_bytes(&self) -> usize {
        self.table_bytes
    }

    // After an edit of the version or the tables.
    fn measure(&mut self) {
        let open = self.tables.values().chain(&self.retired);
        self.table_bytes = open.map(|t| t.table.memory_bytes()).sum();
        // What cannot be merged yet does not hold up writes.
        let open = self.version.tablets().iter().filter(|t| t.is_open());
        let runs = open.map(|t| &t.run_bytes[..]);
        self.excess_runs = pick::excess_runs(runs);
        self.opening.left = self.version.tablets().iter().any(|t| !t.is_open());
    }

    /// How many bytes jobs must write for each byte of writes; zero while nothing is behind.
    pub fn pace(&self, flush_bytes: usize) -> u64 {
        let merges = self.excess_runs.saturating_sub(RUNS_PACE) as u64;
        merges + self.flush_pace(flush_bytes)
    }

    // What is left of a flush against the room that writes have until they must wait for its end:
    // they slow down before, so that they never stop.
    fn flush_pace(&self, flush_bytes: usize) -> u64 {
        let silent_bytes = flush_bytes / FLUSH_SILENT_DIVISOR;
        if !self.unflushed() || self.rows.active_bytes() < silent_bytes {
            return 0;
        }
        let paced_end = flush_bytes - silent_bytes;
        let room = paced_end.saturating_sub(self.rows.active_bytes()).max(1) as u64;
        // Jobs share their executor.
        let written = self.job_bytes.saturating_sub(self.flush_from) / self.jobs.max(1);
        let left = (self.rows.frozen_bytes() as u64).saturating_sub(written);
        if left <= room { 0 } else { left * self.jobs.max(1) / room }
    }

    /// How far the jobs of the shard are: bytes they wrote in all, and how many run.
    pub fn note_progress(&mut self, job_bytes: u64, jobs: u64) {
        self.job_bytes = job_bytes;
        self.jobs = jobs;
    }

    /// Freezes what was written; the flush starts when its turn comes.
    pub fn freeze(&mut self) -> Option<u64> {
        let frozen = self.rows.freeze()?;
        let generation = frozen.generation;
        self.frozen.push_back(frozen);
        Some(generation)
    }

    /// The newest generation that was frozen and not yet flushed.
    pub fn last_frozen(&self) -> Option<u64> {
        self.rows.frozen_generations().next_back()
    }

    /// The oldest generation that was frozen and not yet flushed.
    pub fn oldest_unflushed(&self) -> Option<u64> {
        self.rows.frozen_generations().next()
    }

    /// Generations frozen and not yet flushed.
    pub fn unflushed(&self) -> bool {
        self.flushing || !self.frozen.is_empty()
    }

    /// The next flush, if one waits and none runs: flushes are applied in order.
    pub fn next_flush(&mut self, now: Nanos) -> Option<FlushJob> {
        if self.flushing || now < self.retry_at {
            return None;
        }
        let rows = self.frozen.pop_front()?;
        self.flushing = true;
        self.flush_from = self.job_bytes;
        let output = Output::new(self.new_tables(1), FILTER_BITS_UPPER, u64::MAX);
        Some(FlushJob::new(rows, self.ops.clone(), output))
    }

    /// Frozen generations whose flush has not started.
    pub fn frozen_waiting(&self) -> usize {
        self.frozen.len()
    }

    /// Tablets whose merge is due and has not started.
    pub fn merges_waiting(&self) -> usize {
        self.idle_tablets().filter(|(_, runs)| runs.len() > RUNS_MAX).count()
    }

    /// Jobs that failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures.count
    }

    fn idle_tablets(&self) -> impl Iterator<Item = (usize, &[u64])> {
        let busy = |low: &[u8]| self.merging.iter().any(|m| **m == *low);
        let tablets = self.version.tablets().iter().enumerate();
        let idle = tablets.filter(move |(_, t)| t.is_open() && !busy(&t.low));
        idle.map(|(i, t)| (i, &t.run_bytes[..]))
    }

    /// The next merge, if one is due; its inputs are read through about `read_bytes_max`.
    pub fn next_merge(&mut self, now: Nanos, read_bytes_max: usize) -> Option<MergeJob> {
        if now < self.retry_at {
            return None;
        }
        let choice = pick::pick(self.idle_tablets())?;
        Some(self.merge(choice, read_bytes_max))
    }

    fn merge(&mut self, choice: Choice, read_bytes_max: usize) -> MergeJob {
        let version = Rc::clone(&self.version);
        let tablet = &version.tablets()[choice.tablet];
        let bottom = choice.runs == tablet.runs.len();
        let bytes: u64 = tablet.run_bytes[..choice.runs].iter().sum();
        let order = MergeOrder {
            low: tablet.low.clone(),
            high: tablet.high.clone(),
            inputs: tablet.runs[..choice.runs].iter().map(|r| r.open.table.clone()).collect(),
            bottom,
            read_bytes: read_bytes(read_bytes_max, choice.runs),
        };
        // Only a merge of all runs may split: a run in the middle is one table.
        let (target, filter_bits) = if bottom {
            (split_bytes(bytes, self.table_bytes_target), FILTER_BITS_LAST)
        } else {
            (u64::MAX, FILTER_BITS_UPPER)
        };
        let count = if bottom { bytes / target + 3 } else { 1 };
        self.merging.push(order.low.clone());
        let offered = self.errand_bytes_min.is_some_and(|min| bytes >= min);
        let errand = offered.then(|| Errand {
            low: order.low.clone(),
            high: order.high.clone(),
            bottom,
            filter_bits,
            target_bytes: target,
            ops: self.ops.clone(),
            inputs: order.inputs.iter().map(|input| *input.table_ref()).collect(),
            names: self.new_tables(count),
        });
        let output = Output::new(self.new_tables(count), filter_bits, target);
        let here = CompactJob::new(order, self.ops.clone(), output);
        match errand {
            Some(errand) => MergeJob::offered(here, errand),
            None => MergeJob::here(here),
        }
    }

    fn new_tables(&mut self, count: u64) -> Vec<ObjectName> {
        (0..count).map(|_| self.new_name(ObjectKind::Sst)).collect()
    }

    /// True if no flush, merge or opening runs, waits or is due.
    pub fn settled(&self) -> bool {
        !self.unflushed()
            && self.merging.is_empty()
            && !self.opening.left
            && self.rows.active_is_empty()
            && self.version.tablets().iter().all(|t| t.runs.len() <= RUNS_MAX)
    }

    /// A flush was written: its rows are clean, its table is the newest run.
    pub fn apply_flush(&mut self, generation: u64, table: Option<OpenTable>) {
        if let Some(open) = table {
            self.version = Rc::new(self.version.with_flush(&open));
            self.tables.insert(*open.table.name(), open);
        }
        self.rows.turn_clean(generation);
        self.flushes += 1;
        self.flushing = false;
        self.measure();
    }

    /// A merge was written: its outputs replace its inputs.
    pub fn apply_merge(&mut self, edit: MergeEdit) {
        self.merging.retain(|low| *low != edit.low);
        let outputs: Vec<OpenTable> = edit.outputs.clone();
        match self.version.with_merge(&edit) {
            Some(version) => {
                self.version = Rc::new(version);
                for open in outputs {
                    self.tables.insert(*open.table.name(), open);
                }
            }
            None => self.retired.extend(outputs),
        }
        self.retire(&edit.inputs);
        self.measure();
    }

    // Tables that no run names any more wait until nobody reads them.
    fn retire(&mut self, candidates: &[ObjectName]) {
        for name in candidates {
            let named = self.version.table_refs().any(|table| table.name == *name);
            if !named && let Some(open) = self.tables.remove(name) {
                self.retired.push(open);
            }
        }
    }

    /// Tables that nobody reads any more: close them, and delete those that come with `true`.
    /// `reads`: a read of the object is on its way.
    pub fn reap_retired(&mut self, reads: impl Fn(ObjectSlot) -> bool) -> Vec<(OpenTable, bool)> {
        let mut gone = Vec::new();
        let mut at = 0;
        while at < self.retired.len() {
            // The only other owners are versions that requests hold, and jobs.
            let open = &self.retired[at];
            if std::sync::Arc::strong_count(&open.table) > 1 || reads(open.object) {
                at += 1;
                continue;
            }
            let open = self.retired.swap_remove(at);
            // What a closed store leaves is a checkpoint's or a scrub's, and one that was fenced
            // deletes nothing.
            let delete = self.poison.is_none() && self.ownership.retire(*open.table.name());
            gone.push((open, delete));
        }
        if !gone.is_empty() {
            self.measure();
        }
        gone
    }

    /// When jobs may start that wait after a failure or a restore.
    pub fn jobs_due(&self, now: Nanos) -> Option<Nanos> {
        let unasked = self.opening.left.then_some(self.opening.unasked_at);
        [Some(self.retry_at), unasked].into_iter().flatten().filter(|&due| due > now).min()
    }

    /// A job ended well.
    pub fn job_succeeded(&mut self) {
        self.failures = Failures::default();
        self.failure = None;
        self.hopeless = false;
    }

    /// Why writes are refused that find no room: jobs have failed for so long that waiting for one
    /// to succeed may be waiting for ever.
    pub fn outage(&self) -> Option<Error> {
        self.hopeless("a write found no room", "writes are taken again")
    }

    /// As `outage`, for checkpoints that wait for a flush.
    pub fn cut_outage(&self) -> Option<Error> {
        self.hopeless("a checkpoint waits for a flush", "cut another")
    }

    /// As `outage`, for drains.
    pub fn drain_outage(&self) -> Option<Error> {
        self.hopeless("a drain waits for flushes and merges", "drain again")
    }

    fn hopeless(&self, what: &str, then: &str) -> Option<Error> {
        let error = self.failure.as_ref().filter(|_| self.hopeless)?;
        let what = format!(
            "{what}, for the last {} flushes and merges failed: {}; mend that, and {then}",
            self.failures.count, error.text
        );
        Some(Error::new(error.kind, what))
    }

    fn note_failure(&mut self, now: Nanos, error: &Error) {
        self.failures.add(now);
        self.retry_at = now + retry::wait(self.failures.count);
        self.failure = Some(error.clone());
        self.hopeless = self.failures.outlast(self.patience_ns, now);
    }

    /// A job failed. What it should have done is due again, each time after twice as long.
    pub fn job_failed(&mut self, now: Nanos, unfinished: Unfinished) {
        let hopeless = self.hopeless;
        self.note_failure(now, &unfinished.error);
        match unfinished.left {
            Left::Flush(rows) => {
                self.flushing = false;
                self.frozen.push_front(rows);
            }
            Left::Merge(low) => self.merging.retain(|m| *m != low),
            Left::Lost => {
                let what = format!(
                    "what a job wrote is lost ({}); restore from a checkpoint",
                    unfinished.error
                );
                self.poison = Some(Error::new(ErrorKind::Poisoned, what));
            }
        }
        self.log_failure(hopeless);
    }

    // Logs that a job failed: the first time, when waiting for another may be for ever, as it was
    // `before` or not, and when the store is lost.
    fn log_failure(&self, before: bool) {
        let number = self.number;
        if let Some(poison) = &self.poison {
            return log::error!("store {number}: {}", poison.text);
        }
        let Some(error) = &self.failure else { return };
        match self.failures.count {
            1 => log::warn!(
                "store {number}: a flush or merge failed and is tried again: {}",
                error.text
            ),
            failures if self.hopeless && !before => log::warn!(
                "store {number}: {failures} flushes and merges in a row failed, and writes that \
                 find no room are refused: {}",
                error.text
            ),
            _ => {}
        }
    }

    /// Becomes what checkpoints describe; its tables are opened later.
    pub fn restore(&mut self, version: Version, now: Nanos) {
        self.opening.unasked_at = now + OPEN_UNASKED_NS;
        self.version = Rc::new(version);
        self.measure();
    }

    /// Tables were opened. The tablets that miss none now can be looked in and merged.
    pub fn apply_opened(&mut self, tables: Vec<OpenTable>) {
        self.tables.extend(tables.into_iter().map(|open| (*open.table.name(), open)));
        self.version = Rc::new(self.version.with_opened(|name| self.tables.get(name)));
        self.measure();
    }

    /// An opened table that some tablet names.
    pub fn table(&self, name: &ObjectName) -> Option<&OpenTable> {
        self.tables.get(name)
    }

    /// Answers nothing any more; its tables are closed when nobody reads them.
    pub fn close(&mut self) {
        self.closed = true;
        self.poison = Some(Error::new(ErrorKind::Closed, "the store was closed"));
        self.rows = Rows::default();
        self.frozen.clear();
        self.version = Rc::default();
        self.retired.extend(std::mem::take(&mut self.tables).into_values());
        self.measure();
    }

    /// True if a closed store has nothing open any more.
    pub fn is_gone(&self) -> bool {
        self.closed && self.retired.is_empty()
    }

    /// Keeps the tables of the version of now for a checkpoint.
    pub fn retain(&mut self, handle: Handle) {
        self.ownership.retain(handle, self.version.table_refs().map(|table| table.name));
    }

    /// Takes over a checkpoint that others may have written.
    pub fn claim(&mut self, handle: Handle, tables: impl Iterator<Item = ObjectName>) {
        let named = self.version.table_refs().map(|table| table.name);
        let read = self.retired.iter().map(|open| *open.table.name());
        let live = named.chain(read).collect();
        self.ownership.claim(handle, tables, &live);
    }

    /// The dirty entries of a map from `from` on, with their values: up to `count` that were not
    /// removed, and the removed ones before them.
    pub fn dirty_entries(&mut self, prefix: &[u8], from: &[u8], count: usize) -> Vec<DirtyEntry> {
        let mut entries: Vec<DirtyEntry> = Vec::new();
        let (mut from, mut live) = (from.to_vec(), 0);
        while live < count {
            let keys = self.rows.dirty_entries(prefix, &from, count - live);
            let Some(last) = keys.last() else { break };
            // The successor in byte order.
            from.clear();
            from.extend_from_slice(last);
            from.push(0);
            for key in keys {
                let value = match self.rows.probe(hash64(&key), &key) {
                    Found::Put(value) => Some(value.into()),
                    _ => None,
                };
                live += usize::from(value.is_some());
                entries.push((key, value));
            }
        }
        entries
    }
}

// Output tables of equal size near the target.
fn split_bytes(bytes: u64, target: u64) -> u64 {
    let parts = (bytes + target / 2) / target;
    // What makes one table is an estimate: it must not be cut into crumbs for being low.
    if parts <= 1 { target.max(bytes + 1) } else { bytes / parts + 1 }
}
