//! The controller: admits records, polls them, and lets the next record of a key start when the
//! one before has ended.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use crate::aec::context::Context;
use crate::aec::core::{Phase, Shared};
use crate::aec::parked::Parked;
use crate::codec::hash::{hash64, key_group_of};
use crate::limits::{KEY_GROUPS_MAX, RECORDS_IN_FLIGHT_DEFAULT};
use crate::state::Key;
use crate::state::request::{Batch, Completions};
use crate::types::{Error, KeyGroup, Result};

/// What a controller is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Records accepted and not ended, at most; parked ones count.
    pub in_flight_max: u32,
    /// The maximal parallelism, which keys are cut into groups by.
    pub key_groups: u32,
}

impl Default for Options {
    fn default() -> Self {
        // Flink's default maximal parallelism is 128 as well.
        Self { in_flight_max: RECORDS_IN_FLIGHT_DEFAULT, key_groups: 128 }
    }
}

/// What a controller has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records accepted.
    pub records: u64,
    /// Of these, records that had to wait for an earlier one of their key.
    pub parked: u64,
    /// Requests submitted.
    pub requests: u64,
    /// Turns taken.
    pub turns: u64,
    /// Records in flight, summed over the ends of the turns.
    pub in_flight_sum: u64,
    /// Most records in flight.
    pub in_flight_max: u64,
    /// Completions that belong to no operation: the host gave one twice, or one of another's.
    pub strays: u64,
}

impl Counters {
    /// Records in flight at the end of a turn, on average.
    #[must_use]
    pub fn in_flight_mean(&self) -> f64 {
        self.in_flight_sum as f64 / self.turns.max(1) as f64
    }
}

/// A record that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its key.
    pub key: Vec<u8>,
    /// Its key's group.
    pub group: KeyGroup,
    /// The first failure: what its code returned, or a write that nobody waited for.
    pub error: Error,
}

/// Runs user code on records in the order of their keys: records of one key one after the other
/// as they arrived, records of different keys at once. One thread; the host offers records,
/// submits the requests of each turn and gives their completions to the next.
pub struct Controller<R, F, Fut> {
    run: F,
    // By lane. A box is made once and takes the future of one record after the other.
    futures: Vec<Pin<Box<Option<Fut>>>>,
    parked: Parked<R>,
    shared: Rc<Shared>,
    options: Options,
    in_flight: u32,
    failures: Vec<Failure>,
    counters: Counters,
}

// By hand, since closures and futures have none.
impl<R, F, Fut> fmt::Debug for Controller<R, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("options", &self.options)
            .field("in_flight", &self.in_flight)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl<R, F, Fut> Controller<R, F, Fut>
