//! Requests and completions: plain values in batches. A batch owns the bytes its requests point
//! into, so it crosses threads as one box and nothing is allocated per request.

use crate::limits::{KEPT_BYTES_MAX, STORE_GENERATIONS, STORES_MAX};
use crate::types::{Error, MergeOp, StateId};

/// A piece of a batch's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub at: u32,
    /// Bytes.
    pub len: u32,
}

impl Span {
    /// The bytes it names.
    #[inline]
    #[must_use]
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at as usize..self.at as usize + self.len as usize]
    }
}

/// A store on its shard; the engine gave the number at open. A store that takes the place of a
/// closed one has another number, so that requests for the old one do not reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u16);

impl StoreId {
    /// The number of the store at `place` which is the shard's `opened`th, modulo a few.
    #[must_use]
    pub(crate) fn new(place: usize, opened: u16) -> Self {
        let place = place as u16;
        debug_assert!(usize::from(place) < STORES_MAX);
        Self(opened % STORE_GENERATIONS * STORES_MAX as u16 + place)
    }

    /// Its place on the shard.
    #[inline]
    #[must_use]
    pub(crate) fn place(self) -> usize {
        usize::from(self.0) % STORES_MAX
    }
}

/// What a request does, on stored keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read one row. Completes with `Value` or `Absent`.
    Get,
    /// Set one row to `value`.
    Put,
    /// Remove one row.
    Delete,
    /// Fold `value` onto one row.
    Merge(MergeOp),
    /// Remove every row of the map whose prefix is `key`, in O(1).
    Clear,
    /// Read rows of the map whose prefix is `key`, above the map key `value`, at most `limit`
    /// rows. Completes with `Entries`.
    Scan,
}

/// One request. Writes of a store take effect in the order of their submission, and a read sees the
/// writes of its key that were submitted before it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The caller's; comes back in the completion.
    pub user_data: u64,
    /// `codec::hash::hash64` of the stored key.
    pub hash: u64,
    /// What to do.
    pub op: Op,
    /// Of which state: it counts the request.
    pub state: StateId,
    /// Where.
    pub store: StoreId,
    /// Most rows a scan returns.
    pub limit: u32,
    /// Stored key, or the prefix of a map.
    pub key: Span,
    /// Value, operand, or the map key to continue after.
    pub value: Span,
}

/// Requests with their bytes.
#[derive(Debug, Default)]
pub struct Batch {
    /// In submission order.
    pub requests: Vec<Request>,
    /// What their spans name.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// Forgets the requests and keeps the memory, up to `KEPT_BYTES_MAX`.
    pub fn clear(&mut self) {
        self.requests.clear();
        clear_bytes(&mut self.bytes);
    }
}

// Keeps the memory, but not what few large values took.
fn clear_bytes(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > KEPT_BYTES_MAX {
        *bytes = Vec::new();
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A put, delete, merge or clear took effect.
    Done,
    /// A get found this value (it may be empty).
    Value,
    /// A get found nothing.
    Absent,
    /// A scan's rows: per row varint map-key length, map key, varint value length, value.
    /// `more` says that rows may follow: continue above the last map key.
    Entries {
        /// Rows may follow.
        more: bool,
    },
    /// It failed: `Completions::errors[index]`; it had no effect.
    Failed {
        /// Into `Completions::errors`.
        index: u32,
    },
}

/// The end of one request.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The request's.
    pub user_data: u64,
    /// How it ended.
    pub status: Status,
    /// Value or entries.
    pub value: Span,
}

/// Completions with their bytes.
#[derive(Debug, Default)]
pub struct Completions {
    /// In the order they ended.
    pub items: Vec<Completion>,
    /// What their spans name.
    pub bytes: Vec<u8>,
    /// Of failed requests.
    pub errors: Vec<Error>,
}

impl Completions {
    /// Forgets the completions and keeps the memory, up to `KEPT_BYTES_MAX`.
    pub fn clear(&mut self) {
        self.items.clear();
        clear_bytes(&mut self.bytes);
        self.errors.clear();
    }

    /// Moves all completions of `from` behind these; swaps where there are none.
    pub fn append(&mut self, from: &mut Self) {
        if self.items.is_empty() {
            std::mem::swap(self, from);
            from.clear();
            return;
        }
        let (bytes, errors) = (self.bytes.len() as u32, self.errors.len() as u32);
        self.bytes.append(&mut from.bytes);
        self.errors.append(&mut from.errors);
        for mut item in from.items.drain(..) {
            item.value.at += bytes;
            if let Status::Failed { index } = &mut item.status {
                *index += errors;
            }
            self.items.push(item);
        }
    }

    /// The bytes of a completion.
    #[inline]
    #[must_use]
    pub fn value(&self, completion: &Completion) -> &[u8] {
        completion.value.of(&self.bytes)
    }

    /// Adds a completion without bytes.
    #[inline]
    pub fn push(&mut self, user_data: u64, status: Status) {
        self.items.push(Completion { user_data, status, value: Span::default() });
    }

    /// Adds a completion whose value is the concatenation of `parts`.
    #[inline]
    pub fn push_value(&mut self, user_data: u64, status: Status, value: &[u8]) {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        let value = Span { at, len: value.len() as u32 };
        self.items.push(Completion { user_data, status, value });
    }

    /// Adds a failure.
    pub fn push_error(&mut self, user_data: u64, error: Error) {
        self.errors.push(error);
        self.push(user_data, Status::Failed { index: (self.errors.len() - 1) as u32 });
    }
}
