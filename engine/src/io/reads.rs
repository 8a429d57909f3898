//! The reads of a shard, whoever carries them out: open objects, what waits its turn, what injected
//! latency or a failure of the moment holds back, what is answered.

use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::sync::Arc;

use crate::io::doorbell::Doorbell;
use crate::io::handoff::Handoff;
use crate::io::http::HttpCounters;
use crate::io::http::target::Target;
use crate::io::objects::{Objects, OpenObject, Route};
use crate::io::read_op::{self, Op, Verdict};
use crate::io::requests::Requests;
use crate::io::retry::{self, Patience};
use crate::io::sys;
use crate::io::values::{IoDone, ObjectSlot};
use crate::limits::RETRY_LOOK_NS;
use crate::mem::pool::Buf;
use crate::mem::slab::Token;
use crate::types::{Error, Nanos, Result};

/// Whether a turn may park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Submit, take what is there, return.
    No,
    /// If nothing is there, sleep until something ends, the doorbell rings, or the deadline.
    Until {
        /// On the clock of `now`; `None` for no deadline.
        deadline: Option<Nanos>,
    },
}

impl Wait {
    /// The same, with a sleep that ends at `time` at the latest.
    #[must_use]
    pub fn at_most_until(self, time: Nanos) -> Self {
        match self {
            Self::No => Self::No,
            Self::Until { deadline } => {
                Self::Until { deadline: Some(deadline.map_or(time, |d| d.min(time))) }
            }
        }
    }
}

/// A read, as `IoRequest::Read` carries it.
#[derive(Debug)]
pub struct Read {
    /// Names the request in its answer.
    pub token: Token,
    /// Where to read.
    pub object: ObjectSlot,
    /// Byte offset, a multiple of the page size.
    pub offset: u64,
    /// Whole buffer to fill; comes back with the answer.
    pub buf: Buf,
    /// As of `IoRequest::Read`.
    pub again: bool,
}

/// What a driver of reads did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounters {
    /// Reads that ended well.
    pub reads: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Of these, reads of a DFS that is no store: a store would have been asked by so many GETs.
    pub gets: u64,
    /// Bytes of them.
    pub get_bytes: u64,
    /// Entries of a ring into the kernel; sleeps of the portable driver.
    pub enters: u64,
    /// Reads submitted once more, after a short read, a refusal of the moment or a failure.
    pub repeats: u64,
    /// Of connections.
    pub http: HttpCounters,
}

impl ReadCounters {
    /// What the driver itself asked of the DFS.
    #[must_use]
    pub fn requests(&self) -> Requests {
        let gets = self.gets + self.http.requests;
        let get_bytes = self.get_bytes + self.http.bytes;
        Requests { gets, get_bytes, ..Requests::default() }
    }
}

/// How long a turn may sleep: not at all, for so many nanoseconds, or as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    No,
    AtMost(Nanos),
    UntilWoken,
}

/// See the module. A read lies in `queue` or `gets`, with whoever carries it out, or in `held`;
/// never in two of them. The buffer of a read that the thread of stores carries out travels with
/// it.
pub(crate) struct Reads {
    pub(crate) objects: Objects,
    /// To be carried out, in order.
    pub(crate) queue: VecDeque<Op>,
    /// To be carried out by a GET, in order.
    pub(crate) gets: VecDeque<Op>,
    /// Routes of closed objects whose last read ended, for the driver to close before it opens
    /// another object.
    pub(crate) closed: Vec<(ObjectSlot, Route)>,
    pub(crate) counters: ReadCounters,
    /// For how long reads are tried again.
    pub(crate) patience: Patience,
    ready: Vec<IoDone>,
    held: BinaryHeap<Held>,
    held_count: u64,
    // Of stores: reads that their thread has, and those that it has ended.
    away: usize,
    arrived: Arc<Handoff<Arrival>>,
    doorbell: Doorbell,
    process: u32,
}

