//! Stored keys: key group, locality, key, state, namespace, map key, in an order that keeps all
//! small states of one key side by side and key groups contiguous (see FORMAT.md, "Stored key").

use crate::limits::{KEY_BYTES_MAX, STATES_MAX};
use crate::types::{Error, Result, error::ErrorKind};

/// The unit of rescale: hash(key) modulo the maximal parallelism.
pub type KeyGroup = u16;

/// A state of a store; its name and kind stand in the manifest. Zero is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub u8);

/// Which states share units: fixed per state kind, second in every stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Locality {
    /// Value, reducing and list: one row a key, all states of a key in one unit.
    Small = 1,
    /// Map: many rows a key.
    Collection = 2,
}

/// Appends the stored key of (`group`, `key`, `state`, `namespace`) to `out`. For a map this is
/// the prefix of all its entries: an entry is the prefix followed by the map key.
///
/// # Errors
/// `TooLarge` if key or namespace exceed their limits.
#[inline(always)]
pub fn encode_key(
    out: &mut Vec<u8>,
    group: KeyGroup,
    locality: Locality,
    key: &[u8],
    state: StateId,
    namespace: &[u8],
) -> Result<()> {
    if key.len() + namespace.len() > KEY_BYTES_MAX {
        return Err(too_large(key.len() + namespace.len()));
    }
    debug_assert!(state.0 != 0 && usize::from(state.0) <= STATES_MAX);
    let [high, low] = group.to_be_bytes();
    // The usual case in three appends: each costs more than the bytes it writes.
    if key.len() < 0x80 && namespace.is_empty() {
        out.extend_from_slice(&[high, low, locality as u8, key.len() as u8]);
        out.extend_from_slice(key);
        out.extend_from_slice(&[state.0, 0]);
    } else {
        encode_long(out, [high, low, locality as u8], key, state, namespace);
    }
    Ok(())
}

#[inline(never)]
fn encode_long(out: &mut Vec<u8>, head: [u8; 3], key: &[u8], state: StateId, namespace: &[u8]) {
    out.extend_from_slice(&head);
    put_length(out, key.len());
    out.extend_from_slice(key);
    out.push(state.0);
    put_length(out, namespace.len());
    out.extend_from_slice(namespace);
}

/// The error of a key over its limit.
#[cold]
#[must_use]
pub fn too_large(bytes: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "a key, namespace and map key of {bytes} bytes exceed the limit of {KEY_BYTES_MAX}; \
             store a hash of it and the key in the value"
        ),
    )
}

/// The parts of a stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// Key group.
    pub group: KeyGroup,
    /// True for rows of a map: `prefix_len` bytes name the map, the rest is the map key.
    pub collection: bool,
    /// The host's key.
    pub key: &'a [u8],
    /// The state.
    pub state: StateId,
    /// The namespace, empty where none.
    pub namespace: &'a [u8],
    /// Bytes up to and including the namespace.
    pub prefix_len: usize,
}

/// Takes a stored key apart; `None` if the bytes are not one.
#[must_use]
pub fn key_parts(stored: &[u8]) -> Option<KeyParts<'_>> {
    let group = KeyGroup::from_be_bytes([*stored.first()?, *stored.get(1)?]);
    let collection = match *stored.get(2)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let (key, at) = take_span(stored, 3)?;
    let state = StateId(*stored.get(at)?);
    let (namespace, prefix_len) = take_span(stored, at + 1)?;
    Some(KeyParts { group, collection, key, state, namespace, prefix_len })
}

/// The map that a stored key belongs to (its prefix), or `None` for a row of its own.
#[must_use]
pub fn collection_prefix(stored: &[u8]) -> Option<&[u8]> {
    if stored.get(2) != Some(&(Locality::Collection as u8)) {
        return None;
    }
    key_parts(stored).map(|p| &stored[..p.prefix_len])
}

/// The smallest key above every key that starts with `prefix`; `None` where there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&b| b != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// First eight bytes as a number that orders like the bytes (zero-padded).
#[inline]
#[must_use]
pub fn head_u64(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    // Loads that overlap: a copy of so few bytes would be a call.
    let padding = 8 * (8 - bytes.len() as u32);
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << 32 | u64::from(last) << padding;
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a) << 56,
        [a, b] => u64::from(a) << 56 | u64::from(b) << 48,
        [a, b, c, ..] => u64::from(a) << 56 | u64::from(b) << 48 | u64::from(c) << 40,
    }
}

// One byte up to 127, else two with the top bit set: prefix-free, so keys never interleave.
fn put_length(out: &mut Vec<u8>, length: usize) {
    if length < 0x80 {
        out.push(length as u8);
    } else {
        out.extend_from_slice(&(length as u16 | 0x8000).to_be_bytes());
    }
}

fn take_span(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let first = *bytes.get(at)?;
    let (length, start) = if first < 0x80 {
        (usize::from(first), at + 1)
    } else {
        let second = *bytes.get(at + 1)?;
        (usize::from(u16::from_be_bytes([first & 0x7f, second])), at + 2)
    };
    let end = start.checked_add(length)?;
    Some((bytes.get(start..end)?, end))
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
