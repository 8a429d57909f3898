//! The hash of keys: rows, filters and key groups all use it, so a key is hashed once.

use crate::types::KeyGroup;

/// XXH3-64 of `bytes`. Filters store it, so it may never change.
#[inline]
#[must_use]
pub fn hash64(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// The key group of a host's key for a maximal parallelism of `key_groups`.
#[inline]
#[must_use]
pub fn key_group(key: &[u8], key_groups: u32) -> KeyGroup {
    key_group_of(hash64(key), key_groups)
}

/// `key_group` of a key whose `hash64` is at hand.
#[inline]
#[must_use]
pub fn key_group_of(hash: u64, key_groups: u32) -> KeyGroup {
    debug_assert!(key_groups > 0 && key_groups <= crate::limits::KEY_GROUPS_MAX);
    // Multiply-shift instead of a division: unbiased to 2^-17 for 2^15 groups.
    ((u64::from((hash >> 32) as u32) * u64::from(key_groups)) >> 32) as KeyGroup
}

/// Hasher of places (object, offset): two multiplications instead of a keyed hash, since places
/// are chosen by the engine and not by an adversary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(u64);

/// Builds `Place` hashers.
pub type PlaceHasher = std::hash::BuildHasherDefault<Place>;

impl std::hash::Hasher for Place {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(hash64(bytes));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}