/// What the thread of stores brings.
enum Arrival {
    /// A read that ended. It `asks_again` if it was to bring a target and did not.
    Read { op: Op, result: Result<()>, asks_again: bool },
    /// Where the shard gets an object by itself.
    Target(ObjectSlot, Arc<Target>),
}

/// What waits for its time; the heap gives the earliest first, and what is due at the same time in
/// the order it came.
struct Held {
    due: Nanos,
    count: u64,
    what: Late,
}

enum Late {
    /// An answer, for its injected latency to pass.
    Done(IoDone),
    /// A read that failed, for its next try, and why it did.
    Again(Op, Error),
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.count).cmp(&(self.due, self.count))
    }
}

impl Reads {
    /// The doorbell is that of the shard: it rings when something arrived.
    pub(crate) fn new(doorbell: Doorbell) -> Self {
        Self {
            objects: Objects::default(),
            queue: VecDeque::new(),
            gets: VecDeque::new(),
            closed: Vec::new(),
            counters: ReadCounters::default(),
            patience: Patience::DEFAULT,
            ready: Vec::new(),
            held: BinaryHeap::new(),
            held_count: 0,
            away: 0,
            arrived: Arc::new(Handoff::new()),
            doorbell,
            process: std::process::id(),
        }
    }

    /// Reads taken over and not answered, those apart that are being carried out.
    pub(crate) fn waiting(&self) -> usize {
        let queued = self.queue.len() + self.gets.len();
        queued + self.ready.len() + self.held.len() + self.away
    }

    /// True if an answer can be taken.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes an object over, which `route` says how to read.
    pub(crate) fn open(&mut self, object: OpenObject, route: Route, bytes: u64) -> ObjectSlot {
        self.objects.insert(object.name, route, bytes, object.faults)
    }

    /// Closes an object: `closed` has its route once no read uses it.
    pub(crate) fn close(&mut self, slot: ObjectSlot) {
        let route = self.objects.close(slot);
        self.closed.extend(route.map(|route| (slot, route)));
    }

    /// Takes a read over.
    pub(crate) fn submit(&mut self, read: Read, now: Nanos) {
        self.take(read, false, now);
    }

    /// Takes a write over: all of the buffer, to a file of a cache.
    pub(crate) fn submit_write(&mut self, write: Read, now: Nanos) {
        self.take(write, true, now);
    }

    fn take(&mut self, read: Read, writes: bool, now: Nanos) {
        let Read { token, object, offset, buf, again } = read;
        let op = Op { writes, again, ..Op::new(token, object, offset, buf) };
        match self.objects.get_mut(object) {
            Ok(entry) => {
                entry.reads += 1;
                self.begin(op, now);
            }
            Err(error) => self.ready.push(answer_of(op, Err(error), None, false)),
        }
    }

    fn begin(&mut self, mut op: Op, now: Nanos) {
        let entry = self.objects.of_read(op.object);
        if op.again {
            entry.route.leave_url_of_host();
        }
        let mut fate = Ok(());
        if let Some(faults) = &entry.faults {
            op.due = now.saturating_add(faults.latency());
            fate = faults.draw("read");
        }
        let ended = match &entry.route {
            _ if fate.is_err() => fate,
            Route::Memory(bytes) => read_op::copy(entry.name, bytes, op.offset, op.buf.bytes_mut()),
            Route::Registered | Route::Descriptor(_) | Route::Cache(_) => {
                return self.queue.push_back(op);
            }
            Route::Remote { .. } => return self.ask(op),
            Route::Http(..) => return self.gets.push_back(op),
        };
        let done = self.end(op, ended, now);
        self.ready.extend(done);
    }

