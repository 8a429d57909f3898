//! The threads that read for the portable drivers of this process. They are shared by all shards,
//! start as reads need them, and end when the last driver is dropped.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::io::doorbell::Doorbell;
use crate::io::read_op::Op;
use crate::io::sys;
use crate::limits::READ_THREADS_MAX;
use crate::types::{Error, Result};

/// A read to carry out.
pub(crate) struct Work {
    pub(crate) op: Op,
    pub(crate) file: Arc<File>,
    pub(crate) ended: Arc<Ended>,
}

/// Reads of one driver that were carried out, each with its result.
pub(crate) struct Ended {
    list: Mutex<EndedList>,
    doorbell: Doorbell,
}

struct EndedList {
    ops: Vec<(Op, i32)>,
    // The bell rings once so many are there.
    wanted: usize,
}

impl Ended {
    pub(crate) fn new(doorbell: Doorbell) -> Self {
        let list = EndedList { ops: Vec::new(), wanted: usize::MAX };
        Self { list: Mutex::new(list), doorbell }
    }

    /// Takes what is there by exchanging it for `empty`. The bell rings once `wanted` more have
    /// ended.
    pub(crate) fn take(&self, empty: Vec<(Op, i32)>, wanted: usize) -> Vec<(Op, i32)> {
        let mut list = locked(&self.list);
        list.wanted = wanted;
        std::mem::replace(&mut list.ops, empty)
    }

    /// True if nothing is there; then the bell rings with the first that ends.
    pub(crate) fn is_empty_so_ring(&self) -> bool {
        let mut list = locked(&self.list);
        list.wanted = 1;
        list.ops.is_empty()
    }

    fn push(&self, op: Op, result: i32) {
        let mut list = locked(&self.list);
        list.ops.push((op, result));
        let enough = list.ops.len() >= list.wanted;
        drop(list);
        if enough {
            self.doorbell.ring();
        }
    }
}

/// See the module. Dropping the last one ends the threads; a read that hangs in the kernel keeps
/// its thread and its buffer until it ends.
pub(crate) struct Threads {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    // Threads that wait for work, those included that were woken and have not looked yet.
    idle: usize,
    started: usize,
    over: bool,
}

impl Threads {
    /// The threads of this process, one of them at least.
    pub(crate) fn of_process() -> Result<Arc<Self>> {
        static THREADS: Mutex<Weak<Threads>> = Mutex::new(Weak::new());
        let mut known = locked(&THREADS);
        if let Some(threads) = known.upgrade() {
            return Ok(threads);
        }
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new() });
        let threads = Arc::new(Self { shared });
        threads.start_one(&mut locked(&threads.shared.state)).map_err(|e| {
            let what = "starting a thread that reads (raise the limit of processes, ulimit -u, or \
                        the container's limit of pids)";
            Error::io(what, &e)
        })?;
        *known = Arc::downgrade(&threads);
        Ok(threads)
    }

    /// Carries out reads, begun in their order. Never blocks on the disk.
    pub(crate) fn carry_out(&self, works: impl Iterator<Item = Work>) {
        let mut state = locked(&self.shared.state);
        let before = state.queue.len();
        state.queue.extend(works);
        let fresh = state.queue.len() - before;
        let lacking = state.queue.len().saturating_sub(state.idle);
        for _ in 0..lacking.min(READ_THREADS_MAX - state.started) {
            if self.start_one(&mut state).is_err() {
                // Those there are do the work.
                break;
            }
        }
        let woken = fresh.min(state.idle);
        drop(state);
        for _ in 0..woken {
            self.shared.work.notify_one();
        }
    }

    fn start_one(&self, state: &mut State) -> std::io::Result<()> {
        let shared = self.shared.clone();
        let name = format!("aquifer-r{:02}", state.started);
        std::thread::Builder::new().name(name).spawn(move || shared.run())?;
        state.started += 1;
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = locked(&self.shared.state);
        state.over = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        sys::block_signals();
        while let Some(Work { mut op, file, ended }) = self.next() {
            let result = op.read(&file);
            // Before the driver learns of it: it may close the object then.
            drop(file);
            ended.push(op, result);
        }
    }

    /// The next read; `None` if there will be none.
    fn next(&self) -> Option<Work> {
        let mut state = locked(&self.state);
        loop {
            if state.over {
                return None;
            }
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// No code that can panic runs under these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
