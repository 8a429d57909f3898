//! The bytes of an object as they grow: whole chunks to hand over, written front to back.

use std::collections::VecDeque;

use crate::limits::{PAGE_BYTES, SST_CHUNK_BYTES, SST_CHUNKS_SPARE_MAX};

#[derive(Debug, Default)]
pub(super) struct Pages {
    filling: Vec<u8>,
    full: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// Bytes of all chunks so far.
    end: u64,
}

impl Pages {
    /// Where the next byte goes in the object.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends bytes; a chunk that fills up is ready to be handed over.
    pub fn append(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            let now = bytes.len().min(SST_CHUNK_BYTES - self.filling.len());
            self.open();
            self.filling.extend_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            self.close_if_full();
        }
    }

    /// Appends zeros up to a multiple of `align`, which divides the page size.
    pub fn align(&mut self, align: usize) {
        debug_assert!(PAGE_BYTES.is_multiple_of(align));
        let end = self.filling.len().next_multiple_of(align);
        self.end += (end - self.filling.len()) as u64;
        self.filling.resize(end, 0);
        self.close_if_full();
    }

    /// The next full chunk.
    pub fn take_full(&mut self) -> Option<Vec<u8>> {
        self.full.pop_front()
    }

    /// A chunk to be filled again.
    pub fn give_back(&mut self, mut chunk: Vec<u8>) {
        if self.spare.len() < SST_CHUNKS_SPARE_MAX && chunk.capacity() >= SST_CHUNK_BYTES {
            chunk.clear();
            self.spare.push(chunk);
        }
    }

    /// All that was not handed over; the bytes are whole pages.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        debug_assert!(self.filling.len().is_multiple_of(PAGE_BYTES));
        if !self.filling.is_empty() {
            self.full.push_back(self.filling);
        }
        self.full.into()
    }

    fn open(&mut self) {
        if self.filling.capacity() < SST_CHUNK_BYTES {
            let fresh = || Vec::with_capacity(SST_CHUNK_BYTES);
            self.filling = self.spare.pop().unwrap_or_else(fresh);
        }
    }

    fn close_if_full(&mut self) {
        if self.filling.len() == SST_CHUNK_BYTES {
            self.full.push_back(std::mem::take(&mut self.filling));
        }
    }
}
