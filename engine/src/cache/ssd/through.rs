//! New tables on their way to the DFS are written through to the cache: a job fills regions that
//! the cache lends it, and gives them back with what lies in them. What finds no room is left out;
//! it is only a cache.

use smallvec::SmallVec;

use crate::cache::ssd::index::PAGES_MAX;
use crate::cache::ssd::key_of;
use crate::cache::ssd::region::{Entry, Region};
use crate::codec::crc::keyed_crc;
use crate::io::values::JobRequest;
use crate::limits::{PAGE_BYTES, SSD_THROUGH_BUFS};
use crate::mem::pool::Buf;
use crate::sst::layout::Extent;
use crate::types::Result;

/// A region that is lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) number: u32,
    /// When it will have been written.
    pub(super) sequence: u64,
}

/// A region that was filled.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) lease: Lease,
    pub(super) entries: Vec<Entry>,
    /// What its write ended with: what the file system has free since, bytes.
    pub(super) result: Option<Result<u64>>,
}

/// The regions that are lent to one job.
#[derive(Debug)]
pub struct Through {
    region_bytes: usize,
    // Unused ones, the next one last.
    leases: Vec<Lease>,
    open: Option<(Lease, Region)>,
    filled: Vec<Filled>,
    spare: Vec<Buf>,
    bufs: usize,
    // Of the extent that was met last.
    last_key: u64,
}

impl Through {
    pub(super) fn new(region_bytes: usize, mut leases: Vec<Lease>) -> Self {
        leases.reverse();
        let (open, filled, spare) = (None, Vec::new(), Vec::new());
        Self { region_bytes, leases, open, filled, spare, bufs: 0, last_key: 0 }
    }

    /// The regions.
    pub fn regions(&self) -> impl Iterator<Item = u32> {
        let open = self.open.iter().map(|(lease, _)| lease);
        let filled = self.filled.iter().map(|filled| &filled.lease);
        filled.chain(open).chain(self.leases.iter().rev()).map(|lease| lease.number)
    }

    /// Takes what lies in bytes at `start` of an object that is being written; what lies behind
    /// them stays in `placed`, which is in order. Gives what is to be written.
    pub fn push(
        &mut self,
        object_key: u64,
        start: u64,
        bytes: &[u8],
        placed: &mut Vec<Extent>,
    ) -> SmallVec<[JobRequest; 1]> {
        let mut requests = SmallVec::new();
        let end = start + bytes.len() as u64;
        placed.retain(|extent| {
            let extent = extent.pages();
            let Extent { offset, len } = extent;
            // What lies in bytes of two pieces is left out.
            if start <= offset && offset + u64::from(len) <= end {
                let from = (offset - start) as usize;
                requests.extend(self.take(object_key, extent, &bytes[from..from + len as usize]));
            }
            offset >= end
        });
        requests
    }

    fn take(&mut self, object_key: u64, extent: Extent, pages: &[u8]) -> Option<JobRequest> {
        let (key, count) = (key_of(object_key, extent), extent.len / PAGE_BYTES as u32);
        // Small units share pages.
        if count > PAGES_MAX || key == self.last_key {
            return None;
        }
        self.last_key = key;
        let full = self.open.as_ref().is_some_and(|(_, region)| region.room() < count);
        let ended = if full { self.end() } else { None };
        if self.open.is_none() {
            self.open = self.next_region();
        }
        if let Some((_, region)) = self.open.as_mut().filter(|(_, r)| r.room() >= count) {
            let crc = keyed_crc(object_key, extent.offset, pages);
            region.push(Entry { key, crc, pages: count as u16, hits: 0 }, pages);
        }
        ended
    }

    fn next_region(&mut self) -> Option<(Lease, Region)> {
        self.leases.last()?;
        let buf = match self.spare.pop() {
            Some(buf) => buf,
            None if self.bufs == SSD_THROUGH_BUFS => return None,
            None => {
                self.bufs += 1;
                Buf::map(self.region_bytes).ok()?
            }
        };
        let lease = self.leases.pop()?;
        Some((lease, Region::new(lease.number, buf)))
    }

    /// Has the region written that is open.
    pub fn end(&mut self) -> Option<JobRequest> {
        let (lease, mut region) = self.open.take()?;
        region.seal(lease.sequence);
        let Region { number, buf, entries, .. } = region;
        self.filled.push(Filled { lease, entries, result: None });
        let offset = u64::from(number) * self.region_bytes as u64;
        Some(JobRequest::Cache { region: number, offset, buf })
    }

    /// True if what fills the open region goes on in the next one: a buffer is free for that.
    #[must_use]
    pub fn has_buf(&self) -> bool {
        !self.spare.is_empty() || self.bufs < SSD_THROUGH_BUFS
    }

    /// True if no write is outstanding.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.filled.iter().all(|filled| filled.result.is_some())
    }

    /// A region was written, or was not.
    pub fn written(&mut self, region: u32, buf: Buf, result: Result<u64>) {
        self.spare.push(buf);
        if let Some(filled) = self.filled.iter_mut().find(|f| f.lease.number == region) {
            filled.result = Some(result);
        }
    }

    /// What was filled, and written or not.
    pub(super) fn into_filled(self) -> impl Iterator<Item = (Lease, Vec<Entry>, Result<u64>)> {
        let ended = |f: Filled| f.result.map(|result| (f.lease, f.entries, result));
        self.filled.into_iter().filter_map(ended)
    }
}
