use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::io::dfs::Dfs;
use crate::io::objects::Source;
use crate::io::read_driver::{IoKind, ReadDriver};
use crate::io::ring_open::RingMode;
use crate::io::test_support::{Folder, name};
use crate::io::{clock, entropy};
use crate::limits::{JOB_RETRY_NS, PAGE_BYTES, PATIENCE_NS_DEFAULT, RING_READS_MAX};
use crate::mem::pool::Pool;
use crate::mem::slab::Slab;
use crate::types::error::ErrorKind;

/// Every driver, in every mode that makes a difference to it.
const DRIVERS: [(IoKind, RingMode); 3] = [
    (IoKind::Uring, RingMode::Owned),
    (IoKind::Uring, RingMode::Inline),
    (IoKind::Portable, RingMode::Inline),
];

/// Pages that tell where they are from.
pub(crate) fn pages(count: usize) -> Vec<u8> {
    let page = |at: usize| (0..PAGE_BYTES / 8).map(move |i| (at * 1000 + i) as u64);
    (0..count).flat_map(page).flat_map(u64::to_le_bytes).collect()
}

pub(crate) struct Rig {
    pub(crate) driver: ReadDriver,
    pub(crate) done: Vec<IoDone>,
    pool: Pool,
    slab: Slab<(ObjectSlot, u64)>,
}

impl Rig {
    pub(crate) fn new((kind, mode): (IoKind, RingMode)) -> Self {
        let (mut driver, mut pool) = (ReadDriver::open(kind, mode).unwrap(), Pool::default());
        driver.register_memory(pool.pages().unwrap());
        Self { driver, done: Vec::new(), pool, slab: Slab::default() }
    }

    pub(crate) fn read(&mut self, object: ObjectSlot, offset: u64, bytes: usize, now: Nanos) {
        self.submit(object, offset, bytes, false, now);
    }

    /// Reads what was wrong before.
    pub(crate) fn read_again(&mut self, object: ObjectSlot, offset: u64, bytes: usize, now: Nanos) {
        self.submit(object, offset, bytes, true, now);
    }

    fn submit(&mut self, object: ObjectSlot, offset: u64, bytes: usize, again: bool, now: Nanos) {
        let token = self.slab.insert((object, offset));
        let buf = self.pool.take(bytes).unwrap();
        self.driver.submit(Read { token, object, offset, buf, again }, now);
    }

    pub(crate) fn turn(&mut self, now: Nanos, wait: Wait) {
        self.driver.turn(now, wait, &mut self.done).unwrap();
    }

    /// Turns until `count` answers are there; the bytes, or the error, by offset.
    pub(crate) fn answers(&mut self, count: usize) -> Vec<(u64, Result<Vec<u8>>)> {
        while self.done.len() < count {
            self.turn(clock::now(), Wait::Until { deadline: None });
        }
        assert_eq!(self.done.len(), count);
        let slab = &mut self.slab;
        let mut answers: Vec<_> = self
            .done
            .drain(..)
            .map(|done| {
                let IoDone::Read { token, buf, result, .. } = done else { panic!("{done:?}") };
                let (_, offset) = slab.remove(token).expect("answered once");
                (offset, result.map(|()| buf.bytes().to_vec()))
            })
            .collect();
        answers.sort_by_key(|(offset, _)| *offset);
        answers
    }

    fn error(&mut self) -> Error {
        self.answers(1).remove(0).1.unwrap_err()
    }
}

pub(crate) fn dfs_with(url: &str, bytes: &[u8]) -> Dfs {
    let dfs = Dfs::open(url).unwrap();
    dfs.put_now(&name(1), bytes).unwrap();
    dfs
}

fn memory_url() -> String {
    format!("memory://ring-{:x}", entropy::nonce().unwrap())
}

