//! The shape of a seed: sizes, limits and which operations it favours (swarm testing).

use aquifer::limits::{MEMORY_FIXED_BYTES, PATIENCE_NS_DEFAULT, ROOT_SPACING};
use aquifer::shard::ShardLimits;

use crate::model::oracle::{Model, Op, RowKey, SMALL_STATES, State};
use crate::sim::rng::Rng;

/// See the module.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Limits of the shard.
    pub limits: ShardLimits,
    /// Stores on the shard.
    pub stores: usize,
    /// Sessions that submit.
    pub sessions: usize,
    /// Keys of each store.
    pub keys: usize,
    /// Map keys of each map.
    pub map_keys: usize,
    /// Batches to submit.
    pub batches: usize,
    /// Operations of a batch at most.
    pub batch_max: usize,
    /// Longest usual value.
    pub value_max: usize,
    /// Longest rare value.
    pub large_max: usize,
    /// A list that is longer is replaced.
    pub list_max: usize,
    /// Weights of: put, delete, append, update, add, clear, get, scan.
    weights: [usize; 8],
    /// Chances in ten thousand before each batch.
    pub checkpoint: u32,
    /// Of releasing a handle.
    pub release: u32,
    /// Of a drain.
    pub drain: u32,
    /// Of a crash.
    pub crash: u32,
    /// Of closing a store and opening it again.
    pub reopen: u32,
    /// Stores claim what was written before them.
    pub claims: bool,
}

