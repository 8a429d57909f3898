//! Requests that memory could not answer: suspended state machines that wait for units.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::cache::coalescer::{Landed, LandedExtent};
use crate::codec::unverified::Unverified;
use crate::io::values::IoDone;
use crate::limits::SCAN_LIMIT_MAX;
use crate::lsm::lookup::{Answer, Lookup, Need};
use crate::lsm::merge::{OUTGROWN, outgrown};
use crate::lsm::rows::{Found, row_bytes};
use crate::lsm::scan::{Scan, ScanStep};
use crate::mem::pool::Buf;
use crate::mem::slab::{Slab, Token};
use crate::shard::answers::made;
use crate::shard::serve::{Asked, completions};
use crate::shard::shard::Shard;
use crate::shard::statistics::Kind;
use crate::shard::store::Store;
use crate::shard::values::Outbox;
use crate::sst::extent;
use crate::sst::unit::Unit;
use crate::state::request::{Status, StoreId};
use crate::types::{MergeOp, Nanos, Result, RowKind, StateId};

/// A suspended request. Gets lie in the slab itself: a miss allocates nothing.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "gets are the rule, and scans the exception")]
pub(super) enum Waiting {
    Get(ColdGet),
    Scan(Box<ColdScan>),
}

/// A get that went past memory. It answers with the state at its submission: it pins the tablet it
/// looks in and holds a copy of the operands it met in memory. So requests of its key that come
/// later need not wait for it.
#[derive(Debug)]
pub(super) struct ColdGet {
    pub session: u16,
    store: StoreId,
    state: StateId,
    since: Nanos,
    pub user_data: u64,
    hash: u64,
    key: SmallVec<[u8; 32]>,
    pub lookup: Lookup,
    pub need: Option<Need>,
    // Operands memory held; the value read may replace them if they are still the same.
    operands: Option<Box<[u8]>>,
    // Flushes and clears of the store at submission: a row may only be installed if there was
    // none since, for it might be older than what was flushed or cleared.
    flushes: u64,
    clears: u64,
}

/// A suspended scan.
#[derive(Debug)]
pub(super) struct ColdScan {
    pub session: u16,
    pub user_data: u64,
    since: Nanos,
    // It read, or waits for a read.
    reads: bool,
    pub scan: Scan,
}

impl ColdGet {
    pub fn new(asked: Asked<'_>, operands: Option<Vec<u8>>, store: &Store) -> Self {
        let Asked { session, request, since, key, .. } = asked;
        let version = &store.version;
        let tablet = Rc::clone(&version.tablets()[version.tablet_of(key)]);
        Self {
            session,
            store: request.store,
            state: request.state,
            since,
            user_data: request.user_data,
            hash: request.hash,
            key: SmallVec::from_slice(key),
            operands: operands.as_deref().map(Box::from),
            lookup: Lookup::new(tablet, operands),
            need: None,
            flushes: store.flushes,
            clears: store.clears,
        }
    }
}

/// Where a get stands after a step.
enum Step {
    Read(Need),
    Found,
    Absent,
}

impl Shard {
    /// Looks the misses of a chunk up in the runs, their cache misses overlapping.
    pub(super) fn look_up_misses(&mut self, outbox: &mut Outbox) {
        if self.misses.is_empty() {
            return;
        }
        let mut misses = std::mem::take(&mut self.misses);
        self.each_miss(&misses, |get| get.lookup.start(get.hash, &get.key));
        self.each_miss(&misses, |get| get.lookup.seek(get.hash, &get.key));
        self.each_miss(&misses, |get| get.lookup.narrow(&get.key));
        for token in misses.drain(..) {
            let step = self.next_step(token);
            self.settle(token, step, outbox);
        }
        self.misses = misses;
    }

    fn each_miss(&mut self, misses: &[Token], mut step: impl FnMut(&mut ColdGet)) {
        misses.iter().for_each(|&token| step(get_of(&mut self.cold, token)));
    }

