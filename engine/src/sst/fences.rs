//! The resident index of a table: which unit may hold a key, and where that unit lies.
//!
//! For each unit there is a separator `s` with last key of the unit before < s <= first key of the
//! unit. Three levels: a partition (the rows of one filter) has groups, a group has up to
//! `FENCE_GROUP_UNITS` units. In every level the separators of one node form a list: keys that
//! reach the list share `prefix_len` bytes, which are therefore not stored; the eight bytes behind
//! them (without the list's gap, if it has one) stand in an array of u64, and only where these
//! cannot decide is the full rest kept.
//!
//! Invariants:
//! 1. A key that reaches a list lies between the list's first separator and the first separator
//!    of the next list (or the largest key), so it shares the common prefix of the two: no compare.
//! 2. The first entry of a list is never compared: whatever is below the second belongs to it.
//! 3. Heads of a list order like the keys: a greater key never has a smaller one. An entry without
//!    a full rest has all of it in its head: an equal head alone proves key >= separator.
//! 4. All groups of a partition but the last have `FENCE_GROUP_UNITS` units, so that a unit's
//!    number follows from its group's number without a look at the group.

use std::ops::Range;

use crate::limits::{FENCE_GROUP_UNITS, FENCE_HEADS_AHEAD_MAX, PAGE_BYTES, SST_GRANULE_BYTES};
use crate::mem::prefetch::prefetch;
use crate::sst::fences_gap::Gap;
use crate::sst::layout::Extent;
use crate::types::key::head_u64;

/// Heads of one cache line.
const LINE_HEADS: usize = 8;

/// One level: the entries of all its lists, one list after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub heads: Vec<u64>,
    /// Entries whose full rest is kept, ascending.
    pub full_at: Vec<u32>,
    /// Where the rest of each of them ends in `full_bytes`.
    pub full_end: Vec<u32>,
    pub full_bytes: Vec<u8>,
}

impl Level {
    /// The last entry of `list` whose separator is not above the key with this `head` and this
    /// `rest` behind the list's prefix; `full` are the list's places in `full_at`.
    #[inline]
    fn search(&self, list: Range<usize>, full: Range<usize>, (head, rest): Reduced<'_>) -> usize {
        let Some(heads) = self.heads.get(list.clone()) else { return list.start };
        let above = heads.partition_point(|&h| h <= head);
        match above.checked_sub(1) {
            None => list.start,
            Some(last) if heads[last] < head => list.start + last,
            Some(last) => self.search_tie(list, full, rest, last),
        }
    }

    // Entries up to `last` of the list may have the key's own head: their full rests decide.
    fn search_tie(
        &self,
        list: Range<usize>,
        full: Range<usize>,
        rest: &[u8],
        last: usize,
    ) -> usize {
        let head = self.heads[list.start + last];
        let run = list.start + self.heads[list.clone()].partition_point(|&h| h < head);
        let places = self.full_at.get(full.clone()).unwrap_or_default();
        // Within the run only its first entry may lack a rest (3), or be the list's first (2).
        let skip = places.partition_point(|&at| (at as usize) < run);
        let end = places.partition_point(|&at| (at as usize) <= list.start + last);
        let (mut low, mut high) = (full.start + skip, full.start + end);
        while low < high {
            let middle = (low + high) / 2;
            if self.full(middle) <= rest {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low > full.start + skip {
            return self.full_at[low - 1] as usize;
        }
        let decided_by_head = self.full_at.get(low).is_none_or(|&at| at as usize != run);
        if decided_by_head || run == list.start { run } else { run - 1 }
    }

    fn full(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { self.full_end[place - 1] as usize };
        &self.full_bytes[start..self.full_end[place] as usize]
    }

    fn shrink(&mut self) {
        self.heads.shrink_to_fit();
        self.full_at.shrink_to_fit();
        self.full_end.shrink_to_fit();
        self.full_bytes.shrink_to_fit();
    }

    fn memory_bytes(&self) -> usize {
        self.heads.capacity() * 8
            + (self.full_at.capacity() + self.full_end.capacity()) * 4
            + self.full_bytes.capacity()
    }

    #[inline]
    fn prefetch(&self, list: Range<usize>) {
        if let Some(heads) = self.heads.get(list)
            && heads.len() <= FENCE_HEADS_AHEAD_MAX
        {
            heads.iter().step_by(LINE_HEADS).for_each(prefetch);
            heads.last().map(prefetch);
        }
    }
}

/// A key as a list sees it: its head, and what is behind the list's prefix.
type Reduced<'a> = (u64, &'a [u8]);

/// What the keys of a list need not be compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Common {
    pub prefix_len: u16,
    /// A number of `Fences::gaps`, from 1; zero where the list has no gap.
    pub gap: u16,
}

