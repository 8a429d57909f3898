//! The tables of a restored store: it serves at once and opens them tablet by tablet, those first
//! that requests wait for.

use std::collections::BTreeSet;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::io::retry::{self, Failures};
use crate::limits::{OPEN_BYTES_MIN, OPEN_DOUBLINGS_MAX, OPEN_JOBS_MAX};
use crate::lsm::open::OpenJob;
use crate::lsm::version::OpenTable;
use crate::mem::slab::Token;
use crate::shard::background::{Opened, close_objects};
use crate::shard::cold::Waiting;
use crate::shard::control::answer_drains;
use crate::shard::serve::completions;
use crate::shard::shard::Shard;
use crate::shard::store::Store;
use crate::shard::values::Outbox;
use crate::sst::meta::TableRef;
use crate::types::{Error, Nanos, ObjectName, Result};

/// What a store has still to open.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Gets and scans that wait for tablets, in the order of their submission. They answer with the
    /// state at their submission: they pin the tablets as they were then.
    pub waiting: Vec<Token>,
    /// Some tablet is not open.
    pub left: bool,
    /// When what nobody waits for may be opened.
    pub unasked_at: Nanos,
    // Tables that jobs are opening, and how many jobs those are.
    under_way: BTreeSet<ObjectName>,
    running: usize,
    jobs: u32,
    failures: Failures,
    // The tablet to go on with when nobody waits: one that fails must not hold up the others.
    next: usize,
}

impl Opening {
    // Requests ask again at once for what could not be opened; what nobody waits for is opened
    // later. True if it failed for so long that nobody should wait for the end.
    fn failed(&mut self, now: Nanos, patience_ns: Nanos) -> bool {
        self.failures.add(now);
        self.unasked_at = now + retry::wait(self.failures.count);
        self.failures.outlast(patience_ns, now)
    }
}

/// The tables of one job.
#[derive(Default)]
struct Wanted {
    seen: BTreeSet<ObjectName>,
    refs: Vec<TableRef>,
    bytes: usize,
}

impl Wanted {
    fn add<'a>(&mut self, store: &Store, refs: impl Iterator<Item = &'a Rc<TableRef>>) {
        for table_ref in refs {
            let known = store.table(&table_ref.name).is_some()
                || store.opening.under_way.contains(&table_ref.name);
            if !known && self.seen.insert(table_ref.name) {
                self.bytes += table_ref.meta_len as usize;
                self.refs.push(**table_ref);
            }
        }
    }
}

impl Shard {
    /// The next tables to open, if some are left that no job opens, and a job more may run.
    pub(super) fn next_open(&mut self, index: usize) -> Option<OpenJob> {
        let store = self.stores[index].as_mut().filter(|s| s.poison.is_none())?;
        let bytes_max = OPEN_BYTES_MIN << store.opening.jobs.min(OPEN_DOUBLINGS_MAX);
        let bytes_max = bytes_max.min(self.limits.job_bytes_max);
        if store.opening.running == OPEN_JOBS_MAX || !store.opening.left {
            return None;
        }
        let mut wanted = Wanted::default();
        for &token in &store.opening.waiting {
            if wanted.bytes >= bytes_max {
                break;
            }
            let waiting = self.cold.get(token).map(Waiting::unopened).unwrap_or_default();
            wanted.add(store, waiting.iter());
        }
        if wanted.refs.is_empty() && store.opening.unasked_at <= self.now {
            let tablets = store.version.tablets();
            let mut next = store.opening.next;
            for _ in tablets {
                if wanted.bytes >= bytes_max {
                    break;
                }
                next = (next + 1) % tablets.len();
                wanted.add(store, tablets[next].unopened.iter());
            }
            store.opening.next = next;
        }
        if wanted.refs.is_empty() {
            return None;
        }
        store.opening.running += 1;
        store.opening.jobs += 1;
        store.opening.under_way.extend(&wanted.seen);
        Some(OpenJob::new(wanted.refs))
    }

