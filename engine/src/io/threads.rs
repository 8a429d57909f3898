//! The threads that read for the portable drivers of this process. They are shared by all shards,
//! start as reads need them, and end when the last driver is dropped.

use std::fs::File;
use std::sync::{Arc, Mutex, Weak};

use crate::io::doorbell::Doorbell;
use crate::io::handoff::locked;
use crate::io::queue::Queue;
use crate::io::read_op::Op;
use crate::io::sys;
use crate::limits::READ_THREADS_MAX;
use crate::types::Result;

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
    queue: Arc<Queue<Work>>,
    started: Mutex<usize>,
}

impl Threads {
    /// The threads of this process, one of them at least.
    pub(crate) fn of_process() -> Result<Arc<Self>> {
        static THREADS: Mutex<Weak<Threads>> = Mutex::new(Weak::new());
        let mut known = locked(&THREADS);
        if let Some(threads) = known.upgrade() {
            return Ok(threads);
        }
        let threads = Arc::new(Self { queue: Arc::new(Queue::new()), started: Mutex::new(0) });
        threads.start(1).map_err(|e| sys::no_thread("starting a thread that reads", &e))?;
        *known = Arc::downgrade(&threads);
        Ok(threads)
    }

    /// Carries out reads, begun in their order. Never blocks on the disk.
    pub(crate) fn carry_out(&self, works: impl Iterator<Item = Work>) {
        let lacking = self.queue.extend(works);
        if lacking > 0 {
            // If no thread starts, those there are do the work.
            let _no_thread_left = self.start(lacking);
        }
    }

    fn start(&self, lacking: usize) -> std::io::Result<()> {
        let mut started = locked(&self.started);
        for _ in 0..lacking.min(READ_THREADS_MAX - *started) {
            let queue = self.queue.clone();
            let name = format!("aquifer-r{started:02}");
            std::thread::Builder::new().name(name).spawn(move || run(&queue))?;
            *started += 1;
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn run(queue: &Queue<Work>) {
    sys::block_signals();
    while let Some(Work { mut op, file, ended }) = queue.take() {
        let result = op.carry_out(&file);
        // Before the driver learns of it: it may close the object then.
        drop(file);
        ended.push(op, result);
    }
}
