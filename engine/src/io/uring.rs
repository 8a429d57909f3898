//! The ring of a shard: reads of open objects in batches, one `enter` for each turn, and a
//! doorbell that other threads ring.
//!
//! Invariants:
//! 1. From the moment its entry is pushed until its completion is reaped, a read's buffer belongs
//!    to the kernel, whatever `enter` returns in between. `ops` owns it for that time.
//! 2. A read that waits in `reads` is in no kernel queue.
//! 3. The reads in `ops`, the connections, the doorbell and cancellations fit the completion ring.
//! 4. No code of the caller runs while completions are reaped: they become values first.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::ThreadId;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use memmap2::MmapRaw;

use crate::io::clock;
use crate::io::doorbell::Doorbell;
use crate::io::http::HttpCounters;
use crate::io::http::ring::HttpRing;
use crate::io::objects::{self, OpenObject, Route, Source};
use crate::io::read_op::Op;
use crate::io::reads::{Read, ReadCounters, Reads, Sleep, Wait};
use crate::io::ring_open::{self, RingMode};
use crate::io::values::{IoDone, ObjectSlot};
use crate::limits::{RING_DRAIN_MS_MAX, RING_READS_MAX, WAIT_READS_MAX, WAIT_SHARE};
use crate::mem::slab::{Slab, Token};
use crate::types::{Error, Nanos, Result};

/// The ring driver of one shard. It may move between threads, but in `RingMode::Owned` only the
/// thread that opened it may call it. It never blocks except in a turn that waits and, for a
/// bounded time, when it is dropped with reads in flight.
pub struct Uring {
    ring: IoUring,
    mode: RingMode,
    thread: ThreadId,
    registered_max: u32,
    read_memory: Option<Arc<MmapRaw>>,
    pub(super) reads: Reads,
    // In the kernel.
    ops: Slab<Op>,
    http: HttpRing,
    doorbell: Doorbell,
    doorbell_armed: bool,
    host_polls: bool,
    completions: Vec<(u64, i32)>,
}

