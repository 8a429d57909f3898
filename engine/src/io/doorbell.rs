//! The doorbell of a thread that sleeps in the kernel: other threads ring it after they put
//! something into one of its rings.
//!
//! One atomic holds the whole protocol, so no fence is needed:
//!
//! | from | by | to |
//! |---|---|---|
//! | awake | `ring` | rung |
//! | awake | sleeper, `try_sleep` | sleeping (may park) |
//! | rung | sleeper, `try_sleep` | awake (must look again) |
//! | sleeping | `ring` | rung, and the eventfd is written |
//! | any | sleeper, `wake` | awake |
//!
//! A ringer publishes, then swaps; the sleeper swaps, then looks. Whichever swap comes second sees
//! the other, so a ring is never lost, and it costs a system call only if the sleeper sleeps.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::io::sys;
use crate::types::Result;

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const RUNG: u8 = 2;

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    eventfd: File,
}

/// A handle to a doorbell: any thread may ring it; only its owner sleeps on it.
#[derive(Clone, Debug)]
pub struct Doorbell {
    shared: Arc<Shared>,
}

impl Doorbell {
    /// A doorbell whose owner is awake.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn new() -> Result<Self> {
        let eventfd = sys::eventfd().map_err(|e| sys::no_descriptor("creating an eventfd", &e))?;
        Ok(Self { shared: Arc::new(Shared { state: AtomicU8::new(AWAKE), eventfd }) })
    }

    /// Tells the owner that there is something new for it. What was written before the call is
    /// visible to the owner once it looks.
    pub fn ring(&self) {
        if self.shared.state.swap(RUNG, Ordering::AcqRel) == SLEEPING {
            self.kick();
        }
    }

    /// Writes the eventfd whether or not the owner sleeps: for an owner that may be stuck.
    pub fn kick(&self) {
        // The only failure is a counter that is full, and then the eventfd is readable already.
        let _full = (&self.shared.eventfd).write(&1u64.to_ne_bytes());
    }

    /// Owner: announces that it will sleep. False if the bell rang since the last look: then it
    /// must look again instead.
    pub(crate) fn try_sleep(&self) -> bool {
        let slept = self.shared.state.compare_exchange(
            AWAKE,
            SLEEPING,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if slept == Err(RUNG) {
            self.wake();
        }
        slept != Err(RUNG)
    }

    /// Owner: it is awake and will look at its rings. True if the bell rang.
    pub(crate) fn wake(&self) -> bool {
        self.shared.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }

    /// Owner: true if the bell rang since the last look. A load where nothing happened.
    pub(crate) fn take_rung(&self) -> bool {
        self.shared.state.load(Ordering::Relaxed) == RUNG && self.wake()
    }

    /// Owner: makes the eventfd unreadable again.
    pub(crate) fn drain(&self) {
        // The only failure is a counter of zero, which is what is wanted.
        let _empty = (&self.shared.eventfd).read(&mut [0; 8]);
    }

    /// The eventfd's number, for hosts that poll it. Valid as long as this handle.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.number()
    }
}
