//! Generations of rows: clear, freeze, turn clean.

use std::sync::Arc;

use crate::lsm::rows::{Clear, Generation, Owner, Rows, Segment};
use crate::lsm::segment::{Block, Memory};

/// A frozen generation, as a flush job gets it: nothing in it changes any more.
#[derive(Debug)]
pub struct FrozenRows {
    /// Names the generation when the flush is applied.
    pub generation: u64,
    /// Its segments: bytes, used length, clears before the lease.
    pub segments: Vec<FrozenSegment>,
    /// Maps cleared in the generation, with the count of clears at that time.
    pub clears: Vec<(Box<[u8]>, u64)>,
    /// Bytes of rows, dead ones included.
    pub bytes: usize,
}

/// One segment of a frozen generation.
#[derive(Clone, Debug)]
pub struct FrozenSegment {
    /// Rows from `FIRST_ROW` to `used`.
    pub memory: Arc<Block>,
    /// End of the rows.
    pub used: usize,
    /// Clears of the store when the segment was leased.
    pub clears_before: u64,
}

impl Rows {
    /// Clears a map in O(1): rows of it written so far are masked from here on.
    pub fn clear(&mut self, prefix: &[u8]) {
        self.clear_count += 1;
        let clear =
            Clear { count: self.clear_count, generation: self.active.number, flushed: false };
        let fresh = match self.clears.insert(prefix.into(), clear) {
            Some(old) => old.generation != self.active.number,
            None => true,
        };
        if fresh {
            self.active.clears.push(prefix.into());
        }
    }

    /// The stored keys of a map's dirty entries from `from` on, in order, at most `count`.
    #[must_use]
    pub fn dirty_entries(&self, prefix: &[u8], from: &[u8], count: usize) -> Vec<Box<[u8]>> {
        use std::ops::Bound::{Included, Unbounded};
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        for generation in self.frozen.iter().chain([&self.active]) {
            let range = generation.entries.range::<[u8], _>((Included(from), Unbounded));
            keys.extend(range.take_while(|k| k.starts_with(prefix)).take(count).cloned());
        }
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(count);
        keys
    }

    /// Ends the active generation: its rows never change again. `None` if there is nothing.
    pub fn freeze(&mut self) -> Option<FrozenRows> {
        if self.active_is_empty() {
            return None;
        }
        let next = Generation { number: self.active.number + 1, ..Generation::default() };
        let mut generation = std::mem::replace(&mut self.active, next);
        let mut segments = Vec::with_capacity(generation.segments.len());
        for &id in &generation.segments {
            segments.push(self.segments[id as usize].freeze());
        }
        let clears = std::mem::take(&mut generation.clears)
            .into_iter()
            .map(|prefix| {
                let count = self.clears[&prefix].count;
                (prefix, count)
            })
            .collect();
        let frozen =
            FrozenRows { generation: generation.number, segments, clears, bytes: generation.bytes };
        self.frozen.push_back(generation);
        Some(frozen)
    }

    /// The flush of the oldest frozen generation was applied: its rows are clean.
    pub fn turn_clean(&mut self, generation: u64) {
        let done = self.frozen.pop_front().expect("a flush was running");
        assert_eq!(done.number, generation, "flushes are applied in the order of the freezes");
        for id in done.segments {
            self.segments[id as usize].owner = Owner::Clean;
            self.clean.push_back(id);
        }
        for clear in self.clears.values_mut() {
            clear.flushed |= clear.generation <= generation;
        }
        self.forget_clears();
    }

    // A clear that every row in memory is younger than masks nothing any more.
    fn forget_clears(&mut self) {
        if self.clears.is_empty() {
            return;
        }
        let leased = self.segments.iter().filter(|s| s.owner != Owner::Free);
        let oldest = leased.map(|s| s.clears_before).min().unwrap_or(u64::MAX);
        self.clears.retain(|_, clear| !clear.flushed || clear.count > oldest);
    }
}

impl Segment {
    fn freeze(&mut self) -> FrozenSegment {
        let shared = match std::mem::replace(&mut self.memory, Memory::None) {
            Memory::Owned(block) => Arc::new(block),
            Memory::Shared(block) => block,
            Memory::None => unreachable!("an active segment has its memory"),
        };
        self.memory = Memory::Shared(Arc::clone(&shared));
        self.owner = Owner::Frozen;
        FrozenSegment { memory: shared, used: self.used, clears_before: self.clears_before }
    }
}