#[test]
fn many_reads_in_flight_bring_their_pages() {
    let folder = Folder::new();
    let bytes = pages(600);
    let dfs = dfs_with(folder.url(), &bytes);
    for way in DRIVERS {
        let mut rig = Rig::new(way);
        let slot = rig.driver.open_object(dfs.open_object(&name(1), 0).unwrap());
        // More than the submission ring and than the kernel may hold, of several sizes.
        let count = RING_READS_MAX + 1000;
        let read_pages = |i: usize| i % 7 + 1;
        for i in 0..count {
            let at = i * 37 % 590;
            rig.read(slot, (at * PAGE_BYTES) as u64, read_pages(i) * PAGE_BYTES, 0);
        }
        for (offset, got) in rig.answers(count) {
            let (at, got) = (offset as usize, got.unwrap());
            assert!(got == bytes[at..at + got.len()], "wrong bytes at {offset}");
        }
        let counters = rig.driver.counters();
        assert_eq!(counters.reads, count as u64);
        assert!(counters.enters < counters.reads / 2, "{counters:?}");
        assert_eq!(rig.driver.pending(), 0);
    }
}

#[test]
fn a_truncated_object_is_corrupt() {
    let folder = Folder::new();
    let bytes = pages(4);
    for way in DRIVERS {
        for (url, bytes) in
            [(folder.url().to_owned(), &bytes[..3 * PAGE_BYTES + 100]), (memory_url(), &bytes)]
        {
            let dfs = dfs_with(&url, bytes);
            let mut rig = Rig::new(way);
            let slot = rig.driver.open_object(dfs.open_object(&name(1), 0).unwrap());
            for (offset, len) in [(2, 3), (4, 1), (900, 1)] {
                rig.read(slot, offset * PAGE_BYTES as u64, len * PAGE_BYTES, 0);
                let error = rig.error();
                assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
                assert!(error.text.contains("truncated"), "{error}");
            }
            rig.read(slot, 0, 3 * PAGE_BYTES, 0);
            assert_eq!(rig.answers(1)[0].1.as_ref().unwrap()[..], bytes[..3 * PAGE_BYTES]);
        }
    }
}

#[test]
fn a_stale_slot_finds_no_stranger() {
    let folder = Folder::new();
    for way in DRIVERS {
        for url in [folder.url().to_owned(), memory_url()] {
            let dfs = dfs_with(&url, &pages(1));
            let open = || dfs.open_object(&name(1), 0).unwrap();
            let mut rig = Rig::new(way);
            let old = rig.driver.open_object(open());
            rig.driver.close_object(old);
            let new = rig.driver.open_object(open());
            assert_ne!(old, new);
            rig.driver.close_object(old);
            rig.read(old, 0, PAGE_BYTES, 0);
            assert_eq!(rig.error().kind, ErrorKind::Invalid);
            rig.read(ObjectSlot(77), 0, PAGE_BYTES, 0);
            assert_eq!(rig.error().kind, ErrorKind::Invalid);
            // A close behind a read lets the read end.
            rig.read(new, 0, PAGE_BYTES, 0);
            rig.driver.close_object(new);
            assert_eq!(rig.answers(1)[0].1.as_ref().unwrap()[..], pages(1)[..]);
            rig.read(new, 0, PAGE_BYTES, 0);
            assert_eq!(rig.error().kind, ErrorKind::Invalid);
        }
    }
}

#[test]
fn injected_latency_holds_answers_in_virtual_time() {
    let folder = Folder::new();
    for way in DRIVERS {
        for base in [folder.url().to_owned(), memory_url()] {
            let dfs = dfs_with(&format!("{base}?latency=2ms"), &pages(2));
            let mut rig = Rig::new(way);
            let slot = rig.driver.open_object(dfs.open_now(&name(1), 0).unwrap());
            rig.read(slot, 0, PAGE_BYTES, 1_000);
            rig.read(slot, PAGE_BYTES as u64, PAGE_BYTES, 500_000);
            while rig.driver.counters().reads < 2 {
                rig.turn(1_000_000, Wait::No);
            }
            assert_eq!(rig.driver.next_due(), Some(2_001_000));
            rig.turn(2_000_999, Wait::No);
            assert!(rig.done.is_empty());
            // Parking ends when the first is due, with no deadline of the caller.
            rig.turn(2_000_999, Wait::Until { deadline: None });
            assert!(rig.done.is_empty());
            rig.turn(2_001_000, Wait::Until { deadline: None });
            assert_eq!(rig.done.len(), 1);
            rig.turn(2_500_000, Wait::Until { deadline: Some(u64::MAX) });
            let offsets: Vec<u64> = rig.answers(2).into_iter().map(|(offset, _)| offset).collect();
            assert_eq!(offsets, [0, PAGE_BYTES as u64]);
        }
    }
}

