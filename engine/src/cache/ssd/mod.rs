//! The cache on the local SSD: extents of the DFS in one file of the shard, as a log of regions.
//!
//! What was read from the DFS is collected in a buffer; a full one is written at once over the
//! oldest region. Of that, what was asked for since it was written is kept: it moves to the front
//! of the new one. An extent comes in when it is missed twice, so that a scan passes by; while the
//! file is not full, at once. Tables that jobs write come in as they are written (`through.rs`).
//!
//! The file may be lost, filled or damaged at any moment. Each extent has a checksum that knows
//! its place in the DFS, and what does not come back as it was written is read there. Restarted,
//! the cache reads the pages in front of its regions.

mod hot;
mod index;
mod lend;
mod region;
mod room;
mod through;
mod trouble;

use serde::{Deserialize, Serialize};

use crate::cache::ssd::hot::Hot;
use crate::cache::ssd::index::{Index, PAGES_MAX};
use crate::cache::ssd::region::Region;
use crate::cache::ssd::trouble::Trouble;
use crate::codec::crc::keyed_crc;
use crate::codec::hash::hash64;
use crate::codec::unverified::Unverified;
use crate::io::values::{IoRequest, ObjectSlot};
use crate::limits::{
    PAGE_BYTES, SSD_KEPT_PERCENT, SSD_LOADS_MAX, SSD_LOOKS_MAX, SSD_REGION_BYTES, SSD_THROUGH_BUFS,
    SSD_THROUGH_JOBS_MAX, SSD_WRITES_MAX,
};
use crate::mem::pool::Buf;
use crate::mem::slab::Token;
use crate::sst::layout::Extent;
use crate::types::{Nanos, Result};

pub use region::{Entry, decode};
pub use through::Through;

/// What the cache of a shard did and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SsdCounters {
    /// Extents that were found in it.
    pub hits: u64,
    /// Extents that were not.
    pub misses: u64,
    /// Extents written, those that were kept among them.
    pub written: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of extents that made room for others, or for other users of the disk.
    pub evicted_bytes: u64,
    /// Extents that came back other than they were written: the DFS was read instead.
    pub damaged: u64,
    /// Reads and writes that the disk refused.
    pub failures: u64,
    /// Bytes of the extents that it holds.
    pub held_bytes: u64,
    /// Bytes of its file, at most.
    pub capacity_bytes: u64,
}

/// A file for the cache.
#[derive(Clone, Copy, Debug)]
pub struct SsdFile {
    /// Open in the driver of the shard.
    pub object: ObjectSlot,
    /// Bytes that are written at once: `SSD_REGION_BYTES`, or fewer for tests with little data.
    pub region_bytes: usize,
    /// What it may have, bytes.
    pub bytes: u64,
    /// What it has from before.
    pub stored_bytes: u64,
    /// What its file system has free.
    pub free_bytes: u64,
    /// What that should keep free.
    pub spare_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Ssd {
    file: SsdFile,
    index: Index,
    regions: u32,
    region_pages: u32,
    // When each region was written; zero if it never was.
    sequences: Vec<u64>,
    sequence: u64,
    head: u32,
    loading: Option<Loading>,
    open: Option<Region>,
    standby: Option<Standby>,
    writing: Vec<Writing>,
    // Regions that jobs fill, by job.
    lent: Vec<Vec<u32>>,
    hot: Hot,
    spare: Vec<Buf>,
    requests: Vec<IoRequest>,
    trouble: Trouble,
    // The free space of its file system is being looked at, or is from then on.
    looking: bool,
    next_look: Option<Nanos>,
    now: Nanos,
    counters: SsdCounters,
}

/// The pages in front of regions are being read.
#[derive(Debug)]
struct Loading {
    next: u32,
    end: u32,
    in_flight: u32,
}

/// The region that will be filled next.
#[derive(Debug)]
enum Standby {
    /// What it held is being read, of which these extents, each with its page, are kept.
    Reading {
        number: u32,
        kept: Vec<(u32, Entry)>,
    },
    Ready(Region),
}

impl Standby {
    fn number(&self) -> u32 {
        match self {
            Self::Reading { number, .. } | Self::Ready(Region { number, .. }) => *number,
        }
    }
}

#[derive(Debug)]
struct Writing {
    number: u32,
    sequence: u64,
    entries: Vec<Entry>,
}

/// Set in the tokens of the cache's own requests: the index of another is far smaller.
const OWN: u64 = 1 << 31;

/// True if a request with this token is the cache's own.
#[must_use]
pub fn is_own(token: Token) -> bool {
    token.0 & OWN != 0
}

fn own(region: u32) -> Token {
    Token(OWN | u64::from(region))
}

fn region_of(token: Token) -> u32 {
    (token.0 & !OWN) as u32
}

// Names a place in the DFS. Two that share a key are told apart by their checksums.
fn key_of(object_key: u64, extent: Extent) -> u64 {
    let mut place = [0; 20];
    place[..8].copy_from_slice(&object_key.to_le_bytes());
    place[8..16].copy_from_slice(&extent.offset.to_le_bytes());
    place[16..].copy_from_slice(&extent.len.to_le_bytes());
    hash64(&place).max(1)
}

impl Ssd {
    /// A cache in a file of as many whole regions as fit.
    #[must_use]
    pub fn new(file: SsdFile) -> Self {
        let region_bytes = file.region_bytes as u64;
        let regions = (file.bytes / region_bytes) as u32;
        let region_pages = (file.region_bytes / PAGE_BYTES) as u32;
        let end = regions.min((file.stored_bytes / region_bytes) as u32);
        let capacity_bytes = u64::from(regions) * region_bytes;
        Self {
            index: Index::new((regions * region_pages) as usize),
            regions,
            region_pages,
            sequences: vec![0; regions as usize],
            sequence: 0,
            head: 0,
            loading: (end > 0).then_some(Loading { next: 0, end, in_flight: 0 }),
            open: None,
            standby: None,
            writing: Vec::new(),
            lent: Vec::new(),
            hot: Hot::default(),
            spare: Vec::new(),
            requests: Vec::new(),
            trouble: Trouble::default(),
            looking: false,
            next_look: None,
            now: 0,
            counters: SsdCounters { capacity_bytes, ..SsdCounters::default() },
            file,
        }
    }

