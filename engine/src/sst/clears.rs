//! Range clears of a table: prefixes under which all strictly older tables are masked.

use crate::codec::reader::Reader;
use crate::codec::varint;
use crate::limits::STORED_KEY_BYTES_MAX;

/// Sorted prefixes, none of which starts with another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Clears {
    prefixes: Vec<Box<[u8]>>,
}

impl Clears {
    /// The clears of these prefixes, in any order.
    #[must_use]
    pub fn new(mut prefixes: Vec<Box<[u8]>>) -> Self {
        prefixes.sort_unstable();
        // A prefix sorts directly before all that start with it, so one look back is enough.
        prefixes.dedup_by(|next, kept| next.starts_with(kept));
        prefixes.shrink_to_fit();
        Self { prefixes }
    }

    /// True if older rows of `key` are gone.
    #[inline]
    #[must_use]
    pub fn cover(&self, key: &[u8]) -> bool {
        !self.prefixes.is_empty() && self.cover_some(key)
    }

    // Prefixes do not nest, so the only one that can cover is the last not above the key.
    fn cover_some(&self, key: &[u8]) -> bool {
        let above = self.prefixes.partition_point(|p| **p <= *key);
        above > 0 && key.starts_with(&self.prefixes[above - 1])
    }

    /// The prefixes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.prefixes.iter().map(|p| &**p)
    }

    /// True if nothing is cleared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Bytes of memory behind this list.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.prefixes.capacity() * size_of::<Box<[u8]>>()
            + self.prefixes.iter().map(|p| p.len()).sum::<usize>()
    }

    /// Appends the list (FORMAT.md, "Clears").
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.prefixes.len() as u64);
        for prefix in &self.prefixes {
            varint::put(out, prefix.len() as u64);
            out.extend_from_slice(prefix);
        }
    }

    /// Reads a list; `Err` names the part that is not of the format.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, &'static str> {
        let count = reader.varint().ok_or("clears end early")?;
        // Each takes two bytes and more, unless it is the empty one, which stands alone.
        let count = usize::try_from(count).ok().filter(|&c| c <= reader.remaining().div_ceil(2));
        let count = count.ok_or("more clears than bytes")?;
        let mut prefixes: Vec<Box<[u8]>> = Vec::new();
        prefixes.try_reserve_exact(count).map_err(|_| "no memory for clears")?;
        for _ in 0..count {
            let prefix = reader.span().ok_or("clears end early")?;
            let nests = prefixes.last().is_some_and(|p| *prefix <= **p || prefix.starts_with(p));
            if nests || prefix.len() > STORED_KEY_BYTES_MAX {
                return Err("a clear out of place");
            }
            prefixes.push(prefix.into());
        }
        Ok(Self { prefixes })
    }
}

#[cfg(test)]
#[path = "clears_tests.rs"]
mod tests;