/// Turns, each time when the next thing is due, until nothing is pending; how long that took.
fn settle(rig: &mut Rig) -> Nanos {
    let mut now = 0;
    while rig.driver.pending() > 0 {
        now = rig.driver.next_due().map_or(now, |due| due.max(now));
        rig.turn(now, Wait::No);
    }
    now
}

#[test]
fn failures_of_the_moment_are_waited_out() {
    let folder = Folder::new();
    for way in DRIVERS {
        for url in [folder.url().to_owned(), memory_url()] {
            let dfs = dfs_with(&format!("{url}?fail=0.5&seed=3"), &pages(2));
            let mut rig = Rig::new(way);
            let slot = rig.driver.open_object(dfs.open_now(&name(1), 0).unwrap());
            for i in 0..100 {
                rig.read(slot, i % 2 * PAGE_BYTES as u64, PAGE_BYTES, 0);
            }
            // Reads that wait for their next try still end as if the object were open.
            rig.driver.close_object(slot);
            let took = settle(&mut rig);
            for (offset, got) in rig.answers(100) {
                assert!(got.unwrap() == pages(2)[offset as usize..][..PAGE_BYTES]);
            }
            let ReadCounters { reads, repeats, .. } = rig.driver.counters();
            assert!(reads == 100 && (60..150).contains(&repeats), "{repeats} repeats");
            assert!((JOB_RETRY_NS..1_000_000_000).contains(&took), "{took} ns");
        }
    }
}

#[test]
fn failures_that_stay_are_answered() {
    let folder = Folder::new();
    for way in DRIVERS {
        for url in [folder.url().to_owned(), memory_url()] {
            let dfs = dfs_with(&format!("{url}?fail=1"), &pages(1));
            let mut rig = Rig::new(way);
            let slot = rig.driver.open_object(dfs.open_now(&name(1), 0).unwrap());
            rig.read(slot, 0, PAGE_BYTES, 0);
            let took = settle(&mut rig);
            assert_eq!(took, PATIENCE_NS_DEFAULT);
            let error = rig.error();
            assert_eq!(error.kind, ErrorKind::Io);
            assert!(error.text.contains("injected") && error.text.contains("11 times"), "{error}");
            assert_eq!(rig.driver.counters().reads, 0);
        }
    }
}

#[test]
fn a_failure_of_the_kernel_is_tried_again_too() {
    for way in DRIVERS {
        let mut rig = Rig::new(way);
        // Reading page 0 of a process is refused with EIO.
        let file = std::fs::File::open("/proc/self/mem").unwrap();
        let source = Source::File { file: file.into(), bytes: PAGE_BYTES as u64 };
        let slot = rig.driver.open_object(OpenObject { name: name(1), source, faults: None });
        rig.read(slot, 0, PAGE_BYTES, 0);
        settle(&mut rig);
        let error = rig.error();
        assert_eq!(error.kind, ErrorKind::Io);
        assert!(error.text.contains(&name(1).to_string()), "{error}");
        assert_eq!(rig.driver.counters().repeats, 10);
    }
}

