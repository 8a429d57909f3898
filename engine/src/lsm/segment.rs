//! Segments: the memory rows live in, and the layout of a row in memory.
//!
//! A row is a header of 8 bytes, optional extensions, the key, the value. Rows are appended and
//! never move inside a segment; a segment that was frozen never changes again, so a job may read
//! it while the shard does too.
//!
//! ```text
//!  0      u16  key length (12 bits) | kind (2 bits, 0 = dead) | HAS_CAPACITY | HAS_CHAIN
//!  2      u16  clears of the store since the segment was leased, at the last write of the row
//!  4      u32  value length
//!  8      u32  value capacity, u32 zero                       if HAS_CAPACITY
//!  8|16   u32  position of the older partial row, u32 its segment's lease   if HAS_CHAIN
//!         key, value, padding to 8
//! ```

use std::sync::Arc;

use memmap2::MmapMut;

use crate::limits::{ROW_BYTES_AHEAD, SEGMENT_BYTES, STORED_KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::lsm::index::Pos;
use crate::mem::prefetch::prefetch_all;
use crate::types::RowKind;

const HEADER: usize = 8;
const EXTENSION: usize = 8;
const KEY_LEN_MASK: u16 = 0x0fff;
const KIND_SHIFT: u16 = 12;
const KIND_MASK: u16 = 0x3000;
const HAS_CAPACITY: u16 = 0x4000;
const HAS_CHAIN: u16 = 0x8000;
/// Granule of positions, bytes.
const GRANULE: usize = 8;
const OFFSET_BITS: u32 = (SEGMENT_BYTES / GRANULE).trailing_zeros();

const _: () = assert!(STORED_KEY_BYTES_MAX <= KEY_LEN_MASK as usize);
const _: () = assert!(SEGMENT_BYTES.is_power_of_two());
const _: () = assert!(VALUE_BYTES_MAX < u32::MAX as usize);

/// The position of byte `offset` of segment `segment`.
#[inline]
pub fn pos(segment: u32, offset: usize) -> Pos {
    segment << OFFSET_BITS | (offset / GRANULE) as u32
}

/// Segment and byte offset of a position.
#[inline]
pub fn place(pos: Pos) -> (usize, usize) {
    ((pos >> OFFSET_BITS) as usize, (pos as usize & ((1 << OFFSET_BITS) - 1)) * GRANULE)
}

/// Most segments that positions can name.
pub const SEGMENTS_MAX: usize = 1 << (32 - OFFSET_BITS);

/// The bytes of a segment: a map of its own, so that what is given back leaves the process at once
/// instead of lying in an allocator's arena.
pub type Block = MmapMut;

/// Maps a block of zeros.
///
/// # Panics
/// If the kernel has no memory or no room for a map.
#[must_use]
pub fn map_block(bytes: usize) -> Block {
    MmapMut::map_anon(bytes).expect("the kernel maps row memory within the budget")
}

/// Memory of a segment: owned while rows may change, shared from the freeze on.
#[derive(Debug)]
pub enum Memory {
    /// Only the shard sees it.
    Owned(Block),
    /// Taken out for a moment, or given back.
    None,
    /// Frozen: jobs may read it too.
    Shared(Arc<Block>),
}

impl Memory {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(block) => block,
            Self::Shared(block) => block,
            Self::None => &[],
        }
    }

    /// The bytes of a segment that was not frozen.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Owned(block) => block,
            Self::Shared(_) | Self::None => unreachable!("a frozen segment never changes"),
        }
    }
}

/// A row as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct MemRow<'a> {
    /// `None` for a row that was superseded before its segment was frozen.
    pub kind: Option<RowKind>,
    /// Clears of the store between the segment's lease and the row's last write.
    pub epoch: u16,
    /// Stored key.
    pub key: &'a [u8],
    /// Value or operands.
    pub value: &'a [u8],
    /// The older partial row this one builds on: position and lease.
    pub chain: Option<(Pos, u32)>,
    /// Bytes the row occupies.
    pub slot_bytes: usize,
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("a row has its header"))
}

#[inline]
fn align(bytes: usize) -> usize {
    (bytes + GRANULE - 1) & !(GRANULE - 1)
}

/// Reads the row at `offset`.
#[inline]
pub fn read(bytes: &[u8], offset: usize) -> MemRow<'_> {
    let row = &bytes[offset..];
    let word = u16_at(row, 0);
    let key_len = usize::from(word & KEY_LEN_MASK);
    let value_len = u32_at(row, 4) as usize;
    let mut at = HEADER;
    let mut capacity = value_len;
    let mut chain = None;
    if word & (HAS_CAPACITY | HAS_CHAIN) != 0 {
        if word & HAS_CAPACITY != 0 {
            capacity = u32_at(row, at) as usize;
            at += EXTENSION;
        }
        if word & HAS_CHAIN != 0 {
            chain = Some((u32_at(row, at), u32_at(row, at + 4)));
            at += EXTENSION;
        }
    }
    let value_at = at + key_len;
    MemRow {
        kind: RowKind::from_u8(((word & KIND_MASK) >> KIND_SHIFT) as u8),
        epoch: u16_at(row, 2),
        key: &row[at..value_at],
        value: &row[value_at..value_at + value_len],
        chain,
        slot_bytes: align(value_at + capacity),
    }
}

/// Asks the CPU for the row at `offset`, as far as most rows reach.
#[inline]
pub fn prefetch_row(bytes: &[u8], offset: usize) {
    let row = &bytes[offset..];
    prefetch_all(&row[..row.len().min(ROW_BYTES_AHEAD)]);
}

