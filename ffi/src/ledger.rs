//! What a session accepted and has not handed out: every request is noted once and settled once.
//! Written for the many that are gets and puts: they cost two words, and nothing is copied.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::StoreObject;
use crate::status::Status;

/// Requests that are pending, by the number the engine knows them by.
#[derive(Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    free: Vec<u32>,
    bytes: usize,
    special: HashMap<u64, Special>,
}

#[derive(Clone, Copy)]
struct Entry {
    user_data: u64,
    bytes: u32,
    open: bool,
    special: bool,
}

/// What is known of few requests.
#[derive(Default)]
pub struct Special {
    /// What the completion's number will be.
    pub number: u32,
    /// Of a request that did not reach the engine.
    pub refused: Option<Status>,
    /// The store whose states or checkpoint it opens.
    pub store: Option<Arc<StoreObject>>,
}

impl Ledger {
    /// Requests that are pending.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Bytes they were submitted with.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes a request.
    #[inline]
    pub fn note(&mut self, user_data: u64, bytes: u32) -> u64 {
        self.bytes += bytes as usize;
        let entry = Entry { user_data, bytes, open: true, special: false };
        match self.free.pop() {
            Some(free) => {
                self.entries[free as usize] = entry;
                u64::from(free)
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u64 - 1
            }
        }
    }

    /// What is special about a pending request.
    pub fn special(&mut self, number: u64) -> &mut Special {
        self.entries[number as usize].special = true;
        self.special.entry(number).or_default()
    }

    /// Settles a request: its `user_data`, and what was special about it.
    #[inline]
    pub fn settle(&mut self, number: u64) -> (u64, Option<Special>) {
        let entry = &mut self.entries[number as usize];
        debug_assert!(entry.open, "a request completes once");
        entry.open = false;
        self.bytes -= entry.bytes as usize;
        self.free.push(number as u32);
        let special = if entry.special { self.special.remove(&number) } else { None };
        (entry.user_data, special)
    }

    /// The numbers of all that are pending.
    pub fn pending(&self) -> impl Iterator<Item = u64> {
        (0..).zip(&self.entries).filter(|(_, entry)| entry.open).map(|(number, _)| number)
    }

    /// The stores that requests open or restore; they are forgotten.
    pub fn take_stores(&mut self) -> Vec<Arc<StoreObject>> {
        self.special.values_mut().filter_map(|special| special.store.take()).collect()
    }
}
