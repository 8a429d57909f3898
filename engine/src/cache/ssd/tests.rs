use super::*;
use crate::limits::{SSD_FAILURES_MAX, SSD_PAUSE_NS};
use crate::types::Error;
use crate::types::error::ErrorKind;

const FILE: ObjectSlot = ObjectSlot(7);
pub(super) const REGIONS: u64 = 16;
pub(super) const REGION_PAGES: u32 = (SSD_REGION_BYTES / PAGE_BYTES) as u32;
const PAGE: usize = PAGE_BYTES;

/// A cache with its disk.
pub(super) struct Rig {
    pub(super) ssd: Ssd,
    pub(super) disk: Vec<u8>,
    pub(super) free_bytes: u64,
    pub(super) now: Nanos,
    pub(super) refuses: bool,
}

fn file(stored_bytes: u64) -> SsdFile {
    let bytes = REGIONS * SSD_REGION_BYTES as u64;
    let region_bytes = SSD_REGION_BYTES;
    SsdFile { object: FILE, region_bytes, bytes, stored_bytes, free_bytes: 1 << 40, spare_bytes: 0 }
}

pub(super) fn extent(number: u64) -> Extent {
    let pages = 1 + number as u32 % 3;
    Extent { offset: number * 4 * PAGE as u64, len: pages * PAGE as u32 }
}

pub(super) fn bytes(number: u64) -> Vec<u8> {
    (0..extent(number).len).map(|i| (u64::from(i) * 31 + number * 7) as u8).collect()
}

impl Rig {
    pub(super) fn new() -> Self {
        let disk = vec![0; REGIONS as usize * SSD_REGION_BYTES];
        Self { ssd: Ssd::new(file(0)), disk, free_bytes: 1 << 40, now: 0, refuses: false }
    }

    pub(super) fn restart(&mut self) {
        self.ssd = Ssd::new(file(self.disk.len() as u64));
        self.work();
    }

