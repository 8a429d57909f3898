//! What a controller and the operations of its records share: lanes, operations, the batch and
//! the completions of the running turn. One thread, so cells instead of locks.
//!
//! Invariants:
//! 1. A lane holds one key from the start of its first record until no record of the key is left.
//! 2. `Lane::operations` counts the operations of the lane that are submitted and not completed;
//!    the record ends when its future has ended and they are none.
//! 3. `Answer::Here` exists only while the turn that brought it runs; `unread` counts them.
//! 4. No user code runs while `core` is borrowed.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use smallvec::SmallVec;

use crate::aec::keys::KeyTable;
use crate::limits::{RECORD_OPERATIONS_MAX, TURN_BATCH_BYTES_MAX};
use crate::mem::slab::{Slab, Token};
use crate::state::request::{Batch, Completions, Span, Status};
use crate::state::{Key, Target};
use crate::types::{Error, KeyGroup, Result};

/// Shared by a controller and the contexts of its records.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub core: RefCell<Core>,
    // Apart from `core`, so that user code can look at a value while it is borrowed.
    pub completions: RefCell<Completions>,
}

/// A record as its operations name it: they find nothing once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordId {
    pub lane: u32,
    pub generation: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has no key.
    #[default]
    Free,
    /// Its record's future runs.
    Running,
    /// The future has ended; operations it submitted have not.
    Draining,
}

/// A busy key and the record that runs under it. One cache line: what is rare stands apart.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub key: SmallVec<[u8; 23]>,
    pub hash: u64,
    pub failure: Option<Box<Error>>,
    pub generation: u32,
    pub operations: u32,
    pub group: KeyGroup,
    pub phase: Phase,
    // It stands in `Core::ready`.
    queued: bool,
    // An operation waits for another of the record to complete.
    starved: bool,
}

const _: () = assert!(size_of::<Lane>() <= 64, "thousands of lanes are in use at once");

impl Lane {
    /// The first failure is the record's.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert_with(|| Box::new(error));
    }
}

/// How an operation was answered.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Not yet, and its future waits.
    Awaited,
    /// Not yet, and nobody waits.
    Unobserved,
    /// In this turn; the bytes are in its completions.
    Here(Status, Span),
    /// In an earlier turn, whose bytes are gone: it stands in `Core::kept`.
    Kept,
}

/// An answer that outlived its turn.
#[derive(Debug)]
pub(super) struct Kept {
    pub status: Status,
    pub value: Result<Vec<u8>>,
}

#[derive(Debug)]
struct Operation {
    record: RecordId,
    answer: Answer,
    // Its failure fails the record if nobody observes it.
    write: bool,
}

/// A taken answer.
pub(super) enum Taken {
    Here(Status, Span),
    Kept(Box<Kept>),
}

#[derive(Debug, Default)]
pub(super) struct Core {
    pub keys: KeyTable,
    pub lanes: Vec<Lane>,
    pub batch: Batch,
    // Requests outside a turn would reach no batch that is ever submitted.
    pub in_turn: bool,
    pub requests: u64,
    pub strays: u64,
    free: Vec<u32>,
    operations: Slab<Operation>,
    ready: VecDeque<u32>,
    unread: usize,
    // Rare, by token and by lane: answers that outlived their turn, and wakers of combinators
    // that poll only what was woken. The controller itself needs none.
    kept: BTreeMap<u64, Kept>,
    wakers: BTreeMap<u64, Waker>,
    starved_wakers: BTreeMap<u32, Vec<Waker>>,
}

impl Core {
    /// The lane that works on `key`.
    #[inline]
    pub fn find_lane(&self, hash: u64, key: Key<'_>) -> Option<u32> {
        self.keys.find(hash, |lane| {
            let lane = &self.lanes[lane as usize];
            lane.key[..] == *key.bytes && lane.group == key.group
        })
    }

