//! The busy keys: which lane works on a key. Open addressing with linear probing over the key's
//! hash; the bytes are compared where they live, in the lanes.

use crate::limits::BUSY_KEYS_MIN;

/// Finds the lane of a key. The caller says whether a lane holds the key.
#[derive(Debug)]
pub(super) struct KeyTable {
    entries: Vec<Entry>,
    len: usize,
}

// The low half of the hash: the high half is spent on the key group, which a store's keys share.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    lane: u32,
}

impl Entry {
    #[inline]
    fn is_vacant(self) -> bool {
        self.lane == u32::MAX
    }
}

const VACANT: Entry = Entry { tag: 0, lane: u32::MAX };

impl Default for KeyTable {
    fn default() -> Self {
        Self { entries: vec![VACANT; BUSY_KEYS_MIN], len: 0 }
    }
}

impl KeyTable {
    /// The lane whose key has this hash and `holds`.
    #[inline]
    pub fn find(&self, hash: u64, holds: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash as u32);
        loop {
            let entry = self.entries[at];
            if entry.is_vacant() {
                return None;
            }
            if entry.tag == hash as u32 && holds(entry.lane) {
                return Some(entry.lane);
            }
            at = self.after(at);
        }
    }

    /// Adds the lane of a key that `find` did not know.
    #[inline]
    pub fn insert(&mut self, hash: u64, lane: u32) {
        // Half full at most: probes stay at one or two entries, which share a cache line.
        if self.len * 2 >= self.entries.len() {
            self.grow();
        }
        self.len += 1;
        self.place(Entry { tag: hash as u32, lane });
    }

    /// Removes the lane of a key. Followers move up, so that there are no tombstones and the
    /// table never needs a rebuild.
    #[inline]
    pub fn remove(&mut self, hash: u64, lane: u32) {
        let mut hole = self.home(hash as u32);
        while self.entries[hole].lane != lane {
            assert!(!self.entries[hole].is_vacant(), "lane {lane} is not in the key table");
            hole = self.after(hole);
        }
        let mask = self.entries.len() - 1;
        let mut at = hole;
        loop {
            at = self.after(at);
            let entry = self.entries[at];
            if entry.is_vacant() {
                break;
            }
            // It may move into the hole unless that lies before its home.
            let from_home = at.wrapping_sub(self.home(entry.tag)) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = VACANT;
        self.len -= 1;
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        tag as usize & (self.entries.len() - 1)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.entries.len() - 1)
    }

    #[inline]
    fn place(&mut self, entry: Entry) {
        let mut at = self.home(entry.tag);
        while !self.entries[at].is_vacant() {
            at = self.after(at);
        }
        self.entries[at] = entry;
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = vec![VACANT; self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, doubled) {
            if !entry.is_vacant() {
                self.place(entry);
            }
        }
    }
}
