//! A session: how one host thread talks to one shard. The host fills a batch, submits it, polls
//! completions. Used by one thread at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::io::clock;
use crate::io::doorbell::Doorbell;
use crate::io::reads::Wait;
use crate::limits::{ANSWER_BYTES_MAX, SESSION_IN_FLIGHT_MAX, UNPOLLED_BYTES_MAX};
use crate::shard::driver::Driver;
use crate::shard::owned::Remote;
use crate::shard::statistics::ShardStatistics;
use crate::shard::values::{Control, ControlDone, ControlOp, ControlResult};
use crate::state::request::{Batch, Completions, StoreId};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

/// Where the shard runs.
pub(super) enum Side {
    /// On the host's thread, inside `poll`.
    Inline(Box<Driver>),
    /// On a thread of its own.
    Owned(Remote),
}

/// See the module.
pub struct Session {
    side: Side,
    in_flight: usize,
    in_flight_max: usize,
    completions: Completions,
    controls: VecDeque<ControlDone>,
    next_control: u64,
    // Started and not yet taken by the host.
    controls_in_flight: usize,
    spare: Vec<Box<Batch>>,
    woken: Arc<AtomicBool>,
}

// Of control requests whose end nobody hears; others count from 1.
const UNHEARD: u64 = 0;

/// Ends the waiting of a session's `poll` from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Doorbell,
    woken: Arc<AtomicBool>,
}

impl Waker {
    /// Has the `poll` that runs, or the next one, return without waiting.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// How a session that `arm` prepared sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// It does not: poll now.
    Ready,
    /// Until the doorbell's number is readable, though not longer than this; `None` is as long as
    /// it takes.
    For(Option<Duration>),
}

