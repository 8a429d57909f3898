//! The bytes of rows and units (FORMAT.md, "Unit" and "Row"). Everything that knows an offset
//! inside a unit stands here; builder and reader only name fields.

use crate::codec::crc::keyed_crc;
use crate::codec::varint;
use crate::limits::{
    INLINE_VALUE_BYTES_MAX, PAGE_BYTES, SST_GRANULE_BYTES, STORED_KEY_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::types::RowKind;

/// A range of an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First byte; a multiple of the granule.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

impl Extent {
    /// The whole pages that hold this extent: what direct I/O reads.
    #[must_use]
    pub fn pages(self) -> Self {
        let page = PAGE_BYTES as u64;
        let offset = self.offset - self.offset % page;
        let end = (self.offset + u64::from(self.len)).next_multiple_of(page);
        Self { offset, len: u32::try_from(end - offset).expect("an extent is far below 4 GiB") }
    }
}

/// How a unit's payload is stored. Zero is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UnitCodec {
    /// As it is, in a page of its own.
    Raw = 1,
    /// One lz4 block, packed at granules.
    Lz4 = 2,
}

/// Bytes of a unit's header.
pub const UNIT_HEADER_BYTES: usize = 4 + 1 + 1 + 2 + 4 + 4;

/// Largest payload of a unit, decoded: a raw unit fills one page.
pub const PAYLOAD_BYTES_MAX: usize = PAGE_BYTES - UNIT_HEADER_BYTES;

/// Bytes of an entry in the row offsets behind the rows.
pub(super) const ROW_OFFSET_BYTES: usize = 2;

/// Smallest row with its offset: flags, two lengths, a key of one byte.
pub(super) const ROW_BYTES_MIN: usize = 4 + ROW_OFFSET_BYTES;

const ROW_HEAD_BYTES_MAX: usize = 1 + 2 + 2 + 8 + 1;

const _: () = assert!(
    ROW_HEAD_BYTES_MAX + STORED_KEY_BYTES_MAX + INLINE_VALUE_BYTES_MAX + ROW_OFFSET_BYTES
        <= PAYLOAD_BYTES_MAX,
    "the largest row fits a unit, so an empty unit always takes the next row"
);
const _: () = assert!(PAYLOAD_BYTES_MAX <= u16::MAX as usize, "row offsets are 16 bits");

const KIND_MASK: u8 = 0b0000_0111;
const FLAG_TIME: u8 = 1 << 3;
const FLAG_SCHEMA: u8 = 1 << 4;
const FLAG_EXTENT: u8 = 1 << 5;
const FLAGS_RESERVED: u8 = 0b1100_0000;

const CRC_AT: usize = 0;
const CODEC_AT: usize = 4;
const RESERVED_AT: usize = 5;
const ROWS_AT: usize = 6;
const DECODED_AT: usize = 8;
const STORED_AT: usize = 12;

/// First byte under a unit's checksum: all that follows it.
const UNIT_CRC_FROM: usize = CODEC_AT;

/// A unit's header without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHeader {
    /// How the payload is stored.
    pub codec: UnitCodec,
    /// Rows.
    pub rows: u16,
    /// Payload bytes, decoded.
    pub decoded_bytes: u32,
    /// Payload bytes, stored.
    pub stored_bytes: u32,
}

impl UnitHeader {
    /// Bytes of the whole unit with its padding: what its checksum covers and where it ends.
    #[must_use]
    pub fn unit_bytes(&self) -> usize {
        match self.codec {
            UnitCodec::Raw => PAGE_BYTES,
            UnitCodec::Lz4 => {
                (UNIT_HEADER_BYTES + self.stored_bytes as usize).next_multiple_of(SST_GRANULE_BYTES)
            }
        }
    }

    /// Writes all fields but the checksum.
    pub(super) fn put(&self, unit: &mut [u8]) {
        unit[CODEC_AT] = self.codec as u8;
        unit[RESERVED_AT] = 0;
        unit[ROWS_AT..DECODED_AT].copy_from_slice(&self.rows.to_le_bytes());
        unit[DECODED_AT..STORED_AT].copy_from_slice(&self.decoded_bytes.to_le_bytes());
        unit[STORED_AT..UNIT_HEADER_BYTES].copy_from_slice(&self.stored_bytes.to_le_bytes());
    }

    /// Reads and checks a header.
    ///
    /// # Errors
    /// The field that is not of the format.
    pub fn check(unit: &[u8]) -> Result<Self, &'static str> {
        let Some(header) = unit.first_chunk::<UNIT_HEADER_BYTES>() else {
            return Err("shorter than a header");
        };
        let u32_at = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("inside"));
        let codec = match header[CODEC_AT] {
            1 => UnitCodec::Raw,
            2 => UnitCodec::Lz4,
            _ => return Err("unknown codec"),
        };
        if header[RESERVED_AT] != 0 {
            return Err("reserved byte is set");
        }
        let out = Self {
            codec,
            rows: u16::from_le_bytes([header[ROWS_AT], header[ROWS_AT + 1]]),
            decoded_bytes: u32_at(DECODED_AT),
            stored_bytes: u32_at(STORED_AT),
        };
        if out.decoded_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err("decoded length over a page");
        }
        if out.stored_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err("stored length over a page");
        }
        if codec == UnitCodec::Raw && out.stored_bytes != out.decoded_bytes {
            return Err("raw payload with two lengths");
        }
        if out.rows == 0 || usize::from(out.rows) * ROW_BYTES_MIN > out.decoded_bytes as usize {
            return Err("row count does not fit the payload");
        }
        Ok(out)
    }
}

