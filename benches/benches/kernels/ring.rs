//! A direct read of a page of a real file: CPU time in the engine's ring, in both of its modes, and
//! in a bare one. The difference is what the engine adds to the kernel's share.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aquifer::io::clock;
use aquifer::io::dfs::Dfs;
use aquifer::io::reads::{Read, Wait};
use aquifer::io::ring_open::RingMode;
use aquifer::io::uring::Uring;
use aquifer::io::values::{IoDone, ObjectSlot};
use aquifer::limits::PAGE_BYTES;
use aquifer::mem::pool::Pool;
use aquifer::mem::slab::Token;
use aquifer_benches::bare::BareRing;
use aquifer_benches::samples::{mixed, object_name};
use criterion::{Criterion, Throughput};
use tempfile::TempDir;

use crate::cpu::CpuTime;

const FILE_BYTES: usize = 64 << 20;
const IN_FLIGHT: [u32; 2] = [64, 256];

pub fn kernels(c: &mut Criterion<CpuTime>) {
    // Beside this program: that is a disk, where the system's temporary folder may not be.
    let program = std::env::current_exe().expect("it runs");
    let folder = TempDir::new_in(program.parent().expect("a folder")).expect("a new folder");
    let dfs = Dfs::open(folder.path().to_str().expect("plain text")).expect("a folder");
    let bytes: Vec<u8> = (0..FILE_BYTES as u64 / 8).flat_map(|i| mixed(i).to_le_bytes()).collect();
    dfs.put(&object_name(), &bytes).expect("room on the disk");

    for in_flight in IN_FLIGHT {
        let mut group = c.benchmark_group(format!("ring/{in_flight} reads"));
        group.throughput(Throughput::Elements(u64::from(in_flight)));
        let file = open_direct(folder.path());
        let mut bare = Bare::open(&file, in_flight);
        group.bench_function("bare", |b| b.iter(|| bare.round(in_flight)));
        for (name, mode) in [("inline", RingMode::Inline), ("owned", RingMode::Owned)] {
            let mut rig = Rig::open(mode, &dfs);
            group.bench_function(name, |b| b.iter(|| rig.round(in_flight)));
        }
        group.finish();
    }
}

// A page of the file.
fn offset(turn: &mut u64) -> u64 {
    *turn += 1;
    mixed(*turn) % (FILE_BYTES / PAGE_BYTES) as u64 * PAGE_BYTES as u64
}

/// A ring as a shard drives it.
struct Rig {
    ring: Uring,
    pool: Pool,
    object: ObjectSlot,
    done: Vec<IoDone>,
    turn: u64,
}

impl Rig {
    fn open(mode: RingMode, dfs: &Dfs) -> Self {
        let (mut ring, mut pool) = (Uring::open(mode).expect("a ring"), Pool::default());
        ring.register_memory(pool.pages().expect("memory"));
        let object = ring.open_object(dfs.open_object(&object_name(), 0).expect("it was put"));
        Self { ring, pool, object, done: Vec::new(), turn: 0 }
    }

    fn round(&mut self, in_flight: u32) {
        let (now, object) = (clock::now(), self.object);
        for i in 0..in_flight {
            let buf = self.pool.take(PAGE_BYTES).expect("memory");
            let offset = offset(&mut self.turn);
            self.ring.submit(
                Read { token: Token(u64::from(i)), object, offset, buf, again: false },
                now,
            );
        }
        while self.ring.pending() > 0 {
            let wait = Wait::Until { deadline: None };
            self.ring.turn(clock::now(), wait, &mut self.done).expect("the ring is whole");
            for done in self.done.drain(..) {
                let IoDone::Read { buf, result, .. } = done else { panic!("{done:?}") };
                result.expect("a page");
                self.pool.give_back(buf);
            }
        }
    }
}

/// The same reads without the engine.
struct Bare {
    ring: BareRing,
    turn: u64,
}

impl Bare {
    fn open(file: &File, in_flight: u32) -> Self {
        Self { ring: BareRing::open(file, in_flight, PAGE_BYTES).expect("a ring"), turn: 0 }
    }

    fn round(&mut self, in_flight: u32) {
        for _ in 0..in_flight {
            self.ring.read(offset(&mut self.turn)).expect("room for it");
        }
        while self.ring.in_flight() > 0 {
            let want = self.ring.share();
            self.ring.enter(want, None).expect("the ring is whole");
            self.ring.reap(|_, page| assert!(page.is_ok(), "{page:?}"));
        }
    }
}

fn open_direct(folder: &Path) -> File {
    let path = file_in(folder).expect("the object's file");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECT).open(path).expect("direct reads")
}

// The largest file below a folder.
fn file_in(folder: &Path) -> Option<PathBuf> {
    let entries = folder.read_dir().ok()?.flatten().map(|entry| entry.path());
    let files = entries.flat_map(|path| if path.is_dir() { file_in(&path) } else { Some(path) });
    files.max_by_key(|path| path.metadata().map_or(0, |meta| meta.len()))
}