    /// Gives `key` a lane; a free one keeps its buffers from earlier keys.
    #[inline]
    pub fn open_lane(&mut self, hash: u64, key: Key<'_>) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            (self.lanes.len() - 1) as u32
        });
        let lane = &mut self.lanes[index as usize];
        debug_assert_eq!(lane.phase, Phase::Free);
        lane.key.clear();
        lane.key.extend_from_slice(key.bytes);
        lane.hash = hash;
        lane.group = key.group;
        self.keys.insert(hash, index);
        index
    }

    /// Takes the lane's key away; invariant 1 says that no record of it is left.
    #[inline]
    pub fn close_lane(&mut self, index: u32) {
        let lane = &mut self.lanes[index as usize];
        debug_assert_eq!((lane.phase, lane.operations), (Phase::Free, 0));
        self.keys.remove(lane.hash, index);
        self.free.push(index);
    }

    /// Starts a record in the lane.
    #[inline]
    pub fn start_record(&mut self, lane: u32) -> RecordId {
        let slot = &mut self.lanes[lane as usize];
        slot.phase = Phase::Running;
        slot.generation = slot.generation.wrapping_add(1);
        let generation = slot.generation;
        self.enqueue(lane);
        RecordId { lane, generation }
    }

    #[inline]
    pub fn enqueue(&mut self, lane: u32) {
        let slot = &mut self.lanes[lane as usize];
        if !slot.queued {
            slot.queued = true;
            self.ready.push_back(lane);
        }
    }

    /// The next lane with something to do and its phase; none once the batch is full.
    #[inline]
    pub fn next_ready(&mut self) -> Option<(u32, Phase)> {
        if self.batch.bytes.len() > TURN_BATCH_BYTES_MAX {
            return None;
        }
        let lane = self.ready.pop_front()?;
        let slot = &mut self.lanes[lane as usize];
        slot.queued = false;
        Some((lane, slot.phase))
    }

    /// The lane of a record that runs.
    #[inline]
    pub fn lane_of(&mut self, record: RecordId) -> Option<&mut Lane> {
        let lane = self.lanes.get_mut(record.lane as usize)?;
        (lane.generation == record.generation && lane.phase == Phase::Running).then_some(lane)
    }

    /// Appends the request of an operation to the batch and returns its token; none if the record
    /// has as many operations in flight as it may, and then `waker` is called when one completes.
    /// `encode` is taken in the first case only.
    #[inline]
    pub fn submit(
        &mut self,
        record: RecordId,
        namespace: &[u8],
        mode: Mode,
        waker: &Waker,
        encode: &mut Option<impl FnOnce(&mut Batch, &Target<'_>) -> Result<()>>,
    ) -> Result<Option<Token>> {
        let in_turn = self.in_turn;
        let Some(lane) = self.lanes.get_mut(record.lane as usize).filter(|lane| {
            in_turn && lane.generation == record.generation && lane.phase == Phase::Running
        }) else {
            return Err(misplaced(in_turn));
        };
        if lane.operations >= RECORD_OPERATIONS_MAX {
            lane.starved = true;
            if let Some(waker) = foreign(waker) {
                self.starved_wakers.entry(record.lane).or_default().push(waker.clone());
            }
            return Ok(None);
        }
        let answer = if mode == Mode::Unobserved { Answer::Unobserved } else { Answer::Awaited };
        let operation = Operation { record, answer, write: mode != Mode::Read };
        let token = self.operations.insert(operation);
        let key = Key { group: lane.group, bytes: &lane.key };
        let target = Target { key, namespace, user_data: token.0 };
        let encode = encode.take().expect("an operation is not polled after its end");
        if let Err(error) = encode(&mut self.batch, &target) {
            self.operations.remove(token);
            return Err(error);
        }
        lane.operations += 1;
        self.requests += 1;
        if mode != Mode::Unobserved {
            self.wake_on_answer(token, waker);
        }
        Ok(Some(token))
    }

    /// Takes the answer of an operation, or has `waker` called when it is there.
    #[inline(always)]
    pub fn take(&mut self, token: Token, waker: &Waker) -> Option<Taken> {
        let operation = self.operations.get_mut(token).expect("its future holds the operation");
        let Answer::Here(status, value) = operation.answer else {
            return self.take_later(token, waker);
        };
        self.operations.remove(token);
        self.unread -= 1;
        Some(Taken::Here(status, value))
    }

    // Not in this turn: in an earlier one, or not yet.
    #[cold]
    fn take_later(&mut self, token: Token, waker: &Waker) -> Option<Taken> {
        let Some(kept) = self.kept.remove(&token.0) else {
            self.wake_on_answer(token, waker);
            return None;
        };
        self.operations.remove(token);
        Some(Taken::Kept(Box::new(kept)))
    }

    #[inline]
    fn wake_on_answer(&mut self, token: Token, waker: &Waker) {
        if let Some(waker) = foreign(waker) {
            self.wakers.insert(token.0, waker.clone());
        }
    }

    /// The future of an operation is gone. The operation goes on.
    pub fn abandon(&mut self, token: Token, completions: &Completions) {
        let Some(operation) = self.operations.get_mut(token) else { return };
        let (record, write) = (operation.record, operation.write);
        let error = match operation.answer {
            Answer::Awaited | Answer::Unobserved => {
                operation.answer = Answer::Unobserved;
                self.wakers.remove(&token.0);
                return;
            }
            Answer::Here(status, _) => {
                self.unread -= 1;
                error_of(status, completions)
            }
            Answer::Kept => self.kept.remove(&token.0).and_then(|kept| kept.value.err()),
        };
        self.operations.remove(token);
        if let (true, Some(error), Some(lane)) = (write, error, self.lane_of(record)) {
            lane.fail(error);
        }
    }

    /// Hands the completions of a turn to their operations; lanes with something to do are ready
    /// then. Returns wakers to be called without a borrow (invariant 4).
    pub fn settle(&mut self, completions: &Completions) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for completion in &completions.items {
            let token = Token(completion.user_data);
            let Some(operation) = self.operations.get_mut(token) else {
                self.strays += 1;
                continue;
            };
            let (index, mut wake) = (operation.record.lane, false);
            let lane = &mut self.lanes[index as usize];
            match operation.answer {
                Answer::Awaited => {
                    operation.answer = Answer::Here(completion.status, completion.value);
                    if !self.wakers.is_empty() {
                        wakers.extend(self.wakers.remove(&completion.user_data));
                    }
                    self.unread += 1;
                    wake = true;
                }
                Answer::Unobserved => {
                    if let (true, Some(error)) =
                        (operation.write, error_of(completion.status, completions))
                    {
                        lane.fail(error);
                    }
                    self.operations.remove(token);
                }
                Answer::Here(..) | Answer::Kept => {
                    self.strays += 1;
                    continue;
                }
            }
            lane.operations -= 1;
            if lane.starved {
                lane.starved = false;
                wakers.extend(self.starved_wakers.remove(&index).into_iter().flatten());
                wake = true;
            }
            let due = match lane.phase {
                Phase::Running => wake,
                Phase::Draining => lane.operations == 0,
                Phase::Free => false,
            };
            if due {
                self.enqueue(index);
            }
        }
        wakers
    }

    /// Copies what nobody read out of the completions of a turn that ends (invariant 3). Rare: a
    /// record reads its answers when it is polled.
    pub fn keep_unread(&mut self, completions: &Completions) {
        if self.unread == 0 {
            return;
        }
        for completion in &completions.items {
            let Some(operation) = self.operations.get_mut(Token(completion.user_data)) else {
                continue;
            };
            if let Answer::Here(status, value) = operation.answer {
                let value = match error_of(status, completions) {
                    Some(error) => Err(error),
                    None => Ok(value.of(&completions.bytes).to_vec()),
                };
                operation.answer = Answer::Kept;
                self.kept.insert(completion.user_data, Kept { status, value });
            }
        }
        self.unread = 0;
    }
}

/// What becomes of an operation's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its future waits; what it would tell is lost with it.
    Read,
    /// Its future waits; without one, a failure fails the record.
    Write,
    /// As a write whose future is gone.
    Unobserved,
}

pub(super) fn error_of(status: Status, completions: &Completions) -> Option<Error> {
    let Status::Failed { index } = status else { return None };
    Some(completions.errors[index as usize].clone())
}

#[cold]
fn misplaced(in_turn: bool) -> Error {
    Error::invalid(if in_turn {
        "the record of this context has ended; use the context of the running record"
    } else {
        "an operation was polled outside the controller; await it in its record"
    })
}

// The controller polls with the no-op waker: whoever comes with another wants it called.
#[inline]
fn foreign(waker: &Waker) -> Option<&Waker> {
    (!waker.will_wake(Waker::noop())).then_some(waker)
}