// Numbers of completions that are neither reads' nor connections'. Those are slab tokens, whose
// index is far smaller than 2^32 - 2.
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
            registered_max,
            read_memory: None,
            reads: Reads::new(doorbell.clone()),
            ops: Slab::default(),
            http: HttpRing::default(),
            doorbell,
            doorbell_armed: false,
            host_polls: false,
            completions: Vec::new(),
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

    /// Sends GETs that take longer than nearly all others once more from now on.
    pub fn set_hedge(&mut self) {
        self.http.set_hedge();
    }

    /// The doorbell of this ring's shard, for other threads.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// What the ring did so far.
    #[must_use]
    pub fn counters(&self) -> ReadCounters {
        let fallbacks = self.reads.counters.http.fallbacks;
        let http = HttpCounters { fallbacks, ..self.http.counters() };
        ReadCounters { http, ..self.reads.counters }
    }

    /// Reads that were submitted and not yet answered.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.ops.len() + self.http.pending() + self.reads.waiting()
    }

    /// Operations of connections in the kernel.
    #[cfg(test)]
    pub(crate) fn http_in_kernel(&self) -> usize {
        self.http.in_kernel()
    }

    /// Takes an object over; it is read under the number that comes back.
    ///
    /// # Panics
    /// If 2^20 objects are open.
    pub fn open_object(&mut self, object: OpenObject) -> ObjectSlot {
        self.close_routes();
        let (route, bytes) = match &object.source {
            Source::Memory(bytes) => (Route::Memory(bytes.clone()), bytes.len() as u64),
            Source::Remote { remote, bytes } => {
                (Route::Remote { remote: remote.clone(), wants_target: true }, *bytes)
            }
            Source::Http { target, bytes } => (Route::Http(target.clone(), None), *bytes),
            Source::Cache { file, bytes } => (Route::Cache(file.clone()), *bytes),
            Source::File { file, bytes } => {
                let index = self.reads.objects.next_index();
                let registrar = self.ring.submitter();
                let registered = index < self.registered_max
                    && registrar.register_files_update(index, &[file.as_raw_fd()]).is_ok();
                // A registered file stays open in the kernel's table without its descriptor.
                let descriptor = || Route::Descriptor(file.clone());
                (if registered { Route::Registered } else { descriptor() }, *bytes)
            }
        };
        self.reads.open(object, route, bytes)
    }

    /// Closes an object; from here on its number names nothing. Reads of it that are still
    /// pending end as if it were open.
    pub fn close_object(&mut self, slot: ObjectSlot) {
        self.reads.close(slot);
        self.close_routes();
    }

    fn close_routes(&mut self) {
        for (slot, route) in self.reads.closed.drain(..) {
            if let Route::Registered = route {
                let index = objects::index(slot);
                let emptied = self.ring.submitter().register_files_update(index, &[-1]);
                // The kernel refuses only indices beyond its table. A slot that kept its file
                // would be overwritten by the next object of this index.
                debug_assert!(emptied.is_ok(), "a registered file is in the table: {emptied:?}");
            }
        }
    }

    /// Takes a read over; the next turn gives it to the kernel, behind the reads before it. It is
    /// answered by exactly one `IoDone::Read`, in any order; with a failure that may pass when
    /// its tries for ten seconds met it.
    pub fn submit(&mut self, read: Read, now: Nanos) {
        self.reads.submit(read, now);
    }

    /// Takes a write over: all of its buffer, to the file of a cache. It is answered by exactly
    /// one `IoDone::Write`.
    pub fn submit_write(&mut self, write: Read, now: Nanos) {
        self.reads.submit_write(write, now);
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
        self.close_routes();
        self.http.tick(now);
        self.reads.take_ready(now, done);
        self.push_queued()?;
        self.end_gets(now, done);
        let idle = !rung && done.len() == before;
        let wait = self.http.next_due().map_or(wait, |due| wait.at_most_until(due));
        match self.reads.sleep(now, if idle { wait } else { Wait::No }) {
            Sleep::No => self.enter_if_needed()?,
            Sleep::AtMost(timeout) => self.park(Some(timeout))?,
            Sleep::UntilWoken => self.park(None)?,
        }
        self.reap(now, done);
        Ok(())
    }

    fn end_gets(&mut self, now: Nanos, done: &mut Vec<IoDone>) {
        for ended in self.http.take_ended() {
            self.reads.complete_get(ended, now, done);
        }
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
        let is_ready = self.reads.is_ready() || self.http.is_ready();
        if unsubmitted || is_ready || !self.doorbell.try_sleep() {
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
        self.reads.next_due().into_iter().chain(self.http.next_due()).min()
    }

    /// The kernel lets only its thread use an owned ring, but says so only after the queue was
    /// touched; a forked child shares the queue with its parent and may not touch it at all.
    fn check_caller(&self) -> Result<()> {
        self.reads.check_process()?;
        if self.mode == RingMode::Owned && std::thread::current().id() != self.thread {
            return Err(Error::invalid(
                "an owned shard was called from another thread than the one that opened it; use \
                 an inline shard there",
            ));
        }
        Ok(())
    }

    /// Moves queued reads, and the doorbell if it must be armed, into the submission ring; enters
    /// the kernel only where that ring is full.
    fn push_queued(&mut self) -> Result<()> {
        while let Some(op) = self.reads.gets.pop_front() {
            let Route::Http(target, _) = &self.reads.objects.of_read(op.object).route else {
                unreachable!("a GET has a target")
            };
            self.http.submit(op, target);
        }
        while !self.push_until_full() {
            let pushed_before = self.ops.len();
            self.enter(|ring| ring.submit())?;
            if self.ring.submission().is_full() {
                // The kernel takes nothing at the moment. What was pushed is live; the rest waits.
                debug_assert_eq!(pushed_before, self.ops.len());
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
        while self.ops.len() < RING_READS_MAX && !self.reads.queue.is_empty() {
            if sq.is_full() {
                return false;
            }
            let Some(op) = self.reads.queue.pop_front() else { break };
            let registered = self.read_memory.as_ref().is_some_and(|memory| op.buf.is_of(memory));
            let object = op.object;
            let token = self.ops.insert(op);
            let op = self.ops.get_mut(token).expect("just inserted");
            let route = &self.reads.objects.of_read(object).route;
            let sqe = op.entry(route, registered).user_data(token.0);
            // SAFETY: the entry points into the buffer of `op`, which is whole pages mapped for
            // it alone and stays in `ops` until the completion is reaped (invariant 1); dropping
            // the ring leaks it otherwise. The descriptor or registered file stays open as long
            // as its entry counts reads.
            let pushed = unsafe { sq.push(&sqe) };
            debug_assert!(pushed.is_ok(), "there was room");
        }
        self.http.push(&mut sq, CANCEL)
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
            RingMode::Inline => {
                let in_kernel = self.ops.len() + self.http.in_kernel();
                (in_kernel / WAIT_SHARE).clamp(1, WAIT_READS_MAX)
            }
            RingMode::Owned => 1,
        };
        let entered = self.enter(|ring| wait_for(ring, want, timeout));
        self.doorbell.wake();
        entered
    }

    /// Whatever the kernel answers, what was pushed is live: only its completion tells its fate.
    fn enter(&mut self, call: impl FnOnce(&IoUring) -> io::Result<usize>) -> Result<()> {
        self.reads.counters.enters += 1;
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
                _ if HttpRing::is_number(number) => self.http.complete(number, result),
                _ => {
                    let op = self.ops.remove(Token(number));
                    let op = op.expect("a completion names a read in flight");
                    self.reads.complete(op, result, now, done);
                }
            }
        }
        self.completions = completions;
        self.end_gets(now, done);
    }

    /// Waits until the kernel holds no buffer any more. False if it still may.
    fn drain(&mut self) -> bool {
        let is_empty = |this: &Self| this.ops.is_empty() && this.http.in_kernel() == 0;
        if is_empty(self) || !self.reads.is_of_this_process() {
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
                match cqe.user_data() {
                    DOORBELL | CANCEL => {}
                    number if HttpRing::is_number(number) => {
                        self.http.let_go(number);
                    }
                    number => self.ops.free(Token(number)),
                }
            }
            let now = clock::now();
            if is_empty(self) || now >= deadline {
                return is_empty(self);
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
            std::mem::forget(std::mem::take(&mut self.http));
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
