//! The records of a run: keys and values as pure functions, so that nothing has to be remembered to
//! check what an engine returns.
//!
//! Key: `mix64(index)`, big-endian, then filler. Keys are unique in their first 8 bytes and evenly
//! spread over the key space. Value: a first word that hides a 40-bit version and a 24-bit check
//! of (seed, index, version), then words of a multiplicative sequence that starts from the three,
//! then zeros where the values shall compress.

use super::rng::{mix64, unmix64};

/// A key is at least the word that carries its index.
pub const KEY_SIZE_BYTES_MIN: u32 = 8;
/// A value is at least the word that carries its version.
pub const VALUE_SIZE_BYTES_MIN: u32 = 8;
/// Entries of a map, where the data set lies in maps: record `i` is the entry `i mod 1000` of the
/// map `i / 1000`.
pub const MAP_ENTRIES: u64 = 1000;
/// Bytes at the end of a record's key that are its map key then: the number of the entry,
/// big-endian.
pub const MAP_KEY_BYTES: usize = 8;
/// Versions fill 40 bits of the first word.
pub const VERSION_MAX: u64 = (1 << 40) - 1;
/// Indexes from here on are never loaded: `get-absent` draws its keys there.
pub const ABSENT_BASE: u64 = 1 << 40;

const WORD_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const WORD_MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// What the records look like. Equal fields give equal bytes, in every process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dataset {
    /// Records loaded: the indexes `0..records`.
    pub records: u64,
    /// Bytes of every key.
    pub key_size_bytes: u32,
    /// Bytes of every value.
    pub value_size_bytes: u32,
    /// Leading bytes of a value that do not compress; the rest is zero.
    pub random_bytes: u32,
    /// Another seed gives other values under the same keys.
    pub seed: u64,
    /// Records are entries of maps: a key is that of its map and a map key.
    pub maps: bool,
}

/// Why a value is not one of this data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongValue {
    /// The length differs.
    Length(usize),
    /// The first word belongs to no version of this key: another key's value, or damage.
    Header(u64),
    /// The first word is right and a later byte is not: damage, or a value put together from two.
    Body {
        /// Where the first wrong word starts.
        offset: usize,
    },
}

impl Dataset {
    /// User bytes of the loaded records: keys plus values.
    pub fn data_bytes(&self) -> u64 {
        self.records * self.row_bytes()
    }

    /// Key plus value of one record.
    pub fn row_bytes(&self) -> u64 {
        u64::from(self.key_size_bytes) + u64::from(self.value_size_bytes)
    }

    /// Writes the key of a record; `out` has the size of a key.
    #[inline]
    pub fn key(&self, index: u64, out: &mut [u8]) {
        let (number, out) = if self.maps {
            let (map, entry) = out.split_at_mut(out.len() - MAP_KEY_BYTES);
            entry.copy_from_slice(&(index % MAP_ENTRIES).to_be_bytes());
            (index / MAP_ENTRIES, map)
        } else {
            (index, out)
        };
        let word = mix64(number);
        let (head, filler) = out.split_at_mut(8);
        head.copy_from_slice(&word.to_be_bytes());
        fill_words(filler, word);
    }

    /// The record a key belongs to, loaded or not. `None` if the key is too short to be one of
    /// this data set.
    #[inline]
    pub fn index_of(&self, key: &[u8]) -> Option<u64> {
        let number = key.first_chunk().map(|word| unmix64(u64::from_be_bytes(*word)))?;
        if !self.maps {
            return Some(number);
        }
        let entry = key.last_chunk().map(|entry| u64::from_be_bytes(*entry))?;
        number.checked_mul(MAP_ENTRIES)?.checked_add(entry)
    }

    /// Writes a version of a record's value; `out` has the size of a value.
    #[inline]
    pub fn value(&self, index: u64, version: u64, out: &mut [u8]) {
        let hidden = self.hidden(index);
        let origin = origin(hidden, version);
        let first = (origin << 40 | (version & VERSION_MAX)) ^ hidden;
        out[..8].copy_from_slice(&first.to_le_bytes());
        let random_bytes = self.random_bytes as usize;
        fill_words(&mut out[8..random_bytes], origin);
        out[random_bytes..].fill(0);
    }

    /// Checks a value that an engine returned for a record; its version if it is whole.
    #[inline]
    pub fn check(&self, index: u64, value: &[u8]) -> Result<u64, WrongValue> {
        if value.len() != self.value_size_bytes as usize {
            return Err(WrongValue::Length(value.len()));
        }
        let (version, origin) = self.header(index, value)?;
        let random_bytes = self.random_bytes as usize;
        if let Some(offset) = first_wrong_word(&value[8..random_bytes], origin) {
            return Err(WrongValue::Body { offset: offset + 8 });
        }
        match value[random_bytes..].iter().position(|&byte| byte != 0) {
            Some(offset) => Err(WrongValue::Body { offset: random_bytes + offset }),
            None => Ok(version),
        }
    }

    /// The change of a read-modify-write: the next version of the value, the first if there is
    /// none. A current value that is none of this data set is left as it is, for the next check to
    /// find.
    pub fn next_value(&self, key: &[u8], current: Option<&[u8]>, out: &mut Vec<u8>) {
        out.clear();
        let index = self.index_of(key).unwrap_or(ABSENT_BASE);
        let version = match current {
            None => 0,
            Some(value) => match self.header(index, value) {
                Ok((version, _)) => version + 1,
                Err(_) => return out.extend_from_slice(value),
            },
        };
        out.resize(self.value_size_bytes as usize, 0);
        self.value(index, version, out);
    }

    /// What the first word of every version of a record is masked with.
    #[inline]
    fn hidden(&self, index: u64) -> u64 {
        mix64(index ^ self.seed.rotate_left(32) ^ WORD_STEP)
    }

    #[inline]
    fn header(&self, index: u64, value: &[u8]) -> Result<(u64, u64), WrongValue> {
        let word = *value.first_chunk().ok_or(WrongValue::Length(value.len()))?;
        let hidden = self.hidden(index);
        let first = u64::from_le_bytes(word) ^ hidden;
        let version = first & VERSION_MAX;
        let origin = origin(hidden, version);
        if first >> 40 == origin & 0xff_ffff {
            Ok((version, origin))
        } else {
            Err(WrongValue::Header(u64::from_le_bytes(word)))
        }
    }
}

/// Where the words of a value start; its low 24 bits are the check of the first word.
#[inline]
fn origin(hidden: u64, version: u64) -> u64 {
    mix64(hidden.wrapping_add(version))
}

#[inline]
fn word_at(state: u64) -> u64 {
    let x = state.wrapping_mul(WORD_MULTIPLIER);
    x ^ (x >> 32)
}

#[inline]
fn fill_words(out: &mut [u8], origin: u64) {
    let mut state = origin;
    let (words, rest) = out.as_chunks_mut::<8>();
    for word in words {
        state = state.wrapping_add(WORD_STEP);
        *word = word_at(state).to_le_bytes();
    }
    let last = word_at(state.wrapping_add(WORD_STEP)).to_le_bytes();
    rest.copy_from_slice(&last[..rest.len()]);
}

#[inline]
fn first_wrong_word(bytes: &[u8], origin: u64) -> Option<usize> {
    let mut state = origin;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        state = state.wrapping_add(WORD_STEP);
        if u64::from_le_bytes(*word) != word_at(state) {
            return Some(at * 8);
        }
    }
    let last = word_at(state.wrapping_add(WORD_STEP)).to_le_bytes();
    (rest != &last[..rest.len()]).then_some(words.len() * 8)
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