/// True if the row at `offset` has this key; cheaper than `read` where most rows match.
#[inline]
pub fn has_key(bytes: &[u8], offset: usize, key: &[u8]) -> bool {
    let row = &bytes[offset..];
    let word = u16_at(row, 0);
    if usize::from(word & KEY_LEN_MASK) != key.len() {
        return false;
    }
    let at = HEADER
        + if word & HAS_CAPACITY != 0 { EXTENSION } else { 0 }
        + if word & HAS_CHAIN != 0 { EXTENSION } else { 0 };
    &row[at..at + key.len()] == key
}

/// What to write as a row.
#[derive(Clone, Copy, Debug)]
pub struct NewRow<'a> {
    /// What the row says.
    pub kind: RowKind,
    /// Clears of the store since the segment was leased.
    pub epoch: u16,
    /// Stored key.
    pub key: &'a [u8],
    /// The value is the concatenation of both parts.
    pub value: [&'a [u8]; 2],
    /// Room for the value to grow to in place; at least its length.
    pub capacity: usize,
    /// The older partial row this one builds on.
    pub chain: Option<(Pos, u32)>,
}

impl NewRow<'_> {
    fn value_len(&self) -> usize {
        self.value[0].len() + self.value[1].len()
    }

    /// Bytes the row will occupy.
    #[inline]
    pub fn slot_bytes(&self) -> usize {
        let extensions = usize::from(self.capacity > self.value_len()) * EXTENSION
            + usize::from(self.chain.is_some()) * EXTENSION;
        align(HEADER + extensions + self.key.len() + self.capacity)
    }

    /// Writes the row at `offset`; `bytes` has room for it.
    #[inline]
    pub fn write(&self, bytes: &mut [u8], offset: usize) {
        let row = &mut bytes[offset..offset + self.slot_bytes()];
        let value_len = self.value_len();
        let mut word = self.key.len() as u16 | (self.kind as u16) << KIND_SHIFT;
        let mut at = HEADER;
        if self.capacity > value_len {
            word |= HAS_CAPACITY;
            row[at..at + 8].copy_from_slice(&(self.capacity as u64).to_le_bytes());
            at += EXTENSION;
        }
        if let Some((pos, lease)) = self.chain {
            word |= HAS_CHAIN;
            row[at..at + 4].copy_from_slice(&pos.to_le_bytes());
            row[at + 4..at + 8].copy_from_slice(&lease.to_le_bytes());
            at += EXTENSION;
        }
        row[..2].copy_from_slice(&word.to_le_bytes());
        row[2..4].copy_from_slice(&self.epoch.to_le_bytes());
        row[4..8].copy_from_slice(&(value_len as u32).to_le_bytes());
        row[at..at + self.key.len()].copy_from_slice(self.key);
        at += self.key.len();
        for part in self.value {
            row[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }
}

/// Rewrites kind and value of the row at `offset` in place if the value fits, else returns false.
#[inline]
pub fn overwrite(bytes: &mut [u8], offset: usize, kind: RowKind, epoch: u16, value: &[u8]) -> bool {
    let old = read(bytes, offset);
    let grown = old.slot_bytes;
    let (old_len, has_capacity) =
        (old.value.len(), u16_at(&bytes[offset..], 0) & HAS_CAPACITY != 0);
    let value_at = offset
        + HEADER
        + usize::from(has_capacity) * EXTENSION
        + usize::from(old.chain.is_some()) * EXTENSION
        + old.key.len();
    // Without a capacity field the slot's size follows from the length, which must keep it.
    let fits = if has_capacity {
        value.len() <= u32_at(&bytes[offset..], HEADER) as usize
    } else {
        align(value_at - offset + value.len()) == grown
    };
    if !fits {
        return false;
    }
    let word = u16_at(&bytes[offset..], 0) & !KIND_MASK | (kind as u16) << KIND_SHIFT;
    let row = &mut bytes[offset..];
    row[..2].copy_from_slice(&word.to_le_bytes());
    row[2..4].copy_from_slice(&epoch.to_le_bytes());
    if old_len != value.len() {
        row[4..8].copy_from_slice(&(value.len() as u32).to_le_bytes());
    }
    bytes[value_at..value_at + value.len()].copy_from_slice(value);
    true
}

/// Appends to the value of the row at `offset` in place if its capacity allows.
pub fn extend(bytes: &mut [u8], offset: usize, more: &[u8]) -> bool {
    let row = read(bytes, offset);
    let word = u16_at(&bytes[offset..], 0);
    let end = row.value.len() + more.len();
    if word & HAS_CAPACITY == 0 || end > u32_at(&bytes[offset..], HEADER) as usize {
        return false;
    }
    let at = offset
        + HEADER
        + EXTENSION
        + usize::from(row.chain.is_some()) * EXTENSION
        + row.key.len()
        + row.value.len();
    bytes[at..at + more.len()].copy_from_slice(more);
    bytes[offset + 4..offset + 8].copy_from_slice(&(end as u32).to_le_bytes());
    true
}

/// Marks the row at `offset` as superseded, so that a flush of its segment skips it.
pub fn kill(bytes: &mut [u8], offset: usize) {
    let word = u16_at(&bytes[offset..], 0) & !KIND_MASK;
    bytes[offset..offset + 2].copy_from_slice(&word.to_le_bytes());
}
