//! Keys, values and tables to measure parts of the engine with.

use aquifer::codec::hash::{hash64, key_group};
use aquifer::limits::FILTER_BITS_LAST;
use aquifer::sst::{Table, TableBuilder};
use aquifer::types::key::encode_key;
use aquifer::types::{Incarnation, Locality, ObjectKind, ObjectName, RowKind, RowRef, StateId};

/// Words of a value: with its key of 16 bytes there are about 28 rows to a unit.
pub const VALUE_WORDS: u64 = 14;

/// The finalizer of SplitMix64.
#[must_use]
pub fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A random key of 16 bytes.
#[must_use]
pub fn random_key(i: u64) -> Vec<u8> {
    [mixed(i).to_be_bytes(), mixed(!i).to_be_bytes()].concat()
}

/// The stored key of the row of a value state.
///
/// # Panics
/// If the key is longer than keys may be.
#[must_use]
pub fn stored_key(key: &[u8], key_groups: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let group = key_group(key, key_groups);
    encode_key(&mut out, group, Locality::Small, key, StateId(1), b"").expect("a short key");
    out
}

/// A value that lz4 leaves alone.
#[must_use]
pub fn random_value(i: u64) -> Vec<u8> {
    (0..VALUE_WORDS).flat_map(|w| mixed(i << 8 | w).to_le_bytes()).collect()
}

/// A value of as many bytes that lz4 halves: every second word is the same in all, as names of
/// fields are.
#[must_use]
pub fn half_random_value(i: u64) -> Vec<u8> {
    (0..VALUE_WORDS)
        .flat_map(|w| mixed(if w % 2 == 0 { i << 8 | w } else { w }).to_le_bytes())
        .collect()
}

/// The name of an object.
#[must_use]
pub fn object_name() -> ObjectName {
    let incarnation = Incarnation { host_epoch: 1, nonce: 1 };
    ObjectName { store: 1, incarnation, kind: ObjectKind::Sst, seq: 1, rand: 1 }
}

/// A table of these stored keys, which ascend, and the bytes of its object.
///
/// # Panics
/// If they are too many for one table.
#[must_use]
pub fn table<K: AsRef<[u8]>>(keys: &[K], value: fn(u64) -> Vec<u8>) -> (Table, Vec<u8>) {
    let mut builder = TableBuilder::new(object_name(), FILTER_BITS_LAST);
    let mut file = Vec::new();
    for (i, key) in (0..).zip(keys) {
        let key = key.as_ref();
        builder.add(hash64(key), RowRef { key, kind: RowKind::Put, value: &value(i) });
        while let Some(chunk) = builder.take_chunk() {
            file.extend_from_slice(&chunk);
            builder.give_back(chunk);
        }
    }
    let finished = builder.finish().expect("a small resident part");
    finished.chunks.iter().for_each(|chunk| file.extend_from_slice(chunk));
    (finished.table, file)
}
