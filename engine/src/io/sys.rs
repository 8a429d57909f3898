//! Calls of the operating system that the standard library does not offer, made safe.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::types::{Error, Nanos, Result};

/// Fills `bytes` with random numbers of the kernel.
pub(crate) fn random_bytes(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the pointer and length are those of a live, writable slice.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => filled += n,
            Err(_) => {
                let cause = io::Error::last_os_error();
                if cause.kind() != io::ErrorKind::Interrupted {
                    return Err(Error::io(
                        "getrandom (allow it in the container's seccomp profile)",
                        &cause,
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A new eventfd that never blocks, closed on exec.
pub(crate) fn eventfd() -> io::Result<File> {
    // SAFETY: no pointers; the result is checked before it is used.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just created and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Bytes that the file system of a file has free for this process.
pub(crate) fn free_bytes(file: &File) -> io::Result<u64> {
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the pointer is to memory of the right size, which the kernel fills on success.
    let result = unsafe { libc::fstatvfs(file.as_raw_fd(), found.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it is filled.
    let found = unsafe { found.assume_init() };
    Ok(found.f_bavail * found.f_frsize)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Renames `from` to `to` unless `to` exists (`AlreadyExists`). On file systems that cannot
/// rename so, a hard link does the same in two steps.
pub(crate) fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    let (c_from, c_to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both pointers are to NUL-terminated strings that outlive the call.
    let result = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            c_from.as_ptr(),
            libc::AT_FDCWD,
            c_to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let cause = io::Error::last_os_error();
    match cause.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        _ => Err(cause),
    }
}

/// Limits of this process: the soft limit of `resource`; `None` if there is none.
fn limit_soft(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live struct of the type the call fills.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Bytes of memory this process may lock; `None` means without limit.
pub(crate) fn memlock_bytes() -> Option<u64> {
    limit_soft(libc::RLIMIT_MEMLOCK)
}

/// Descriptors this process may open; `None` means without limit.
pub(crate) fn descriptors_max() -> Option<u64> {
    limit_soft(libc::RLIMIT_NOFILE)
}

/// The error for `what` that found no descriptor.
pub(crate) fn no_descriptor(what: &str, cause: &io::Error) -> Error {
    let limit = descriptors_max().map_or("unlimited".to_owned(), |max| max.to_string());
    let remedy = format!("the limit of open files is {limit}; raise it (ulimit -n, LimitNOFILE=)");
    Error::io(format!("{what}: {remedy}"), cause)
}

/// The error for `what` that found no thread.
pub(crate) fn no_thread(what: &str, cause: &io::Error) -> Error {
    if cause.raw_os_error() != Some(libc::EAGAIN) {
        return Error::io(what, cause);
    }
    let limit = limit_soft(libc::RLIMIT_NPROC).map_or("none".to_owned(), |max| max.to_string());
    let remedy = format!(
        "the limit of threads and processes of this user is {limit}; raise it (ulimit -u, \
         RLIMIT_NPROC, LimitNPROC=), or the container's limit of pids"
    );
    Error::io(format!("{what}: {remedy}"), cause)
}

/// Finds out whether so many threads can be started, where what starts them would panic.
pub(crate) fn try_threads(count: usize) -> io::Result<()> {
    let mut parked = Vec::new();
    let started = (0..count).try_for_each(|_| {
        parked.push(std::thread::Builder::new().spawn(std::thread::park)?);
        Ok(())
    });
    for thread in parked {
        thread.thread().unpark();
        let _ended = thread.join();
    }
    started
}

/// Waits until `file` is readable, for `timeout` nanoseconds at most. Ends early for a signal.
pub(crate) fn wait_readable(file: &impl AsFd, timeout: Option<Nanos>) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: file.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let span = timeout.map(|ns| libc::timespec {
        tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    });
    let span = span.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the pointers are to one live pollfd and to a timespec that outlives the call, or null
    // for no limit of time; null leaves the signal mask as it is.
    let result = unsafe { libc::ppoll(&raw mut poll, 1, span, std::ptr::null()) };
    if result >= 0 {
        return Ok(());
    }
    let cause = io::Error::last_os_error();
    if cause.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(cause) }
}

/// Makes the calling thread a background thread: it stands behind others by `nice` and receives
/// no signals. Best effort.
pub(crate) fn background_thread(nice: i32) {
    // SAFETY: on Linux a process id of zero means the calling thread only; no pointers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    block_signals();
}

/// Lets the calling thread receive no signals, which belong to the host's threads, but those that a
/// thread brings on itself: a host that is called there may mean them. Best effort.
pub(crate) fn block_signals() {
    // SAFETY: an all-zero sigset is a valid value for sigfillset to overwrite.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointers are to a live sigset, and null asks for no old mask.
    unsafe {
        libc::sigfillset(&raw mut all);
        for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            libc::sigdelset(&raw mut all, own);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// Gives free memory of the C library's allocator back to the system; other allocators keep theirs.
/// Allocations of other threads may wait for it, for a fraction of a millisecond each.
pub fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
