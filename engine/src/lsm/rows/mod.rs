//! The rows of a store in memory: memtable and row cache in one structure, found by one probe.
//!
//! Invariants:
//! 1. The index names at most one row of a key: the newest.
//! 2. Dirty rows lie in segments of the active generation (they change in place) or of a frozen
//!    one (they never change: a write makes a new row in the active generation).
//! 3. A frozen generation turns clean as a whole when its flush was applied. Its rows that were
//!    rewritten since are not named by the index any more.
//! 4. A partial row (`Merge`) is dirty. In a clean segment it means nothing. In a frozen segment it
//!    may be the tail of a chain that starts at a partial row of a younger generation.
//! 5. A clear masks the rows of its map that were written before it: rows carry the count of
//!    clears at their last write, the clear the count at its own time.
//!
//! Clean segments form a queue; reclaiming one keeps the rows that were read since the last pass
//! (CLOCK over memory in the order it lies, not over the index).

mod freeze;
mod merge;
mod reclaim;

pub use freeze::{FrozenRows, FrozenSegment};

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Default;

use crate::limits::{SEGMENT_BYTES, SEGMENT_ROW_BYTES_MAX};
use crate::lsm::index::{EntryAt, Index, Pos};
use crate::lsm::segment::{self, Block, MemRow, Memory, NewRow};
use crate::types::RowKind;
use crate::types::key::collection_prefix;

type Hasher = BuildHasherDefault<Xxh3Default>;

