//! Checksums keyed with the place the bytes belong to: a block that was swapped with another, or
//! an object with another, fails its check although its bytes are whole.

use crate::codec::hash::hash64;
use crate::types::ObjectName;

/// The key of an object's checksums, from its name.
#[must_use]
pub fn object_key(name: &ObjectName) -> u64 {
    hash64(&name.encode())
}

/// CRC-32 of `bytes` at `offset` of the object with this key.
#[inline]
#[must_use]
pub fn keyed_crc(object_key: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mixed = object_key ^ offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut crc = crc32fast::Hasher::new_with_initial((mixed ^ (mixed >> 32)) as u32);
    crc.update(bytes);
    crc.finalize()
}