    // What the place that its lookup found means for a get.
    fn next_step(&mut self, token: Token) -> Result<Step> {
        let get = get_of(&mut self.cold, token);
        if let Some(need) = get.lookup.need(&get.key) {
            return Ok(Step::Read(need));
        }
        let negative = get.need.is_none() && !get.lookup.has_operands();
        match self.stores[get.store.place()].as_mut() {
            Some(store) => {
                store.requests.of(get.state).filter_negatives += u64::from(negative);
                match get.lookup.exhausted(&store.ops, &get.key, &mut self.value)? {
                    Answer::Found => Ok(Step::Found),
                    _ => Ok(Step::Absent),
                }
            }
            None => Err(closed()),
        }
    }

    // A list that outgrew its limit was found and cannot be given.
    fn readable(&self, token: Token, step: Result<Step>) -> Result<Step> {
        if self.value == OUTGROWN
            && let Ok(Step::Found) = step
            && let Some(Waiting::Get(get)) = self.cold.get(token)
            && let Some(store) = self.store(get.store)
            && store.ops.of(&get.key).is_ok_and(|op| op == MergeOp::Append)
        {
            return Err(outgrown());
        }
        step
    }

    // Suspends the get or completes it.
    fn settle(&mut self, token: Token, step: Result<Step>, outbox: &mut Outbox) {
        let step = self.readable(token, step);
        let get = get_of(&mut self.cold, token);
        let out = &mut outbox.completions[usize::from(get.session)];
        let first = get.need.is_none();
        if let Some(store) = self.stores[get.store.place()].as_mut() {
            let requests = store.requests.of(get.state);
            requests.dfs_gets += u64::from(first && matches!(step, Ok(Step::Read(_))));
            requests.absent += u64::from(matches!(step, Ok(Step::Absent)));
            requests.failed += u64::from(step.is_err());
        }
        let since = get.since;
        match step {
            Ok(Step::Read(need)) => {
                get.need = Some(need);
                let session = get.session;
                return match need.large {
                    None => self.coalescer.need(need.pages(), token, self.ssd.as_mut()),
                    Some(_) => self.read_large(token, session, need, outbox),
                };
            }
            Ok(Step::Found) => {
                out.push_value(get.user_data, Status::Value, &self.value);
                self.keep(token);
            }
            Ok(Step::Absent) => out.push(get.user_data, Status::Absent),
            Err(error) => out.push_error(get.user_data, error),
        }
        self.cold.free(token);
        match first {
            true => self.latencies.answered(Kind::Get, since, self.now),
            false => self.latencies.read(Kind::Get, since, self.now),
        }
    }

    // Installs the value that a cold get found, if nothing newer can exist.
    fn keep(&mut self, token: Token) {
        let get = get_of(&mut self.cold, token);
        let Some(store) = self.stores[get.store.place()].as_mut() else { return };
        if store.flushes != get.flushes || store.clears != get.clears {
            return;
        }
        let Some(known) = &get.operands else {
            return store.rows.install(get.hash, &get.key, RowKind::Put, &self.value);
        };
        // A partial row becomes full, unless operands came meanwhile.
        let same = match store.rows.probe(get.hash, &get.key) {
            Found::Partial(operands) => {
                store.ops.fold_all(&get.key, &operands).is_ok_and(|now| now[..] == **known)
            }
            _ => false,
        };
        if same && store.rows.reserve(row_bytes(get.key.len(), self.value.len())) {
            store.rows.write(get.hash, &get.key, RowKind::Put, &self.value);
        }
    }

    /// Asks the CPU for what resuming the waiters of finished reads will look at: the gets have
    /// not been touched since they were suspended.
    pub(super) fn prefetch_landed(&self, done: &[IoDone]) {
        self.each_landed(done, |waiter| self.cold.prefetch(waiter));
        self.each_landed(done, |waiter| {
            if let Some(Waiting::Get(get)) = self.cold.get(waiter)
                && let Some(store) = self.store(get.store)
            {
                store.rows.prefetch(get.hash);
            }
        });
    }

