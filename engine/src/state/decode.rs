//! Reads what lists and maps come back as. Bytes are checked once, in one pass; what was checked
//! iterates without errors.

use crate::codec::reader::Reader;
use crate::types::{Error, Result};

/// The elements of a list, checked. The bytes are per element a varint length and the element;
/// an absent list and one updated to nothing both read as empty.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: Reader<'a>,
    left: usize,
}

impl<'a> Items<'a> {
    /// Takes the value of a list.
    ///
    /// # Errors
    /// `Corrupt` if it does not end with the end of an element.
    pub fn check(value: &'a [u8]) -> Result<Self> {
        let left = count_spans(value).ok_or_else(|| Error::corrupt("list: it ends inside"))?;
        Ok(Self { rest: Reader::new(value), left })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.rest.span()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The entries of a part of a map, checked: map key and value, in the order of map keys.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: Reader<'a>,
    left: usize,
    more: bool,
}

impl<'a> Entries<'a> {
    /// Takes the rows of a scan that completed with `Status::Entries { more }`.
    ///
    /// # Errors
    /// `Corrupt` if they do not end with the end of an entry.
    pub fn check(rows: &'a [u8], more: bool) -> Result<Self> {
        let spans = count_spans(rows)
            .filter(|spans| spans % 2 == 0)
            .ok_or_else(|| Error::corrupt("map entries: they end inside an entry"))?;
        Ok(Self { rest: Reader::new(rows), left: spans / 2, more })
    }

    /// True if entries may follow: continue after the last map key.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.rest.span()?, self.rest.span()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// The number of a reducing state.
///
/// # Errors
/// `Corrupt` if it does not have eight bytes.
pub fn number(value: &[u8]) -> Result<i64> {
    let bytes = value.try_into().map_err(|_| {
        Error::corrupt(format!("reducing state: a number of {} bytes, not 8", value.len()))
    })?;
    Ok(i64::from_le_bytes(bytes))
}

fn count_spans(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    let mut count = 0;
    while reader.remaining() > 0 {
        reader.span()?;
        count += 1;
    }
    Some(count)
}
