//! Memory of rows: leasing segments, installing cold reads, reclaiming clean segments.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits::{
    RECLAIM_CHOICE, RECLAIM_ROWS_AHEAD, SEGMENT_BYTES, SEGMENT_ROW_BYTES_MAX, SEGMENTS_SPARE_MAX,
};
use crate::lsm::index::Pos;
use crate::lsm::rows::{FIRST_ROW, Owner, Rows, Segment};
use crate::lsm::segment::{self, MemRow, Memory, NewRow, SEGMENTS_MAX};
use crate::types::RowKind;

impl Rows {
    /// Installs what a cold read found, where memory holds nothing of the key. Best effort.
    pub fn install(&mut self, hash: u64, key: &[u8], kind: RowKind, value: &[u8]) {
        if self.find(hash, key).is_some() {
            return;
        }
        let row =
            NewRow { kind, epoch: 0, key, value: [value, &[]], capacity: value.len(), chain: None };
        let bytes = row.slot_bytes();
        if bytes > SEGMENT_ROW_BYTES_MAX {
            return;
        }
        let room = self.clean_open.is_some_and(|id| self.fits(id, bytes));
        if !room {
            let Some(id) = self.lease(SEGMENT_BYTES, Owner::Clean) else { return };
            self.open_clean(id);
        }
        // Leasing may have reclaimed, and reclaiming may have opened another segment.
        let id = self.clean_open.expect("just opened");
        if self.fits(id, bytes) {
            let pos = self.append_clean(id, row);
            self.index.insert(hash, pos);
        }
    }

    fn fits(&self, id: u32, bytes: usize) -> bool {
        let segment = &self.segments[id as usize];
        segment.memory.bytes().len() - segment.used >= bytes
            && self.clear_count - segment.clears_before <= u64::from(u16::MAX)
    }

    fn open_clean(&mut self, id: u32) {
        self.clean_open = Some(id);
        self.clean.push_back(id);
    }

    fn append_clean(&mut self, id: u32, mut row: NewRow<'_>) -> Pos {
        let segment = &mut self.segments[id as usize];
        row.epoch = (self.clear_count - segment.clears_before) as u16;
        let offset = segment.used;
        row.write(segment.memory.bytes_mut(), offset);
        segment.used += row.slot_bytes();
        segment.live += row.slot_bytes();
        segment::pos(id, offset)
    }

    // A segment of `bytes` within the limit, reclaiming clean ones as needed.
    pub(super) fn lease(&mut self, bytes: usize, owner: Owner) -> Option<u32> {
        if self.make_room(bytes) { Some(self.lease_beyond(bytes, owner)) } else { None }
    }