    /// Carries out what the cache asks for, until it asks for nothing.
    pub(super) fn work(&mut self) {
        loop {
            let mut io = Vec::new();
            self.ssd.ask(self.now, &mut io);
            if io.is_empty() {
                return;
            }
            for request in io {
                match request {
                    IoRequest::Read { token, object, offset, mut buf, .. } => {
                        assert_eq!((object, is_own(token)), (FILE, true));
                        let len = buf.bytes().len();
                        let from = &self.disk[offset as usize..][..len];
                        buf.bytes_mut().copy_from_slice(from);
                        self.ssd.landed(token, buf, self.result(()));
                    }
                    IoRequest::Write { token, object, offset, buf } => {
                        assert_eq!((object, is_own(token)), (FILE, true));
                        let to = &mut self.disk[offset as usize..][..buf.bytes().len()];
                        if !self.refuses {
                            to.copy_from_slice(buf.bytes());
                        }
                        self.ssd.written(token, buf, self.result(self.free_bytes));
                    }
                    IoRequest::Room { end } => {
                        if let Some(end) = end {
                            self.disk[end as usize..].fill(0);
                        }
                        self.ssd.room(self.result(self.free_bytes));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    pub(super) fn result<T>(&self, value: T) -> Result<T> {
        if self.refuses { Err(Error::new(ErrorKind::Io, "refused")) } else { Ok(value) }
    }

    /// Reads an extent: from the cache, where it must come back as it was, or from the DFS. True
    /// for the first.
    pub(super) fn get(&mut self, number: u64) -> bool {
        let extent = extent(number);
        if let Some((object, offset)) = self.ssd.find(1, extent) {
            assert_eq!(object, FILE);
            let read = self.disk[offset as usize..][..extent.len as usize].to_vec();
            let error = Error::new(ErrorKind::Io, "refused");
            let result = if self.refuses { Err(&error) } else { Ok(Unverified::from(&read)) };
            if self.ssd.check(1, extent, offset, result) {
                assert_eq!(read, bytes(number), "{number}");
                return true;
            }
        }
        self.ssd.offer(1, extent, (&bytes(number)).into());
        self.work();
        false
    }

    pub(super) fn hits(&mut self, numbers: impl Iterator<Item = u64>) -> usize {
        numbers.filter(|&number| self.get(number)).count()
    }
}

/// Extents that fill a few regions.
const SOME: u64 = 400;

#[test]
fn what_was_read_comes_back_and_survives_a_restart() {
    let mut rig = Rig::new();
    rig.work();
    assert_eq!(rig.hits(0..SOME), 0);
    let here = rig.hits(0..SOME);
    assert!(here > 200, "{here}: all but the region that is being filled");
    rig.restart();
    let still = rig.hits(0..SOME);
    assert!(still >= here, "{still} of {here}");
    let counters = rig.ssd.counters();
    assert_eq!((counters.damaged, counters.failures), (0, 0));
    assert!(counters.held_bytes <= counters.capacity_bytes);
}

#[test]
fn another_object_is_not_found() {
    let mut rig = Rig::new();
    rig.work();
    rig.hits(0..SOME);
    assert!(rig.ssd.find(1, extent(0)).is_some());
    assert!(rig.ssd.find(2, extent(0)).is_none());
    let longer = Extent { len: extent(0).len + PAGE as u32, ..extent(0) };
    assert!(rig.ssd.find(1, longer).is_none());
}

#[test]
fn what_is_asked_for_stays_while_a_scan_passes_by() {
    let mut rig = Rig::new();
    rig.work();
    let all = REGIONS * u64::from(REGION_PAGES) / 2;
    rig.hits(0..all * 2);
    let hot = || (0..SOME).map(|i| 1_000_000 + i);
    for _ in 0..4 {
        rig.hits(hot());
    }
    let before = rig.hits(hot());
    assert!(before > 250, "{before}");
    let written = rig.ssd.counters().written;
    for round in 0..8 {
        rig.hits((0..all).map(|i| 2_000_000 + round * all + i));
        rig.hits(hot());
    }
    assert!(rig.hits(hot()) >= before, "the scan washed it out");
    let more = rig.ssd.counters().written - written;
    assert!(more < all, "{more} extents of a scan of {} were written", all * 8);
}

#[test]
fn new_extents_push_out_what_nobody_asks_for() {
    let mut rig = Rig::new();
    rig.work();
    let all = REGIONS * u64::from(REGION_PAGES) / 2;
    rig.hits(0..all * 2);
    // Missed twice, they come in.
    for start in [all * 4, all * 6, all * 8] {
        rig.hits(start..start + all / 2);
        rig.hits(start..start + all / 2);
    }
    let counters = rig.ssd.counters();
    let in_all = counters.held_bytes + counters.evicted_bytes;
    assert!(counters.evicted_bytes > counters.capacity_bytes / 2, "{counters:?}");
    assert!(in_all <= counters.written_bytes, "{counters:?}");
    let kept = rig.hits(all * 8..all * 8 + all / 2);
    assert!(kept as u64 > all / 4, "{kept} of {}", all / 2);
}

#[test]
fn damage_is_noticed_and_forgotten() {
    let mut rig = Rig::new();
    rig.work();
    rig.hits(0..SOME);
    let here: Vec<u64> = (0..SOME).filter(|&i| rig.ssd.find(1, extent(i)).is_some()).collect();
    for byte in rig.disk.iter_mut().step_by(PAGE) {
        *byte ^= 1;
    }
    // All but a few, after which it is left alone for a while.
    assert_eq!(rig.hits(here.iter().copied()), 0);
    assert_eq!(rig.ssd.counters().damaged, u64::from(SSD_FAILURES_MAX));
    rig.now += SSD_PAUSE_NS;
    rig.work();
    assert_eq!(rig.hits(here.iter().copied()), 0);
    rig.restart();
    assert_eq!(rig.hits(here.into_iter().take(100)), 0, "the pages in front are damaged too");
}

#[test]
fn a_disk_that_refuses_is_left_alone_for_a_while() {
    let mut rig = Rig::new();
    rig.work();
    rig.refuses = true;
    assert_eq!(rig.hits(0..SOME), 0);
    let failures = rig.ssd.counters().failures;
    assert_eq!(failures, 1, "the first write paused it");
    rig.refuses = false;
    assert_eq!(rig.hits(0..SOME), 0, "it is paused");
    rig.now += SSD_PAUSE_NS;
    rig.work();
    rig.hits(0..SOME);
    rig.hits(0..SOME);
    assert!(rig.hits(0..SOME) > 200);
    assert_eq!(rig.ssd.counters().failures, failures);
}

#[test]
fn the_file_does_not_grow_into_the_space_that_is_to_stay_free() {
    let mut rig = Rig::new();
    rig.ssd.file.spare_bytes = 5 << 30;
    rig.work();
    rig.hits(0..SOME);
    rig.free_bytes = 5 << 30;
    let grown = |rig: &Rig| rig.disk.chunks(SSD_REGION_BYTES).filter(|r| r[0] != 0).count();
    rig.hits(SOME..SOME * 2);
    let before = grown(&rig);
    for _ in 0..4 {
        rig.hits(0..SOME * 8);
    }
    // One was open and one ready.
    assert!(grown(&rig) <= before + 2, "{} and then {} regions", before, grown(&rig));
    assert!(rig.ssd.counters().held_bytes > 0);
}

#[test]
fn space_is_given_back_when_others_fill_the_disk() {
    let mut rig = Rig::new();
    rig.ssd.file.spare_bytes = 4 * SSD_REGION_BYTES as u64;
    rig.work();
    let all = REGIONS * u64::from(REGION_PAGES) / 2;
    rig.hits(0..all);
    let held = rig.ssd.counters().held_bytes;
    // Two regions are missing.
    rig.free_bytes = 2 * SSD_REGION_BYTES as u64;
    rig.now += crate::limits::SSD_LOOK_NS;
    rig.work();
    let grown = |rig: &Rig| rig.disk.chunks(SSD_REGION_BYTES).filter(|r| r[0] != 0).count();
    let before = grown(&rig);
    rig.free_bytes = 4 * SSD_REGION_BYTES as u64;
    rig.now += crate::limits::SSD_LOOK_SHORT_NS;
    rig.work();
    assert_eq!(grown(&rig), before - 2);
    let evicted = rig.ssd.counters().evicted_bytes;
    assert!(evicted > 0 && rig.ssd.counters().held_bytes + evicted >= held, "{evicted} of {held}");
    let (failures, damaged) = (rig.ssd.counters().failures, rig.ssd.counters().damaged);
    let here = rig.hits(0..all);
    assert!(here > 0);
    assert_eq!((failures, damaged), (0, 0));
    // It is enough now.
    assert_eq!(grown(&rig), before - 2, "the file does not grow again");
    rig.restart();
    assert_eq!(rig.ssd.counters().damaged, 0);
}

#[test]
fn a_cache_tells_what_memory_it_takes() {
    let per_page = Ssd::memory_bytes(100 << 30) as f64 / (100 << 18) as f64;
    assert!((15.0..30.0).contains(&per_page), "{per_page}");
}
