//! The doorbell of a thread that sleeps in the kernel: other threads ring it after they put
//! something into one of its rings. It is a bell and the eventfd that wakes its owner, so a ring
//! costs a system call only if the owner sleeps.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use crate::io::bell::Bell;
use crate::io::sys;
use crate::types::{Error, Nanos, Result};

#[derive(Debug)]
struct Shared {
    bell: Bell,
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
        Ok(Self { shared: Arc::new(Shared { bell: Bell::new(), eventfd }) })
    }

    /// Tells the owner that there is something new for it. What was written before the call is
    /// visible to the owner once it looks.
    pub fn ring(&self) {
        if self.shared.bell.ring() {
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
        self.shared.bell.try_sleep()
    }

    /// Owner: it is awake and will look at its rings. True if the bell rang.
    pub(crate) fn wake(&self) -> bool {
        self.shared.bell.wake()
    }

    /// Owner: true if the bell rang since the last look. A load where nothing happened.
    pub(crate) fn take_rung(&self) -> bool {
        self.shared.bell.take_rung()
    }

    /// Owner: sleeps until the bell rings, for `timeout` nanoseconds at most; returns at once where
    /// it rang since the last look.
    ///
    /// # Errors
    /// The kernel cannot wait, such as for want of memory.
    pub(crate) fn sleep(&self, timeout: Option<Nanos>) -> Result<()> {
        if !self.try_sleep() {
            return Ok(());
        }
        let slept = sys::wait_readable(self, timeout);
        if self.wake() {
            self.drain();
        }
        slept.map_err(|e| Error::io("waiting for the doorbell (ppoll)", &e))
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