    /// Memory that a cache in a file of so many bytes takes.
    #[must_use]
    pub fn memory_bytes(file_bytes: u64) -> u64 {
        bytes_of(file_bytes, SSD_REGION_BYTES)
    }

    /// What it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes_of(self.counters.capacity_bytes, self.file.region_bytes)
    }

    fn offset_of(&self, region: u32) -> u64 {
        u64::from(region) * self.file.region_bytes as u64
    }

    fn slot_of(&self, region: u32, page: u32) -> u32 {
        region * self.region_pages + page
    }

    /// What it did.
    #[must_use]
    pub fn counters(&self) -> SsdCounters {
        self.counters
    }

    /// Where in which file an extent of an object lies, if it is here.
    pub fn find(&mut self, object_key: u64, extent: Extent) -> Option<(ObjectSlot, u64)> {
        let found = self.index.find(key_of(object_key, extent)).filter(|_| !self.is_paused());
        let Some(slot) = found else {
            self.counters.misses += 1;
            return None;
        };
        self.index.hit(slot);
        self.hot.note(object_key, extent.offset);
        Some((self.file.object, u64::from(slot) * PAGE_BYTES as u64))
    }

    /// True if an extent of an object is here. That is not counted.
    pub fn has(&self, object_key: u64, extent: Extent) -> bool {
        self.index.find(key_of(object_key, extent)).is_some()
    }

    /// A page of an object is hot, says a checkpoint.
    pub fn call_hot(&mut self, object_key: u64, page: u32) {
        self.hot.put(object_key, page);
    }

    /// The pages of these objects at which something begins that was found lately.
    pub fn hot_pages(&self, object_keys: &[u64]) -> Vec<Vec<u32>> {
        self.hot.pages(object_keys)
    }

    /// True if a read of the file at `offset` brought the extent that `find` promised there.
    pub fn check(&mut self, object_key: u64, extent: Extent, offset: u64, read: Read<'_>) -> bool {
        let slot = (offset / PAGE_BYTES as u64) as u32;
        let is_there = self.index.key(slot) == Some(key_of(object_key, extent));
        let holds = match read {
            Ok(pages) => {
                let crc = keyed_crc(object_key, extent.offset, pages.to_check());
                let holds = is_there && crc == self.index.crc(slot);
                if is_there && !holds {
                    self.counters.damaged += 1;
                    self.failed("an extent came back damaged");
                }
                holds
            }
            Err(error) => {
                self.counters.failures += 1;
                self.failed(&error.text);
                false
            }
        };
        if holds {
            self.trouble.worked();
            self.counters.hits += 1;
        } else {
            self.counters.misses += 1;
            if is_there {
                self.forget(slot);
            }
        }
        holds
    }

