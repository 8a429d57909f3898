//! Which extent lies where in the cache's file: by the hash of its place in the DFS. A slot is a
//! page of the file; an extent takes as many as it has pages, one behind the other.

use crate::cache::ssd::region::Entry;

/// Hits beyond this are not counted: an extent stays for so many rounds without another.
const HITS_MAX: u8 = 3;
const HITS_BITS: u32 = 2;

/// Pages of an extent at most.
pub(super) const PAGES_MAX: u32 = u8::MAX as u32 >> HITS_BITS;

/// See the module. Some 23 bytes a slot.
#[derive(Debug)]
pub(super) struct Index {
    // By slot: of the extent that begins there; zero where none does.
    keys: Vec<u64>,
    crcs: Vec<u32>,
    // Its pages, and how often it was asked for lately.
    uses: Vec<u8>,
    // Open addressing by key: a slot and one; zero is empty.
    table: Vec<u32>,
    // Extents that were missed: a part of the key of the last one at each place.
    missed: Vec<u16>,
}

impl Index {
    /// None of so many slots holds anything.
    pub(super) fn new(slots: usize) -> Self {
        // A third and more stays empty, so that probes are short.
        let places = (slots * 3 / 2).next_power_of_two();
        Self {
            keys: vec![0; slots],
            crcs: vec![0; slots],
            uses: vec![0; slots],
            table: vec![0; places],
            missed: vec![0; slots.next_power_of_two()],
        }
    }

    /// Bytes of memory that the index of so many slots takes.
    pub(super) fn bytes_of(slots: usize) -> usize {
        slots * (8 + 4 + 1)
            + (slots * 3 / 2).next_power_of_two() * 4
            + slots.next_power_of_two() * 2
    }

    /// Where the extent of a key begins.
    pub(super) fn find(&self, key: u64) -> Option<u32> {
        self.place_of(key).ok().map(|place| self.table[place] - 1)
    }

    /// Its checksum.
    pub(super) fn crc(&self, slot: u32) -> u32 {
        self.crcs[slot as usize]
    }

    /// The extent that begins in a slot was asked for.
    pub(super) fn hit(&mut self, slot: u32) {
        let uses = &mut self.uses[slot as usize];
        *uses += u8::from(*uses & HITS_MAX < HITS_MAX);
    }

    /// Forgets a hit of the extent that begins in a slot.
    pub(super) fn cool(&mut self, slot: u32) {
        let uses = &mut self.uses[slot as usize];
        *uses -= u8::from(*uses & HITS_MAX > 0);
    }

    /// How often the extent that begins in a slot was asked for lately, and its pages.
    pub(super) fn uses(&self, slot: u32) -> (u8, u32) {
        let uses = self.uses[slot as usize];
        (uses & HITS_MAX, u32::from(uses >> HITS_BITS))
    }

    /// The key of the extent that begins in a slot.
    pub(super) fn key(&self, slot: u32) -> Option<u64> {
        Some(self.keys[slot as usize]).filter(|&key| key != 0)
    }

    /// An extent begins in a slot that is free; another one of its key is forgotten.
    pub(super) fn insert(&mut self, slot: u32, entry: Entry) {
        let Entry { key, crc, pages, hits } = entry;
        let place = match self.place_of(key) {
            Ok(place) => {
                self.keys[self.table[place] as usize - 1] = 0;
                place
            }
            Err(place) => place,
        };
        self.table[place] = slot + 1;
        let slot = slot as usize;
        (self.keys[slot], self.crcs[slot]) = (key, crc);
        self.uses[slot] = (pages as u8) << HITS_BITS | hits.min(HITS_MAX);
    }

    /// Forgets the extent that begins in a slot, if one does.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(key) = self.key(slot) else { return };
        self.keys[slot as usize] = 0;
        let Ok(mut hole) = self.place_of_slot(key, slot) else { return };
        // Those behind that the hole would cut off move up.
        let mask = self.table.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let Some(other) = self.table[next].checked_sub(1) else { break };
            let home = self.home(self.keys[other as usize]);
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.table[hole] = self.table[next];
                hole = next;
            }
        }
        self.table[hole] = 0;
    }

    /// True if the extent of a key was missed before, and not long ago; it is noted that it was.
    pub(super) fn was_missed(&mut self, key: u64) -> bool {
        let mask = self.missed.len() - 1;
        let (place, tag) = ((key >> 16) as usize & mask, (key >> 48) as u16 | 1);
        std::mem::replace(&mut self.missed[place], tag) == tag
    }

    fn home(&self, key: u64) -> usize {
        key as usize & (self.table.len() - 1)
    }

    // Where the table has a key, or where it would go.
    fn place_of(&self, key: u64) -> Result<usize, usize> {
        self.probe(key, |slot| self.keys[slot as usize] == key)
    }

    fn place_of_slot(&self, key: u64, wanted: u32) -> Result<usize, usize> {
        self.probe(key, |slot| slot == wanted)
    }

    fn probe(&self, key: u64, is_it: impl Fn(u32) -> bool) -> Result<usize, usize> {
        let mask = self.table.len() - 1;
        let mut place = self.home(key);
        loop {
            match self.table[place].checked_sub(1) {
                None => return Err(place),
                Some(slot) if is_it(slot) => return Ok(place),
                Some(_) => place = (place + 1) & mask,
            }
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
