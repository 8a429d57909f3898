//! The two ways in which a shard reads.

use std::fmt;
use std::sync::Arc;

use memmap2::MmapRaw;

use crate::io::doorbell::Doorbell;
use crate::io::objects::OpenObject;
use crate::io::portable::Portable;
use crate::io::reads::{Read, ReadCounters, Wait};
use crate::io::retry::Patience;
use crate::io::ring_open::RingMode;
use crate::io::uring::Uring;
use crate::io::values::{IoDone, ObjectSlot};
use crate::types::{Nanos, Result};

/// How files are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// By io_uring.
    Uring,
    /// By threads that block, where io_uring is forbidden.
    Portable,
}

impl fmt::Display for IoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Portable => "portable",
        })
    }
}

/// What reads for a shard: the calls of `Uring`, which `Portable` has too.
pub enum ReadDriver {
    /// A ring.
    Uring(Box<Uring>),
    /// Threads.
    Portable(Box<Portable>),
}

impl ReadDriver {
    /// Opens a driver, for `RingMode::Owned` on the thread that will use it.
    ///
    /// # Errors
    /// As `Uring::open` and `Portable::open`.
    pub fn open(kind: IoKind, mode: RingMode) -> Result<Self> {
        Ok(match kind {
            IoKind::Uring => Self::Uring(Box::new(Uring::open(mode)?)),
            IoKind::Portable => Self::Portable(Box::new(Portable::open()?)),
        })
    }

    /// As `Uring::register_memory`; threads have no use for it.
    pub fn register_memory(&mut self, memory: Arc<MmapRaw>) {
        if let Self::Uring(ring) = self {
            ring.register_memory(memory);
        }
    }

    /// As `Uring::set_hedge`; threads send no GETs.
    pub fn set_hedge(&mut self) {
        if let Self::Uring(ring) = self {
            ring.set_hedge();
        }
    }

    /// Reads that fail for the moment are tried again for so long from now on.
    pub(crate) fn set_patience(&mut self, patience: Patience) {
        match self {
            Self::Uring(ring) => ring.reads.patience = patience,
            Self::Portable(threads) => threads.reads.patience = patience,
        }
    }

    /// As `Uring::doorbell`.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        match self {
            Self::Uring(ring) => ring.doorbell(),
            Self::Portable(threads) => threads.doorbell(),
        }
    }

    /// As `Uring::counters`.
    #[must_use]
    pub fn counters(&self) -> ReadCounters {
        match self {
            Self::Uring(ring) => ring.counters(),
            Self::Portable(threads) => threads.counters(),
        }
    }

    /// As `Uring::pending`.
    #[must_use]
    pub fn pending(&self) -> usize {
        match self {
            Self::Uring(ring) => ring.pending(),
            Self::Portable(threads) => threads.pending(),
        }
    }

    /// As `Uring::open_object`.
    ///
    /// # Panics
    /// If 2^20 objects are open.
    pub fn open_object(&mut self, object: OpenObject) -> ObjectSlot {
        match self {
            Self::Uring(ring) => ring.open_object(object),
            Self::Portable(threads) => threads.open_object(object),
        }
    }

    /// As `Uring::close_object`.
    pub fn close_object(&mut self, slot: ObjectSlot) {
        match self {
            Self::Uring(ring) => ring.close_object(slot),
            Self::Portable(threads) => threads.close_object(slot),
        }
    }

    /// As `Uring::submit`.
    pub fn submit(&mut self, read: Read, now: Nanos) {
        match self {
            Self::Uring(ring) => ring.submit(read, now),
            Self::Portable(threads) => threads.submit(read, now),
        }
    }

    /// As `Uring::submit_write`.
    pub fn submit_write(&mut self, write: Read, now: Nanos) {
        match self {
            Self::Uring(ring) => ring.submit_write(write, now),
            Self::Portable(threads) => threads.submit_write(write, now),
        }
    }

    /// As `Uring::turn`.
    ///
    /// # Errors
    /// As there.
    pub fn turn(&mut self, now: Nanos, wait: Wait, done: &mut Vec<IoDone>) -> Result<()> {
        match self {
            Self::Uring(ring) => ring.turn(now, wait, done),
            Self::Portable(threads) => threads.turn(now, wait, done),
        }
    }

    /// As `Uring::wait_on_number`.
    ///
    /// # Errors
    /// As there.
    pub fn wait_on_number(&mut self) -> Result<bool> {
        match self {
            Self::Uring(ring) => ring.wait_on_number(),
            Self::Portable(threads) => threads.wait_on_number(),
        }
    }

    /// As `Uring::next_due`.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        match self {
            Self::Uring(ring) => ring.next_due(),
            Self::Portable(threads) => threads.next_due(),
        }
    }
}