    fn each_landed(&self, done: &[IoDone], act: impl Fn(Token)) {
        for done in done {
            if let IoDone::Read { token, .. } = done {
                self.coalescer.waiters(*token).for_each(&act);
            }
        }
    }

    /// A read ended: resumes everything that waited for its extents.
    pub(super) fn landed(
        &mut self,
        mut landed: Landed,
        buf: Buf,
        result: Result<()>,
        outbox: &mut Outbox,
    ) {
        while let Some(extent) =
            self.coalescer.next_landed(&mut landed, &buf, &result, self.ssd.as_mut())
        {
            for &waiter in &extent.waiters {
                self.resume(waiter, &extent, outbox);
            }
        }
        self.pool.give_back(buf);
        self.look_up_misses(outbox);
    }

    fn resume(&mut self, waiter: Token, landed: &LandedExtent<'_>, outbox: &mut Outbox) {
        if let Some(Waiting::Get(get)) = self.cold.get(waiter) {
            completions(outbox, get.session);
            return self.resume_get(waiter, landed, outbox);
        }
        let Some(Waiting::Scan(mut scan)) = self.cold.remove(waiter) else { return };
        completions(outbox, scan.session);
        let needs: SmallVec<[Need; 4]> = scan.scan.needs().collect();
        let here = |n: &&Need| (n.object, n.extent.pages().offset) == landed.place;
        let here = needs.iter().filter(here);
        let result = landed.pages.clone().and_then(|pages| {
            here.clone().try_for_each(|n| scan.scan.land(n, pages, &mut self.scratch))
        });
        if result.is_err() && landed.may_differ {
            let token = self.cold.insert(Waiting::Scan(scan));
            return here.for_each(|need| self.read_again(need, landed, token));
        }
        self.continue_scan(scan, result, outbox);
    }

    // What landed is wrong. The DFS may have had a bad moment, now or when it gave the cache what
    // the cache gave back.
    fn read_again(&mut self, need: &Need, landed: &LandedExtent<'_>, waiter: Token) {
        let pages = need.pages();
        if !landed.of_ssd {
            let first = self.coalescer.need_again(pages, waiter);
            return self.counters.rereads += u64::from(first);
        }
        if let Some(ssd) = &mut self.ssd {
            ssd.disown(pages.object_key, pages.extent);
        }
        self.coalescer.need(pages, waiter, None);
    }

    fn resume_get(&mut self, token: Token, landed: &LandedExtent<'_>, outbox: &mut Outbox) {
        let answer = landed.pages.clone().and_then(|pages| self.read_answer(token, pages));
        let get = get_of(&mut self.cold, token);
        if let (Err(_), true, Some(need)) = (&answer, landed.may_differ, get.need)
            && !landed.pages.as_ref().is_ok_and(|&pages| self.holds(&need, pages))
        {
            return self.read_again(&need, landed, token);
        }
        let get = get_of(&mut self.cold, token);
        if let Some(large) = get.need.and_then(|need| need.large) {
            self.answers.kept(get.session, large.len as usize);
        }
        let get = get_of(&mut self.cold, token);
        let step = match answer {
            Ok(Answer::Found) => Ok(Step::Found),
            Ok(Answer::Absent) => Ok(Step::Absent),
            Ok(Answer::Continue) => {
                get.lookup.seek(get.hash, &get.key);
                get.lookup.narrow(&get.key);
                self.next_step(token)
            }
            Ok(Answer::Large(value)) => {
                let need = get.need.expect("a get that waited had a need");
                Ok(Step::Read(Need { extent: value.stored(), large: Some(value), ..need }))
            }
            Err(error) => Err(error),
        };
        self.settle(token, step, outbox);
    }

    // True if pages are what a need asks for.
    fn holds(&mut self, need: &Need, pages: Unverified<'_>) -> bool {
        if let Some(large) = need.large {
            return extent::check(need.object_key, large.offset, large.len, pages).is_ok();
        }
        let from = (need.extent.offset - need.extent.pages().offset) as usize;
        let bytes = pages.part(from..);
        Unit::check(need.object_key, need.extent.offset, bytes, &mut self.scratch).is_ok()
    }

