//! The host's threads: each blocks in one operation at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use aquifer::codec::hash::hash64;
use aquifer_tools::load::{Dataset, OpKind, Outcome};
use bytes::Bytes;
use cobble::Db;

use super::{BUCKET, COLUMN};

/// Read-modify-writes of one key exclude each other: a key takes one of so many locks.
const KEY_LOCKS: usize = 1 << 14;

/// An operation for a thread.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) tag: u64,
    pub(super) kind: OpKind,
    pub(super) key: Vec<u8>,
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum End {
    Value(Bytes),
    Absent,
    Done,
    Failed(String),
}

impl End {
    pub(super) fn outcome(self, hand_out: impl FnOnce(Outcome<'_>)) {
        match self {
            Self::Value(value) => hand_out(Outcome::Value(&value)),
            Self::Absent => hand_out(Outcome::Absent),
            Self::Done => hand_out(Outcome::Done),
            Self::Failed(why) => hand_out(Outcome::Failed(why)),
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Ended {
    ends: Vec<(u64, End)>,
    /// How many the caller waits for.
    wanted: usize,
}

struct Shared {
    db: Arc<Db>,
    data: Dataset,
    key_locks: Vec<Mutex<()>>,
    waiting: Mutex<Waiting>,
    work: Condvar,
    ended: Mutex<Ended>,
    enough: Condvar,
}

/// See the module. Dropped, it finishes what it was given.
pub(super) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Tasks that were given and not taken back.
    out: usize,
}

impl Threads {
    pub(super) fn start(count: u32, db: &Arc<Db>, data: Dataset) -> Result<Self> {
        let shared = Arc::new(Shared {
            db: db.clone(),
            data,
            key_locks: (0..KEY_LOCKS).map(|_| Mutex::default()).collect(),
            waiting: Mutex::default(),
            work: Condvar::new(),
            ended: Mutex::default(),
            enough: Condvar::new(),
        });
        let start = |number| {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("host-{number}"));
            thread.spawn(move || shared.run()).context("a thread of the host does not start")
        };
        let threads = (0..count).map(start).collect::<Result<_>>()?;
        Ok(Self { shared, threads, out: 0 })
    }

    pub(super) fn give(&mut self, tasks: impl Iterator<Item = Task>) {
        let mut waiting = locked(&self.shared.waiting);
        for task in tasks {
            waiting.tasks.push_back(task);
            self.out += 1;
            self.shared.work.notify_one();
        }
    }

    /// What ended: `wanted` tasks or more, or all; fewer if `wait` is over.
    pub(super) fn take(&mut self, wanted: usize, wait: Option<Duration>) -> Vec<(u64, End)> {
        let mut ended = locked(&self.shared.ended);
        ended.wanted = wanted.min(self.out);
        let few = |ended: &mut Ended| ended.ends.len() < ended.wanted;
        let enough = &self.shared.enough;
        ended = match wait {
            None => enough.wait_while(ended, few).unwrap_or_else(PoisonError::into_inner),
            Some(wait) => {
                let waited = enough.wait_timeout_while(ended, wait, few);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        let ends = std::mem::take(&mut ended.ends);
        self.out -= ends.len();
        ends
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        locked(&self.shared.waiting).closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a thread of the host panicked");
            }
        }
    }
}

impl Shared {
    fn run(&self) {
        while let Some(task) = self.next() {
            let end = match self.serve(&task) {
                Ok(end) => end,
                Err(error) => End::Failed(error.to_string()),
            };
            let mut ended = locked(&self.ended);
            ended.ends.push((task.tag, end));
            if ended.ends.len() == ended.wanted {
                self.enough.notify_one();
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let waiting = locked(&self.waiting);
        let idle = |waiting: &mut Waiting| waiting.tasks.is_empty() && !waiting.closed;
        let waiting = self.work.wait_while(waiting, idle);
        waiting.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()
    }

    fn serve(&self, task: &Task) -> cobble::Result<End> {
        Ok(match task.kind {
            OpKind::Get => self.get(&task.key)?.map_or(End::Absent, End::Value),
            OpKind::Rmw => {
                let lock = hash64(&task.key) as usize % KEY_LOCKS;
                let _mine = locked(&self.key_locks[lock]);
                let current = self.get(&task.key)?;
                let mut next = Vec::with_capacity(self.data.value_size_bytes as usize);
                self.data.next_value(&task.key, current.as_deref(), &mut next);
                self.db.put(BUCKET, &task.key, COLUMN, &next)?;
                End::Done
            }
            kind => End::Failed(format!("{kind:?} is no work of a thread")),
        })
    }

    fn get(&self, key: &[u8]) -> cobble::Result<Option<Bytes>> {
        let row = self.db.multi_get(&[(BUCKET, key)])?.pop().flatten();
        Ok(row.and_then(|mut columns| columns.swap_remove(usize::from(COLUMN))))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
