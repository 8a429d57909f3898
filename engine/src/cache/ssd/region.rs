//! A region of the cache's file: written at once, front to back, with a page in front that says
//! what is in it. The format is in FORMAT.md, "Regions of the SSD cache".

use crate::codec::reader::Reader;
use crate::codec::unverified::Unverified;
use crate::limits::{PAGE_BYTES, SSD_REGION_BYTES};
use crate::mem::pool::Buf;

const MAGIC: [u8; 8] = *b"AQFSSD\x01\0";
const HEADER_BYTES: usize = 8 + 8 + 4 + 2 + 2 + 4;
const CRC_AT: usize = 24;

/// An extent of a region; they lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of its place in the DFS.
    pub key: u64,
    /// Of its bytes and its place.
    pub crc: u32,
    /// Its pages.
    pub pages: u16,
    /// How often it was asked for, lately; not written.
    pub hits: u8,
}

const ENTRY_BYTES: usize = 8 + 4 + 2;

const _: () = assert!(
    HEADER_BYTES + (SSD_REGION_BYTES / PAGE_BYTES - 1) * ENTRY_BYTES <= PAGE_BYTES,
    "a page tells of all pages of its region"
);

/// A region that is being filled.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) number: u32,
    pub(super) buf: Buf,
    pub(super) entries: Vec<Entry>,
    // The first page that is free.
    pages: u32,
}

impl Region {
    /// An empty one, whose bytes will lie in `buf`.
    pub(super) fn new(number: u32, buf: Buf) -> Self {
        Self { number, buf, entries: Vec::new(), pages: 1 }
    }

    /// Pages that are free.
    pub(super) fn room(&self) -> u32 {
        (self.buf.bytes().len() / PAGE_BYTES) as u32 - self.pages
    }

    /// Appends an extent, for which there is room.
    pub(super) fn push(&mut self, entry: Entry, bytes: &[u8]) {
        let at = self.pages as usize * PAGE_BYTES;
        self.buf.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        self.entries.push(entry);
        self.pages += u32::from(entry.pages);
    }

    /// Keeps an extent of those that were read into its buffer, beginning at a page behind all
    /// that were kept.
    pub(super) fn keep(&mut self, entry: Entry, page: u32) {
        let (from, to) = (page as usize * PAGE_BYTES, self.pages as usize * PAGE_BYTES);
        let bytes = usize::from(entry.pages) * PAGE_BYTES;
        self.buf.bytes_mut().copy_within(from..from + bytes, to);
        self.entries.push(entry);
        self.pages += u32::from(entry.pages);
    }

    /// Writes the page in front.
    pub(super) fn seal(&mut self, sequence: u64) {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&sequence.to_le_bytes());
        page.extend_from_slice(&self.number.to_le_bytes());
        page.extend_from_slice(&(self.entries.len() as u16).to_le_bytes());
        page.extend_from_slice(&[0; 2 + 4]);
        for entry in &self.entries {
            page.extend_from_slice(&entry.key.to_le_bytes());
            page.extend_from_slice(&entry.crc.to_le_bytes());
            page.extend_from_slice(&entry.pages.to_le_bytes());
        }
        page.resize(PAGE_BYTES, 0);
        let crc = crc32fast::hash(&page);
        page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        self.buf.bytes_mut()[..PAGE_BYTES].copy_from_slice(&page);
    }
}

/// What the page in front of a region of so many pages says: when it was written, and what is in
/// it. `None` if it is none, or of another region.
pub fn decode(number: u32, region_pages: u32, page: Unverified<'_>) -> Option<(u64, Vec<Entry>)> {
    let mut page = page.to_check().first_chunk::<PAGE_BYTES>()?.to_owned();
    let crc = u32::from_le_bytes(*page[CRC_AT..].first_chunk()?);
    page[CRC_AT..CRC_AT + 4].fill(0);
    if crc32fast::hash(&page) != crc {
        return None;
    }
    let mut reader = Reader::new(&page);
    if *reader.array::<8>()? != MAGIC {
        return None;
    }
    let (sequence, found) = (reader.u64()?, reader.u32()?);
    let count = u16::from_le_bytes(*reader.array()?);
    if found != number || u32::from(count) >= region_pages {
        return None;
    }
    reader.take(2 + 4)?;
    let mut entries = Vec::with_capacity(usize::from(count));
    let mut pages = 1;
    for _ in 0..count {
        let (key, crc) = (reader.u64()?, reader.u32()?);
        let entry = Entry { key, crc, pages: u16::from_le_bytes(*reader.array()?), hits: 0 };
        pages += u32::from(entry.pages);
        if key == 0 || entry.pages == 0 || pages > region_pages {
            return None;
        }
        entries.push(entry);
    }
    Some((sequence, entries))
}

#[cfg(test)]
#[path = "region_tests.rs"]
mod tests;
