//! Filters over key hashes, one per partition of a table: binary fuse filters of 8 bits (one in
//! 256 absent keys passes) or 16 bits (one in 65 536).

use xorf::{BinaryFuse8, BinaryFuse16, Descriptor, Filter as _};

use crate::codec::reader::Reader;
use crate::limits::{FILTER_KEYS_MAX, PAGE_BYTES};
use crate::mem::prefetch::prefetch;
use crate::sst::layout::ROW_BYTES_MIN;

/// Bits per fingerprint. Numbers stand in files; zero is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FilterBits {
    /// 9.1 bits a key, 0.4 % false answers.
    Eight = 1,
    /// 18.2 bits a key, 0.002 % false answers.
    Sixteen = 2,
}

const TAG_NONE: u8 = 3;

/// Hashes that one unit adds at most: each of its rows may begin a map of its own.
pub(super) const UNIT_HASHES_MAX: usize = 2 * (PAGE_BYTES / ROW_BYTES_MIN);

const _: () = assert!(UNIT_HASHES_MAX < FILTER_KEYS_MAX, "a filter takes at least one unit");

/// Fingerprints of a filter at most: the construction takes 1.125 a key for large sets and whole
/// segments for small ones.
const FINGERPRINTS_MAX: u32 = 4 * FILTER_KEYS_MAX as u32;

/// A set of hashes that may answer yes for a hash it does not hold.
#[derive(Debug)]
pub enum Filter {
    /// 8 bits a fingerprint.
    Eight(BinaryFuse8),
    /// 16 bits a fingerprint.
    Sixteen(BinaryFuse16),
    /// Says yes to every hash: the construction failed.
    None,
}

impl Filter {
    /// A filter of `hashes`, whose order may change and whose duplicates go.
    #[must_use]
    pub fn build(bits: FilterBits, hashes: &mut Vec<u64>) -> Self {
        // The construction needs distinct keys. Equal hashes are next to impossible by chance, so
        // a test that costs a third of a sort pays; but the host chooses the keys.
        if may_repeat(hashes) {
            hashes.sort_unstable();
            hashes.dedup();
        }
        let keys = hashes.as_slice();
        match bits {
            FilterBits::Eight => BinaryFuse8::try_from(keys).map_or(Self::None, Self::Eight),
            FilterBits::Sixteen => BinaryFuse16::try_from(keys).map_or(Self::None, Self::Sixteen),
        }
    }

    /// False if no row has this hash.
    #[inline]
    #[must_use]
    pub fn may_hold(&self, hash: u64) -> bool {
        match self {
            Self::Eight(filter) => filter.contains(&hash),
            Self::Sixteen(filter) => filter.contains(&hash),
            Self::None => true,
        }
    }

    /// Asks the CPU for the three places that `may_hold` looks at.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        match self {
            Self::Eight(f) => places(&f.descriptor, hash).map(|i| prefetch(&f.fingerprints[i])),
            Self::Sixteen(f) => places(&f.descriptor, hash).map(|i| prefetch(&f.fingerprints[i])),
            Self::None => [(); 3],
        };
    }

    /// Bytes of memory behind this filter.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Eight(filter) => filter.fingerprints.len(),
            Self::Sixteen(filter) => filter.fingerprints.len() * 2,
            Self::None => 0,
        }
    }

    /// Appends the filter (FORMAT.md, "Filters").
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Eight(filter) => {
                put_descriptor(out, FilterBits::Eight as u8, &filter.descriptor);
                out.extend_from_slice(&filter.fingerprints);
            }
            Self::Sixteen(filter) => {
                put_descriptor(out, FilterBits::Sixteen as u8, &filter.descriptor);
                filter.fingerprints.iter().for_each(|f| out.extend_from_slice(&f.to_le_bytes()));
            }
            Self::None => out.push(TAG_NONE),
        }
    }

    /// Reads a filter; `Err` names the part that is not of the format.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, &'static str> {
        let tag = reader.u8().ok_or("filters end early")?;
        match tag {
            1 => {
                let (descriptor, count) = take_descriptor(reader)?;
                let bytes = reader.take(count).ok_or("filters end early")?;
                let fingerprints = copied(bytes.iter().copied(), count)?;
                Ok(Self::Eight(BinaryFuse8 { descriptor, fingerprints }))
            }
            2 => {
                let (descriptor, count) = take_descriptor(reader)?;
                let bytes = reader.take(count * 2).ok_or("filters end early")?;
                let words = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
                let fingerprints = copied(words, count)?;
                Ok(Self::Sixteen(BinaryFuse16 { descriptor, fingerprints }))
            }
            TAG_NONE => Ok(Self::None),
            _ => Err("unknown kind of filter"),
        }
    }
}

