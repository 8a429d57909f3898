//! What the kernel knows about this process and its disk: CPU, bytes, requests, memory.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::target::{Target, TargetStats};

const SECTOR_BYTES: u64 = 512;

/// Bytes this process made the storage layer move, from `/proc/self/io`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessIo {
    pub(super) read_bytes: u64,
    pub(super) write_bytes: u64,
}

/// Requests of the whole machine to one block device.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskIo {
    pub(super) reads: u64,
    pub(super) read_bytes: u64,
    pub(super) write_bytes: u64,
}

/// All counters at one moment; a measurement is the difference of two.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) cpu_us: u64,
    pub(super) process: Option<ProcessIo>,
    pub(super) disk: Option<DiskIo>,
    pub(super) target: TargetStats,
    pub(super) levels: Vec<(&'static str, u64)>,
}

/// Takes snapshots; knows the block device under a directory.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    disk: Option<PathBuf>,
}

impl Probe {
    pub(super) fn new(dir: &Path) -> Self {
        let disk = fs::metadata(dir).ok().map(|meta| {
            let (major, minor) = device_numbers(meta.st_dev());
            PathBuf::from(format!("/sys/dev/block/{major}:{minor}"))
        });
        Self { disk: disk.filter(|path| path.join("stat").exists()) }
    }

    pub(super) fn disk(&self) -> Option<DiskIo> {
        parse_disk_stat(&fs::read_to_string(self.disk.as_ref()?.join("stat")).ok()?)
    }

    pub(super) fn snapshot(&self, target: &dyn Target) -> Snapshot {
        Snapshot {
            at: Instant::now(),
            cpu_us: process_cpu_us(),
            process: process_io(),
            disk: self.disk(),
            target: target.stats(),
            levels: target.levels(),
        }
    }
}

/// Major and minor number of a device.
pub(super) fn device_numbers(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}

/// User plus system time of all threads of this process.
fn process_cpu_us() -> u64 {
    // SAFETY: `rusage` is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a live, writable rusage.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(status, 0, "getrusage(RUSAGE_SELF) has no reason to fail");
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

fn process_io() -> Option<ProcessIo> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    Some(ProcessIo {
        read_bytes: field(&text, "read_bytes:")?,
        write_bytes: field(&text, "write_bytes:")?,
    })
}

/// Resident memory of this process; 0 if the kernel does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&text, "VmRSS:").map_or(0, |kib| kib * 1024)
}

/// The number after a name at the start of a line.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn parse_disk_stat(text: &str) -> Option<DiskIo> {
    let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>());
    let mut next = |skip: usize| numbers.nth(skip)?.ok();
    // reads, reads merged, sectors read, ms, writes, writes merged, sectors written, ...
    Some(DiskIo {
        reads: next(0)?,
        read_bytes: next(1)? * SECTOR_BYTES,
        write_bytes: next(3)? * SECTOR_BYTES,
    })
}

/// Bytes that the files under a directory occupy.
pub(super) fn stored_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    // A file that a merge removes between listing and looking has no bytes: skipped, not an error.
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(
            |(path, meta)| {
                if meta.is_dir() { stored_bytes(&path) } else { meta.st_blocks() * SECTOR_BYTES }
            },
        )
        .sum()
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
