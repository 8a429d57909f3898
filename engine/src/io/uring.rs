//! The ring of a shard: reads of open objects in batches, one `enter` for each turn, and a
//! doorbell that other threads ring.
//!
//! Invariants:
//! 1. From the moment its entry is pushed until its completion is reaped, a read's buffer belongs
//!    to the kernel, whatever `enter` returns in between. `ops` owns it for that time.
//! 2. A read that waits (queued, or held for injected latency) is in no kernel queue.
//! 3. `in_kernel` reads plus the doorbell and a cancellation always fit the completion ring.
//! 4. No code of the caller runs while completions are reaped: they become values first.

use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::ThreadId;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use memmap2::MmapRaw;

use crate::io::clock;
use crate::io::doorbell::Doorbell;
use crate::io::objects::{self, Objects, OpenObject, Route, Source};
use crate::io::read_op::{self, Op, Verdict};
use crate::io::values::{IoDone, ObjectSlot};
use crate::io::{retry, ring_open};
use crate::limits::{RING_DRAIN_MS_MAX, RING_READS_MAX, WAIT_READS_MAX, WAIT_SHARE};
use crate::mem::pool::Buf;
use crate::mem::slab::{Slab, Token};
use crate::types::{Error, Nanos, Result};

/// Who drives the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingMode {
    /// The thread that opened it and no other.
    Owned,
    /// One thread at a time, not always the same.
    Inline,
}

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
}

/// What a ring did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Reads that ended well.
    pub reads: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Entries into the kernel.
    pub enters: u64,
    /// Reads submitted once more, after a short read, a refusal of the moment or a failure.
    pub repeats: u64,
}

/// The ring driver of one shard. It may move between threads, but in `RingMode::Owned` only the
/// thread that opened it may call it. It never blocks except in a turn that waits and, for a
/// bounded time, when it is dropped with reads in flight.
pub struct Uring {
    ring: IoUring,
    mode: RingMode,
    thread: ThreadId,
    process: u32,
    registered_max: u32,
    read_memory: Option<Arc<MmapRaw>>,
    objects: Objects,
    ops: Slab<Op>,
    queue: VecDeque<Token>,
    in_kernel: usize,
    ready: Vec<IoDone>,
    held: BinaryHeap<Held>,
    held_count: u64,
    doorbell: Doorbell,
    doorbell_armed: bool,
    host_polls: bool,
    completions: Vec<(u64, i32)>,
    counters: RingCounters,
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
    /// A read that failed, for its next try.
    Again(Op),
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

// Numbers of completions that are no reads. Those are slab tokens, whose index is far smaller
// than 2^32 - 2.
const DOORBELL: u64 = u64::MAX;
const CANCEL: u64 = u64::MAX - 1;

impl Uring {
    /// Opens a ring, for `RingMode::Owned` on the thread that will use it.
    ///
    /// # Errors
    /// `Unsupported` where the kernel or container forbids it, at once, with cause and remedy.
    pub fn open(mode: RingMode) -> Result<Self> {
        let doorbell = Doorbell::new()?;
        let ring = ring_open::open(mode)?;
        // Without the table of registered files reads go through descriptors: slower, not wrong.
        let registered_max = ring_open::register_files(&ring);
        if mode == RingMode::Inline {
            // A host that polls the doorbell's number must wake for a finished read as well. The
            // kernel signals it only while `wait_on_number` asks for that.
            ring.submitter()
                .register_eventfd(doorbell.number())
                .map_err(|e| Error::io("registering the doorbell with io_uring", &e))?;
        }
        let mut this = Self {
            ring,
            mode,
            thread: std::thread::current().id(),
            process: std::process::id(),
            registered_max,
            read_memory: None,
            objects: Objects::default(),
            ops: Slab::default(),
            queue: VecDeque::new(),
            in_kernel: 0,
            ready: Vec::new(),
            held: BinaryHeap::new(),
            held_count: 0,
            doorbell,
            doorbell_armed: false,
            host_polls: false,
            completions: Vec::new(),
            counters: RingCounters::default(),
        };
        this.ring.completion().disable_eventfd();
        Ok(this)
    }

    /// Lets the kernel keep `memory` at hand, so that reads into it need not look its pages up
    /// (measured: a tenth of the kernel's share of a read). Where locked memory is too short for
    /// that, such reads are like all others.
    pub fn register_memory(&mut self, memory: Arc<MmapRaw>) {
        if ring_open::register_memory(&self.ring, &memory) {
            self.read_memory = Some(memory);
        }
    }

    /// The doorbell of this ring's shard, for other threads.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// What the ring did so far.
    #[must_use]
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    /// Reads that were submitted and not yet answered.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.ops.len() + self.ready.len() + self.held.len()
    }