    fn read_answer(&mut self, token: Token, pages: Unverified<'_>) -> Result<Answer> {
        let get = get_of(&mut self.cold, token);
        let need = get.need.expect("a get that waited had a need");
        let store = self.stores[get.store.place()].as_ref().ok_or_else(closed)?;
        let key = &get.key[..];
        if let Some(large) = need.large {
            let value = extent::check(need.object_key, large.offset, large.len, pages)
                .map_err(|error| get.lookup.damaged(error))?;
            return get.lookup.take_large(&store.ops, key, value, &mut self.value);
        }
        let from = (need.extent.offset - need.extent.pages().offset) as usize;
        let bytes = pages.part(from..);
        let entry = Unit::check(need.object_key, need.extent.offset, bytes, &mut self.scratch)
            .and_then(|unit| unit.find(key))
            .map_err(|error| get.lookup.damaged(error))?;
        self.counters.filter_false_positives += u64::from(entry.is_none());
        get.lookup.take(&store.ops, key, entry, &mut self.value)
    }

    /// Starts a scan.
    pub(super) fn scan(&mut self, asked: Asked<'_>, outbox: &mut Outbox) {
        let Asked { session, request, since, key: prefix, value } = asked;
        let store = self.stores[request.store.place()].as_mut().expect("checked");
        let mut from = prefix.to_vec();
        if !value.is_empty() {
            // The successor of the map key to continue after.
            from.extend_from_slice(value);
            from.push(0);
        }
        let limit = request.limit.clamp(1, SCAN_LIMIT_MAX);
        let dirty = store.dirty_entries(prefix, &from, limit as usize + 1);
        let runs = !store.rows.cleared(prefix);
        let version = Rc::clone(&store.version);
        let scan = Scan::new(version, prefix, from, limit, dirty, runs);
        let waits = scan.unopened().next().is_some();
        let user_data = request.user_data;
        let scan = Box::new(ColdScan { session, user_data, since, reads: false, scan });
        if waits {
            return store.opening.waiting.push(self.cold.insert(Waiting::Scan(scan)));
        }
        self.continue_scan(scan, Ok(()), outbox);
    }

    pub(super) fn continue_scan(
        &mut self,
        mut scan: Box<ColdScan>,
        result: Result<()>,
        outbox: &mut Outbox,
    ) {
        let session = scan.session;
        if result.is_ok() && self.answers.enough(session, made(outbox, session)) {
            return self.answers.park(self.cold.insert(Waiting::Scan(scan)));
        }
        let out = &mut outbox.completions[usize::from(session)];
        let step = match result {
            Ok(()) => scan.scan.step(),
            Err(error) => {
                out.push_error(scan.user_data, error);
                return self.scan_ended(&scan);
            }
        };
        match step {
            ScanStep::Done(more) => {
                out.push_value(scan.user_data, Status::Entries { more }, scan.scan.rows());
                self.scan_ended(&scan);
            }
            ScanStep::Read => {
                scan.reads = true;
                let needs: SmallVec<[Need; 4]> = scan.scan.needs().collect();
                let token = self.cold.insert(Waiting::Scan(scan));
                for need in needs {
                    // A read under way for the old token finds nobody; asking again joins it.
                    self.coalescer.need(need.pages(), token, self.ssd.as_mut());
                }
            }
        }
    }

    fn scan_ended(&mut self, scan: &ColdScan) {
        match scan.reads {
            true => self.latencies.read(Kind::Scan, scan.since, self.now),
            false => self.latencies.answered(Kind::Scan, scan.since, self.now),
        }
    }
}

// A get between its miss and its answer.
#[inline]
fn get_of(cold: &mut Slab<Waiting>, token: Token) -> &mut ColdGet {
    match cold.get_mut(token) {
        Some(Waiting::Get(get)) => get,
        _ => unreachable!("a get lies in the slab until it is answered"),
    }
}

pub(super) fn closed() -> crate::types::Error {
    crate::types::Error::new(
        crate::types::error::ErrorKind::Closed,
        "the store was closed while the request waited",
    )
}
