//! What waits for a thread, whichever is free first. `tests/tests/interleavings.rs` tries every
//! interleaving of this file.

use std::collections::VecDeque;

use crate::io::handoff::locked;
use crate::io::sync::{Condvar, Mutex, PoisonError, yield_now};

/// See the module.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    some: Condvar,
}

struct State<T> {
    things: VecDeque<T>,
    // Threads that will look once more before they sleep.
    looking: usize,
    // Threads that sleep, those included that were woken and have not looked yet.
    asleep: usize,
    over: bool,
}

impl<T> Queue<T> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let things = VecDeque::new();
        let state = State { things, looking: 0, asleep: 0, over: false };
        Self { state: Mutex::new(state), some: Condvar::new() }
    }

    /// Adds things, to be taken in their order. Returns how many of all that wait find no thread
    /// that is free.
    pub(crate) fn extend(&self, things: impl Iterator<Item = T>) -> usize {
        let mut state = locked(&self.state);
        let before = state.things.len();
        state.things.extend(things);
        let fresh = state.things.len() - before;
        let unseen = state.things.len().saturating_sub(state.looking);
        let lacking = unseen.saturating_sub(state.asleep);
        // For those that were there before, threads were woken then.
        let woken = fresh.min(unseen).min(state.asleep);
        drop(state);
        for _ in 0..woken {
            self.some.notify_one();
        }
        lacking
    }

    /// Takes the first thing, and waits for it; `None` if there will be none.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = locked(&self.state);
        let mut yielded = false;
        loop {
            if state.over {
                return None;
            }
            if let Some(thing) = state.things.pop_front() {
                return Some(thing);
            }
            if yielded {
                state.asleep += 1;
                state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
            } else {
                // Who just learned of this thread's last result often runs next and brings more:
                // one more look is cheaper than to sleep and be woken.
                state.looking += 1;
                drop(state);
                yield_now();
                yielded = true;
                state = locked(&self.state);
                state.looking -= 1;
            }
        }
    }

    /// Drops what is there; nobody waits any more.
    pub(crate) fn close(&self) {
        let mut state = locked(&self.state);
        state.over = true;
        state.things.clear();
        drop(state);
        self.some.notify_all();
    }
}