    /// Takes an object over; it is read under the number that comes back.
    ///
    /// # Panics
    /// If 2^20 objects are open.
    pub fn open_object(&mut self, object: OpenObject) -> ObjectSlot {
        let OpenObject { name, source, faults } = object;
        let (route, bytes) = match source {
            Source::Memory(bytes) => {
                let count = bytes.len() as u64;
                (Route::Memory(bytes), count)
            }
            Source::File { file, bytes } => {
                let index = self.objects.next_index();
                let registrar = self.ring.submitter();
                let registered = index < self.registered_max
                    && registrar.register_files_update(index, &[file.as_raw_fd()]).is_ok();
                // A registered file stays open in the kernel's table without its descriptor.
                (if registered { Route::Registered } else { Route::Descriptor(file) }, bytes)
            }
        };
        self.objects.insert(name, route, bytes, faults)
    }

    /// Closes an object; from here on its number names nothing. Reads of it that are still
    /// pending end as if it were open.
    pub fn close_object(&mut self, slot: ObjectSlot) {
        let route = self.objects.close(slot);
        self.close_route(slot, route);
    }

    fn close_route(&mut self, slot: ObjectSlot, route: Option<Route>) {
        if let Some(Route::Registered) = route {
            let emptied = self.ring.submitter().register_files_update(objects::index(slot), &[-1]);
            // The kernel refuses only indices beyond its table. A slot that kept its file would
            // be overwritten by the next object of this index.
            debug_assert!(emptied.is_ok(), "a registered file must be in the table: {emptied:?}");
        }
    }

    /// Takes a read over; the next turn gives it to the kernel, behind the reads before it. It is
    /// answered by exactly one `IoDone::Read`, in any order; with a failure that may pass when
    /// `IO_FAILURES_MAX` tries met it.
    pub fn submit(&mut self, read: Read, now: Nanos) {
        let Read { token, object, offset, buf } = read;
        let entry = match self.objects.get_mut(object) {
            Ok(entry) => entry,
            Err(error) => return self.ready.push(IoDone::Read { token, buf, result: Err(error) }),
        };
        entry.reads += 1;
        let registered = self.read_memory.as_ref().is_some_and(|memory| buf.is_of(memory));
        let (filled, tries, failures, due) = (0, 0, 0, 0);
        let op = Op { token, object, offset, filled, tries, failures, due, buf, registered };
        self.begin(op, now);
    }

    fn begin(&mut self, mut op: Op, now: Nanos) {
        let entry = self.objects.of_read(op.object);
        let mut fate = Ok(());
        if let Some(faults) = &entry.faults {
            op.due = now.saturating_add(faults.latency());
            fate = faults.draw("read");
        }
        let ended = match &entry.route {
            _ if fate.is_err() => fate,
            Route::Memory(bytes) => read_op::copy(entry.name, bytes, op.offset, op.buf.bytes_mut()),
            Route::Registered | Route::Descriptor(_) => {
                return self.queue.push_back(self.ops.insert(op));
            }
        };
        let done = self.end(op, ended, now);
        self.ready.extend(done);
    }

    /// A try of a read ended: its answer, unless it is tried again or the answer is not due yet.
    fn end(&mut self, mut op: Op, result: Result<()>, now: Nanos) -> Option<IoDone> {
        let result = match result {
            Err(error) => {
                op.failures += 1;
                match retry::wait_after(error, op.failures) {
                    Ok(wait) => {
                        self.counters.repeats += 1;
                        (op.filled, op.tries) = (0, 0);
                        self.hold(op.due.max(now).saturating_add(wait), Late::Again(op));
                        return None;
                    }
                    Err(error) => Err(error),
                }
            }
            Ok(()) => {
                self.counters.reads += 1;
                self.counters.bytes += op.buf.bytes().len() as u64;
                Ok(())
            }
        };
        if let Some(route) = self.objects.release(op.object) {
            self.close_route(op.object, Some(route));
        }
        let done = IoDone::Read { token: op.token, buf: op.buf, result };
        if op.due <= now {
            return Some(done);
        }
        self.hold(op.due, Late::Done(done));
        None
    }

