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
