//! A host's thread that sleeps until the shard has something for it: a bell, and the thread to
//! unpark.

use crate::io::bell::Bell;
use crate::io::handoff::locked;
use crate::io::sync::{Mutex, Thread, current};

/// See the module.
#[derive(Debug)]
pub(crate) struct Sleeper {
    bell: Bell,
    thread: Mutex<Option<Thread>>,
}

impl Sleeper {
    /// Of nobody, who is awake.
    pub(crate) fn new() -> Self {
        Self { bell: Bell::new(), thread: Mutex::new(None) }
    }

    /// The calling thread is the one that sleeps from now on.
    pub(crate) fn settle(&self) {
        *locked(&self.thread) = Some(current());
    }

    /// Parks the settled thread by `park`, unless `wake` was called since it last looked. It must
    /// look again in either case.
    pub(crate) fn sleep(&self, park: impl FnOnce()) {
        if self.bell.try_sleep() {
            park();
            self.bell.wake();
        }
    }

    /// There is something for the sleeper.
    pub(crate) fn wake(&self) {
        if self.bell.ring()
            && let Some(thread) = &*locked(&self.thread)
        {
            thread.unpark();
        }
    }
}