    /// An extent was read from the DFS.
    pub fn offer(&mut self, object_key: u64, extent: Extent, pages: Unverified<'_>) {
        let count = extent.len / PAGE_BYTES as u32;
        if count > PAGES_MAX || self.is_paused() {
            return;
        }
        let key = key_of(object_key, extent);
        // While there is room behind what was written, everything comes in.
        let fills = self.sequences.last() == Some(&0) && self.has_free_space();
        if self.index.find(key).is_some() || !(fills || self.index.was_missed(key)) {
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.room() < count) {
            self.write();
        }
        // What the next one kept may leave too little.
        let Some(open) = self.open.as_mut().filter(|open| open.room() >= count) else { return };
        if open.entries.iter().any(|entry| entry.key == key) {
            return;
        }
        let crc = keyed_crc(object_key, extent.offset, pages.to_check());
        open.push(Entry { key, crc, pages: count as u16, hits: 0 }, pages.to_check());
    }

    /// Asks for what it needs itself.
    pub fn ask(&mut self, now: Nanos, io: &mut Vec<IoRequest>) {
        self.now = now;
        self.trouble.look(now);
        if !self.is_paused() {
            self.load();
            if self.loading.is_none() {
                self.prepare();
                self.look();
            }
        }
        io.append(&mut self.requests);
    }

    fn load(&mut self) {
        let region_bytes = self.file.region_bytes as u64;
        let Some(loading) = &mut self.loading else { return };
        while loading.in_flight < SSD_LOADS_MAX && loading.next < loading.end {
            let Ok(buf) = Buf::map(PAGE_BYTES) else { break };
            let (token, object) = (own(loading.next), self.file.object);
            let offset = u64::from(loading.next) * region_bytes;
            self.requests.push(IoRequest::Read { token, object, offset, buf, again: false });
            loading.next += 1;
            loading.in_flight += 1;
        }
        if loading.in_flight == 0 && loading.next == loading.end {
            self.loading = None;
        }
    }

    /// A read of its own ended.
    pub fn landed(&mut self, token: Token, buf: Buf, result: Result<()>) {
        let number = region_of(token);
        if let Some(loading) = &mut self.loading {
            loading.in_flight -= 1;
            if result.is_ok() {
                self.take_loaded(number, buf.unverified());
            }
            return;
        }
        let Some(Standby::Reading { kept, .. }) = self.standby.take() else { return };
        let mut region = Region::new(number, buf);
        match result {
            Ok(()) => {
                for (page, entry) in kept {
                    // It may have turned out to be damaged meanwhile.
                    if self.index.key(self.slot_of(number, page)) == Some(entry.key) {
                        region.keep(entry, page);
                    }
                }
            }
            Err(error) => {
                self.counters.failures += 1;
                self.failed(&error.text);
            }
        }
        self.standby = Some(Standby::Ready(region));
    }

    fn take_loaded(&mut self, number: u32, page: Unverified<'_>) {
        let Some((sequence, entries)) = region::decode(number, self.region_pages, page) else {
            return;
        };
        self.sequences[number as usize] = sequence;
        if sequence > self.sequence {
            self.sequence = sequence;
            self.head = (number + 1) % self.regions;
        }
        self.take_in(number, sequence, entries.into_iter());
    }

    // Extents of a region are there from now on.
    fn take_in(&mut self, number: u32, sequence: u64, entries: impl Iterator<Item = Entry>) {
        let mut slot = self.slot_of(number, 1);
        for entry in entries {
            let at = slot;
            slot += u32::from(entry.pages);
            if u32::from(entry.pages) > PAGES_MAX {
                continue;
            }
            if let Some(other) = self.index.find(entry.key) {
                // While regions are loaded, a newer one may have come first.
                if self.sequences[(other / self.region_pages) as usize] > sequence {
                    continue;
                }
                self.forget(other);
            }
            self.index.insert(at, entry);
            self.counters.held_bytes += u64::from(entry.pages) * PAGE_BYTES as u64;
        }
    }

