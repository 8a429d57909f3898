//! A unit: the rows of one read. `Unit::check` is the only way from unverified bytes to rows; it
//! verifies checksum, header and lengths, and rows are taken apart lazily with every length
//! checked, so that a get pays for the few rows its binary search touches.

use std::cmp::Ordering;

use crate::codec::unverified::Unverified;
use crate::limits::STORED_KEY_BYTES_MAX;
use crate::sst::extent::ValueExtent;
use crate::sst::layout::{
    self, ROW_OFFSET_BYTES, UNIT_HEADER_BYTES, UnitCodec, UnitHeader, ValueForm,
};
use crate::types::{Error, Result, RowKind};

/// The value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryValue<'a> {
    /// Beside the key.
    Inline(&'a [u8]),
    /// In pages of its own: read `extent.stored()`, then `extent::check`.
    Extent(ValueExtent),
}

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Stored key.
    pub key: &'a [u8],
    /// What the row says.
    pub kind: RowKind,
    /// Value or operands; inline and empty for `Delete`.
    pub value: EntryValue<'a>,
}

/// A verified unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// Header and payload, decoded.
    image: &'a [u8],
    /// Rows: the payload up to the offsets.
    rows: &'a [u8],
    /// Little-endian u16 offsets of the rows.
    offsets: &'a [u8],
    offset: u64,
}

impl<'a> Unit<'a> {
    /// Verifies the unit at `offset` of the object. `bytes` starts at `offset` and may run past
    /// the unit's end. A compressed payload is decoded into `scratch`.
    ///
    /// # Errors
    /// `Corrupt`, naming offset and the check that failed; the caller knows the object.
    pub fn check(
        object_key: u64,
        offset: u64,
        bytes: impl Into<Unverified<'a>>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Self> {
        let bytes = bytes.into().to_check();
        let fail = |what: &str| corrupt(offset, what);
        let header = UnitHeader::check(bytes).map_err(fail)?;
        let Some(unit) = bytes.get(..header.unit_bytes()) else {
            return Err(fail("ends before its last byte"));
        };
        if layout::expected_crc(object_key, offset, unit) != layout::unit_crc(unit) {
            return Err(fail("checksum differs"));
        }
        if header.codec == UnitCodec::Raw {
            return Self::of_image(offset, unit);
        }
        let stored = &unit[UNIT_HEADER_BYTES..UNIT_HEADER_BYTES + header.stored_bytes as usize];
        let decoded_bytes = header.decoded_bytes as usize;
        scratch.clear();
        scratch.resize(UNIT_HEADER_BYTES + decoded_bytes, 0);
        let decoded = &mut scratch[UNIT_HEADER_BYTES..];
        match lz4_flex::block::decompress_into(stored, decoded) {
            Ok(count) if count == decoded_bytes => {}
            Ok(_) => return Err(fail("decodes to another length")),
            Err(_) => return Err(fail("is not an lz4 block")),
        }
        let plain =
            UnitHeader { codec: UnitCodec::Raw, stored_bytes: header.decoded_bytes, ..header };
        plain.put(scratch);
        Self::of_image(offset, scratch)
    }

    /// A unit again, from the `image` of one that was checked: memory is trusted, so there is no
    /// checksum.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are no image of a unit.
    pub fn of_image(offset: u64, image: &'a [u8]) -> Result<Self> {
        let fail = |what: &str| corrupt(offset, what);
        let header = UnitHeader::check(image).map_err(fail)?;
        if header.codec != UnitCodec::Raw {
            return Err(fail("a decoded unit is not raw"));
        }
        let end = UNIT_HEADER_BYTES + header.decoded_bytes as usize;
        let Some(image) = image.get(..end) else {
            return Err(fail("ends before its last row"));
        };
        // The header's check left at least six bytes a row, so the offsets lie inside.
        let (rows, offsets) = image[UNIT_HEADER_BYTES..].split_at(
            image.len() - UNIT_HEADER_BYTES - usize::from(header.rows) * ROW_OFFSET_BYTES,
        );
        Ok(Self { image, rows, offsets, offset })
    }

    /// Header and decoded payload: what a cache keeps for `of_image`.
    #[must_use]
    pub fn image(&self) -> &'a [u8] {
        self.image
    }

    /// Rows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() / ROW_OFFSET_BYTES
    }

    /// False: a unit has at least one row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row with this key.
    ///
    /// # Errors
    /// `Corrupt` if a row on the way is not of the format although the checksum holds.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Result<Option<Entry<'a>>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle)?.cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return self.entry(middle).map(Some),
            }
        }
        Ok(None)
    }

    /// Index of the first row at or above `key`; `len()` if there is none.
    ///
    /// # Errors
    /// As for `find`.
    pub fn seek(&self, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.key(middle)? < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The row at `index`, which is below `len()`.
    ///
    /// # Errors
    /// `Corrupt` if the row is not of the format although the checksum holds.
    #[inline]
    pub fn entry(&self, index: usize) -> Result<Entry<'a>> {
        self.try_entry(index).ok_or_else(|| self.bad_row(index))
    }

    #[inline]
    fn try_entry(&self, index: usize) -> Option<Entry<'a>> {
        let span = layout::row_span(self.rows, self.row_at(index)?)?;
        // Rows lie without gaps: anything else was not written by a builder.
        let end = if index + 1 < self.len() { self.row_at(index + 1)? } else { self.rows.len() };
        if span.end != end {
            return None;
        }
        let (key, bytes) =
            (self.rows.get(span.key_at..span.value_at)?, self.rows.get(span.value_at..end)?);
        let kind = RowKind::from_u8(span.kind)?;
        let lengths = (1..=STORED_KEY_BYTES_MAX).contains(&key.len())
            && (kind != RowKind::Delete || bytes.is_empty());
        if !lengths {
            return None;
        }
        let value = match span.form {
            ValueForm::Inline => EntryValue::Inline(bytes),
            ValueForm::Extent => {
                let (offset, len) = layout::extent_value(bytes)?;
                let place = ValueExtent { offset, len };
                // A large value lies before the unit that names it, so inside the object.
                if offset + u64::from(place.stored().len) > self.offset {
                    return None;
                }
                EntryValue::Extent(place)
            }
        };
        Some(Entry { key, kind, value })
    }

    #[inline]
    fn key(&self, index: usize) -> Result<&'a [u8]> {
        let key = self.row_at(index).and_then(|at| {
            let span = layout::row_span(self.rows, at)?;
            self.rows.get(span.key_at..span.value_at)
        });
        key.ok_or_else(|| self.bad_row(index))
    }

    #[inline]
    fn row_at(&self, index: usize) -> Option<usize> {
        let at = self.offsets.get(index * ROW_OFFSET_BYTES..)?.first_chunk()?;
        Some(usize::from(u16::from_le_bytes(*at)))
    }

    #[cold]
    fn bad_row(&self, index: usize) -> Error {
        corrupt(self.offset, &format!("row {index} is not of the format"))
    }
}

#[cold]
fn corrupt(offset: u64, what: &str) -> Error {
    Error::corrupt(format!("unit at byte {offset}: {what}"))
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
