//! Requests that wait until their store may write again, and what is ordered behind them: later
//! writes and cuts of the store, its scans, and gets of a key that a waiting write changes.

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

use crate::codec::hash::hash64;
use crate::shard::serve::Asked;
use crate::state::request::{Op, Request, StoreId};
use crate::types::Nanos;
use crate::types::key::collection_prefix;

/// What waits, and its place in the order in which all came.
#[derive(Debug)]
pub(super) struct Stalled {
    number: u64,
    pub what: Waits,
}

/// What waits.
#[derive(Debug)]
pub(super) enum Waits {
    /// A request with its bytes.
    Request {
        session: u16,
        request: Request,
        since: Nanos,
        key: SmallVec<[u8; 32]>,
        value: Box<[u8]>,
    },
    /// A checkpoint.
    Cut { session: u16, user_data: u64 },
}

/// What waits, by store. The first of each store is a write: all others wait for one.
#[derive(Debug, Default)]
pub(super) struct StalledQueues {
    // None is empty.
    queues: BTreeMap<StoreId, Queue>,
    next_number: u64,
}

#[derive(Debug, Default)]
struct Queue {
    stalled: VecDeque<Stalled>,
    // How many of them write what has this hash: a key, or a map that they clear.
    writes: BTreeMap<u64, u32>,
}

impl StalledQueues {
    /// True if nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// How many wait, and the bytes they hold.
    pub fn held(&self) -> (u64, u64) {
        let waiting = || self.queues.values().flat_map(|queue| &queue.stalled);
        let bytes = |stalled: &Stalled| match &stalled.what {
            Waits::Request { key, value, .. } => key.len() + value.len(),
            Waits::Cut { .. } => 0,
        };
        let bytes = waiting().map(|stalled| bytes(stalled) + size_of::<Stalled>());
        (waiting().count() as u64, bytes.sum::<usize>() as u64)
    }

    /// True if something of the store waits.
    pub fn names(&self, store: StoreId) -> bool {
        self.queues.contains_key(&store)
    }

    /// True if the request must take effect after one that waits. For a scan that is any: it reads
    /// many keys.
    pub fn holds_up(&self, request: &Request, key: &[u8]) -> bool {
        let Some(queue) = self.queues.get(&request.store) else { return false };
        let cleared = |map| queue.writes.contains_key(&hash64(map));
        match request.op {
            Op::Get => {
                queue.writes.contains_key(&request.hash)
                    || collection_prefix(key).is_some_and(cleared)
            }
            Op::Put | Op::Delete | Op::Merge(_) | Op::Clear | Op::Scan => true,
        }
    }

    /// Has a request wait.
    pub fn push(&mut self, asked: Asked<'_>) {
        let what = Waits::Request {
            session: asked.session,
            request: *asked.request,
            since: asked.since,
            key: SmallVec::from_slice(asked.key),
            value: asked.value.into(),
        };
        self.push_back(asked.request.store, what);
    }

    /// Has a cut wait.
    pub fn push_cut(&mut self, session: u16, user_data: u64, store: StoreId) {
        self.push_back(store, Waits::Cut { session, user_data });
    }

    fn push_back(&mut self, store: StoreId, what: Waits) {
        let queue = self.queues.entry(store).or_default();
        queue.count(&what);
        queue.stalled.push_back(Stalled { number: self.next_number, what });
        self.next_number += 1;
    }

    /// The stores of which something waits, the longest wait first.
    pub fn oldest_first(&self) -> Vec<StoreId> {
        let first = |(&store, queue): (_, &Queue)| Some((queue.stalled.front()?.number, store));
        let mut stores: Vec<(u64, StoreId)> = self.queues.iter().filter_map(first).collect();
        stores.sort_unstable();
        stores.into_iter().map(|(_, store)| store).collect()
    }

    /// Takes what of the store waits longest.
    pub fn pop(&mut self, store: StoreId) -> Option<Stalled> {
        let queue = self.queues.get_mut(&store)?;
        let stalled = queue.stalled.pop_front()?;
        if let Some(hash) = written(&stalled.what)
            && let Some(count) = queue.writes.get_mut(&hash)
        {
            *count -= 1;
            if *count == 0 {
                queue.writes.remove(&hash);
            }
        }
        if queue.stalled.is_empty() {
            self.queues.remove(&store);
        }
        Some(stalled)
    }

    /// Has what was just taken wait on.
    pub fn put_back(&mut self, store: StoreId, stalled: Stalled) {
        let queue = self.queues.entry(store).or_default();
        queue.count(&stalled.what);
        queue.stalled.push_front(stalled);
    }
}

impl Queue {
    fn count(&mut self, what: &Waits) {
        if let Some(hash) = written(what) {
            *self.writes.entry(hash).or_default() += 1;
        }
    }
}

// The hash of what it writes.
fn written(what: &Waits) -> Option<u64> {
    match what {
        Waits::Request { request, .. } if !matches!(request.op, Op::Get | Op::Scan) => {
            Some(request.hash)
        }
        _ => None,
    }
}