impl Shape {
    /// The shape of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let huge = rng.chance(500);
        let value_max = rng.pick(&[16, 100, 700, 3000]);
        let large_max = if huge { 4 << 20 } else { rng.pick(&[0, 5000, 40_000, 130_000]) };
        let rows_bytes_min = if huge { 40 << 20 } else { rng.pick(&[3 << 20, 5 << 20, 12 << 20]) };
        let mut weights = [0; 8];
        for weight in &mut weights {
            *weight = rng.pick(&[0, 1, 4, 12]);
        }
        // Something must be written, and something read.
        weights[rng.pick(&[0, 2, 4])] += 4;
        weights[rng.pick(&[6, 7])] += 4;
        weights[5] = weights[5].min(4);
        let mut shape = Self {
            limits: ShardLimits {
                memory_bytes: MEMORY_FIXED_BYTES,
                rows_bytes_min,
                flush_bytes: rng.pick(&[4 << 10, 32 << 10, 128 << 10, 512 << 10]),
                job_bytes_max: rng.pick(&[1 << 20, 16 << 20]),
                table_bytes_target: if huge {
                    8 << 20
                } else {
                    rng.pick(&[48 << 10, 256 << 10, 1 << 20])
                },
                errand_bytes_min: None,
                root_spacing: ROOT_SPACING,
                patience_ns: PATIENCE_NS_DEFAULT,
            },
            stores: rng.pick(&[1, 1, 2, 3]),
            sessions: rng.between(1, 3),
            keys: rng.pick(&[2, 8, 40]),
            map_keys: rng.pick(&[3, 30, 300]),
            batches: if huge { 60 } else { rng.between(100, 400) },
            batch_max: rng.pick(&[1, 8, 40, 100]),
            value_max,
            large_max,
            list_max: if huge { 1 << 20 } else { rng.pick(&[1000, 20_000, 100_000]) },
            weights,
            checkpoint: rng.pick(&[50, 300, 2000]),
            release: rng.pick(&[0, 200, 1500]),
            drain: rng.pick(&[0, 50, 300]),
            crash: rng.pick(&[0, 50, 200]),
            reopen: rng.pick(&[0, 50, 200]),
            claims: rng.chance(5000),
        };
        shape.limits.errand_bytes_min = rng.pick(&[None, Some(0), Some(20_000)]);
        shape
    }

    /// The shape of a program for the real engine, whose memory is at least 48 MiB a shard: more
    /// rows and longer values, so that they are flushed, merged and evicted all the same.
    pub fn draw_large(rng: &mut Rng) -> Self {
        Self {
            keys: 40,
            map_keys: 300,
            batches: rng.between(200, 600),
            batch_max: rng.pick(&[20, 100, 250]),
            value_max: rng.pick(&[700, 4000, 12_000]),
            large_max: rng.pick(&[0, 40_000, 130_000]),
            list_max: 20_000,
            checkpoint: rng.pick(&[100, 500, 1500]),
            // What was read or written since is in memory: it takes a while to fill.
            crash: rng.pick(&[0, 20, 100]),
            reopen: rng.pick(&[0, 20, 100]),
            ..Self::draw(rng)
        }
    }

    /// Writes much and begins anew rarely, so that a quarter of the merges are worth an errand: ten
    /// of eight programs have a MiB or more.
    pub fn favour_large_merges(&mut self) {
        (self.batch_max, self.value_max, self.checkpoint) = (250, 12_000, 1000);
        self.weights[0] = 40;
        (self.crash, self.reopen) = (self.crash.min(50), self.reopen.min(20));
    }

    /// A random operation.
    pub fn op(&self, rng: &mut Rng, model: &Model) -> Op {
        let mut draw = rng.below(self.weights.iter().sum());
        let kind = self.weights.iter().position(|&weight| {
            let here = draw < weight;
            draw = draw.saturating_sub(weight);
            here
        });
        match kind.expect("the draw is below the sum") {
            0 => {
                let state = rng.pick(&[State::Value, State::Other, State::Map, State::Map]);
                Op::Put(self.row(rng, state), self.value(rng))
            }
            1 => {
                let state = rng.pick(&SMALL_STATES);
                let state = if rng.chance(5000) { State::Map } else { state };
                Op::Delete(self.row(rng, state))
            }
            2 => {
                let row = self.row(rng, State::List);
                if model.len_of(&row) > self.list_max {
                    return Op::Update(row, self.items(rng));
                }
                Op::Append(row, self.items(rng))
            }
            3 => Op::Update(self.row(rng, State::List), self.items(rng)),
            4 => {
                let state = rng.pick(&[State::Sum, State::Min, State::Max]);
                let number = rng.next_u64() as i64 >> rng.between(0, 62);
                Op::Add(self.row(rng, state), number)
            }
            5 => Op::Clear(RowKey { map_key: Vec::new(), ..self.row(rng, State::Map) }),
            6 => {
                let state = rng.pick(&SMALL_STATES);
                let state = if rng.chance(3000) { State::Map } else { state };
                Op::Get(self.row(rng, state))
            }
            _ => {
                let mut after = self.row(rng, State::Map);
                if rng.chance(6000) {
                    after.map_key.clear();
                }
                Op::Scan(after, rng.pick(&[1, 2, 7, 64, 5000]))
            }
        }
    }

    /// Reads of every row that may exist, and of every map in pages.
    pub fn read_back(&self, rng: &mut Rng) -> Vec<Op> {
        let mut ops = Vec::new();
        for key in 0..self.keys as u8 {
            for namespace in 0..3 {
                let row = |state| RowKey { state, key, namespace, map_key: Vec::new() };
                ops.extend(SMALL_STATES.map(|state| Op::Get(row(state))));
                ops.push(Op::Scan(row(State::Map), 5000));
                let some = map_key(rng.below(self.map_keys));
                let after = RowKey { map_key: some, ..row(State::Map) };
                ops.push(Op::Scan(after.clone(), 3));
                ops.push(Op::Get(after));
            }
        }
        ops
    }

    fn row(&self, rng: &mut Rng, state: State) -> RowKey {
        // Half of the operations meet on a few keys.
        let keys = if rng.chance(5000) { self.keys.min(3) } else { self.keys };
        let map_key =
            if state == State::Map { map_key(rng.below(self.map_keys)) } else { Vec::new() };
        let namespace = rng.pick(&[0, 0, 1, 2]);
        RowKey { state, key: rng.below(keys) as u8, namespace, map_key }
    }

    fn value(&self, rng: &mut Rng) -> Vec<u8> {
        let max =
            if self.large_max > 0 && rng.chance(200) { self.large_max } else { self.value_max };
        let len = rng.between(0, max);
        // Half of the values compress, as those of most states do.
        let mask = if rng.chance(5000) { 0x0101 } else { u64::MAX };
        let mut value = Vec::with_capacity(len + 8);
        while value.len() < len {
            value.extend_from_slice(&(rng.next_u64() & mask).to_le_bytes());
        }
        value.truncate(len);
        value
    }

    fn items(&self, rng: &mut Rng) -> Vec<Vec<u8>> {
        (0..rng.pick(&[0, 1, 1, 1, 3])).map(|_| self.value(rng)).collect()
    }
}

/// The bytes of a map key; some are prefixes of others.
#[must_use]
pub fn map_key(number: usize) -> Vec<u8> {
    match number % 3 {
        0 => vec![1; 1 + number / 3 % 60].into_iter().chain([(number / 180) as u8]).collect(),
        1 => (number as u16).to_be_bytes().to_vec(),
        _ => [&[0xff][..], &(number as u32).to_be_bytes()].concat(),
    }
}