    /// Submits what was taken over, reaps what ended into `done`, and parks if `wait` says so and
    /// nothing was there. Returns after any event, also with nothing in `done`: the caller looks
    /// at its own rings and turns again.
    ///
    /// # Errors
    /// `Invalid` in a forked child or on the wrong thread; `Io` if the ring itself broke. Neither
    /// ends a read.
    pub fn turn(&mut self, now: Nanos, wait: Wait, done: &mut Vec<IoDone>) -> Result<()> {
        self.check_caller()?;
        let before = done.len();
        let mut rung = self.doorbell.take_rung();
        if self.host_polls {
            rung |= self.doorbell.wake();
            self.host_polls = false;
            self.ring.completion().disable_eventfd();
        }
        self.take_held(now);
        done.append(&mut self.ready);
        self.push_queued()?;
        let park_ns = match wait {
            Wait::Until { deadline } if !rung && done.len() == before => {
                let held = self.held.peek().map(|held| held.due);
                let until = deadline.into_iter().chain(held).min();
                Some(until.map(|until| until.saturating_sub(now)))
            }
            _ => None,
        };
        match park_ns {
            Some(Some(0)) | None => self.enter_if_needed()?,
            Some(timeout) => self.park(timeout)?,
        }
        self.reap(now, done);
        Ok(())
    }

    /// For a host that will poll the doorbell's number instead of turning (`RingMode::Inline`):
    /// from here to the next turn the number becomes readable when the bell rings or a read ends.
    /// False if something is there already: then turn first. Held latency does not signal the
    /// number: poll no longer than until `next_due`.
    ///
    /// # Errors
    /// As `turn`.
    pub fn wait_on_number(&mut self) -> Result<bool> {
        self.check_caller()?;
        self.push_queued()?;
        self.enter_if_needed()?;
        // The kernel may have taken nothing at the moment; what it does not have will not signal.
        let unsubmitted = !self.ring.submission().is_empty();
        if unsubmitted || !self.ready.is_empty() || !self.doorbell.try_sleep() {
            return Ok(false);
        }
        self.host_polls = true;
        self.ring.completion().enable_eventfd();
        // Pairs with the kernel, which posts a completion and then looks at the flag: either it
        // sees the flag or the completion is seen here.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        Ok(self.ring.completion().is_empty())
    }

