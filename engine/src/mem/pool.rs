//! Page-aligned read buffers. The kernel only ever writes into this memory, and a buffer comes
//! back when its completion was reaped: it travels by value inside the request and its answer,
//! so nothing can drop it while a read is in flight.

use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

use crate::codec::unverified::Unverified;
use crate::limits::{MERGED_READ_BYTES_MAX, PAGE_BYTES, READS_IN_FLIGHT_MAX};
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// A buffer of whole pages, filled by a driver and read by the shard.
#[derive(Debug)]
pub struct Buf {
    // A part of `memory` that no other buffer has.
    start: NonNull<u8>,
    len: usize,
    memory: Arc<MmapRaw>,
}

// SAFETY: a buffer owns its part of the mapping, which is plain memory of no thread in particular.
unsafe impl Send for Buf {}

impl Buf {
    fn new(pages: usize) -> std::io::Result<Self> {
        let memory = MmapRaw::from(MmapMut::map_anon(pages * PAGE_BYTES)?);
        let start = NonNull::new(memory.as_mut_ptr()).expect("a mapping is not at zero");
        Ok(Self { start, len: memory.len(), memory: Arc::new(memory) })
    }

    /// A buffer of at least `bytes` outside any pool: a job's.
    ///
    /// # Errors
    /// `NoMemory`: the kernel refused to map it.
    pub fn map(bytes: usize) -> Result<Self> {
        Self::new(bytes.div_ceil(PAGE_BYTES).max(1)).map_err(|cause| {
            let what = format!("the kernel refuses to map a buffer of {bytes} bytes: {cause}");
            Error::new(ErrorKind::NoMemory, what)
        })
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `len` name a part of `memory`, which is mapped, zeroed at first and
        // lives as long as this buffer; nobody else has that part.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes that a driver read into it.
    #[inline]
    #[must_use]
    pub fn unverified(&self) -> Unverified<'_> {
        self.bytes().into()
    }

    /// The bytes, for the driver that fills them.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `bytes`, and a buffer is never cloned.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// True if it is a part of this memory.
    #[inline]
    #[must_use]
    pub fn is_of(&self, memory: &Arc<MmapRaw>) -> bool {
        Arc::ptr_eq(&self.memory, memory)
    }
}

/// Hands out buffers and takes them back. One per shard.
#[derive(Debug, Default)]
pub struct Pool {
    // One page for each read in flight, all in one mapping that a ring can register.
    pages: Option<Arc<MmapRaw>>,
    // Free buffers by size in pages, up to the largest merged read; larger ones are unmapped.
    free: Vec<Vec<Buf>>,
    bytes: usize,
}

/// Sizes that are kept for reuse, pages.
const KEPT_PAGES_MAX: usize = MERGED_READ_BYTES_MAX / PAGE_BYTES;

impl Pool {
    /// Bytes handed out or kept free.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory of the buffers of one page, for the driver to register.
    ///
    /// # Errors
    /// The kernel's refusal to map memory.
    pub fn pages(&mut self) -> std::io::Result<Arc<MmapRaw>> {
        if let Some(pages) = &self.pages {
            return Ok(Arc::clone(pages));
        }
        let all = Buf::new(READS_IN_FLIGHT_MAX)?;
        self.bytes += all.len;
        // Each page once, and `all` itself goes: the parts of its memory have one owner each.
        let page = |at: usize| Buf {
            // SAFETY: below the length of the mapping.
            start: unsafe { all.start.add(at * PAGE_BYTES) },
            len: PAGE_BYTES,
            memory: Arc::clone(&all.memory),
        };
        self.free.resize_with(self.free.len().max(2), Vec::new);
        self.free[1].extend((0..READS_IN_FLIGHT_MAX).rev().map(page));
        self.pages = Some(Arc::clone(&all.memory));
        Ok(all.memory)
    }

    /// A buffer of at least `bytes`, rounded up to pages. Its content is undefined (old reads).
    ///
    /// # Errors
    /// The kernel's refusal to map memory.
    pub fn take(&mut self, bytes: usize) -> std::io::Result<Buf> {
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        if pages == 1 && self.pages.is_none() {
            self.pages()?;
        }
        if let Some(buf) = self.free.get_mut(pages).and_then(Vec::pop) {
            return Ok(buf);
        }
        self.bytes += pages * PAGE_BYTES;
        Buf::new(pages)
    }

    /// Returns a buffer whose completion was reaped.
    pub fn give_back(&mut self, buf: Buf) {
        let pages = buf.len / PAGE_BYTES;
        if pages > KEPT_PAGES_MAX {
            self.bytes -= buf.len;
            return;
        }
        if self.free.len() <= pages {
            self.free.resize_with(pages + 1, Vec::new);
        }
        self.free[pages].push(buf);
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
