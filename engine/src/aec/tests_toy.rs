//! A store for tests: rows in a tree, requests of one row or map in order, everything else
//! delayed and reordered at random.

use std::collections::{BTreeMap, VecDeque};

use crate::codec::varint;
use crate::state::request::{Batch, Completions, Op, Request, Status};
use crate::types::key::collection_prefix;
use crate::types::{Error, MergeOp};

/// A write of a value that ends so fails and has no effect.
pub const POISON: &[u8] = b"poison";

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

struct Waiting {
    request: Request,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Rows by stored key, and requests that wait by the row or map they touch.
#[derive(Default)]
pub struct Toy {
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    queues: BTreeMap<Vec<u8>, VecDeque<Waiting>>,
    waiting: usize,
}

impl Toy {
    /// Takes the requests of a batch.
    pub fn submit(&mut self, batch: &mut Batch) {
        for request in &batch.requests {
            let key = request.key.of(&batch.bytes).to_vec();
            let value = request.value.of(&batch.bytes).to_vec();
            let queue = collection_prefix(&key).unwrap_or(&key).to_vec();
            let waiting = Waiting { request: *request, key, value };
            self.queues.entry(queue).or_default().push_back(waiting);
            self.waiting += 1;
        }
        batch.clear();
    }

    /// Answers up to `count` requests of queues picked at random.
    pub fn answer(&mut self, random: &mut Random, count: usize, out: &mut Completions) {
        for _ in 0..count.min(self.waiting) {
            let at = random.below(self.queues.len() as u64) as usize;
            let name = self.queues.keys().nth(at).expect("in range").clone();
            let queue = self.queues.get_mut(&name).expect("exists");
            let waiting = queue.pop_front().expect("queues are not empty");
            if queue.is_empty() {
                self.queues.remove(&name);
            }
            self.waiting -= 1;
            self.execute(&waiting, out);
        }
    }

    pub fn answer_all(&mut self, out: &mut Completions) {
        self.answer(&mut Random(0), usize::MAX, out);
    }

    fn execute(&mut self, waiting: &Waiting, out: &mut Completions) {
        let Waiting { request, key, value } = waiting;
        let user_data = request.user_data;
        if value.ends_with(POISON) {
            return out.push_error(user_data, Error::corrupt("a poisoned value"));
        }
        match request.op {
            Op::Get => match self.rows.get(key) {
                Some(value) => return out.push_value(user_data, Status::Value, value),
                None => return out.push(user_data, Status::Absent),
            },
            Op::Scan => return self.scan(waiting, out),
            Op::Put => drop(self.rows.insert(key.clone(), value.clone())),
            Op::Delete => drop(self.rows.remove(key)),
            Op::Clear => self.rows.retain(|row, _| !row.starts_with(key)),
            Op::Merge(op) => merge(op, self.rows.entry(key.clone()).or_default(), value),
        }
        out.push(user_data, Status::Done);
    }

    // Three rows at most, so that most maps need a continuation.
    fn scan(&self, waiting: &Waiting, out: &mut Completions) {
        let Waiting { request, key: prefix, value: after } = waiting;
        let start = [&prefix[..], after].concat();
        let mut rows = self.rows.iter().filter(|(key, _)| **key > start && key.starts_with(prefix));
        let mut bytes = Vec::new();
        for (key, value) in rows.by_ref().take((request.limit as usize).min(3)) {
            for part in [&key[prefix.len()..], value] {
                varint::put(&mut bytes, part.len() as u64);
                bytes.extend_from_slice(part);
            }
        }
        let more = rows.next().is_some();
        out.push_value(request.user_data, Status::Entries { more }, &bytes);
    }
}

fn merge(op: MergeOp, row: &mut Vec<u8>, operand: &[u8]) {
    if op == MergeOp::Append || row.is_empty() {
        return row.extend_from_slice(operand);
    }
    let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let (a, b) = (number(row), number(operand));
    let folded = match op {
        MergeOp::Sum => a.wrapping_add(b),
        MergeOp::Min => a.min(b),
        MergeOp::Max => a.max(b),
        MergeOp::Append => unreachable!("handled above"),
    };
    *row = folded.to_le_bytes().to_vec();
}