    /// Has the thread of stores carry a read out of an object that it reads.
    pub(crate) fn ask(&mut self, mut op: Op) {
        let (name, slot) = (self.objects.of_read(op.object).name, op.object);
        let Route::Remote { remote, wants_target } = &mut self.objects.of_read(slot).route else {
            unreachable!("it reads objects of stores")
        };
        let read = remote.read(name, op.offset, op.buf.bytes().len());
        // One read of an object asks.
        let target = std::mem::take(wants_target).then(|| remote.target(name));
        let (arrived, doorbell) = (self.arrived.clone(), self.doorbell.clone());
        self.away += 1;
        remote.spawn(async move {
            let result = read.await.map(|bytes| read_op::fill(op.buf.bytes_mut(), bytes));
            // Who could not read it asks again: a target of what is missing would be held guilty.
            let asks_again = result.is_err() && target.is_some();
            let target = target.filter(|_| !asks_again);
            arrived.put(Arrival::Read { op, result, asks_again });
            doorbell.ring();
            let target = match target {
                Some(target) => target.await,
                None => None,
            };
            if let Some(target) = target {
                arrived.put(Arrival::Target(slot, target));
                doorbell.ring();
            }
        });
    }

    // The shard gets an object by itself from now on, if it is still open.
    fn take_target(&mut self, slot: ObjectSlot, target: Arc<Target>) {
        if let Ok(entry) = self.objects.get_mut(slot)
            && let Route::Remote { remote, .. } = &entry.route
        {
            entry.route = Route::Http(target, Some(remote.clone()));
        }
    }

    /// A read was carried out, with the result as a system call gives it: its answer goes to
    /// `done`, unless it is tried again or the answer is not due yet.
    pub(crate) fn complete(&mut self, mut op: Op, result: i32, now: Nanos, done: &mut Vec<IoDone>) {
        let object = self.objects.of_read(op.object);
        let result = match op.judge(result, object.bytes) {
            Verdict::Again => {
                op.tries += 1;
                self.counters.repeats += 1;
                return self.queue.push_back(op);
            }
            Verdict::Done => Ok(()),
            Verdict::Failed(why) if matches!(object.route, Route::Cache(_)) => {
                let error = why.of_cache(&op);
                return done.extend(self.answer(op, Err(error), now));
            }
            Verdict::Failed(why) => Err(why.error(object.name, &op)),
        };
        done.extend(self.end(op, result, now));
    }

    /// A try of a read ended: its answer, unless it is tried again or the answer is not due yet.
    pub(crate) fn end(&mut self, op: Op, result: Result<()>, now: Nanos) -> Option<IoDone> {
        if let Err(error) = result {
            let (op, error) = self.try_later(op, error, now)?;
            return self.answer(op, Err(error), now);
        }
        self.counters.reads += 1;
        let bytes = op.buf.bytes().len() as u64;
        self.counters.bytes += bytes;
        let route = &self.objects.of_read(op.object).route;
        if let Some(budget) = route.budget() {
            budget.served(op.failures.count > 0);
        }
        if matches!(route, Route::Registered | Route::Descriptor(_) | Route::Memory(_)) {
            self.counters.gets += 1;
            self.counters.get_bytes += bytes;
        }
        self.answer(op, Ok(()), now)
    }

    /// Holds a read that failed until its next try; gives it and its failure back if there is none.
    pub(crate) fn try_later(&mut self, mut op: Op, why: Error, now: Nanos) -> Option<(Op, Error)> {
        let missing = self.objects.of_read(op.object).route.missing();
        match self.patience.wait_after(why.clone(), &mut op.failures, missing, now) {
            Ok(wait) => {
                self.counters.repeats += 1;
                (op.filled, op.tries) = (0, 0);
                self.hold(op.due.max(now).saturating_add(wait), Late::Again(op, why));
                None
            }
            Err(error) => Some((op, error)),
        }
    }