    /// A job opened tables, or could not: answers the requests that waited for the latter.
    pub(super) fn tables_opened(
        &mut self,
        index: usize,
        tables: Vec<(ObjectName, Result<OpenTable>)>,
        opened: &Opened,
        outbox: &mut Outbox,
    ) {
        let store = self.stores[index].as_mut().expect("a store outlives its jobs");
        store.opening.running -= 1;
        let (mut open, mut failures) = (Vec::new(), Vec::new());
        for (name, table) in tables {
            store.opening.under_way.remove(&name);
            match table {
                Ok(table) => open.push(table),
                Err(error) => failures.push((name, error)),
            }
        }
        let failed = |name: &ObjectName| failures.iter().any(|(failed, _)| failed == name);
        close_objects(opened.iter().filter(|(name, _)| failed(name)).map(|&(_, o)| o), outbox);
        store.apply_opened(open);
        match failures.first() {
            None => {
                self.counters.openings += 1;
                store.opening.failures = Failures::default();
            }
            Some((_, error)) => {
                self.counters.job_failures += 1;
                if store.opening.failures.count == 0 {
                    let number = store.number;
                    log::warn!("store {number}: tables cannot be opened: {}", error.text);
                }
                if store.opening.failed(self.now, self.limits.patience_ns) {
                    answer_drains(store, &Err(error.clone()), outbox);
                }
            }
        }
        for token in std::mem::take(&mut store.opening.waiting) {
            self.wait_on(index, token, &failures, outbox);
        }
        self.look_up_misses(outbox);
    }

    // Resumes a request whose tablets are open, or fails it with what its tablet failed with.
    fn wait_on(
        &mut self,
        index: usize,
        token: Token,
        failures: &[(ObjectName, Error)],
        outbox: &mut Outbox,
    ) {
        let store = self.stores[index].as_mut().expect("a store outlives its jobs");
        let Some(waiting) = self.cold.get_mut(token) else { return };
        if waiting.open(store) {
            return self.resume_opened(token, outbox);
        }
        let unopened = waiting.unopened();
        let failure = failures.iter().find(|(name, _)| unopened.iter().any(|t| t.name == *name));
        match failure {
            Some((_, error)) => self.refuse(token, error, outbox),
            None => store.opening.waiting.push(token),
        }
    }

    fn resume_opened(&mut self, token: Token, outbox: &mut Outbox) {
        if let Some(Waiting::Get(get)) = self.cold.get(token) {
            completions(outbox, get.session);
            return self.misses.push(token);
        }
        if let Some(Waiting::Scan(scan)) = self.cold.remove(token) {
            completions(outbox, scan.session);
            self.continue_scan(scan, Ok(()), outbox);
        }
    }

    /// Fails what waits for the tablets of a store.
    pub(super) fn refuse_waiting(&mut self, index: usize, error: &Error, outbox: &mut Outbox) {
        let Some(store) = self.stores[index].as_mut() else { return };
        for token in std::mem::take(&mut store.opening.waiting) {
            self.refuse(token, error, outbox);
        }
    }

    fn refuse(&mut self, token: Token, error: &Error, outbox: &mut Outbox) {
        let Some(waiting) = self.cold.remove(token) else { return };
        let (session, user_data) = waiting.asker();
        completions(outbox, session);
        outbox.completions[usize::from(session)].push_error(user_data, error.clone());
    }
}

impl Waiting {
    // Its session and the number the host gave it.
    fn asker(&self) -> (u16, u64) {
        match self {
            Self::Get(get) => (get.session, get.user_data),
            Self::Scan(scan) => (scan.session, scan.user_data),
        }
    }

    /// The session that asked.
    pub(super) fn session(&self) -> u16 {
        self.asker().0
    }

    fn unopened(&self) -> SmallVec<[Rc<TableRef>; 8]> {
        match self {
            Self::Get(get) => get.lookup.tablet().unopened.iter().cloned().collect(),
            Self::Scan(scan) => scan.scan.unopened().cloned().collect(),
        }
    }

    // Takes what is open by now; true if that is all it needs.
    fn open(&mut self, store: &Store) -> bool {
        let find = |name: &ObjectName| store.table(name);
        match self {
            Self::Get(get) => get.lookup.open(find),
            Self::Scan(scan) => scan.scan.open(find),
        }
    }
}
