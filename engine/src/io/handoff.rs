//! Things that pass from any thread to the one that takes them, and a number it is asked for: rare
//! enough for a lock, which the taker touches only if there is something. Flags change by swaps
//! alone: each sees the one before it and carries on what earlier ones released.

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

/// A value that one thread knows and others ask for. Ring its bell after `ask`.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    value: Mutex<T>,
    wanted: AtomicBool,
}

impl<T: Copy + Default> Asked<T> {
    /// Nobody has asked.
    pub(crate) fn new() -> Self {
        Self { value: Mutex::new(T::default()), wanted: AtomicBool::new(false) }
    }

    /// Asks; `answer` has it in a while.
    pub(crate) fn ask(&self) {
        self.wanted.swap(true, Ordering::AcqRel);
    }

    /// The value as it was at some time after the last `ask`; `None` if it is still to come.
    pub(crate) fn answer(&self) -> Option<T> {
        (!self.wanted.load(Ordering::Acquire)).then(|| *locked(&self.value))
    }

    /// Answers by `value` if somebody asks. The lock is taken first: who sees that the question is
    /// gone waits for the answer.
    pub(crate) fn serve(&self, value: impl FnOnce() -> T) {
        if self.wanted.load(Ordering::Relaxed) {
            let mut held = locked(&self.value);
            self.wanted.swap(false, Ordering::AcqRel);
            *held = value();
        }
    }
}
