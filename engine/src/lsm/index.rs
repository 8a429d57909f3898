//! Hash index of the rows in memory: from a key's hash to the row's position.
//!
//! 256 small open-addressing tables, so that growth never rehashes more than a 256th of the rows
//! at once. An entry is one word: position, reference bit of CLOCK, and 31 bits of the hash. The
//! home slot is computed from those 31 bits, so a table grows without touching a single row.

use crate::mem::prefetch::prefetch;

/// Where a row lies, in granules of 8 bytes over all segments; never zero.
pub type Pos = u32;

const TABLES: usize = 256;
const TAG_BITS: u32 = 31;
const REF: u64 = 1 << 32;
const TAG_SHIFT: u32 = 33;

#[derive(Debug, Default)]
struct Table {
    // A power-free capacity: slots.len(); empty slots are zero.
    slots: Box<[u64]>,
    len: usize,
}

/// The index. Callers compare keys; the index only narrows by 39 bits of hash.
#[derive(Debug)]
pub struct Index {
    tables: Vec<Table>,
    bytes: usize,
}

/// Names an entry until the next insert or remove.
#[derive(Clone, Copy, Debug)]
pub struct EntryAt {
    table: usize,
    slot: usize,
}

fn table_of(hash: u64) -> usize {
    (hash >> 56) as usize
}

fn tag_of(hash: u64) -> u64 {
    (hash >> (56 - TAG_BITS)) & ((1 << TAG_BITS) - 1)
}

fn home(tag: u64, capacity: usize) -> usize {
    ((tag * capacity as u64) >> TAG_BITS) as usize
}

impl Default for Index {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| Table::default()).collect(), bytes: 0 }
    }
}

impl Index {
    /// Memory of the tables, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(|t| t.len).sum()
    }

    /// True without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(|t| t.len == 0)
    }

    /// First stage of a batched probe: asks for the entry's cache line.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let table = &self.tables[table_of(hash)];
        if let Some(slot) = table.slots.get(home(tag_of(hash), table.slots.len())) {
            prefetch(slot);
        }
    }

    /// Second stage: the position of the first entry whose tag matches, to prefetch the row.
    #[inline]
    #[must_use]
    pub fn guess(&self, hash: u64) -> Option<Pos> {
        self.find(hash, |_| true).map(|(_, pos)| pos)
    }

    /// The entry of `hash` for which `same` holds of the row at its position.
    #[inline]
    pub fn find(&self, hash: u64, mut same: impl FnMut(Pos) -> bool) -> Option<(EntryAt, Pos)> {
        let at = table_of(hash);
        let table = &self.tables[at];
        let capacity = table.slots.len();
        if capacity == 0 {
            return None;
        }
        let tag = tag_of(hash);
        let mut slot = home(tag, capacity);
        loop {
            let entry = table.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry >> TAG_SHIFT == tag && same(entry as Pos) {
                return Some((EntryAt { table: at, slot }, entry as Pos));
            }
            slot = if slot + 1 == capacity { 0 } else { slot + 1 };
        }
    }

    /// Marks the entry as used since the hand last passed.
    #[inline]
    pub fn touch(&mut self, at: EntryAt) {
        self.tables[at.table].slots[at.slot] |= REF;
    }

    /// Moves the entry to another position and clears its reference bit.
    #[inline]
    pub fn relocate(&mut self, at: EntryAt, pos: Pos) {
        let slot = &mut self.tables[at.table].slots[at.slot];
        *slot = (*slot >> TAG_SHIFT << TAG_SHIFT) | u64::from(pos);
    }

    /// True if the entry was used since its reference bit was last cleared.
    #[must_use]
    pub fn referenced(&self, at: EntryAt) -> bool {
        self.tables[at.table].slots[at.slot] & REF != 0
    }

    /// Adds an entry; the caller knows that none exists.
    pub fn insert(&mut self, hash: u64, pos: Pos) {
        debug_assert!(pos != 0);
        let table = &mut self.tables[table_of(hash)];
        // At most 3/4 full: linear probing stays within a cache line or two.
        if (table.len + 1) * 4 > table.slots.len() * 3 {
            let old = table.slots.len();
            table.grow();
            self.bytes += (table.slots.len() - old) * 8;
        }
        table.place(tag_of(hash) << TAG_SHIFT | u64::from(pos));
        table.len += 1;
    }

    /// Removes an entry, closing the gap so that no tombstone slows later probes.
    pub fn remove(&mut self, at: EntryAt) {
        let table = &mut self.tables[at.table];
        let capacity = table.slots.len();
        let mut gap = at.slot;
        let mut next = gap;
        loop {
            next = if next + 1 == capacity { 0 } else { next + 1 };
            let entry = table.slots[next];
            if entry == 0 {
                break;
            }
            let want = home(entry >> TAG_SHIFT, capacity);
            // The entry may move to the gap unless its home lies cyclically in (gap, next].
            let stays =
                if gap < next { gap < want && want <= next } else { gap < want || want <= next };
            if !stays {
                table.slots[gap] = entry;
                gap = next;
            }
        }
        table.slots[gap] = 0;
        table.len -= 1;
    }
}

impl Table {
    // By a quarter: the mean load stays near 2/3, 12 bytes a row.
    fn grow(&mut self) {
        let capacity = (self.slots.len() + self.slots.len() / 4).max(16);
        let old = std::mem::replace(&mut self.slots, vec![0; capacity].into_boxed_slice());
        for entry in old.into_iter().filter(|&e| e != 0) {
            self.place(entry);
        }
    }

    fn place(&mut self, entry: u64) {
        let capacity = self.slots.len();
        let mut slot = home(entry >> TAG_SHIFT, capacity);
        while self.slots[slot] != 0 {
            slot = if slot + 1 == capacity { 0 } else { slot + 1 };
        }
        self.slots[slot] = entry;
    }
}
