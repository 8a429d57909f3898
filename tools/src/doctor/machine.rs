//! The kernel, its limits, and what share of the machine this process may use.

use std::fs;

use aquifer::limits::{MEMORY_MIN_BYTES, TABLE_BYTES_TARGET};
use aquifer::shard::engine::{Config, Engine, IoMode, ShardThread};
use aquifer::types::Result;

use super::{Finding, human};
use crate::io::Io;

/// The engine's drivers are made for this kernel and later ones.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Locked memory below which rings may run short, bytes: what a user without privileges has by
/// default.
const MEMLOCK_BYTES_GOOD: u64 = 8 << 20;

/// Descriptors below which a store of some size runs short: each of its tables takes one.
const DESCRIPTORS_GOOD: u64 = 4096;

/// Memory below which an engine has little left for rows, bytes.
const MEMORY_BYTES_GOOD: u64 = 4 * MEMORY_MIN_BYTES as u64;

/// For engines that reach their files by way of `io`.
pub(super) fn findings(io: Io) -> Vec<Finding> {
    let mut findings = vec![kernel()];
    match io {
        Io::Portable => findings.push(Finding::well("io_uring", "not asked for (--io portable)")),
        Io::Auto | Io::Uring => {
            findings.extend(rings(io));
            findings.push(memlock());
        }
    }
    if io != Io::Uring {
        findings.push(threads());
    }
    findings.extend([descriptors(), cpus(), memory()]);
    findings
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        return Finding::well("kernel", release);
    }
    let advice = "older than Linux 6.1: the engine falls back to threads, which costs more CPU for \
                  each cold read; use Linux 6.1 or later";
    Finding::badly("kernel", release, advice)
}

/// Opens an engine as a host would: what opens, works.
fn open(io: IoMode, thread: ShardThread) -> Result<()> {
    let memory_bytes = MEMORY_MIN_BYTES;
    let config = Config { memory_bytes, thread, io, ..Config::new("memory://doctor") };
    Engine::open(config).map(drop)
}

fn rings(io: Io) -> Vec<Finding> {
    let kinds = [
        ("io_uring, owned shards", ShardThread::Owned, "SINGLE_ISSUER, DEFER_TASKRUN"),
        ("io_uring, inline shards", ShardThread::Inline, "COOP_TASKRUN, TASKRUN_FLAG"),
    ];
    kinds
        .into_iter()
        .map(|(what, thread, flags)| match open(IoMode::Uring, thread) {
            Ok(()) => Finding::well(what, format!("allowed, with {flags}")),
            Err(error) if io == Io::Uring => Finding::not(
                what,
                error.text.to_string(),
                "--io auto falls back to threads that block, which cost more CPU",
            ),
            Err(error) => Finding::badly(
                what,
                error.text.to_string(),
                "the engine falls back to threads that block (--io portable), which costs more \
                 CPU for each cold read",
            ),
        })
        .collect()
}

fn threads() -> Finding {
    match open(IoMode::Portable, ShardThread::Owned) {
        Ok(()) => Finding::well("threads that read", "can be started"),
        Err(error) => {
            let advice = "raise the limits of processes and open files (ulimit -u, ulimit -n)";
            Finding::not("threads that read", error.text.to_string(), advice)
        }
    }
}

/// The soft limit in a line of `/proc/self/limits`; `None` for none.
fn limit(name: &str) -> Option<u64> {
    let limits = read("/proc/self/limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn memlock() -> Finding {
    let what = "locked memory";
    match limit("Max locked memory") {
        None => Finding::well(what, "unlimited"),
        Some(bytes) if bytes >= MEMLOCK_BYTES_GOOD => Finding::well(what, human(bytes)),
        Some(bytes) => Finding::badly(
            what,
            human(bytes),
            "rings of all processes of a user share it: below 512 KiB, and 128 KiB more for each \
             shard and each core, the engine falls back to threads; allow 8 MiB (ulimit -l 8192, \
             LimitMEMLOCK=8M)",
        ),
    }
}

fn descriptors() -> Finding {
    let what = "descriptors";
    let Some(count) = limit("Max open files") else { return Finding::well(what, "unlimited") };
    let room = human(count.saturating_mul(TABLE_BYTES_TARGET));
    let found = format!("{count}, enough for about {room} of state");
    if count >= DESCRIPTORS_GOOD {
        return Finding::well(what, found);
    }
    let advice = "each table takes one; beyond, flushes and merges fail: raise the limit \
                  (ulimit -n 20000, LimitNOFILE=)";
    Finding::badly(what, found, advice)
}

/// A file of this process's cgroup.
fn cgroup(file: &str) -> Option<String> {
    let groups = read("/proc/self/cgroup");
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let inside = format!("/sys/fs/cgroup{path}/{file}");
    let text = fs::read_to_string(inside).or_else(|_| {
        // A container sees its own group as the root.
        fs::read_to_string(format!("/sys/fs/cgroup/{file}"))
    });
    text.ok().map(|text| text.trim().to_owned())
}

fn cpus() -> Finding {
    let what = "CPUs";
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let status = read("/proc/self/status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let pinned = format!("{usable} usable, of {}", list.unwrap_or(" unknown").trim());
    let quota = cgroup("cpu.max").and_then(|text| {
        let (quota, period) = text.split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    let found = match quota {
        Some(quota) => format!("{pinned}; the cgroup's quota is {quota:.2} CPUs"),
        None => format!("{pinned}; no quota"),
    };
    match quota {
        Some(quota) if quota < 1.0 => Finding::badly(
            what,
            found,
            "a shard is stopped for the rest of each period once the quota is used up, which \
             shows as latency: allow one CPU for each shard and part of another for its jobs",
        ),
        _ => Finding::well(what, found),
    }
}

fn memory() -> Finding {
    let what = "memory";
    let meminfo = read("/proc/meminfo");
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let machine = kib.unwrap_or(0) * 1024;
    let group: Option<u64> = cgroup("memory.max").and_then(|text| text.parse().ok());
    let (bytes, found) = match group {
        Some(bytes) if bytes < machine => (bytes, format!("{} in this cgroup", human(bytes))),
        _ => (machine, format!("{} in the machine", human(machine))),
    };
    let least = human(MEMORY_MIN_BYTES as u64);
    if bytes < MEMORY_MIN_BYTES as u64 {
        let advice = format!("a shard takes {least} at least; raise the cgroup's memory.max");
        return Finding::not(what, found, advice);
    }
    if bytes < MEMORY_BYTES_GOOD {
        let advice = format!(
            "a shard takes {least} at least and reads cold what does not fit; beyond the limit the \
             kernel kills the process: leave room for the host beside the engine's budget"
        );
        return Finding::badly(what, found, advice);
    }
    Finding::well(what, found)
}
