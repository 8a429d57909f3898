//! Things that pass from any thread to the one that takes them: rare enough for a lock, which the
//! taker touches only if there is something. The flag changes by swaps alone: each sees the one
//! before it and carries on what earlier ones released.

use crate::io::sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError};

/// The lock of a mutex; what its users leave is whole even if one panicked.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Things for one thread. Ring its bell after `put`.
#[derive(Debug)]
pub(crate) struct Handoff<T> {
    things: Mutex<Vec<T>>,
    some: AtomicBool,
}

impl<T> Handoff<T> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { things: Mutex::new(Vec::new()), some: AtomicBool::new(false) }
    }

    /// Adds a thing.
    pub(crate) fn put(&self, thing: T) {
        locked(&self.things).push(thing);
        self.some.swap(true, Ordering::AcqRel);
    }

    /// All that was put since the last call.
    pub(crate) fn take(&self) -> Vec<T> {
        match self.some.swap(false, Ordering::AcqRel) {
            true => std::mem::take(&mut *locked(&self.things)),
            false => Vec::new(),
        }
    }
}
