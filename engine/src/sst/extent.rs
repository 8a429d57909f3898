//! Values too large for a unit: whole pages of their own, `[a checksum per piece][value][zeros]`.
//! The checksums stand in front so that a reader can check piece by piece as it streams; the value
//! is contiguous, so whole reads need no assembly.

use crate::codec::crc::keyed_crc;
use crate::codec::unverified::Unverified;
use crate::limits::{EXTENT_CHECK_BYTES, PAGE_BYTES, VALUE_BYTES_MAX};
use crate::sst::layout::Extent;
use crate::types::{Error, Result};

/// Where a large value lies in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueExtent {
    /// First byte of its pages, a multiple of the page size.
    pub offset: u64,
    /// Bytes of the value.
    pub len: u32,
}

impl ValueExtent {
    /// What to read to have the value.
    #[must_use]
    pub fn stored(self) -> Extent {
        Extent { offset: self.offset, len: stored_len(self.len) }
    }
}

const CRC_BYTES: usize = 4;

const _: () = assert!(VALUE_BYTES_MAX <= (u32::MAX >> 1) as usize, "stored lengths fit 32 bits");

/// Bytes that a value of `value_len` takes in its object: whole pages.
#[must_use]
pub fn stored_len(value_len: u32) -> u32 {
    let len = value_len as usize;
    let stored = (crcs_len(len) + len).next_multiple_of(PAGE_BYTES);
    u32::try_from(stored).expect("a value is far below 4 GiB")
}

fn crcs_len(value_len: usize) -> usize {
    value_len.div_ceil(EXTENT_CHECK_BYTES) * CRC_BYTES
}

/// Appends the checksums of `value` in pages at `offset`; value and zeros up to `stored_len`
/// follow.
pub(super) fn put_crcs(out: &mut Vec<u8>, object_key: u64, offset: u64, value: &[u8]) {
    debug_assert!(!value.is_empty() && value.len() <= VALUE_BYTES_MAX);
    let mut at = offset + crcs_len(value.len()) as u64;
    for piece in value.chunks(EXTENT_CHECK_BYTES) {
        out.extend_from_slice(&keyed_crc(object_key, at, piece).to_le_bytes());
        at += piece.len() as u64;
    }
}

/// The value in stored bytes that `check` has passed.
#[must_use]
pub fn value_in(value_len: u32, bytes: &[u8]) -> &[u8] {
    let len = value_len as usize;
    &bytes[crcs_len(len)..crcs_len(len) + len]
}

/// Verifies the stored bytes of a value at `offset` of the object and returns the value.
///
/// # Errors
/// `Corrupt`, naming offset and the check that failed; the caller knows the object.
pub fn check<'a>(
    object_key: u64,
    offset: u64,
    value_len: u32,
    bytes: impl Into<Unverified<'a>>,
) -> Result<&'a [u8]> {
    let bytes = bytes.into().to_check();
    let fail = |at: u64, what: &str| {
        Error::corrupt(format!("value of {value_len} bytes at byte {offset}: {what} at {at}"))
    };
    let len = value_len as usize;
    if len == 0 || len > VALUE_BYTES_MAX {
        return Err(fail(offset, "length out of range"));
    }
    let crcs_len = crcs_len(len);
    let Some(stored) = bytes.get(..stored_len(value_len) as usize) else {
        return Err(fail(offset.saturating_add(bytes.len() as u64), "bytes end"));
    };
    let (crcs, rest) = stored.split_at(crcs_len);
    let (value, padding) = rest.split_at(len);
    let mut at = offset.saturating_add(crcs_len as u64);
    for (piece, crc) in value.chunks(EXTENT_CHECK_BYTES).zip(crcs.chunks_exact(CRC_BYTES)) {
        if keyed_crc(object_key, at, piece).to_le_bytes() != crc {
            return Err(fail(at, "checksum differs"));
        }
        at = at.saturating_add(piece.len() as u64);
    }
    if padding.iter().any(|&b| b != 0) {
        return Err(fail(at, "padding is not zero"));
    }
    Ok(value)
}

#[cfg(test)]
#[path = "extent_tests.rs"]
mod tests;
