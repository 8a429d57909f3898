//! A read in flight: what is submitted for it, and what its completion means.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use io_uring::types::{Fd, Fixed};
use io_uring::{opcode, squeue};
use opendal::Buffer;

use crate::io::objects::{self, Route};
use crate::io::retry::Failures;
use crate::io::stored::past_end;
use crate::io::values::ObjectSlot;
use crate::limits::{PAGE_BYTES, READ_TRIES_MAX};
use crate::mem::pool::Buf;
use crate::mem::slab::Token;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, ObjectName, Result};

/// Number of the memory that a ring registered for reads.
const READ_MEMORY: u16 = 0;

/// A read that a driver took over and has not answered.
pub(crate) struct Op {
    pub(crate) token: Token,
    pub(crate) object: ObjectSlot,
    pub(crate) offset: u64,
    // It writes; else it reads.
    pub(crate) writes: bool,
    // A connection brought wrong bytes for it.
    pub(crate) again: bool,
    // Bytes of `buf` that are there; a multiple of the page size between reads.
    pub(crate) filled: u32,
    pub(crate) tries: u32,
    // Those of the whole read.
    pub(crate) failures: Failures,
    // Its next try was due, and its store was not to be asked.
    pub(crate) held_back: bool,
    // Injected latency: the answer is not delivered before this.
    pub(crate) due: Nanos,
    pub(crate) buf: Buf,
}

impl Op {
    /// A read of as much as `buf` holds, which was not tried yet.
    pub(crate) fn new(token: Token, object: ObjectSlot, offset: u64, buf: Buf) -> Self {
        Self {
            token,
            object,
            offset,
            writes: false,
            again: false,
            filled: 0,
            tries: 0,
            failures: Failures::default(),
            held_back: false,
            due: 0,
            buf,
        }
    }

    /// The submission entry for the part that is not filled yet; `registered` if the buffer lies in
    /// the memory that the ring registered.
    pub(crate) fn entry(&mut self, route: &Route, registered: bool) -> squeue::Entry {
        let offset = self.offset + u64::from(self.filled);
        let rest = &mut self.buf.bytes_mut()[self.filled as usize..];
        let len = u32::try_from(rest.len()).expect("an extent is at most 16 MiB and a page");
        let to = rest.as_mut_ptr();
        let file = match route {
            Route::Cache(file) if self.writes => {
                return opcode::Write::new(Fd(file.as_raw_fd()), to, len).offset(offset).build();
            }
            Route::Descriptor(file) | Route::Cache(file) => {
                return opcode::Read::new(Fd(file.as_raw_fd()), to, len).offset(offset).build();
            }
            Route::Registered => Fixed(objects::index(self.object)),
            Route::Memory(_) | Route::Remote { .. } | Route::Http(..) => {
                unreachable!("only reads of files are queued")
            }
        };
        if registered {
            opcode::ReadFixed::new(file, to, len, READ_MEMORY).offset(offset).build()
        } else {
            opcode::Read::new(file, to, len).offset(offset).build()
        }
    }

    /// Reads or writes the part that is not done yet, on the calling thread. The result is that of
    /// a completion.
    pub(crate) fn carry_out(&mut self, file: &File) -> i32 {
        let offset = self.offset + u64::from(self.filled);
        let rest = &mut self.buf.bytes_mut()[self.filled as usize..];
        let done =
            if self.writes { file.write_at(rest, offset) } else { file.read_at(rest, offset) };
        match done {
            Ok(bytes) => i32::try_from(bytes).expect("an extent is at most 16 MiB and a page"),
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// What a completion's result means for a read of an object of `bytes`; the only place that
    /// reads errno values of reads.
    pub(crate) fn judge(&mut self, result: i32, bytes: u64) -> Verdict {
        let again = |op: &Self, why| {
            if op.tries < READ_TRIES_MAX { Verdict::Again } else { Verdict::Failed(why) }
        };
        match u32::try_from(result) {
            Ok(0) => Verdict::Failed(Why::End),
            Ok(n) => {
                let filled = self.filled + n;
                if filled as usize >= self.buf.bytes().len() {
                    return Verdict::Done;
                }
                // Not left to the next read: at an end inside a page that would begin inside the
                // page too, which direct reads must not.
                if !self.writes && self.offset + u64::from(filled) >= bytes {
                    return Verdict::Failed(Why::End);
                }
                self.filled = filled - filled % PAGE_BYTES as u32;
                again(self, Why::Short)
            }
            // Refusals of the moment. A cancellation comes when the thread that submitted the
            // read exited, as inline hosts' threads do.
            Err(_) => match -result {
                errno @ (libc::EAGAIN
                | libc::EINTR
                | libc::ECANCELED
                | libc::ENOMEM
                | libc::ENOBUFS) => again(self, Why::Errno(errno)),
                errno => Verdict::Failed(Why::Errno(errno)),
            },
        }
    }
}

/// What to do about a read that ended in the kernel.
pub(crate) enum Verdict {
    /// All of it is there.
    Done,
    /// Submit it once more, for what is missing.
    Again,
    /// Answer the failure.
    Failed(Why),
}

/// How a read failed.
pub(crate) enum Why {
    /// The object ends inside it.
    End,
    /// The kernel brought a part, again and again.
    Short,
    /// The kernel refused.
    Errno(i32),
}

impl Why {
    /// The error for the caller.
    pub(crate) fn error(self, name: ObjectName, op: &Op) -> Error {
        let what = format!("reading {} bytes at {} of {name}", op.buf.bytes().len(), op.offset);
        match self {
            Self::End => past_end(name, op.offset + u64::from(op.filled)),
            Self::Short => {
                Error::new(ErrorKind::Io, format!("{what}: {} reads were short", op.tries))
            }
            Self::Errno(libc::EINVAL) => Error::new(
                ErrorKind::Unsupported,
                format!("{what}: the device refuses direct reads of {PAGE_BYTES}-byte pages"),
            ),
            Self::Errno(errno) => Error::io(what, &io::Error::from_raw_os_error(errno)),
        }
    }

    /// The error for who asked for a file of a cache.
    pub(crate) fn of_cache(self, op: &Op) -> Error {
        let what = if op.writes { "writing" } else { "reading" };
        let what = format!("{what} the cache on the SSD at byte {}", op.offset);
        match self {
            Self::End => Error::new(ErrorKind::Io, format!("{what}: the file ends there")),
            Self::Short => Error::new(ErrorKind::Io, format!("{what}: only a part was done")),
            Self::Errno(errno) => Error::io(what, &io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Copies what a store brought, which is as long as `to`.
pub(crate) fn fill(mut to: &mut [u8], bytes: Buffer) {
    for part in bytes {
        let (here, rest) = to.split_at_mut(part.len());
        here.copy_from_slice(&part);
        to = rest;
    }
}

/// Serves a read from memory.
pub(crate) fn copy(name: ObjectName, bytes: &[u8], offset: u64, to: &mut [u8]) -> Result<()> {
    let from = usize::try_from(offset)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(to.len())?))
        .ok_or_else(|| past_end(name, bytes.len() as u64))?;
    to.copy_from_slice(from);
    Ok(())
}

#[cfg(test)]
#[path = "read_op_tests.rs"]
mod tests;
