//! Page-aligned read buffers. The kernel only ever writes into this memory, and a buffer comes
//! back when its completion was reaped: it travels by value inside the request and its answer,
//! so nothing can drop it while a read is in flight.

use memmap2::MmapMut;

use crate::limits::PAGE_BYTES;
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// A buffer of whole pages, filled by a driver and read by the shard.
#[derive(Debug)]
pub struct Buf {
    map: MmapMut,
}

impl Buf {
    fn new(pages: usize) -> std::io::Result<Self> {
        Ok(Self { map: MmapMut::map_anon(pages * PAGE_BYTES)? })
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
        &self.map
    }

    /// The bytes, for the driver that fills them.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

/// Hands out buffers and takes them back. One per shard.
#[derive(Debug, Default)]
pub struct Pool {
    // Free buffers by size in pages, up to the largest merged read; larger ones are unmapped.
    free: Vec<Vec<Buf>>,
    bytes: usize,
}

/// Sizes that are kept for reuse, pages.
const KEPT_PAGES_MAX: usize = crate::limits::MERGED_READ_BYTES_MAX / PAGE_BYTES;

impl Pool {
    /// Bytes handed out or kept free.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A buffer of at least `bytes`, rounded up to pages. Its content is undefined (old reads).
    ///
    /// # Errors
    /// The kernel's refusal to map memory.
    pub fn take(&mut self, bytes: usize) -> std::io::Result<Buf> {
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        if let Some(buf) = self.free.get_mut(pages).and_then(Vec::pop) {
            return Ok(buf);
        }
        self.bytes += pages * PAGE_BYTES;
        Buf::new(pages)
    }

    /// Returns a buffer whose completion was reaped.
    pub fn give_back(&mut self, buf: Buf) {
        let pages = buf.map.len() / PAGE_BYTES;
        if pages > KEPT_PAGES_MAX {
            self.bytes -= buf.map.len();
            return;
        }
        if self.free.len() <= pages {
            self.free.resize_with(pages + 1, Vec::new);
        }
        self.free[pages].push(buf);
    }
}
