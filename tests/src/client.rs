//! Stores on a simulated shard, asked one thing at a time: for tests that say step by step what
//! happens.

use std::collections::BTreeMap;

use aquifer::limits::{MEMORY_FIXED_BYTES, PATIENCE_NS_DEFAULT, ROOT_SPACING};
use aquifer::shard::values::{ControlOp, ControlResult, OpenStore};
use aquifer::shard::{ShardCounters, ShardLimits};
use aquifer::state::request::{Batch, StoreId};
use aquifer::types::{Incarnation, Result};

use crate::model::oracle::{KEY_GROUPS, Op, States, declared};
use crate::sim::driver::{Answer, Sim};
use crate::sim::faults::FaultMix;
use crate::sim::rng::Rng;

const TURNS_MAX: usize = 1_000_000;

/// See the module.
#[derive(Debug)]
pub struct Client {
    /// The shard and what is around it.
    pub sim: Sim,
    limits: ShardLimits,
    store: StoreId,
    states: States,
    next_number: u64,
}

/// What some turns brought.
#[derive(Debug, Default)]
pub struct Ended {
    /// Answers, by the number of their request.
    pub answers: BTreeMap<u64, Answer>,
    /// Ends of control requests, by their number.
    pub controls: BTreeMap<u64, Result<ControlResult>>,
}

impl Client {
    /// An empty store.
    #[must_use]
    pub fn new(limits: ShardLimits) -> Self {
        Self::seeded(limits, 1)
    }

    /// An empty store; latencies follow from `seed`.
    #[must_use]
    pub fn seeded(limits: ShardLimits, seed: u64) -> Self {
        let mut sim = Sim::new(limits, FaultMix::calm(), Rng::new(seed));
        let (store, states) = open(&mut sim, 1, None);
        Self { sim, limits, store, states, next_number: 1 }
    }

    /// Opens another, empty store; requests are for it from now on. The store before.
    pub fn open_another(&mut self) -> (StoreId, States) {
        self.next_number += 1;
        let another = open(&mut self.sim, self.next_number, None);
        self.turn_to(another)
    }

    /// Requests are for this store from now on. The store before.
    pub fn turn_to(&mut self, (store, states): (StoreId, States)) -> (StoreId, States) {
        let store = std::mem::replace(&mut self.store, store);
        (store, std::mem::replace(&mut self.states, states))
    }

    /// The store that requests are for.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The shard's counters.
    #[must_use]
    pub fn counters(&self) -> ShardCounters {
        self.sim.counters()
    }

    /// Submits operations as one batch whose requests count from `first`, and waits for nothing.
    pub fn submit(&mut self, first: u64, ops: &[Op]) {
        let mut batch = Batch::default();
        for (number, op) in (first..).zip(ops) {
            self.states.request(&mut batch, op, number).expect("within the limits");
        }
        self.sim.submit(0, batch);
    }

    /// What the next turns bring.
    pub fn turns(&mut self, count: usize) -> Ended {
        let mut ended = Ended::default();
        for _ in 0..count {
            let arrived = self.sim.turn(true);
            ended.answers.extend(arrived.answers);
            let controls = arrived.controls.into_iter();
            ended.controls.extend(controls.map(|done| (done.user_data, done.result)));
        }
        ended
    }

    /// Runs operations as one batch and gives their answers in the order of the operations.
    pub fn run(&mut self, ops: &[Op]) -> Vec<Answer> {
        let mut batch = Batch::default();
        for (at, op) in ops.iter().enumerate() {
            self.states.request(&mut batch, op, at as u64).expect("within the limits");
        }
        self.run_batch(batch)
    }

    /// Runs a batch whose requests count from zero.
    pub fn run_batch(&mut self, batch: Batch) -> Vec<Answer> {
        let mut answers = vec![None; batch.requests.len()];
        let mut missing = answers.len();
        self.sim.submit(0, batch);
        for _ in 0..TURNS_MAX {
            if missing == 0 {
                break;
            }
            for (number, answer) in self.sim.turn(true).answers {
                missing -= 1;
                answers[number as usize] = Some(answer);
            }
        }
        answers.into_iter().map(|answer| answer.expect("every request is answered")).collect()
    }

    fn control(&mut self, op: ControlOp) -> ControlResult {
        self.ask(op).expect("nothing fails here")
    }

    /// Runs a control request to its end.
    ///
    /// # Errors
    /// What it met.
    pub fn ask(&mut self, op: ControlOp) -> Result<ControlResult> {
        self.next_number += 1;
        ask(&mut self.sim, self.next_number, op)
    }

    /// Loses the process, with all stores.
    pub fn crash(&mut self) {
        self.sim.crash(self.limits);
    }

    /// Flushes what was written, and merges what is due.
    pub fn drain(&mut self) {
        assert_eq!(self.control(ControlOp::Drain(self.store)), ControlResult::Done);
    }

    /// Cuts a checkpoint, loses the process and restores.
    pub fn restore(&mut self) {
        let handle = match self.control(ControlOp::Checkpoint(self.store)) {
            ControlResult::Handle(handle) => handle,
            other => panic!("a checkpoint was answered with {other:?}"),
        };
        self.crash();
        self.next_number += 1;
        (self.store, self.states) = open(&mut self.sim, self.next_number, Some(handle));
    }
}

/// A shard whose merges and tables are small, so that few rows make many of them.
#[must_use]
pub fn small_limits() -> ShardLimits {
    ShardLimits {
        memory_bytes: MEMORY_FIXED_BYTES,
        rows_bytes_min: 12 << 20,
        flush_bytes: 8 << 10,
        job_bytes_max: 64 << 20,
        table_bytes_target: 16 << 10,
        errand_bytes_min: None,
        root_spacing: ROOT_SPACING,
        patience_ns: PATIENCE_NS_DEFAULT,
    }
}

fn open(sim: &mut Sim, number: u64, handle: Option<Vec<u8>>) -> (StoreId, States) {
    let open = OpenStore {
        number: 1,
        incarnation: Incarnation { host_epoch: number, nonce: u128::from(number) },
        seed: number,
        key_groups: KEY_GROUPS,
        range: (0, (KEY_GROUPS - 1) as u16),
        states: declared(),
        handles: handle.into_iter().collect(),
        keep: 0,
    };
    match ask(sim, number, ControlOp::Open(Box::new(open))).expect("nothing fails here") {
        ControlResult::Opened(store, table) => {
            (store, States::of(store, &table).expect("declared at open"))
        }
        other => panic!("an open was answered with {other:?}"),
    }
}

fn ask(sim: &mut Sim, number: u64, op: ControlOp) -> Result<ControlResult> {
    sim.control(0, number, op);
    for _ in 0..TURNS_MAX {
        if let Some(done) = sim.turn(true).controls.pop() {
            return done.result;
        }
    }
    panic!("a control request is never answered")
}