    /// What it gave for an extent was as it got it, and bad nevertheless.
    pub fn disown(&mut self, object_key: u64, extent: Extent) {
        if let Some(slot) = self.index.find(key_of(object_key, extent)) {
            self.counters.damaged += 1;
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: u32) {
        if self.index.key(slot).is_some() {
            let (_, pages) = self.index.uses(slot);
            self.counters.held_bytes -= u64::from(pages) * PAGE_BYTES as u64;
            self.index.remove(slot);
        }
    }

    // What lies there makes room.
    fn evict(&mut self, slot: u32) {
        let held_bytes = self.counters.held_bytes;
        self.forget(slot);
        self.counters.evicted_bytes += held_bytes - self.counters.held_bytes;
    }

    // Gets the next region ready, and opens one.
    fn prepare(&mut self) {
        if self.standby.is_none() && self.writing.len() < SSD_WRITES_MAX {
            self.standby = self.next_region().and_then(|number| self.begin(number));
        }
        if self.open.is_none() {
            match self.standby.take() {
                Some(Standby::Ready(region)) => self.open = Some(region),
                other => self.standby = other,
            }
        }
    }

    fn has_free_space(&self) -> bool {
        self.file.free_bytes >= self.file.spare_bytes + self.file.region_bytes as u64
    }

    // The region to be overwritten next: the oldest, or one that the file does not have yet.
    fn next_region(&mut self) -> Option<u32> {
        for _ in 0..SSD_LOOKS_MAX {
            let number = self.head;
            self.head = (number + 1) % self.regions;
            let grows = self.sequences[number as usize] == 0;
            if self.in_use().any(|used| used == number) || (grows && !self.has_free_space()) {
                continue;
            }
            if grows {
                // The next write tells what is free indeed.
                let rest = self.file.free_bytes.saturating_sub(self.file.region_bytes as u64);
                self.file.free_bytes = rest;
            }
            return Some(number);
        }
        None
    }

    // Regions that are going to be written.
    fn in_use(&self) -> impl Iterator<Item = u32> {
        let open = self.open.iter().map(|open| open.number);
        let standby = self.standby.iter().map(Standby::number);
        let writing = self.writing.iter().map(|writing| writing.number);
        open.chain(standby).chain(writing).chain(self.lent.iter().flatten().copied())
    }

    // Keeps what was asked for of a region, in the order it lies in, and forgets the rest.
    fn begin(&mut self, number: u32) -> Option<Standby> {
        let buf = self.spare.pop().map_or_else(|| Buf::map(self.file.region_bytes), Ok).ok()?;
        let (mut kept, mut kept_pages) = (Vec::new(), 0);
        let kept_pages_max = self.region_pages * SSD_KEPT_PERCENT / 100;
        for page in 1..self.region_pages {
            let slot = self.slot_of(number, page);
            let Some(key) = self.index.key(slot) else { continue };
            let (hits, pages) = self.index.uses(slot);
            if hits == 0 || kept_pages + pages > kept_pages_max {
                self.evict(slot);
                continue;
            }
            kept_pages += pages;
            let crc = self.index.crc(slot);
            kept.push((page, Entry { key, crc, pages: pages as u16, hits: hits - 1 }));
        }
        if kept.is_empty() {
            return Some(Standby::Ready(Region::new(number, buf)));
        }
        let (token, object, offset) = (own(number), self.file.object, self.offset_of(number));
        self.requests.push(IoRequest::Read { token, object, offset, buf, again: false });
        Some(Standby::Reading { number, kept })
    }

    // Writes the open region.
    fn write(&mut self) {
        let Some(mut region) = self.open.take() else { return };
        for page in 1..self.region_pages {
            self.forget(self.slot_of(region.number, page));
        }
        self.sequence += 1;
        region.seal(self.sequence);
        let Region { number, buf, entries, .. } = region;
        self.writing.push(Writing { number, sequence: self.sequence, entries });
        let (token, object, offset) = (own(number), self.file.object, self.offset_of(number));
        self.requests.push(IoRequest::Write { token, object, offset, buf });
        self.prepare();
    }

    /// A write ended; on success it tells what the file system has free.
    pub fn written(&mut self, token: Token, buf: Buf, result: Result<u64>) {
        self.spare.push(buf);
        let number = region_of(token);
        let Some(at) = self.writing.iter().position(|writing| writing.number == number) else {
            return;
        };
        let Writing { sequence, entries, .. } = self.writing.swap_remove(at);
        self.filled(number, sequence, entries, result);
    }

    // A region was written, or was not.
    fn filled(&mut self, number: u32, sequence: u64, entries: Vec<Entry>, result: Result<u64>) {
        match result {
            Ok(free_bytes) => {
                self.file.free_bytes = free_bytes;
                self.trouble.written();
                self.counters.written += entries.len() as u64;
                self.counters.written_bytes += self.file.region_bytes as u64;
                self.sequences[number as usize] = sequence;
                self.take_in(number, sequence, entries.into_iter());
            }
            Err(error) => {
                self.counters.failures += 1;
                self.trouble.refused(self.now, &error.text);
            }
        }
    }

    fn failed(&mut self, why: &str) {
        self.trouble.failed(self.now, why);
    }

    fn is_paused(&self) -> bool {
        self.trouble.is_paused(self.now)
    }
}

fn bytes_of(file_bytes: u64, region_bytes: usize) -> u64 {
    let slots = usize::try_from(file_bytes / PAGE_BYTES as u64).unwrap_or(usize::MAX / 64);
    let through = SSD_THROUGH_JOBS_MAX * SSD_THROUGH_BUFS;
    let buffers = (SSD_WRITES_MAX + 2 + through) * region_bytes;
    (Index::bytes_of(slots) + buffers + Hot::BYTES_MAX) as u64
        + file_bytes / region_bytes as u64 * 8
}

/// What a read of the file brought.
pub type Read<'a> = std::result::Result<Unverified<'a>, &'a crate::types::Error>;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
