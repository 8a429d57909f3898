//! A session: how one host thread talks to one shard. The host fills a batch, submits it, polls
//! completions. Used by one thread at a time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::io::clock;
use crate::io::uring::Wait;
use crate::limits::SESSION_IN_FLIGHT_MAX;
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
        }
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
        std::mem::swap(into, &mut self.completions);
        let asked = self.in_flight > 0 || self.controls_in_flight > self.controls.len();
        let waits = asked && patience != Some(Duration::ZERO);
        let known = self.controls.len();
        let deadline = patience
            .filter(|_| waits)
            .map(|patience| clock::now().saturating_add(patience.as_nanos() as Nanos));
        loop {
            self.turn(if waits { Wait::Until { deadline } } else { Wait::No })?;
            let late = deadline.is_some_and(|deadline| clock::now() >= deadline);
            let ended = !self.completions.items.is_empty() || self.controls.len() > known;
            if ended || !waits || late {
                break;
            }
        }
        std::mem::swap(into, &mut self.completions);
        self.in_flight -= into.items.len();
        Ok(into.items.len())
    }

    // One turn of an inline shard, or one look at a remote one.
    fn turn(&mut self, wait: Wait) -> Result<()> {
        match &mut self.side {
            Side::Inline(driver) => {
                driver.turn(wait)?;
                for (_, mut batch) in driver.inbox.batches.drain(..) {
                    batch.clear();
                    self.spare.push(batch);
                }
                if let Some(done) = driver.outbox.completions.first_mut() {
                    take_completions(&mut self.completions, done);
                }
                self.controls.extend(driver.outbox.controls.drain(..));
            }
            Side::Owned(remote) => {
                remote.receive(wait, &mut self.completions, &mut self.controls, &mut self.spare)?;
            }
        }
        Ok(())
    }

    /// Starts a control request; its end comes from `finished_control`.
    ///
    /// # Errors
    /// `Closed` if the shard is gone.
    pub fn start_control(&mut self, op: ControlOp) -> Result<u64> {
        self.next_control += 1;
        self.controls_in_flight += 1;
        let user_data = self.next_control;
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

    /// Runs a control request to its end. No request of this session may be in flight.
    ///
    /// # Errors
    /// `Invalid` with requests in flight; else what the request met.
    pub fn run_control(&mut self, op: ControlOp) -> Result<ControlResult> {
        if self.in_flight > 0 {
            return Err(Error::invalid(format!(
                "{} requests are in flight; poll them before a blocking call",
                self.in_flight
            )));
        }
        let user_data = self.start_control(op)?;
        loop {
            if let Some(at) = self.controls.iter().position(|c| c.user_data == user_data) {
                self.controls_in_flight -= 1;
                return self.controls.remove(at).expect("just found").result;
            }
            self.turn(Wait::Until { deadline: None })?;
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

/// Moves completions over; swaps where the target is empty.
pub(super) fn take_completions(into: &mut Completions, from: &mut Completions) {
    if into.items.is_empty() {
        std::mem::swap(into, from);
        from.clear();
        return;
    }
    let (bytes, errors) = (into.bytes.len() as u32, into.errors.len() as u32);
    into.bytes.append(&mut from.bytes);
    into.errors.append(&mut from.errors);
    for mut item in from.items.drain(..) {
        item.value.at += bytes;
        if let crate::state::request::Status::Failed { index } = &mut item.status {
            *index += errors;
        }
        into.items.push(item);
    }
}

pub(super) fn unexpected(result: &ControlResult) -> Error {
    Error::new(ErrorKind::Poisoned, format!("the shard answered something else: {result:?}"))
}