impl Session {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            in_flight: 0,
            in_flight_max: SESSION_IN_FLIGHT_MAX,
            completions: Completions::default(),
            controls: VecDeque::new(),
            next_control: 0,
            controls_in_flight: 0,
            spare: Vec::new(),
            woken: Arc::default(),
        }
    }

    /// True if the shard runs inside `poll`.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        matches!(self.side, Side::Inline(_))
    }

    /// Requests submitted and not yet completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes requests from the front of `batch`, as many as may be in flight, and returns how many
    /// that were; the others stay in the batch. Never blocks. A batch whose requests were all
    /// taken is empty and may be filled again.
    ///
    /// # Errors
    /// `Closed` if the shard is gone.
    pub fn submit(&mut self, batch: &mut Batch) -> Result<usize> {
        let room = self.in_flight_max.saturating_sub(self.in_flight);
        let accepted = room.min(batch.requests.len());
        if accepted == 0 {
            return Ok(0);
        }
        let mut taken = self.spare.pop().unwrap_or_default();
        if accepted == batch.requests.len() {
            std::mem::swap(&mut *taken, batch);
        } else {
            taken.requests.extend(batch.requests.drain(..accepted));
            taken.bytes.extend_from_slice(&batch.bytes);
        }
        self.in_flight += accepted;
        match &mut self.side {
            Side::Inline(driver) => driver.inbox.batches.push((0, taken)),
            Side::Owned(remote) => remote.send(taken)?,
        }
        Ok(accepted)
    }

    /// Puts the requests that completed since the last call into `into` (what it held is dropped),
    /// and returns how many. While requests or control requests are in flight it waits for one to
    /// end, though not longer than `patience`; `None` is as long as it takes.
    ///
    /// # Errors
    /// The shard's driver broke: nothing in flight completes any more.
    pub fn poll(&mut self, patience: Option<Duration>, into: &mut Completions) -> Result<usize> {
        into.clear();
        let arrived = !self.completions.items.is_empty() || !self.controls.is_empty();
        if self.completions.items.is_empty() {
            // The host's memory is filled next.
            std::mem::swap(into, &mut self.completions);
        }
        let asked = self.in_flight > 0 || self.controls_in_flight > self.controls.len();
        // The bell of a wake may have been heard by a call that goes on waiting.
        let woken = self.woken.load(Ordering::Acquire);
        let waits = asked && !arrived && !woken && patience != Some(Duration::ZERO);
        let known = self.controls.len();
        let deadline = patience
            .filter(|_| waits)
            .map(|patience| clock::now().saturating_add(patience.as_nanos() as Nanos));
        loop {
            self.turn(if waits { Wait::Until { deadline } } else { Wait::No }, ANSWER_BYTES_MAX)?;
            let late = deadline.is_some_and(|deadline| clock::now() >= deadline);
            let ended = !self.completions.items.is_empty() || self.controls.len() > known;
            if ended || !waits || late || self.woken.load(Ordering::Acquire) {
                break;
            }
        }
        self.woken.store(false, Ordering::Release);
        std::mem::swap(into, &mut self.completions);
        self.in_flight -= into.items.len();
        Ok(into.items.len())
    }

    /// For a host with an event loop: from here to the next `poll` the number of `doorbell` becomes
    /// readable when there is something to poll for. Call it after a `poll`, before the loop
    /// sleeps.
    ///
    /// # Errors
    /// As `poll`.
    pub fn arm(&mut self) -> Result<Armed> {
        let ready = self.woken.load(Ordering::Acquire)
            || !self.completions.items.is_empty()
            || !self.controls.is_empty();
        let sleep = match &mut self.side {
            _ if ready => None,
            Side::Inline(driver) => driver.arm()?,
            Side::Owned(remote) => remote.arm()?.then_some(Nanos::MAX),
        };
        Ok(match sleep {
            None => Armed::Ready,
            Some(Nanos::MAX) => Armed::For(None),
            Some(ns) => Armed::For(Some(Duration::from_nanos(ns))),
        })
    }

    /// The eventfd that `arm` prepares, valid as long as the session. It is only to be polled:
    /// `poll` reads it.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        match &self.side {
            Side::Inline(driver) => driver.doorbell(),
            Side::Owned(remote) => remote.bell().clone(),
        }
    }

    /// Ends the waiting of this session from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { bell: self.doorbell(), woken: Arc::clone(&self.woken) }
    }

    // One turn of an inline shard, or one look at a remote one, which takes no more answers once
    // there are so many bytes of them.
    fn turn(&mut self, wait: Wait, bytes_max: usize) -> Result<()> {
        let untaken = self.completions.bytes.len();
        match &mut self.side {
            Side::Inline(driver) => {
                driver.inbox.untaken.clear();
                driver.inbox.untaken.push(if untaken < bytes_max { 0 } else { untaken });
                driver.turn(wait)?;
                for (_, mut batch) in driver.inbox.batches.drain(..) {
                    batch.clear();
                    self.spare.push(batch);
                }
                if let Some(done) = driver.outbox.completions.first_mut() {
                    self.completions.append(done);
                }
                self.controls.extend(driver.outbox.controls.drain(..));
            }
            Side::Owned(remote) => {
                let Self { completions, controls, spare, .. } = self;
                remote.receive(wait, bytes_max, completions, controls, spare)?;
            }
        }
        self.controls.retain(|done| done.user_data != UNHEARD);
        Ok(())
    }

    /// Starts a control request; its end comes from `finished_control`.
    ///
    /// # Errors
    /// `Closed` if the shard is gone.
    pub fn start_control(&mut self, op: ControlOp) -> Result<u64> {
        self.next_control += 1;
        self.controls_in_flight += 1;
        self.send_control(self.next_control, op)
    }

    /// Starts a control request whose end nobody hears: no `poll` waits for it or ends with it.
    ///
    /// # Errors
    /// `Closed` if the shard is gone.
    pub fn start_unheard(&mut self, op: ControlOp) -> Result<()> {
        self.send_control(UNHEARD, op).map(drop)
    }

    fn send_control(&mut self, user_data: u64, op: ControlOp) -> Result<u64> {
        match &mut self.side {
            Side::Inline(driver) => {
                let after = driver.inbox.batches.len();
                driver.inbox.controls.push(Control { session: 0, user_data, after, op });
            }
            Side::Owned(remote) => remote.send_control(user_data, op)?,
        }
        Ok(user_data)
    }

    /// The end of a control request that `poll` brought.
    pub fn finished_control(&mut self) -> Option<ControlDone> {
        let done = self.controls.pop_front()?;
        self.controls_in_flight -= 1;
        Some(done)
    }

    /// Runs a control request to its end, behind what was submitted; what ends meanwhile is there
    /// for the next poll.
    ///
    /// # Errors
    /// What the request met.
    pub fn run_control(&mut self, op: ControlOp) -> Result<ControlResult> {
        let user_data = self.start_control(op)?;
        loop {
            if let Some(at) = self.controls.iter().position(|c| c.user_data == user_data) {
                self.controls_in_flight -= 1;
                return self.controls.remove(at).expect("just found").result;
            }
            if self.completions.bytes.len() >= UNPOLLED_BYTES_MAX {
                let what = "more answers than fit wait to be polled; poll before a call that waits";
                return Err(Error::new(ErrorKind::NoMemory, what));
            }
            // What is ordered before the request must end, whether its answers were taken or not.
            self.turn(Wait::Until { deadline: None }, UNPOLLED_BYTES_MAX)?;
        }
    }

    /// Cuts a checkpoint and waits for its handle.
    ///
    /// # Errors
    /// As `run_control`.
    pub fn checkpoint(&mut self, store: StoreId) -> Result<Vec<u8>> {
        match self.run_control(ControlOp::Checkpoint(store))? {
            ControlResult::Handle(handle) => Ok(handle),
            other => Err(unexpected(&other)),
        }
    }

    /// What its shard did and holds as of now.
    ///
    /// # Errors
    /// `Closed` if the shard is gone.
    pub fn statistics(&self) -> Result<ShardStatistics> {
        let slot = match &self.side {
            Side::Inline(driver) => {
                while !driver.publish(clock::now()) {
                    std::thread::yield_now();
                }
                driver.slot()
            }
            Side::Owned(remote) => {
                remote.publish()?;
                remote.slot()
            }
        };
        Ok(slot.read(clock::now()))
    }
}

pub(super) fn unexpected(result: &ControlResult) -> Error {
    Error::new(ErrorKind::Poisoned, format!("the shard answered something else: {result:?}"))
}