    /// When the next answer that injected latency holds back, or the next try of a read, is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        self.held.peek().map(|held| held.due)
    }

    /// The kernel lets only its thread use an owned ring, but says so only after the queue was
    /// touched; a forked child shares the queue with its parent and may not touch it at all.
    fn check_caller(&self) -> Result<()> {
        if std::process::id() != self.process {
            return Err(Error::invalid(
                "a forked child uses a shard of its parent; open the engine after fork",
            ));
        }
        if self.mode == RingMode::Owned && std::thread::current().id() != self.thread {
            return Err(Error::invalid(
                "an owned shard was called from another thread than the one that opened it; use \
                 an inline shard there",
            ));
        }
        Ok(())
    }

    fn hold(&mut self, due: Nanos, what: Late) {
        self.held_count += 1;
        self.held.push(Held { due, count: self.held_count, what });
    }

    fn take_held(&mut self, now: Nanos) {
        while self.held.peek().is_some_and(|held| held.due <= now) {
            match self.held.pop().map(|held| held.what) {
                Some(Late::Done(done)) => self.ready.push(done),
                Some(Late::Again(op)) => self.begin(op, now),
                None => {}
            }
        }
    }

    /// Moves queued reads, and the doorbell if it must be armed, into the submission ring; enters
    /// the kernel only where that ring is full.
    fn push_queued(&mut self) -> Result<()> {
        while !self.push_until_full() {
            let pushed_before = self.in_kernel;
            self.enter(|ring| ring.submit())?;
            if self.ring.submission().is_full() {
                // The kernel takes nothing at the moment. What was pushed is live; the rest waits.
                debug_assert_eq!(pushed_before, self.in_kernel);
                break;
            }
        }
        Ok(())
    }

    /// False if the submission ring filled up before all was pushed.
    fn push_until_full(&mut self) -> bool {
        let mut sq = self.ring.submission();
        if !self.doorbell_armed {
            // A poll, not a read: a host that polls the same number must see it readable until
            // the driver has looked.
            let poll = opcode::PollAdd::new(Fd(self.doorbell.number()), libc::POLLIN as u32);
            // SAFETY: a poll names no memory, and the descriptor lives as long as the ring.
            if unsafe { sq.push(&poll.build().user_data(DOORBELL)) }.is_err() {
                return false;
            }
            self.doorbell_armed = true;
        }
        while self.in_kernel < RING_READS_MAX {
            let Some(&token) = self.queue.front() else { return true };
            let op = self.ops.get_mut(token).expect("a queued read is in the slab");
            let entry = self.objects.of_read(op.object);
            let sqe = op.entry(&entry.route).user_data(token.0);
            // SAFETY: the entry points into the buffer of `op`, which is whole pages mapped for
            // it alone and stays in `ops` until the completion is reaped (invariant 1); dropping
            // the ring leaks it otherwise. The descriptor or registered file stays open as long
            // as its entry counts reads.
            if unsafe { sq.push(&sqe) }.is_err() {
                return false;
            }
            self.queue.pop_front();
            self.in_kernel += 1;
        }
        true
    }

    /// Submits, and lets the kernel post what ended. No system call where neither is due.
    fn enter_if_needed(&mut self) -> Result<()> {
        let sq = self.ring.submission();
        if sq.is_empty() && !sq.taskrun() && !sq.cq_overflow() {
            return Ok(());
        }
        drop(sq);
        self.enter(|ring| ring.submit())
    }

    /// Submits and sleeps until a completion is there, the doorbell's included.
    fn park(&mut self, timeout: Option<Nanos>) -> Result<()> {
        if !self.doorbell.try_sleep() {
            return self.enter_if_needed();
        }
        // A share of what is in flight, so that one entry serves several reads; requests from
        // other threads come by the doorbell, which must not wait for reads.
        let want = match self.mode {
            RingMode::Inline => (self.in_kernel / WAIT_SHARE).clamp(1, WAIT_READS_MAX),
            RingMode::Owned => 1,
        };
        let entered = self.enter(|ring| wait_for(ring, want, timeout));
        self.doorbell.wake();
        entered
    }

    /// Whatever the kernel answers, what was pushed is live: only its completion tells its fate.
    fn enter(&mut self, call: impl FnOnce(&IoUring) -> io::Result<usize>) -> Result<()> {
        self.counters.enters += 1;
        match call(&self.ring) {
            Ok(_) => Ok(()),
            Err(e) => match e.raw_os_error() {
                // A timeout, a signal, a full completion ring, memory short for the moment: the
                // next turn goes on.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {
                    Ok(())
                }
                _ => Err(Error::io("io_uring_enter", &e)),
            },
        }
    }

    fn reap(&mut self, now: Nanos, done: &mut Vec<IoDone>) {
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result())));
        for (number, result) in completions.drain(..) {
            match number {
                DOORBELL => {
                    // Any result, also of a poll whose submitting thread exited, means: look, and
                    // arm it again.
                    self.doorbell_armed = false;
                    self.doorbell.drain();
                }
                CANCEL => {}
                _ => self.complete(Token(number), result, now, done),
            }
        }
        self.completions = completions;
    }

    fn complete(&mut self, token: Token, result: i32, now: Nanos, done: &mut Vec<IoDone>) {
        self.in_kernel -= 1;
        let op = self.ops.get_mut(token).expect("a completion names a read in flight");
        let object = self.objects.of_read(op.object);
        let verdict = op.judge(result, object.bytes);
        if let Verdict::Again = verdict {
            op.tries += 1;
            self.counters.repeats += 1;
            return self.queue.push_back(token);
        }
        let op = self.ops.remove(token).expect("it is there");
        let result = match verdict {
            Verdict::Done | Verdict::Again => Ok(()),
            Verdict::Failed(why) => Err(why.error(object.name, &op)),
        };
        done.extend(self.end(op, result, now));
    }

    /// Waits until the kernel holds no buffer any more. False if it still may.
    fn drain(&mut self) -> bool {
        if self.in_kernel == 0 || std::process::id() != self.process {
            // A forked child has copies of the buffers; the kernel writes into its parent's.
            return true;
        }
        if self.check_caller().is_err() {
            return false;
        }
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(CANCEL);
        // SAFETY: a cancellation names no memory. A full ring only means that the reads end by
        // themselves.
        let _full = unsafe { self.ring.submission().push(&cancel) };
        let deadline = clock::now() + RING_DRAIN_MS_MAX * 1_000_000;
        loop {
            for cqe in self.ring.completion() {
                self.in_kernel -= usize::from(cqe.user_data() < CANCEL);
            }
            let now = clock::now();
            if self.in_kernel == 0 || now >= deadline {
                return self.in_kernel == 0;
            }
            if self.enter(|ring| wait_for(ring, 1, Some(deadline - now))).is_err() {
                return false;
            }
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if !self.drain() {
            // Memory that the kernel may still write is never given back.
            std::mem::forget(std::mem::take(&mut self.ops));
        }
    }
}

/// Submits and waits for one completion, for `timeout` nanoseconds at most.
fn wait_for(ring: &IoUring, want: usize, timeout: Option<Nanos>) -> io::Result<usize> {
    let Some(ns) = timeout else { return ring.submit_and_wait(want) };
    let second = 1_000_000_000;
    let span =
        Timespec::new().sec(ns / second).nsec(u32::try_from(ns % second).expect("below 2^30"));
    ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&span))
}

#[cfg(test)]
#[path = "uring_tests.rs"]
mod tests;
