//! Writes to a few keys of all states, and the questions that tell all that came of them.

use aquifer::state::Key;
use aquifer::state::request::StoreId;

use crate::client::Client;
use crate::model::oracle::{
    KEY_GROUPS, Model, Op, RowKey, SMALL_STATES, State, States, compare, key_bytes,
};
use crate::sim::rng::Rng;

/// Keys of every state.
const KEYS: u8 = 64;

fn row(state: State, key: u8) -> RowKey {
    RowKey { state, key, namespace: key % 3, map_key: Vec::new() }
}

/// A write of any kind to one of them.
pub fn write(rng: &mut Rng) -> Op {
    let key = rng.below(KEYS.into()) as u8;
    let len = rng.pick(&[0, 9, 300, 1500]);
    let value = vec![rng.next_u64() as u8; len];
    let state =
        rng.pick(&[State::Value, State::Other, State::List, State::Map, State::Sum, State::Max]);
    let mut at = row(state, key);
    match (state, rng.below(10)) {
        (State::Map, 0) => return Op::Clear(at),
        (State::Map, _) => at.map_key = vec![b'm', rng.below(12) as u8],
        _ => {}
    }
    match (state, rng.below(4)) {
        (_, 0) => Op::Delete(at),
        (State::Value | State::Other | State::Map, _) => Op::Put(at, value),
        (State::List, 1) => Op::Update(at, vec![value, vec![key]]),
        (State::List, _) => Op::Append(at, vec![value]),
        _ => Op::Add(at, rng.next_u64() as i64 >> 8),
    }
}

/// Questions that tell all that they hold.
#[must_use]
pub fn everything() -> Vec<Op> {
    let gets = (0..KEYS).flat_map(|key| SMALL_STATES.map(|state| Op::Get(row(state, key))));
    gets.chain((0..KEYS).map(|key| Op::Scan(row(State::Map, key), 100))).collect()
}

/// Has stores serve operations, each those of its key groups, first and last; every answer is the
/// model's.
///
/// # Panics
/// If one is not.
pub fn run_parts(
    client: &mut Client,
    model: &mut Model,
    parts: impl IntoIterator<Item = ((u16, u16), StoreId, States)>,
    ops: &[Op],
) {
    for ((first, last), store, states) in parts {
        let mine = ops.iter().filter(|op| (first..=last).contains(&group_of(op)));
        let mine: Vec<Op> = mine.cloned().collect();
        client.turn_to((store, states));
        for (op, answer) in mine.iter().zip(client.run(&mine)) {
            if let Err(difference) = compare(&model.apply(op), &answer) {
                panic!("key group {}: {op:?}: {difference}", group_of(op));
            }
        }
    }
}

/// The key group that an operation is about.
#[must_use]
pub fn group_of(op: &Op) -> u16 {
    Key::new(&key_bytes(op.row().key), KEY_GROUPS).group
}
