//! Filters over key hashes, one per partition of a table: Bloom filters cut into blocks of one
//! cache line. A hash chooses its block and eight bits of it, one in each word, so that asking
//! costs one cache miss and building one store a word.

use crate::codec::reader::Reader;
use crate::limits::{FILTER_BITS_MAX, FILTER_KEYS_MAX, PAGE_BYTES};
use crate::mem::prefetch::prefetch;
use crate::sst::layout::ROW_BYTES_MIN;

/// Hashes that one unit adds at most: each of its rows may begin a map of its own.
pub(super) const UNIT_HASHES_MAX: usize = 2 * (PAGE_BYTES / ROW_BYTES_MIN);

const _: () = assert!(UNIT_HASHES_MAX < FILTER_KEYS_MAX, "a filter takes at least one unit");

/// Words of a block; a hash sets one bit in each.
const WORDS: usize = 8;
/// Bits of a block.
const BLOCK_BITS: usize = WORDS * u64::BITS as usize;
/// Bytes of a block.
const BLOCK_BYTES: usize = BLOCK_BITS / 8;
/// Blocks of a filter at most.
const BLOCKS_MAX: usize = (FILTER_KEYS_MAX * FILTER_BITS_MAX).div_ceil(BLOCK_BITS);

/// One cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
struct Block([u64; WORDS]);

/// A set of hashes that may answer yes for a hash it does not hold. It has at least one block.
#[derive(Debug, PartialEq, Eq)]
pub struct Filter {
    blocks: Box<[Block]>,
}

impl Filter {
    /// A filter of `hashes` with about `key_bits` bits for each.
    #[must_use]
    pub fn build(key_bits: usize, hashes: &[u64]) -> Self {
        let count = (hashes.len() * key_bits).div_ceil(BLOCK_BITS).clamp(1, BLOCKS_MAX);
        let mut blocks = vec![Block::default(); count].into_boxed_slice();
        for &hash in hashes {
            let block = &mut blocks[place(hash, count)];
            for (word, mask) in block.0.iter_mut().zip(masks(hash)) {
                *word |= mask;
            }
        }
        Self { blocks }
    }

    /// False if no row has this hash.
    #[inline]
    #[must_use]
    pub fn may_hold(&self, hash: u64) -> bool {
        let block = &self.blocks[place(hash, self.blocks.len())];
        let missing = block.0.iter().zip(masks(hash)).fold(0, |m, (word, mask)| m | !word & mask);
        missing == 0
    }

    /// Asks the CPU for the line that `may_hold` looks at.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.blocks[place(hash, self.blocks.len())]);
    }

    /// Blocks of 64 bytes.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of memory behind this filter.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Appends the filter (FORMAT.md, "Filters").
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.blocks.len()).expect("a filter's size is bounded");
        out.extend_from_slice(&count.to_le_bytes());
        for word in self.blocks.iter().flat_map(|block| block.0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads a filter; `Err` names the part that is not of the format.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, &'static str> {
        let count = reader.u32().ok_or("filters end early")? as usize;
        if count == 0 || count > BLOCKS_MAX {
            return Err("a filter's number of blocks is not of the format");
        }
        let bytes = reader.take(count * BLOCK_BYTES).ok_or("filters end early")?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| "no memory for a filter")?;
        blocks.extend(bytes.chunks_exact(BLOCK_BYTES).map(block));
        Ok(Self { blocks: blocks.into_boxed_slice() })
    }
}

fn block(bytes: &[u8]) -> Block {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Block(words)
}

// The block of a hash: its low half, scaled.
#[inline]
fn place(hash: u64, blocks: usize) -> usize {
    (((hash & u64::from(u32::MAX)) * blocks as u64) >> 32) as usize
}

// The bit of a hash in each word: six bits each of a product that every bit of the hash reaches.
#[inline]
fn masks(hash: u64) -> [u64; WORDS] {
    // 2^64 divided by the golden ratio (Knuth, TAOCP 3, 6.4).
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    std::array::from_fn(|i| 1 << ((mixed >> (6 * i)) & 63))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
