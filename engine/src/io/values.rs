//! What a shard or a job asks of the outside, and what comes back: plain values.

use crate::mem::pool::Buf;
use crate::mem::slab::Token;
use crate::types::{ObjectName, Result};

/// An object that a driver has opened for reading; the driver of the shard gave the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectSlot(pub u32);

/// A request of a shard to its driver.
#[derive(Debug)]
pub enum IoRequest {
    /// Fill `buf` from `offset` (a multiple of the page size) of an open object.
    Read {
        /// Names the request in its answer.
        token: Token,
        /// Where to read.
        object: ObjectSlot,
        /// Byte offset, a multiple of the page size.
        offset: u64,
        /// Whole buffer to fill; comes back with the answer.
        buf: Buf,
        /// The bytes it brought before were wrong: it takes another way, if there is one.
        again: bool,
    },
    /// Write all of `buf` at `offset` of the file of a cache.
    Write {
        /// Names the request in its answer.
        token: Token,
        /// The file.
        object: ObjectSlot,
        /// Byte offset, a multiple of the page size.
        offset: u64,
        /// What to write; comes back with the answer.
        buf: Buf,
    },
    /// Tell what the file system of the cache has free; before that its file is shortened.
    Room {
        /// Where it is to end, bytes; none leaves it as it is.
        end: Option<u64>,
    },
    /// Write a whole new object, durable and visible when answered.
    Put {
        /// Names the request in its answer.
        token: Token,
        /// A name that was never used before.
        name: ObjectName,
        /// All its bytes.
        bytes: Vec<u8>,
    },
    /// Write a whole object unless its name is taken. Answered as a put, well in both cases.
    Create {
        /// Names the request in its answer.
        token: Token,
        /// The name, for which others may race.
        name: ObjectName,
        /// All its bytes.
        bytes: Vec<u8>,
    },
    /// Find out whether of those that race for a name one wins. Answered as a put.
    Probe {
        /// Names the request in its answer.
        token: Token,
    },
    /// Read a whole object of at most `bytes_max`.
    Load {
        /// Names the request in its answer.
        token: Token,
        /// The object.
        name: ObjectName,
        /// More bytes than this is an error.
        bytes_max: u64,
        /// Something names it, so a store that does not know it yet is asked again. Else that it is
        /// missing is an answer as any other.
        expected: bool,
    },
    /// Close an open object: no read of it is in flight.
    Close {
        /// The object; the driver may reuse the number.
        object: ObjectSlot,
    },
    /// Delete an object; best effort, no answer.
    Delete {
        /// The object.
        name: ObjectName,
    },
}

/// The answer to a request.
#[derive(Debug)]
pub enum IoDone {
    /// A read ended; on success all of `buf` is filled (the bytes past the object's end are not
    /// asked for: objects are whole pages).
    Read {
        /// Of the request.
        token: Token,
        /// The buffer, filled on success.
        buf: Buf,
        /// What happened.
        result: Result<()>,
        /// A store that is reached over a network brought it.
        of_store: bool,
    },
    /// A write ended.
    Write {
        /// Of the request.
        token: Token,
        /// The buffer.
        buf: Buf,
        /// What the file system has free since, bytes.
        result: Result<u64>,
    },
    /// What the file system of the cache has free.
    Room {
        /// Bytes.
        result: Result<u64>,
    },
    /// A put ended.
    Put {
        /// Of the request.
        token: Token,
        /// Durable, or why not.
        result: Result<()>,
    },
    /// A load ended.
    Load {
        /// Of the request.
        token: Token,
        /// The object's bytes.
        result: Result<Vec<u8>>,
        /// As of reads.
        of_store: bool,
    },
}

/// A request of a background job to its executor. A job writes each of its objects front to back.
#[derive(Debug)]
pub enum JobRequest {
    /// Read `len` bytes at `offset`, both multiples of the page size, to the front of `buf`. The
    /// buffer is a map of its own: large transfers would leave holes in an allocator's arena.
    Read {
        /// Names the request in its answer; the job's choice.
        tag: u32,
        /// The object.
        object: ObjectName,
        /// Byte offset.
        offset: u64,
        /// Bytes.
        len: usize,
        /// At least as long; comes back with the answer.
        buf: Buf,
    },
    /// Append bytes (a multiple of the page size) to an object that the job writes.
    Append {
        /// The object; the first append creates it.
        object: ObjectName,
        /// What to append; comes back emptied, to be filled again.
        bytes: Vec<u8>,
    },
    /// Write a filled region of the cache on the SSD, which its shard lent to the job.
    Cache {
        /// Its number, which comes back.
        region: u32,
        /// Byte offset in the file.
        offset: u64,
        /// All its bytes; comes back with the answer.
        buf: Buf,
    },
    /// Make the object durable and visible under its name, and open it for reading.
    Seal {
        /// The object.
        object: ObjectName,
    },
    /// Have a compactor do a merge.
    Errand {
        /// The merge (`lsm/errand.rs`).
        errand: Vec<u8>,
        /// Bytes that it merges: what it takes follows from them.
        bytes: u64,
    },
    /// Open an existing object for the shard to read.
    Open {
        /// The object.
        object: ObjectName,
        /// Its size.
        bytes: u64,
    },
}

/// The answer to a job's request.
#[derive(Debug)]
pub enum JobDone {
    /// Bytes read.
    Read {
        /// Of the request.
        tag: u32,
        /// The buffer with the bytes asked for.
        result: Result<Buf>,
    },
    /// Bytes appended; the buffer comes back empty.
    Appended {
        /// The buffer.
        bytes: Vec<u8>,
        /// What happened.
        result: Result<()>,
    },
    /// A region of the cache was written, or was not.
    Cached {
        /// Of the request.
        region: u32,
        /// The buffer.
        buf: Buf,
        /// What the file system has free since, bytes.
        result: Result<u64>,
    },
    /// The object is durable, or is not.
    Sealed {
        /// The object.
        object: ObjectName,
        /// What happened.
        result: Result<()>,
    },
    /// A compactor has done the merge, or none has: the names that it was given may be taken.
    Errand {
        /// Which compactor, and what it reports: nobody vouches for that.
        result: Result<(usize, Vec<u8>)>,
    },
    /// The object is open, or is not.
    Opened {
        /// The object.
        object: ObjectName,
        /// What happened.
        result: Result<()>,
    },
}

/// What a job needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Call `step` again (after other tasks had their turn).
    Working,
    /// Call `step` again when at least one answer arrived in `JobIo::done`.
    Waiting,
    /// The outcome is ready; no request is outstanding.
    Finished,
}

/// The mailbox between a job and its executor: the executor takes `requests`, puts `done`.
#[derive(Debug, Default)]
pub struct JobIo {
    /// Asked for, not yet taken by the executor.
    pub requests: Vec<JobRequest>,
    /// Answered, not yet seen by the job.
    pub done: Vec<JobDone>,
}