    /// A read ended: its answer, unless that is not due yet.
    pub(crate) fn answer(&mut self, op: Op, result: Result<()>, now: Nanos) -> Option<IoDone> {
        let entry = self.objects.of_read(op.object);
        let of_store = entry.is_of_store();
        let file = match &entry.route {
            Route::Cache(file) if op.writes => Some(file.clone()),
            _ => None,
        };
        let route = self.objects.release(op.object);
        self.closed.extend(route.map(|route| (op.object, route)));
        let due = op.due;
        let done = answer_of(op, result, file.as_deref(), of_store);
        if due <= now {
            return Some(done);
        }
        self.hold(due, Late::Done(done));
        None
    }

    // The next try of a read is due: it is begun, or waits until its store may be asked again.
    fn again(&mut self, mut op: Op, error: Error, now: Nanos) -> Option<IoDone> {
        let budget = self.objects.of_read(op.object).route.budget();
        let Some(budget) = budget.filter(|budget| !budget.take(now)) else {
            self.begin(op, now);
            return None;
        };
        if !op.held_back {
            op.held_back = true;
            budget.count_held();
        }
        if self.patience.is_over(op.failures, now) {
            return self.answer(op, Err(retry::held_up(&error)), now);
        }
        self.hold(now.saturating_add(RETRY_LOOK_NS), Late::Again(op, error));
        None
    }

    fn hold(&mut self, due: Nanos, what: Late) {
        self.held_count += 1;
        self.held.push(Held { due, count: self.held_count, what });
    }

    /// Moves the answers that are there to `done`; reads whose next try is due go to `queue`.
    pub(crate) fn take_ready(&mut self, now: Nanos, done: &mut Vec<IoDone>) {
        for arrival in self.arrived.take() {
            match arrival {
                Arrival::Target(slot, target) => self.take_target(slot, target),
                Arrival::Read { op, result, asks_again } => {
                    self.away -= 1;
                    let route = &mut self.objects.of_read(op.object).route;
                    if let Route::Remote { wants_target, .. } = route {
                        *wants_target |= asks_again;
                    }
                    let answered = self.end(op, result, now);
                    done.extend(answered);
                }
            }
        }
        while self.held.peek().is_some_and(|held| held.due <= now) {
            match self.held.pop().map(|held| held.what) {
                Some(Late::Done(done)) => self.ready.push(done),
                Some(Late::Again(op, error)) => done.extend(self.again(op, error, now)),
                None => {}
            }
        }
        done.append(&mut self.ready);
    }

    /// When the next answer that is held back, or the next try of a read, is due.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.held.peek().map(|held| held.due)
    }

    /// How long a turn sleeps that may wait so and found nothing.
    pub(crate) fn sleep(&self, now: Nanos, wait: Wait) -> Sleep {
        let Wait::Until { deadline } = wait else { return Sleep::No };
        match deadline.into_iter().chain(self.next_due()).min() {
            None => Sleep::UntilWoken,
            Some(until) if until <= now => Sleep::No,
            Some(until) => Sleep::AtMost(until - now),
        }
    }

    /// A forked child has copies of the reads that its parent's kernel and threads carry out.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.is_of_this_process() {
            return Ok(());
        }
        Err(Error::invalid("a forked child uses a shard of its parent; open the engine after fork"))
    }

    /// False in a forked child.
    pub(crate) fn is_of_this_process(&self) -> bool {
        std::process::id() == self.process
    }
}

// The answer to a read, or to a write to `file`.
fn answer_of(op: Op, result: Result<()>, file: Option<&File>, of_store: bool) -> IoDone {
    let Op { token, buf, writes, .. } = op;
    if !writes {
        return IoDone::Read { token, buf, result, of_store };
    }
    let free_bytes = || file.map_or(Ok(0), sys::free_bytes);
    let failed = |e| Error::io("asking a file system for its free space", &e);
    let result = result.and_then(|()| free_bytes().map_err(failed));
    IoDone::Write { token, buf, result }
}

#[cfg(test)]
#[path = "reads_tests.rs"]
pub(crate) mod tests;
