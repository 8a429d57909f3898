//! Requests in flight, each with what the model says it must answer.

use std::collections::BTreeMap;

use aquifer::types::error::ErrorKind;

use crate::model::oracle::{Expected, Op, compare};
use crate::sim::driver::Answer;

/// How a run failed.
pub type Failure = String;
/// What a step of a run brings.
pub type Outcome<T> = std::result::Result<T, Failure>;

/// A request in flight.
#[derive(Debug)]
pub(super) struct Request {
    store: usize,
    what: String,
    expected: Expected,
    may_fail: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<u64, Request>);

impl Asked {
    /// Adds a request under its number.
    pub fn add(&mut self, number: u64, store: usize, op: &Op, expected: Expected, may_fail: bool) {
        let what = if op.reads() { format!("{:?}", op.row()) } else { String::new() };
        self.0.insert(number, Request { store, what, expected, may_fail });
    }

    /// Takes a request that was answered.
    pub fn take(&mut self, number: u64) -> Outcome<Request> {
        let asked = self.0.remove(&number);
        asked.ok_or_else(|| format!("request {number} was answered and nobody waits for it"))
    }

    /// True if a request writes.
    pub fn writes(&self, number: u64) -> bool {
        self.0.get(&number).is_some_and(|asked| matches!(asked.expected, Expected::Done))
    }

    /// The store is about to close: its requests may fail.
    pub fn may_fail(&mut self, store: usize) {
        for asked in self.0.values_mut().filter(|asked| asked.store == store) {
            asked.may_fail = true;
        }
    }

    /// The engine is about to close, or objects are damaged.
    pub fn all_may_fail(&mut self) {
        self.0.values_mut().for_each(|asked| asked.may_fail = true);
    }

    /// The oldest request.
    pub fn first(&self) -> Option<(&u64, &Request)> {
        self.0.iter().next()
    }

    /// Requests in flight.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if none is in flight.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The shard is gone, and all that was in flight.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Request {
    /// Compares an answer with what it must be.
    pub fn judge(&self, number: u64, answer: &Answer) -> Outcome<()> {
        let Self { store, what, expected, may_fail } = self;
        use ErrorKind::{Closed, Corrupt, Io, MissingObject};
        let kinds = [Io, Corrupt, MissingObject, Closed];
        match answer {
            Answer::Failed(kind, _) if *may_fail && kinds.contains(kind) => Ok(()),
            Answer::Failed(_, text) => Err(format!("request {number} {what} failed: {text}")),
            _ => compare(expected, answer).map_err(|difference| {
                format!("request {number} of store {store} {what}: {difference}")
            }),
        }
    }
}