where
    F: FnMut(Context, R) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    /// A controller that calls `run` for each record and polls what it returns. The future waits
    /// for operations on states and for nothing else: nothing else would wake it.
    ///
    /// # Errors
    /// `Invalid` if no record could be in flight, or for a number of key groups out of range.
    pub fn new(options: Options, run: F) -> Result<Self> {
        if options.in_flight_max == 0 {
            return Err(Error::invalid("in_flight_max is 0; allow at least one record"));
        }
        if options.key_groups == 0 || options.key_groups > KEY_GROUPS_MAX {
            return Err(Error::invalid(format!(
                "{} key groups; give the maximal parallelism, 1 to {KEY_GROUPS_MAX}",
                options.key_groups
            )));
        }
        Ok(Self {
            run,
            futures: Vec::new(),
            parked: Parked::default(),
            shared: Rc::default(),
            options,
            in_flight: 0,
            failures: Vec::new(),
            counters: Counters::default(),
        })
    }

    /// Accepts a record; the next turn starts it, or a later one if its key is busy.
    ///
    /// # Errors
    /// The record, if as many are in flight as may be: give completions to a turn first.
    #[inline]
    pub fn offer(&mut self, key: &[u8], record: R) -> std::result::Result<(), R> {
        let hash = hash64(key);
        let group = key_group_of(hash, self.options.key_groups);
        self.accept(hash, Key { group, bytes: key }, record)
    }

    /// Accepts a record whose key group the host has found its own way.
    ///
    /// # Errors
    /// The record, if as many are in flight as may be: give completions to a turn first.
    #[inline]
    pub fn offer_in_group(&mut self, key: Key<'_>, record: R) -> std::result::Result<(), R> {
        self.accept(hash64(key.bytes), key, record)
    }

    /// Gives the completions to the records that wait for them, polls these and the records that
    /// can start, and appends their requests to the batch. The completions are used up.
    ///
    /// # Panics
    /// If the user's code panics. Its record never ends then; drop the controller.
    pub fn turn(&mut self, completions: &mut Completions, batch: &mut Batch) {
        let shared = Rc::clone(&self.shared);
        let turn = Turn::begin(&shared, completions, batch);
        let wakers = shared.core.borrow_mut().settle(&shared.completions.borrow());
        wakers.into_iter().for_each(Waker::wake);
        loop {
            let next = shared.core.borrow_mut().next_ready();
            match next {
                Some((lane, Phase::Running)) => self.poll(lane),
                Some((lane, Phase::Draining)) => self.finish(lane),
                Some((lane, Phase::Free)) => unreachable!("lane {lane} has no record"),
                None => break,
            }
        }
        drop(turn);
        self.counters.turns += 1;
        self.counters.in_flight_sum += u64::from(self.in_flight);
    }

    /// Records accepted and not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Of these, records that wait for an earlier one of their key.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// True if every record that was accepted has ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Takes the records that failed since the last call.
    pub fn failures(&mut self) -> impl Iterator<Item = Failure> {
        self.failures.drain(..)
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let core = self.shared.core.borrow();
        Counters { requests: core.requests, strays: core.strays, ..self.counters }
    }

    #[inline]
    fn accept(&mut self, hash: u64, key: Key<'_>, record: R) -> std::result::Result<(), R> {
        if self.in_flight >= self.options.in_flight_max {
            return Err(record);
        }
        self.in_flight += 1;
        self.counters.records += 1;
        self.counters.in_flight_max = self.counters.in_flight_max.max(self.in_flight.into());
        let mut core = self.shared.core.borrow_mut();
        if let Some(busy) = core.find_lane(hash, key) {
            self.counters.parked += 1;
            self.parked.push(busy, record);
        } else {
            let lane = core.open_lane(hash, key);
            drop(core);
            self.start(lane, record);
        }
        Ok(())
    }

    #[inline]
    fn start(&mut self, lane: u32, record: R) {
        let mut core = self.shared.core.borrow_mut();
        let id = core.start_record(lane);
        let group = core.lanes[lane as usize].group;
        drop(core);
        if lane as usize == self.futures.len() {
            self.futures.push(Box::pin(None));
        }
        let context = Context { shared: Rc::clone(&self.shared), record: id, group };
        let future = (self.run)(context, record);
        self.futures[lane as usize].set(Some(future));
    }

    #[inline]
    fn poll(&mut self, lane: u32) {
        let slot = &mut self.futures[lane as usize];
        // Without one, the code of the record panicked when it was started.
        let Some(future) = slot.as_mut().as_pin_mut() else { return };
        let mut task = TaskContext::from_waker(Waker::noop());
        let Poll::Ready(result) = future.poll(&mut task) else { return };
        // While the lane still runs, so that a failed write that was dropped here is counted.
        slot.set(None);
        let mut core = self.shared.core.borrow_mut();
        let ended = &mut core.lanes[lane as usize];
        if let Err(error) = result {
            ended.fail(error);
        }
        ended.phase = Phase::Draining;
        if ended.operations == 0 {
            drop(core);
            self.finish(lane);
        }
    }

    #[inline]
    fn finish(&mut self, lane: u32) {
        self.in_flight -= 1;
        let next = self.parked.pop(lane);
        let mut core = self.shared.core.borrow_mut();
        let ended = &mut core.lanes[lane as usize];
        ended.phase = Phase::Free;
        if let Some(error) = ended.failure.take() {
            let (key, group) = (ended.key.to_vec(), ended.group);
            self.failures.push(Failure { key, group, error: *error });
        }
        if let Some(record) = next {
            drop(core);
            self.start(lane, record);
        } else {
            core.close_lane(lane);
        }
    }
}

/// Lends the host's batch and completions to the operations for one turn; they come back even if
/// user code panics.
struct Turn<'a> {
    shared: &'a Shared,
    completions: &'a mut Completions,
    batch: &'a mut Batch,
}

impl<'a> Turn<'a> {
    fn begin(shared: &'a Shared, completions: &'a mut Completions, batch: &'a mut Batch) -> Self {
        let mut core = shared.core.borrow_mut();
        core.in_turn = true;
        mem::swap(&mut core.batch, batch);
        mem::swap(&mut *shared.completions.borrow_mut(), completions);
        Self { shared, completions, batch }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut core = self.shared.core.borrow_mut();
        let mut completions = self.shared.completions.borrow_mut();
        core.in_turn = false;
        core.keep_unread(&completions);
        completions.clear();
        mem::swap(&mut core.batch, self.batch);
        mem::swap(&mut *completions, self.completions);
    }
}