// False only if all hashes differ. A hash that is first in its slot leaves its other half there; a
// later equal one meets that half. Hashes whose slot was taken are few, and equal ones among them
// meet each other.
fn may_repeat(hashes: &[u64]) -> bool {
    let slots = (2 * hashes.len()).next_power_of_two();
    let mut halves = vec![0_u32; slots];
    let mut crowded = Vec::with_capacity(hashes.len() / 4);
    for &hash in hashes {
        let slot = &mut halves[hash as usize & (slots - 1)];
        // Zero marks a free slot.
        let half = (hash >> 32) as u32 | 1;
        if *slot == 0 {
            *slot = half;
        } else if *slot == half {
            return true;
        } else {
            crowded.push(hash);
        }
    }
    crowded.sort_unstable();
    crowded.windows(2).any(|pair| pair[0] == pair[1])
}

// The three fingerprints that a hash looks at (FORMAT.md, "Filters"); the package keeps its own
// computation private.
#[inline]
fn places(descriptor: &Descriptor, hash: u64) -> [usize; 3] {
    let mixed = mix(hash, descriptor.seed);
    let spot = (u128::from(mixed) * u128::from(descriptor.segment_count_length)) >> 64;
    let first = spot as u32;
    let second = (first + descriptor.segment_length)
        ^ ((mixed >> 18) as u32 & descriptor.segment_length_mask);
    let third =
        (first + 2 * descriptor.segment_length) ^ (mixed as u32 & descriptor.segment_length_mask);
    [first as usize, second as usize, third as usize]
}

// The finalizer of MurmurHash3.
#[inline]
fn mix(hash: u64, seed: u64) -> u64 {
    let mut mixed = hash.wrapping_add(seed);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

fn put_descriptor(out: &mut Vec<u8>, tag: u8, descriptor: &Descriptor) {
    out.push(tag);
    out.extend_from_slice(&descriptor.seed.to_le_bytes());
    out.extend_from_slice(&descriptor.segment_length.to_le_bytes());
    out.extend_from_slice(&descriptor.segment_count_length.to_le_bytes());
}

// The descriptor and the number of fingerprints it reaches. Every hash must land inside: the
// places are `first < segment_count_length` and the same spot of the next two segments.
fn take_descriptor(reader: &mut Reader<'_>) -> Result<(Descriptor, usize), &'static str> {
    let (Some(seed), Some(segment_length), Some(segment_count_length)) =
        (reader.u64(), reader.u32(), reader.u32())
    else {
        return Err("filters end early");
    };
    let whole_segments = segment_length.is_power_of_two()
        && segment_count_length > 0
        && segment_count_length.is_multiple_of(segment_length);
    if !whole_segments
        || segment_length > FINGERPRINTS_MAX
        || segment_count_length > FINGERPRINTS_MAX
    {
        return Err("a filter's segments are not of the format");
    }
    let count = segment_count_length + 2 * segment_length;
    let segment_length_mask = segment_length - 1;
    let descriptor = Descriptor { seed, segment_length, segment_length_mask, segment_count_length };
    Ok((descriptor, count as usize))
}

fn copied<T>(items: impl Iterator<Item = T>, count: usize) -> Result<Box<[T]>, &'static str> {
    let mut out = Vec::new();
    out.try_reserve_exact(count).map_err(|_| "no memory for a filter")?;
    out.extend(items);
    Ok(out.into_boxed_slice())
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