#[test]
fn the_doorbell_wakes_a_parked_driver() {
    for way in DRIVERS {
        let mut rig = Rig::new(way);
        let bell = rig.driver.doorbell();
        let (sender, receiver) = mpsc::channel();
        let ringer = std::thread::spawn(move || {
            for i in 0..2_000 {
                sender.send(i).unwrap();
                bell.ring();
                if i % 64 == 0 {
                    // Now and then the ring falls asleep for good.
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let mut got = 0;
        while got < 2_000 {
            // Without a deadline: a lost ring hangs the test.
            rig.turn(0, Wait::Until { deadline: None });
            got += receiver.try_iter().count();
        }
        ringer.join().unwrap();
    }
}

#[test]
fn a_driver_outlives_the_threads_that_drive_it() {
    let folder = Folder::new();
    let bytes = pages(64);
    let dfs = dfs_with(folder.url(), &bytes);
    for way in DRIVERS.into_iter().filter(|(_, mode)| *mode == RingMode::Inline) {
        let mut rig = Rig::new(way);
        let slot = rig.driver.open_object(dfs.open_object(&name(1), 0).unwrap());
        for round in 0..20u64 {
            let driver = std::thread::spawn(move || {
                for i in 0..64 {
                    rig.read(slot, i * PAGE_BYTES as u64, PAGE_BYTES, round);
                }
                // Submits from a thread that exits at once.
                rig.turn(round, Wait::No);
                rig
            });
            rig = driver.join().unwrap();
            for (offset, got) in rig.answers(64) {
                assert_eq!(got.unwrap()[..], bytes[offset as usize..][..PAGE_BYTES]);
            }
        }
    }
}

#[test]
fn a_polled_number_tells_of_reads_and_rings() {
    let folder = Folder::new();
    let dfs = dfs_with(folder.url(), &pages(1));
    for way in DRIVERS.into_iter().filter(|(_, mode)| *mode == RingMode::Inline) {
        let mut rig = Rig::new(way);
        let slot = rig.driver.open_object(dfs.open_object(&name(1), 0).unwrap());
        let bell = rig.driver.doorbell();
        // Stands for the host's poll: its own descriptor of the same eventfd.
        let number =
            std::fs::File::from(std::os::fd::AsFd::as_fd(&bell).try_clone_to_owned().unwrap());
        let readable = || std::io::Read::read(&mut &number, &mut [0; 8]).is_ok();
        for round in 0..50 {
            rig.read(slot, 0, PAGE_BYTES, 0);
            let mut rings = 0;
            while rig.done.is_empty() {
                if rig.driver.wait_on_number().unwrap() {
                    if round % 2 == 0 {
                        bell.ring();
                        rings += 1;
                    }
                    while !readable() {
                        std::thread::yield_now();
                    }
                }
                rig.turn(0, Wait::No);
            }
            assert!(round % 2 == 1 || rings > 0 || !rig.done.is_empty());
            rig.answers(1).remove(0).1.unwrap();
        }
        // Awake again: nothing signals the number.
        rig.turn(0, Wait::No);
        let _drained = readable();
        rig.read(slot, 0, PAGE_BYTES, 0);
        rig.answers(1).remove(0).1.unwrap();
        assert!(!readable());
    }
}

#[test]
fn dropping_a_driver_takes_no_buffer_from_the_kernel() {
    let folder = Folder::new();
    let dfs = dfs_with(folder.url(), &pages(256));
    for way in DRIVERS {
        let mut rig = Rig::new(way);
        let slot = rig.driver.open_object(dfs.open_object(&name(1), 0).unwrap());
        for i in 0..200 {
            let pages = if i % 2 == 0 { 1 } else { 16 };
            rig.read(slot, i * PAGE_BYTES as u64, pages * PAGE_BYTES, 0);
        }
        rig.turn(0, Wait::No);
        drop(rig);
        // Memory that takes the place of the buffers stays as it is written.
        let mut pool = Pool::default();
        let mut strangers: Vec<Buf> =
            (0..400).map(|i| pool.take([1, 16][i % 2] * PAGE_BYTES).unwrap()).collect();
        strangers.iter_mut().for_each(|buf| buf.bytes_mut().fill(0xa5));
        std::thread::sleep(Duration::from_millis(20));
        assert!(strangers.iter().all(|buf| buf.bytes().iter().all(|byte| *byte == 0xa5)));
    }
}