    /// Reclaims clean segments until `bytes` more fit the limit.
    pub(super) fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > self.limit_bytes {
            if !self.reclaim() {
                return false;
            }
        }
        !self.free.is_empty() || self.segments.len() < SEGMENTS_MAX
    }

    pub(super) fn lease_beyond(&mut self, bytes: usize, owner: Owner) -> u32 {
        let spare = if bytes == SEGMENT_BYTES { self.spare.pop() } else { None };
        let memory = spare.unwrap_or_else(|| segment::map_block(bytes));
        self.bytes += memory.len();
        let fresh = Segment {
            memory: Memory::Owned(memory),
            used: FIRST_ROW,
            live: 0,
            lease: 0,
            owner,
            clears_before: self.clear_count,
        };
        if let Some(id) = self.free.pop() {
            let slot = &mut self.segments[id as usize];
            *slot = Segment { lease: slot.lease.wrapping_add(1), ..fresh };
            return id;
        }
        self.segments.push(fresh);
        (self.segments.len() - 1) as u32
    }

    fn release(&mut self, id: u32) {
        let segment = &mut self.segments[id as usize];
        segment.owner = Owner::Free;
        let memory = match std::mem::replace(&mut segment.memory, Memory::None) {
            Memory::None => return self.free.push(id),
            Memory::Owned(memory) => memory,
            // A job that still reads it keeps it; the copy of the count is the job's grant.
            Memory::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(memory) => memory,
                Err(shared) => {
                    self.bytes -= shared.len();
                    self.free.push(id);
                    return;
                }
            },
        };
        self.bytes -= memory.len();
        if memory.len() == SEGMENT_BYTES && self.spare.len() < SEGMENTS_SPARE_MAX {
            self.spare.push(memory);
        }
        self.free.push(id);
    }

    /// Gives clean segments back until `bytes` are free, for another store that needs them.
    /// Returns how many are.
    pub fn give_back(&mut self, bytes: usize) -> usize {
        let before = self.bytes;
        while before - self.bytes.min(before) < bytes && self.reclaim() {}
        before.saturating_sub(self.bytes)
    }

    /// Gives one clean segment back, keeping the rows that were used since the last pass. False
    /// if there is no clean segment.
    fn reclaim(&mut self) -> bool {
        let Some(victim) = self.choose_victim() else { return false };
        // Most of it goes even if every row was used, so that a pass makes progress.
        let mut keep_bytes = self.segments[victim as usize].used / 4 * 3;
        let mut offset = FIRST_ROW;
        let mut ahead = FIRST_ROW;
        // The memory is taken out while its rows are walked, so that survivors can be appended.
        let used = self.segments[victim as usize].used;
        let memory = std::mem::replace(&mut self.segments[victim as usize].memory, Memory::None);
        let mut window: VecDeque<u64> = VecDeque::with_capacity(RECLAIM_ROWS_AHEAD);
        while offset < used {
            while window.len() < RECLAIM_ROWS_AHEAD && ahead < used {
                let row = segment::read(memory.bytes(), ahead);
                let hash = crate::codec::hash::hash64(row.key);
                self.index.prefetch(hash);
                window.push_back(hash);
                ahead += row.slot_bytes;
            }
            let row = segment::read(memory.bytes(), offset);
            let hash = window.pop_front().expect("one hash a row");
            self.evict(hash, segment::pos(victim, offset), &row, victim, &mut keep_bytes);
            offset += row.slot_bytes;
        }
        self.segments[victim as usize].memory = memory;
        self.release(victim);
        true
    }

    fn evict(&mut self, hash: u64, pos: Pos, row: &MemRow<'_>, victim: u32, keep: &mut usize) {
        let Some((at, _)) = self.index.find(hash, |p| p == pos) else { return };
        let masked = self.masked(row, &self.segments[victim as usize]);
        let kind = row.kind.filter(|&k| k != RowKind::Merge && !masked);
        let new = NewRow {
            kind: kind.unwrap_or(RowKind::Delete),
            epoch: 0,
            key: row.key,
            value: [row.value, &[]],
            capacity: row.value.len(),
            chain: None,
        };
        let bytes = new.slot_bytes();
        let survives = kind.is_some()
            && bytes <= SEGMENT_ROW_BYTES_MAX
            && bytes <= *keep
            && self.index.referenced(at);
        if !survives {
            self.index.remove(at);
            self.evicted += 1;
            return;
        }
        *keep -= bytes;
        let open = self.clean_open.filter(|&id| self.fits(id, bytes));
        let id = open.unwrap_or_else(|| {
            // One segment beyond the limit until the victim is given back.
            let id = self.lease_beyond(SEGMENT_BYTES, Owner::Clean);
            self.open_clean(id);
            id
        });
        let to = self.append_clean(id, new);
        self.index.relocate(at, to);
    }

    // Of the oldest clean segments the one with the least to lose.
    fn choose_victim(&mut self) -> Option<u32> {
        let (at, _) = self
            .clean
            .iter()
            .enumerate()
            .filter(|&(_, &id)| Some(id) != self.clean_open)
            .take(RECLAIM_CHOICE)
            .min_by_key(|&(_, &id)| self.segments[id as usize].live)?;
        self.clean.remove(at)
    }
}
