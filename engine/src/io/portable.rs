//! The portable driver of a shard: threads that read with `pread`, where io_uring is forbidden.
//!
//! A read's buffer travels by value to the thread that fills it and back, so whatever is dropped
//! meanwhile, nothing writes to memory that somebody else has.

use std::sync::Arc;

use crate::io::doorbell::Doorbell;
use crate::io::http::connections::{EndedGet, Outcome};
use crate::io::http::response::Unusual;
use crate::io::objects::{OpenObject, Route, Source};
use crate::io::read_op::Op;
use crate::io::reads::{Read, ReadCounters, Reads, Sleep, Wait};
use crate::io::sys;
use crate::io::threads::{Ended, Threads, Work};
use crate::io::values::{IoDone, ObjectSlot};
use crate::limits::{READ_THREADS_MAX, WAIT_READS_MAX};
use crate::types::{Error, Nanos, Result};

/// See the module. Used by one thread at a time, not always the same. It blocks in a turn that
/// waits and nowhere else.
pub struct Portable {
    pub(super) reads: Reads,
    // Handed to the threads and not come back.
    away: usize,
    threads: Arc<Threads>,
    ended: Arc<Ended>,
    // Empty, to be exchanged for what ended.
    spare: Vec<(Op, i32)>,
    doorbell: Doorbell,
    host_polls: bool,
}

impl Portable {
    /// Opens a driver.
    ///
    /// # Errors
    /// `Io` if the system has no descriptor or no thread left.
    pub fn open() -> Result<Self> {
        let doorbell = Doorbell::new()?;
        Ok(Self {
            reads: Reads::new(doorbell.clone()),
            away: 0,
            threads: Threads::of_process()?,
            ended: Arc::new(Ended::new(doorbell.clone())),
            spare: Vec::new(),
            doorbell,
            host_polls: false,
        })
    }

    /// The doorbell of this driver's shard, for other threads.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// What the driver did so far.
    #[must_use]
    pub fn counters(&self) -> ReadCounters {
        self.reads.counters
    }

    /// Reads that were submitted and not yet answered.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.away + self.reads.waiting()
    }

    /// As `Uring::open_object`.
    ///
    /// # Panics
    /// If 2^20 objects are open.
    pub fn open_object(&mut self, object: OpenObject) -> ObjectSlot {
        let (route, bytes) = match &object.source {
            Source::Memory(bytes) => (Route::Memory(bytes.clone()), bytes.len() as u64),
            Source::Remote { remote, bytes } => {
                (Route::Remote { remote: remote.clone(), wants_target: false }, *bytes)
            }
            Source::File { file, bytes } => (Route::Descriptor(file.clone()), *bytes),
            Source::Http { target, bytes } => (Route::Http(target.clone(), None), *bytes),
            Source::Cache { file, bytes } => (Route::Cache(file.clone()), *bytes),
        };
        self.reads.open(object, route, bytes)
    }

    /// As `Uring::close_object`.
    pub fn close_object(&mut self, slot: ObjectSlot) {
        self.reads.close(slot);
        self.reads.closed.clear();
    }

    /// As `Uring::submit`; the next turn gives it to the threads.
    pub fn submit(&mut self, read: Read, now: Nanos) {
        self.reads.submit(read, now);
    }

    /// As `Uring::submit_write`.
    pub fn submit_write(&mut self, write: Read, now: Nanos) {
        self.reads.submit_write(write, now);
    }

    /// As `Uring::turn`.
    ///
    /// # Errors
    /// `Invalid` in a forked child; `Io` if the system cannot wait.
    pub fn turn(&mut self, now: Nanos, wait: Wait, done: &mut Vec<IoDone>) -> Result<()> {
        self.reads.check_process()?;
        let before = done.len();
        let polled = std::mem::take(&mut self.host_polls);
        let rung = if polled { self.awake() } else { self.doorbell.take_rung() };
        self.reads.take_ready(now, done);
        self.hand_over();
        while let Some(op) = self.reads.gets.pop_front() {
            let outcome = Outcome::Unusual(Unusual::NoRing);
            self.reads.complete_get(EndedGet { op, outcome }, now, done);
        }
        // Each end counts while the threads are not all busy.
        let share = (self.away / READ_THREADS_MAX).clamp(1, WAIT_READS_MAX);
        let wanted = if wait == Wait::No { usize::MAX } else { share };
        self.reap(now, wanted, done);
        let idle = !rung && done.len() == before && self.reads.queue.is_empty();
        let sleep = self.reads.sleep(now, if idle { wait } else { Wait::No });
        if sleep == Sleep::No || !self.doorbell.try_sleep() {
            return Ok(());
        }
        self.reads.counters.enters += 1;
        let timeout = if let Sleep::AtMost(timeout) = sleep { Some(timeout) } else { None };
        let slept = sys::wait_readable(&self.doorbell, timeout);
        self.awake();
        slept.map_err(|e| Error::io("waiting for the doorbell (ppoll)", &e))?;
        self.reap(now, usize::MAX, done);
        Ok(())
    }

    /// As `Uring::wait_on_number`.
    ///
    /// # Errors
    /// As `turn`.
    pub fn wait_on_number(&mut self) -> Result<bool> {
        self.reads.check_process()?;
        self.hand_over();
        if self.reads.is_ready() || !self.ended.is_empty_so_ring() || !self.doorbell.try_sleep() {
            return Ok(false);
        }
        self.host_polls = true;
        Ok(true)
    }

    /// As `Uring::next_due`.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        self.reads.next_due()
    }

    // After somebody waited for the number: true if the bell rang.
    fn awake(&mut self) -> bool {
        let rung = self.doorbell.wake();
        self.doorbell.drain();
        rung
    }

    fn hand_over(&mut self) {
        self.reads.closed.clear();
        if self.reads.queue.is_empty() {
            return;
        }
        let Reads { queue, objects, .. } = &mut self.reads;
        self.away += queue.len();
        let ended = &self.ended;
        let work = |op: Op| {
            let (Route::Descriptor(file) | Route::Cache(file)) = &objects.of_read(op.object).route
            else {
                unreachable!("only reads of files are queued, and nothing is registered")
            };
            Work { file: file.clone(), op, ended: ended.clone() }
        };
        self.threads.carry_out(queue.drain(..).map(work));
    }

    fn reap(&mut self, now: Nanos, wanted: usize, done: &mut Vec<IoDone>) {
        let mut ended = self.ended.take(std::mem::take(&mut self.spare), wanted);
        self.away -= ended.len();
        for (op, result) in ended.drain(..) {
            self.reads.complete(op, result, now, done);
        }
        self.spare = ended;
    }
}