/// What memory knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing: ask the runs.
    Nothing,
    /// The value, whatever the runs say.
    Put(&'a [u8]),
    /// Absent, whatever the runs say.
    Absent,
    /// Operands, oldest first, to be folded onto what the runs say.
    Partial(SmallVec<[&'a [u8]; 2]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    Active,
    Frozen,
    Clean,
}

#[derive(Debug)]
struct Segment {
    memory: Memory,
    used: usize,
    // Bytes of rows that the index names.
    live: usize,
    // Counts the uses of the slot, so that a chain into a reused segment is seen to be stale.
    lease: u32,
    owner: Owner,
    // Clears of the store when it was leased.
    clears_before: u64,
}

/// Rows written between two freezes.
#[derive(Debug, Default)]
struct Generation {
    number: u64,
    segments: Vec<u32>,
    bytes: usize,
    // Dirty map entries in order: what a scan of a map must see.
    entries: BTreeSet<Box<[u8]>>,
    clears: Vec<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
struct Clear {
    count: u64,
    generation: u64,
    flushed: bool,
}

/// Offset of the first row of a segment: position zero is reserved.
pub const FIRST_ROW: usize = 8;

/// Rows of one store. See the invariants above.
#[derive(Debug, Default)]
pub struct Rows {
    index: Index,
    segments: Vec<Segment>,
    free: Vec<u32>,
    spare: Vec<Block>,
    active: Generation,
    frozen: VecDeque<Generation>,
    clean: VecDeque<u32>,
    clean_open: Option<u32>,
    clears: HashMap<Box<[u8]>, Clear, Hasher>,
    clear_count: u64,
    bytes: usize,
    limit_bytes: usize,
    evicted: u64,
    scratch: Vec<u8>,
}

impl Rows {
    /// Memory held: segments, index, entry sets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.index.bytes() + self.entry_bytes()
    }

    fn entry_bytes(&self) -> usize {
        // Key, box and B-tree share, by size of the structures.
        let entries: usize = self.frozen.iter().map(|g| g.entries.len()).sum();
        (entries + self.active.entries.len() + self.clears.len()) * ENTRY_BYTES
    }

    /// Rows evicted since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Sets how much memory the rows may take; what lies above is reclaimed as room is needed.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit_bytes = bytes.saturating_sub(self.index.bytes() + self.entry_bytes());
    }

    /// Bytes written since the last freeze.
    #[must_use]
    pub fn active_bytes(&self) -> usize {
        self.active.bytes
    }

    /// Segments that a flush would turn clean.
    #[must_use]
    pub fn active_segments(&self) -> usize {
        self.active.segments.len()
    }

    /// True if a freeze would have nothing to flush.
    #[must_use]
    pub fn active_is_empty(&self) -> bool {
        self.active.segments.is_empty() && self.active.clears.is_empty()
    }

    /// The generations that are frozen and not yet clean, oldest first.
    pub fn frozen_generations(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.frozen.iter().map(|g| g.number)
    }

    /// Bytes of those generations.
    #[must_use]
    pub fn frozen_bytes(&self) -> usize {
        self.frozen.iter().map(|g| g.bytes).sum()
    }

    /// Stage one of a batched probe.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Stage two: the row's cache lines.
    #[inline]
    pub fn prefetch_row(&self, hash: u64) {
        if let Some(pos) = self.index.guess(hash) {
            let (segment, offset) = segment::place(pos);
            segment::prefetch_row(self.segments[segment].memory.bytes(), offset);
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<(EntryAt, Pos)> {
        self.index.find(hash, |pos| {
            let (segment, offset) = segment::place(pos);
            segment::has_key(self.segments[segment].memory.bytes(), offset, key)
        })
    }

    #[inline]
    fn row(&self, pos: Pos) -> (MemRow<'_>, &Segment) {
        let (index, offset) = segment::place(pos);
        let segment = &self.segments[index];
        (segment::read(segment.memory.bytes(), offset), segment)
    }

    fn masked(&self, row: &MemRow<'_>, segment: &Segment) -> bool {
        if self.clears.is_empty() {
            return false;
        }
        let written = segment.clears_before + u64::from(row.epoch);
        collection_prefix(row.key)
            .and_then(|prefix| self.clears.get(prefix))
            .is_some_and(|clear| written < clear.count)
    }

    /// True if the map of `key` was cleared and no run knows it yet: what memory does not hold
    /// is absent.
    #[must_use]
    pub fn cleared(&self, key: &[u8]) -> bool {
        !self.clears.is_empty()
            && collection_prefix(key)
                .and_then(|prefix| self.clears.get(prefix))
                .is_some_and(|clear| !clear.flushed)
    }

    /// Looks a key up and marks its row as used.
    #[inline]
    pub fn probe(&mut self, hash: u64, key: &[u8]) -> Found<'_> {
        let Some((at, pos)) = self.find(hash, key) else {
            return self.nothing(key);
        };
        self.index.touch(at);
        let (row, segment) = self.row(pos);
        if self.masked(&row, segment) {
            return self.nothing(key);
        }
        match row.kind {
            Some(RowKind::Put) => Found::Put(row.value),
            Some(RowKind::Delete) => Found::Absent,
            Some(RowKind::Merge) if segment.owner != Owner::Clean => {
                Found::Partial(self.operands(row))
            }
            _ => self.nothing(key),
        }
    }

    fn nothing(&self, key: &[u8]) -> Found<'_> {
        if self.cleared(key) { Found::Absent } else { Found::Nothing }
    }

    // The operands of a chain of partial rows, oldest first.
    fn operands<'a>(&'a self, newest: MemRow<'a>) -> SmallVec<[&'a [u8]; 2]> {
        let mut operands = SmallVec::new();
        operands.push(newest.value);
        let mut next = newest.chain;
        while let Some((pos, lease)) = next {
            let (index, offset) = segment::place(pos);
            let segment = &self.segments[index];
            // A stale chain may name the middle of a row: look at the lease first.
            if segment.lease != lease || segment.owner != Owner::Frozen {
                break;
            }
            let row = segment::read(segment.memory.bytes(), offset);
            operands.insert(0, row.value);
            next = row.chain;
        }
        operands
    }

    /// Makes sure that rows of `bytes` in all (see `row_bytes`) can be written. False: memory is
    /// full of dirty rows; try again when a flush was applied.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        if bytes > SEGMENT_ROW_BYTES_MAX {
            return self.make_room(bytes + FIRST_ROW);
        }
        if self.active_room() >= bytes {
            return true;
        }
        match self.lease(SEGMENT_BYTES, Owner::Active) {
            Some(id) => {
                self.active.segments.push(id);
                true
            }
            None => false,
        }
    }

    fn active_room(&self) -> usize {
        self.active.segments.last().map_or(0, |&id| {
            let segment = &self.segments[id as usize];
            segment.memory.bytes().len() - segment.used
        })
    }

    /// Writes a full row. `reserve(row_bytes(..))` answered true just before.
    pub fn write(&mut self, hash: u64, key: &[u8], kind: RowKind, value: &[u8]) {
        let existing = self.find(hash, key);
        if let Some((at, pos)) = existing {
            self.index.touch(at);
            if self.overwrite(pos, kind, value) {
                return;
            }
        }
        let row =
            NewRow { kind, epoch: 0, key, value: [value, &[]], capacity: value.len(), chain: None };
        self.append(hash, row, existing);
    }

    // In place where the row is of the active generation and has the room.
    fn overwrite(&mut self, pos: Pos, kind: RowKind, value: &[u8]) -> bool {
        let (index, offset) = segment::place(pos);
        let clears = self.clear_count;
        let segment = &mut self.segments[index];
        let Ok(epoch) = u16::try_from(clears - segment.clears_before) else { return false };
        segment.owner == Owner::Active
            && segment::overwrite(segment.memory.bytes_mut(), offset, kind, epoch, value)
    }

    /// The current row of a key for a merge: its position if memory holds it.
    pub(crate) fn current(&mut self, hash: u64, key: &[u8]) -> Option<Current> {
        let (at, pos) = self.find(hash, key)?;
        self.index.touch(at);
        let (row, segment) = self.row(pos);
        if self.masked(&row, segment) {
            return None;
        }
        let kind = row.kind?;
        if kind == RowKind::Merge && segment.owner == Owner::Clean {
            return None;
        }
        Some(Current { pos, kind, active: segment.owner == Owner::Active, lease: segment.lease })
    }

    /// Value or operands of a current row.
    pub(crate) fn value_of(&self, current: Current) -> &[u8] {
        self.row(current.pos).0.value
    }

    /// The chain of a current row.
    pub(crate) fn chain_of(&self, current: Current) -> Option<(Pos, u32)> {
        self.row(current.pos).0.chain
    }

    /// Extends the value of an active row in place if its capacity allows.
    pub(crate) fn extend(&mut self, current: Current, more: &[u8]) -> bool {
        let (index, offset) = segment::place(current.pos);
        current.active && segment::extend(self.segments[index].memory.bytes_mut(), offset, more)
    }

    /// Writes a row as given except for its epoch. `reserve` answered true just before.
    pub(crate) fn replace(&mut self, hash: u64, row: NewRow<'_>) {
        let existing = self.find(hash, row.key);
        if row.chain.is_none()
            && row.capacity == row.value[0].len()
            && existing.is_some_and(|(_, pos)| self.overwrite(pos, row.kind, row.value[0]))
        {
            return;
        }
        self.append(hash, row, existing);
    }

    fn append(&mut self, hash: u64, mut row: NewRow<'_>, existing: Option<(EntryAt, Pos)>) {
        let bytes = row.slot_bytes();
        if bytes > SEGMENT_ROW_BYTES_MAX {
            let id = self.lease_beyond(bytes + FIRST_ROW, Owner::Active);
            // The open segment stays last.
            let at = self.active.segments.len().saturating_sub(1);
            self.active.segments.insert(at, id);
            self.append_to(id, hash, &mut row, existing);
            return;
        }
        let epoch_fits = |s: &Segment| self.clear_count - s.clears_before <= u64::from(u16::MAX);
        let open = self.active.segments.last().copied();
        let open = open.filter(|&id| epoch_fits(&self.segments[id as usize]));
        // A merge reserves for the row to grow: what is left over may be a row of usual size, for
        // which no segment was opened.
        let id = open.filter(|_| self.active_room() >= bytes).unwrap_or_else(|| {
            let id = self.lease_beyond(SEGMENT_BYTES, Owner::Active);
            self.active.segments.push(id);
            id
        });
        self.append_to(id, hash, &mut row, existing);
    }

    fn append_to(
        &mut self,
        id: u32,
        hash: u64,
        row: &mut NewRow<'_>,
        existing: Option<(EntryAt, Pos)>,
    ) {
        let bytes = row.slot_bytes();
        let clears = self.clear_count;
        let segment = &mut self.segments[id as usize];
        row.epoch = (clears - segment.clears_before) as u16;
        let offset = segment.used;
        row.write(segment.memory.bytes_mut(), offset);
        segment.used += bytes;
        segment.live += bytes;
        self.active.bytes += bytes;
        let pos = segment::pos(id, offset);
        match existing {
            Some((at, old)) => {
                self.supersede(old);
                self.index.relocate(at, pos);
                self.index.touch(at);
            }
            None => self.index.insert(hash, pos),
        }
        if collection_prefix(row.key).is_some() && !self.active.entries.contains(row.key) {
            self.active.entries.insert(row.key.into());
        }
    }

    // The row at `pos` is not the newest any more.
    fn supersede(&mut self, pos: Pos) {
        let (index, offset) = segment::place(pos);
        let segment = &mut self.segments[index];
        segment.live -= segment::read(segment.memory.bytes(), offset).slot_bytes;
        if segment.owner == Owner::Active {
            segment::kill(segment.memory.bytes_mut(), offset);
        }
    }
}

/// A row named for the length of one merge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    /// Where it lies.
    pub pos: Pos,
    /// What it says.
    pub kind: RowKind,
    /// True if it may change in place.
    pub active: bool,
    /// Lease of its segment.
    pub lease: u32,
}

/// Memory of an entry of the ordered sets, bytes: boxed key and B-tree share.
const ENTRY_BYTES: usize = 96;

/// Bytes to reserve for a row of this key and value length, extensions included.
#[must_use]
pub fn row_bytes(key_len: usize, value_len: usize) -> usize {
    24 + 8 + key_len + value_len
}