/// The checksum a unit carries.
///
/// # Panics
/// If the bytes are shorter than a header.
#[must_use]
pub fn unit_crc(unit: &[u8]) -> u32 {
    u32::from_le_bytes(*unit[CRC_AT..].first_chunk().expect("a checked header"))
}

/// The checksum that a unit at `offset` of the object with this key should carry.
///
/// # Panics
/// If the bytes are shorter than a header.
#[inline]
#[must_use]
pub fn expected_crc(object_key: u64, offset: u64, unit: &[u8]) -> u32 {
    keyed_crc(object_key, offset, &unit[UNIT_CRC_FROM..])
}

/// Writes the checksum of a unit at `offset` of the object with this key.
///
/// # Panics
/// If the bytes are shorter than a header.
pub fn seal_unit(object_key: u64, offset: u64, unit: &mut [u8]) {
    let crc = expected_crc(object_key, offset, unit);
    unit[CRC_AT..CODEC_AT].copy_from_slice(&crc.to_le_bytes());
}

/// What a row's value bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueForm {
    Inline,
    Extent,
}

/// Bytes of a row without its offset entry.
#[inline]
pub(super) fn row_bytes(key: usize, value: usize) -> usize {
    1 + varint::len(key as u64) + varint::len(value as u64) + key + value
}

/// Appends a row of format version 1: neither expiry time nor schema version.
#[inline]
pub(super) fn put_row(out: &mut Vec<u8>, kind: RowKind, key: &[u8], form: ValueForm, value: &[u8]) {
    let extent = match form {
        ValueForm::Inline => 0,
        ValueForm::Extent => FLAG_EXTENT,
    };
    out.push(kind as u8 | extent);
    varint::put(out, key.len() as u64);
    varint::put(out, value.len() as u64);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// Where the parts of a row lie in its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowSpan {
    pub kind: u8,
    pub form: ValueForm,
    pub key_at: usize,
    pub value_at: usize,
    pub end: usize,
}

/// Takes the row at `at` apart; `None` if flags or lengths are not of the format. The lengths may
/// point past the payload: whoever slices checks.
#[inline]
pub(super) fn row_span(payload: &[u8], at: usize) -> Option<RowSpan> {
    let flags = *payload.get(at)?;
    if flags & FLAGS_RESERVED != 0 {
        return None;
    }
    let (key_bytes, next) = length(payload, at + 1)?;
    let (value_bytes, mut key_at) = length(payload, next)?;
    if flags & (FLAG_TIME | FLAG_SCHEMA) != 0 {
        key_at += if flags & FLAG_TIME != 0 { 8 } else { 0 };
        key_at += usize::from(flags & FLAG_SCHEMA != 0);
    }
    let value_at = key_at + key_bytes;
    Some(RowSpan {
        kind: flags & KIND_MASK,
        form: if flags & FLAG_EXTENT == 0 { ValueForm::Inline } else { ValueForm::Extent },
        key_at,
        value_at,
        end: value_at + value_bytes,
    })
}

// Lengths inside a unit have one or two bytes; a longer varint is not of the format, which also
// keeps the sums of lengths far from overflow.
#[inline]
fn length(payload: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*payload.get(at)?);
    if first < 0x80 {
        return Some((first, at + 1));
    }
    let second = usize::from(*payload.get(at + 1)?);
    if second >= 0x80 || second == 0 {
        return None;
    }
    Some((first & 0x7f | second << 7, at + 2))
}

/// The inline bytes of a value that lies in an extent, into a small buffer.
pub(super) fn put_extent_value(out: &mut Vec<u8>, offset: u64, len: u32) {
    out.clear();
    varint::put(out, offset);
    varint::put(out, u64::from(len));
}

/// Reads what `put_extent_value` wrote; `None` for anything else, or a place no builder chooses.
pub(super) fn extent_value(bytes: &[u8]) -> Option<(u64, u32)> {
    let (offset, at) = varint::get(bytes, 0)?;
    let (len, end) = varint::get(bytes, at)?;
    let len = u32::try_from(len).ok().filter(|&l| l as usize <= VALUE_BYTES_MAX && l > 0)?;
    let aligned = offset.is_multiple_of(PAGE_BYTES as u64);
    // Half the range of offsets leaves room to add any length without overflow.
    (end == bytes.len() && aligned && offset <= u64::MAX >> 1).then_some((offset, len))
}
