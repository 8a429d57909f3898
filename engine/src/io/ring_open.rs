//! Creating a ring, and saying why that is not possible here.

use std::io;
use std::time::Duration;

use io_uring::IoUring;
use memmap2::MmapRaw;

use crate::io::sys;
use crate::limits::{
    RING_CQ_ENTRIES, RING_FILES_MAX, RING_OPEN_PAUSE_MS_MAX, RING_OPEN_PAUSE_MS_MIN,
    RING_SQ_ENTRIES, RINGS_MEMLOCK_BYTES_MIN,
};
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// Who drives the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingMode {
    /// The thread that opened it and no other.
    Owned,
    /// One thread at a time, not always the same.
    Inline,
}

/// Creates the ring of a shard. Blocks for a third of a second, and only where locked memory is
/// short.
pub(crate) fn open(mode: RingMode) -> Result<IoUring> {
    patiently(|| {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(RING_CQ_ENTRIES).setup_submit_all();
        match mode {
            // Completions are posted when the shard enters the kernel and at no other time, so
            // nothing interrupts its computing. The flag tells it when entering is worth it.
            RingMode::Owned => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
            }
            // Neither flag of an owned ring, since both bind to a thread. With COOP_TASKRUN the
            // kernel does not interrupt the host's computing for each completion (measured: a
            // tenth of all CPU of a cold get). A completion's work is done by the thread that
            // submitted the read, when it next leaves the kernel: if a thread hands the shard over
            // with reads in flight and computes on, the timer tick does it, 4 ms later at most.
            RingMode::Inline => {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
        }
        builder.build(RING_SQ_ENTRIES)
    })
}

/// Creates rings, again if locked memory is short: rings that were closed give theirs back a
/// little later.
///
/// # Errors
/// `Unsupported` with cause and remedy where the kernel refuses rings; `Io` where the process has
/// no descriptor left.
pub(crate) fn patiently<T>(create: impl Fn() -> io::Result<T>) -> Result<T> {
    // No waiting helps against a limit below what is needed in any case.
    let hopeless = sys::memlock_bytes().is_some_and(|bytes| bytes < RINGS_MEMLOCK_BYTES_MIN);
    if hopeless {
        return Err(refused(&io::Error::from_raw_os_error(libc::ENOMEM)));
    }
    let mut pause_ms = RING_OPEN_PAUSE_MS_MIN;
    loop {
        match create() {
            Ok(rings) => return Ok(rings),
            Err(e)
                if e.raw_os_error() == Some(libc::ENOMEM) && pause_ms <= RING_OPEN_PAUSE_MS_MAX =>
            {
                std::thread::sleep(Duration::from_millis(pause_ms));
                pause_ms *= 2;
            }
            Err(e) => return Err(refused(&e)),
        }
    }
}

/// Gives the ring an empty table of registered files; its size.
pub(crate) fn register_files(ring: &IoUring) -> u32 {
    // The kernel refuses a table larger than the limit of descriptors.
    let descriptors = sys::descriptors_max().unwrap_or(u64::MAX);
    let size = RING_FILES_MAX.min(u32::try_from(descriptors).unwrap_or(u32::MAX));
    ring.submitter().register_files_sparse(size).map_or(0, |()| size)
}

/// Registers the one piece of memory that reads go to; false if the kernel refuses.
pub(crate) fn register_memory(ring: &IoUring, memory: &MmapRaw) -> bool {
    let all = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
    // SAFETY: the memory is mapped, the kernel keeps its pages for as long as they are registered,
    // and the caller keeps the mapping for as long as the ring lives.
    unsafe { ring.submitter().register_buffers(&[all]) }.is_ok()
}

/// The error for a ring that the kernel refused with `cause`.
fn refused(cause: &io::Error) -> Error {
    let Some(errno) = cause.raw_os_error() else {
        return Error::new(ErrorKind::Unsupported, format!("io_uring: {cause}"));
    };
    if let libc::EMFILE | libc::ENFILE = errno {
        // Without descriptors nothing else works either.
        return sys::no_descriptor("creating an io_uring", cause);
    }
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let refusal = Refusal { errno, disabled, memlock_bytes: sys::memlock_bytes() };
    Error::new(ErrorKind::Unsupported, format!("io_uring: {}", refusal.explain()))
}

/// What is known about a refused ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// Of `io_uring_setup`.
    pub(crate) errno: i32,
    /// `/proc/sys/kernel/io_uring_disabled`, where it exists.
    pub(crate) disabled: Option<u32>,
    /// The limit of locked memory; `None` for none.
    pub(crate) memlock_bytes: Option<u64>,
}

impl Refusal {
    /// Cause and remedy. Pure.
    pub(crate) fn explain(self) -> String {
        let seccomp = "a seccomp profile forbids it, as the default profiles of Docker and \
                       Kubernetes do; run with a profile that adds io_uring_setup, \
                       io_uring_enter and io_uring_register";
        match (self.errno, self.disabled) {
            (libc::EPERM, Some(2)) => "forbidden for everyone (EPERM): the sysctl \
                 kernel.io_uring_disabled is 2; set it to 0"
                .to_owned(),
            (libc::EPERM, Some(1)) => "forbidden for users without privileges (EPERM): the sysctl \
                 kernel.io_uring_disabled is 1; set it to 0, or put this user's group into the \
                 sysctl kernel.io_uring_group"
                .to_owned(),
            (libc::EPERM, _) => format!("forbidden (EPERM): {seccomp}"),
            (libc::ENOSYS, _) => format!(
                "no such system call (ENOSYS): {seccomp}; or the kernel is older than 5.1 or was \
                 built without io_uring: use Linux 6.1 or later"
            ),
            (libc::ENOMEM, _) => {
                let limit = self.memlock_bytes.map_or_else(
                    || "without limit, so the kernel itself is short of memory".to_owned(),
                    |bytes| format!("{bytes} bytes for all processes of this user"),
                );
                format!(
                    "no memory (ENOMEM): locked memory is {limit}; raise the limit (ulimit -l, \
                     LimitMEMLOCK=) to 512 KiB at least and 128 KiB more for each shard and each \
                     core, or close other rings of this user"
                )
            }
            (libc::EINVAL, _) => "the kernel does not know the flags this driver needs (EINVAL): \
                 use Linux 6.1 or later"
                .to_owned(),
            (errno, _) => io::Error::from_raw_os_error(errno).to_string(),
        }
    }
}

#[cfg(test)]
#[path = "ring_open_tests.rs"]
mod tests;