/// Where the units of a group lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// Raw pages in a row from this granule.
    Regular(u32),
    /// One granule per unit, from this index of `Fences::granules`.
    Each(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub places: Places,
    pub common: Common,
    /// The group's first place in the unit level's `full_at`.
    pub full_first: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub unit_first: u32,
    pub group_first: u32,
    pub common: Common,
    /// The partition's first place in the group level's `full_at`.
    pub full_first: u32,
}

/// The resident index of one table; a table without rows has an empty one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fences {
    pub(super) units: Level,
    pub(super) groups: Level,
    pub(super) root: Level,
    pub(super) root_common: Common,
    pub(super) gaps: Vec<Gap>,
    pub(super) partition_nodes: Vec<Partition>,
    pub(super) group_nodes: Vec<Group>,
    pub(super) granules: Vec<u32>,
    /// First byte behind the last unit.
    pub(super) data_end: u64,
}

impl Fences {
    /// Units of the table.
    #[must_use]
    pub fn units(&self) -> u32 {
        count(self.units.heads.len())
    }

    /// Partitions of the table: the number of its filters.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partition_nodes.len()
    }

    /// Groups of units.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.group_nodes.len()
    }

    /// Gaps that its lists leave out.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// Bytes of memory behind this index.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.units.memory_bytes()
            + self.groups.memory_bytes()
            + self.root.memory_bytes()
            + self.partition_nodes.capacity() * size_of::<Partition>()
            + self.group_nodes.capacity() * size_of::<Group>()
            + self.gaps.capacity() * size_of::<Gap>()
            + self.granules.capacity() * 4
    }

    /// Gives back what growing left over: a table lives long.
    pub(super) fn shrink(&mut self) {
        self.units.shrink();
        self.groups.shrink();
        self.root.shrink();
        self.partition_nodes.shrink_to_fit();
        self.group_nodes.shrink_to_fit();
        self.gaps.shrink_to_fit();
        self.granules.shrink_to_fit();
    }

    /// The partition that may hold `key`, which lies between the table's smallest and largest
    /// key. The table has rows.
    #[inline]
    #[must_use]
    pub fn partition(&self, key: &[u8]) -> usize {
        let all = 0..self.partition_nodes.len();
        self.root.search(all, 0..self.root.full_at.len(), self.reduced(key, self.root_common))
    }

    /// Asks the CPU for what `group_in` searches.
    #[inline]
    pub fn prefetch_groups(&self, partition: usize) {
        self.groups.prefetch(self.groups_of(partition));
    }

    /// The group of `partition` that may hold `key`, under the same conditions.
    #[inline]
    #[must_use]
    pub fn group_in(&self, partition: usize, key: &[u8]) -> usize {
        let node = &self.partition_nodes[partition];
        let full = node.full_first as usize..self.full_end(partition);
        let rest = self.reduced(key, node.common);
        self.groups.search(self.groups_of(partition), full, rest)
    }

    /// Asks the CPU for what `unit_in` searches.
    #[inline]
    pub fn prefetch_units(&self, partition: usize, group: usize) {
        prefetch(&self.group_nodes[group]);
        self.units.prefetch(self.units_of(partition, group));
    }

    /// The unit of a group of `partition` that may hold `key`, under the same conditions.
    #[inline]
    #[must_use]
    pub fn unit_in(&self, partition: usize, group: usize, key: &[u8]) -> u32 {
        let units = self.units_of(partition, group);
        let node = &self.group_nodes[group];
        let full_end = self.group_nodes.get(group + 1).map(|g| g.full_first as usize);
        let full = node.full_first as usize..full_end.unwrap_or(self.units.full_at.len());
        count(self.units.search(units, full, self.reduced(key, node.common)))
    }

    /// The unit that may hold `key`, under the same conditions.
    #[must_use]
    pub fn unit_at(&self, key: &[u8]) -> u32 {
        let partition = self.partition(key);
        self.unit_in(partition, self.group_in(partition, key), key)
    }

    /// Where unit `unit` lies; `None` past the last.
    #[must_use]
    pub fn extent(&self, unit: u32) -> Option<Extent> {
        let (group, within) = self.group_of(unit)?;
        let granule = SST_GRANULE_BYTES as u64;
        match self.group_nodes[group].places {
            Places::Regular(first) => Some(Extent {
                offset: u64::from(first) * granule + u64::from(within) * PAGE_BYTES as u64,
                len: PAGE_BYTES as u32,
            }),
            Places::Each(first) => {
                let offset = u64::from(self.granules[(first + within) as usize]) * granule;
                // A unit ends where the next begins, unless a large value lies between.
                let end = self.offset(unit + 1).min(offset + PAGE_BYTES as u64);
                Some(Extent { offset, len: u32::try_from(end - offset).unwrap_or(0) })
            }
        }
    }

    /// Where unit `unit` begins; past the last, where the units end.
    #[must_use]
    pub fn offset(&self, unit: u32) -> u64 {
        let Some((group, within)) = self.group_of(unit) else { return self.data_end };
        let granule = SST_GRANULE_BYTES as u64;
        match self.group_nodes[group].places {
            Places::Regular(first) => {
                u64::from(first) * granule + u64::from(within) * PAGE_BYTES as u64
            }
            Places::Each(first) => u64::from(self.granules[(first + within) as usize]) * granule,
        }
    }

    #[inline]
    fn reduced<'a>(&self, key: &'a [u8], common: Common) -> Reduced<'a> {
        let rest = key.get(usize::from(common.prefix_len)..).unwrap_or_default();
        let head = if common.gap == 0 { head_u64(rest) } else { self.gap_head(common.gap, rest) };
        (head, rest)
    }

    // Apart, so that lists without a gap do not pay for the code.
    #[inline(never)]
    fn gap_head(&self, gap: u16, rest: &[u8]) -> u64 {
        self.gaps[usize::from(gap) - 1].head(rest)
    }

    fn group_of(&self, unit: u32) -> Option<(usize, u32)> {
        if unit >= self.units() {
            return None;
        }
        let partition = self.partition_nodes.partition_point(|p| p.unit_first <= unit) - 1;
        let node = &self.partition_nodes[partition];
        let within = unit - node.unit_first;
        let group = node.group_first + within / FENCE_GROUP_UNITS as u32;
        Some((group as usize, within % FENCE_GROUP_UNITS as u32))
    }

    #[inline]
    pub(super) fn groups_of(&self, partition: usize) -> Range<usize> {
        let end = self.partition_nodes.get(partition + 1).map(|p| p.group_first as usize);
        let first = self.partition_nodes[partition].group_first as usize;
        first..end.unwrap_or(self.group_nodes.len())
    }

    #[inline]
    pub(super) fn units_of(&self, partition: usize, group: usize) -> Range<usize> {
        let node = &self.partition_nodes[partition];
        let first =
            node.unit_first as usize + (group - node.group_first as usize) * FENCE_GROUP_UNITS;
        let end = self.partition_nodes.get(partition + 1).map(|p| p.unit_first as usize);
        first..(first + FENCE_GROUP_UNITS).min(end.unwrap_or(self.units.heads.len()))
    }

    #[inline]
    fn full_end(&self, partition: usize) -> usize {
        let next = self.partition_nodes.get(partition + 1).map(|p| p.full_first as usize);
        next.unwrap_or(self.groups.full_at.len())
    }
}

/// Counts inside a table fit 32 bits: the builder asserts it and the decoder reads them so.
#[inline]
pub(super) fn count(value: usize) -> u32 {
    u32::try_from(value).expect("a table has fewer than 2^32 entries")
}

#[cfg(test)]
#[path = "fences_tests.rs"]
mod tests;
