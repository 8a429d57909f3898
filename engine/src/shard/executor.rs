//! The background executor: jobs and control operations of shards, one thread for each core, below
//! the shards in priority. It runs on glommio, or without io_uring (`io/task.rs`).
//!
//! A shard and each of its executors share nothing but two rings and two doorbells: orders go in,
//! what is finished comes out, in any order. The threads live as long as the process: glommio is
//! not made to be started and stopped with every engine that opens.
//!
//! The threads are not pinned. They run where the scheduler finds a core least busy, inside the
//! affinity and quota of the process; a pinned one would wait behind a shard while another core
//! idles.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use bytes::Bytes;
use rtrb::{Consumer, Producer, RingBuffer};
use serde::{Deserialize, Serialize};

use crate::io::bulk;
use crate::io::dfs::Dfs;
use crate::io::doorbell::Doorbell;
use crate::io::handoff::{Handoff, locked};
use crate::io::read_driver::IoKind;
use crate::io::retry::Missing;
use crate::io::task::{self, Listener, Runtime};
use crate::io::values::{IoDone, IoRequest};
use crate::io::{OpenObject, sys, trials};
use crate::limits::{
    EXECUTOR_NICE, EXECUTOR_SILENT_NS_MAX, EXECUTOR_TIDY_NS, LANES, LINK_ORDERS_MAX,
};
use crate::mem::slab::Token;
use crate::shard::job_run::{self, Reach, Step, Work};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, ObjectName, Result};

/// What a shard asks of its executor.
#[derive(Debug)]
pub enum Order<J> {
    /// Run a job to its end.
    Job {
        /// Names the order in its answer.
        token: Token,
        /// The job.
        job: J,
    },
    /// What is neither a read nor a write of an open file. A delete gets no answer.
    Io(IoRequest),
}

/// What comes back.
#[derive(Debug)]
pub enum Finished<J> {
    /// A job ended.
    Job {
        /// Of the order.
        token: Token,
        /// The job with its outcome; an error if it panicked or waits for nothing, and is gone.
        job: Result<J>,
        /// The objects it sealed or opened, open for reading.
        opened: Vec<(ObjectName, OpenObject)>,
    },
    /// Another order ended.
    Io(IoDone),
}

/// Threads that run jobs. Any thread may link shards.
pub struct Executor<J: Send + 'static> {
    kind: IoKind,
    step: Step<J>,
    cores: Mutex<Vec<Arc<Core<J>>>>,
    cores_max: usize,
}

/// The executors of a process for one sort of jobs, one for each way to reach files; each starts
/// when it is first asked for. Keep it in a static.
pub struct Executors<J: Send + 'static> {
    step: Step<J>,
    each: [OnceLock<Executor<J>>; 2],
}

impl<J: Send + 'static> Executors<J> {
    /// Executors that run jobs by `step`.
    #[must_use]
    pub const fn new(step: Step<J>) -> Self {
        Self { step, each: [const { OnceLock::new() }; 2] }
    }

    /// The executor that reaches files so.
    pub fn of(&self, kind: IoKind) -> &Executor<J> {
        self.each[kind as usize].get_or_init(|| Executor::new(kind, self.step))
    }

    /// What each of them did so far.
    #[must_use]
    pub fn counters(&self) -> Vec<ExecutorCounters> {
        self.each.iter().filter_map(OnceLock::get).flat_map(Executor::counters).collect()
    }
}

/// What one executor did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecutorCounters {
    /// Jobs that ended.
    pub jobs: u64,
    /// Bytes that jobs read.
    pub read_bytes: u64,
    /// Bytes that jobs wrote.
    pub written_bytes: u64,
    /// When it last showed life, nanoseconds on the process's clock.
    pub heartbeat_ns: Nanos,
    /// Shards it serves.
    pub shards: usize,
}

/// One executor thread, as others see it.
struct Core<J> {
    step: Step<J>,
    // Rung for new orders and links, and by tasks that end.
    bell: Doorbell,
    // Kicked when the thread seems stuck. A descriptor of its own, which is polled whatever the
    // other tasks do: a completion is what gets glommio out of a park it should not be in.
    alarm: Doorbell,
    // Rung once and never looked at, so always readable.
    always: Doorbell,
    links_new: Handoff<Served<J>>,
    links: AtomicUsize,
    dead: AtomicBool,
    // Freed memory is about to be given back.
    tidies: AtomicBool,
    jobs: AtomicU64,
    work: Arc<Work>,
}

impl<J: Send + 'static> Executor<J> {
    /// Executors that run jobs by `step`. Threads start with the links that need them.
    #[must_use]
    pub fn new(kind: IoKind, step: Step<J>) -> Self {
        let cores_max = std::thread::available_parallelism().map_or(1, usize::from);
        Self { kind, step, cores: Mutex::default(), cores_max }
    }

    /// Links a shard, whose doorbell is rung when something is finished, to the executors with the
    /// fewest shards. Blocks for some 10 ms where threads must start.
    ///
    /// # Errors
    /// `Unsupported` where io_uring is forbidden; the system's refusal of a thread.
    pub fn link(&self, doorbell: &Doorbell, reach: &Reach) -> Result<ExecutorLink<J>> {
        let mut cores = locked(&self.cores);
        let load = |core: &Arc<Core<J>>| core.links.load(Ordering::Relaxed);
        let idle = |cores: &[Arc<Core<J>>]| cores.iter().filter(|core| load(core) == 0).count();
        while idle(&cores) < LANES && cores.len() < self.cores_max {
            let fresh = Core::start(self.kind, self.step, cores.len())?;
            cores.push(fresh);
        }
        let mut chosen: Vec<_> = cores.iter().collect();
        chosen.sort_by_key(|core| load(core));
        let lanes = chosen.into_iter().take(LANES).map(|core| core.lane(doorbell, reach.clone()));
        Ok(ExecutorLink { lanes: lanes.collect() })
    }

    /// What each executor did so far.
    #[must_use]
    pub fn counters(&self) -> Vec<ExecutorCounters> {
        locked(&self.cores).iter().map(|core| core.counters()).collect()
    }
}

/// A shard's end of its link. Used by the shard's thread; dropping it lets orders that were
/// started come to their end, unheard.
pub struct ExecutorLink<J> {
    lanes: Vec<Lane<J>>,
}

/// The link to one executor.
struct Lane<J> {
    orders: Producer<Order<J>>,
    finished: Consumer<Finished<J>>,
    core: Arc<Core<J>>,
    owed: usize,
}

impl<J> ExecutorLink<J> {
    /// Starts an order where fewest are under way. It comes back if the link is full: start it
    /// again after an answer.
    ///
    /// # Errors
    /// The order itself.
    pub fn start(&mut self, order: Order<J>) -> std::result::Result<(), Order<J>> {
        let lane = self.lanes.iter_mut().min_by_key(|lane| lane.owed);
        lane.expect("a link has a lane").start(order)
    }

    /// The next answer that is there.
    pub fn finished(&mut self) -> Option<Finished<J>> {
        self.lanes.iter_mut().find_map(Lane::finished)
    }

    /// Bytes that jobs of its executors have written in all, or had compactors write.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.core.work.written_anywhere()).sum()
    }

    /// Answers the executors owe.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.lanes.iter().map(|lane| lane.owed).sum()
    }

    /// Wakes an executor that owes answers and has been silent for too long. Cheap; call it now
    /// and then.
    ///
    /// # Errors
    /// `Io` if an executor's thread is gone: what it owes never comes.
    pub fn nudge(&self, now: Nanos) -> Result<()> {
        self.lanes.iter().try_for_each(|lane| lane.nudge(now))
    }
}

impl<J> Lane<J> {
    fn start(&mut self, order: Order<J>) -> std::result::Result<(), Order<J>> {
        let answered = !matches!(order, Order::Io(IoRequest::Delete { .. }));
        // Every answer owed has a place in the ring that brings it.
        if answered && self.owed == LINK_ORDERS_MAX {
            return Err(order);
        }
        match self.orders.push(order) {
            Ok(()) => {
                self.owed += usize::from(answered);
                self.core.bell.ring();
                Ok(())
            }
            Err(rtrb::PushError::Full(order)) => Err(order),
        }
    }

    fn finished(&mut self) -> Option<Finished<J>> {
        let finished = self.finished.pop().ok()?;
        self.owed -= 1;
        Some(finished)
    }

    fn nudge(&self, now: Nanos) -> Result<()> {
        if self.core.dead.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Io,
                "the background executor ended by a failure of its own; restart the process",
            ));
        }
        let silent = now.saturating_sub(self.core.work.heartbeat());
        if self.owed > 0 && silent > EXECUTOR_SILENT_NS_MAX {
            self.core.alarm.kick();
        }
        Ok(())
    }
}

impl<J> Drop for ExecutorLink<J> {
    fn drop(&mut self) {
        for Lane { orders, core, .. } in self.lanes.drain(..) {
            // The executor looks for this when the bell rings, and perhaps not again for hours.
            drop(orders);
            core.links.fetch_sub(1, Ordering::Relaxed);
            core.bell.ring();
        }
    }
}

impl<J: Send + 'static> Core<J> {
    fn counters(&self) -> ExecutorCounters {
        ExecutorCounters {
            jobs: self.jobs.load(Ordering::Relaxed),
            read_bytes: self.work.read_bytes(),
            written_bytes: self.work.written_bytes(),
            heartbeat_ns: self.work.heartbeat(),
            shards: self.links.load(Ordering::Relaxed),
        }
    }

    fn lane(self: &Arc<Self>, doorbell: &Doorbell, reach: Reach) -> Lane<J> {
        self.links.fetch_add(1, Ordering::Relaxed);
        let (order_in, orders) = RingBuffer::new(LINK_ORDERS_MAX);
        let (answers, finished) = RingBuffer::new(LINK_ORDERS_MAX);
        let answers = Answers { ring: answers, doorbell: doorbell.clone() };
        self.links_new.put(Served { orders, answers, reach });
        self.bell.ring();
        Lane { orders: order_in, finished, core: self.clone(), owed: 0 }
    }

    /// Starts the thread of the `index`th executor, and waits until it serves.
    fn start(kind: IoKind, step: Step<J>, index: usize) -> Result<Arc<Self>> {
        let core = Arc::new(Self {
            step,
            bell: Doorbell::new()?,
            alarm: Doorbell::new()?,
            always: Doorbell::new()?,
            links_new: Handoff::new(),
            links: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            tidies: AtomicBool::new(false),
            jobs: AtomicU64::new(0),
            work: Arc::default(),
        });
        core.work.beat();
        core.always.kick();
        let (started, outcome) = mpsc::channel();
        let served = core.clone();
        std::thread::Builder::new()
            .name(format!("aquifer-bg-{index}"))
            .spawn(move || {
                sys::background_thread(EXECUTOR_NICE);
                let runtime = match Runtime::new(kind) {
                    Ok(runtime) => runtime,
                    // A failed send would mean that nobody waits for this thread.
                    Err(error) => return drop(started.send(Err(error))),
                };
                drop(started.send(Ok(())));
                let run = std::panic::AssertUnwindSafe(|| runtime.run(serve(served.clone())));
                let _panic = std::panic::catch_unwind(run);
                served.dead.store(true, Ordering::Release);
            })
            .map_err(|e| sys::no_thread("starting a background executor", &e))?;
        let gone = Error::new(ErrorKind::Io, "the background executor panicked while it started");
        outcome.recv().unwrap_or(Err(gone))?;
        Ok(core)
    }
}

/// The executor's end of a link, as it crosses to the thread.
struct Served<J> {
    orders: Consumer<Order<J>>,
    answers: Answers<J>,
    reach: Reach,
}

struct Answers<J> {
    ring: Producer<Finished<J>>,
    doorbell: Doorbell,
}

/// A link on the executor's thread.
struct Link<J> {
    core: Arc<Core<J>>,
    reach: Reach,
    pause: Rc<job_run::Pause>,
    answers: RefCell<Answers<J>>,
    active: Cell<usize>,
}

/// Serves links until the process ends.
async fn serve<J: Send + 'static>(core: Arc<Core<J>>) {
    task::spawn(watch(core.clone()));
    let bell = Listener::new(&core.bell);
    let pause = Rc::new(job_run::Pause::new(&core.always));
    let mut links = Vec::new();
    loop {
        core.work.beat();
        for Served { orders, answers, reach } in core.links_new.take() {
            let link = Link {
                core: core.clone(),
                reach,
                pause: pause.clone(),
                answers: RefCell::new(answers),
                active: Cell::new(0),
            };
            links.push((orders, Rc::new(link)));
        }
        links.retain_mut(|(orders, link)| {
            // First: what was pushed before the shard left is seen below.
            let left = orders.is_abandoned();
            while link.active.get() < LINK_ORDERS_MAX
                && let Ok(order) = orders.pop()
            {
                link.active.set(link.active.get() + 1);
                task::spawn(carry_out(link.clone(), order));
            }
            !left || !orders.is_empty()
        });
        if core.bell.try_sleep() {
            bell.readable().await;
            core.bell.drain();
            core.bell.wake();
        }
    }
}

/// Keeps a poll of the alarm in the kernel at all times.
async fn watch<J>(core: Arc<Core<J>>) {
    let alarm = Listener::new(&core.alarm);
    loop {
        alarm.readable().await;
        core.alarm.drain();
        core.work.beat();
    }
}

async fn carry_out<J: Send + 'static>(link: Rc<Link<J>>, order: Order<J>) {
    match order {
        Order::Job { token, job } => {
            let Link { core, reach, pause, .. } = &*link;
            let way = (core.step, core.work.clone());
            let (job, opened) = job_run::run(way, reach.clone(), pause.clone(), job).await;
            link.core.jobs.fetch_add(1, Ordering::Relaxed);
            if !link.core.tidies.swap(true, Ordering::Relaxed) {
                task::spawn(tidy(link.core.clone()));
            }
            link.answer(Finished::Job { token, job, opened });
        }
        Order::Io(request) => {
            if let Some(done) = perform(&link.reach, request).await {
                link.answer(Finished::Io(done));
            }
        }
    }
    link.active.set(link.active.get() - 1);
    // Orders may wait for this one's place.
    link.core.bell.ring();
}

/// Performs a request of a shard.
async fn perform(Reach { dfs, cache, .. }: &Reach, request: IoRequest) -> Option<IoDone> {
    Some(match request {
        IoRequest::Put { token, name, bytes } => {
            let bytes = Bytes::from(bytes);
            let put = async || bulk::put(dfs, name, bytes.clone()).await;
            // What a put misses is no object: a bucket, say.
            IoDone::Put { token, result: ask(dfs, Missing::Stays, "put", put).await }
        }
        IoRequest::Create { token, name, bytes } => {
            let bytes = Bytes::from(bytes);
            let create = async || bulk::create(dfs, name, bytes.clone()).await;
            IoDone::Put { token, result: ask(dfs, Missing::Stays, "create", create).await }
        }
        IoRequest::Probe { token } => {
            let probe = async || {
                let probed = dfs.clone();
                task::blocking(move || trials::decides_races(&probed)).await
            };
            let result = job_run::patiently(dfs, Missing::Stays, probe).await;
            IoDone::Put { token, result }
        }
        IoRequest::Load { token, name, bytes_max, expected } => {
            let load = async || bulk::load(dfs, name, bytes_max).await;
            let missing = if expected { dfs.missing() } else { Missing::Stays };
            let result = ask(dfs, missing, "load", load).await;
            IoDone::Load { token, result, of_store: dfs.is_store() }
        }
        IoRequest::Room { end } => {
            let result = match cache.clone() {
                Some(cache) => task::blocking(move || cache.room(end)).await,
                None => Err(Error::invalid("a shard asks for the room of a cache it has not")),
            };
            IoDone::Room { result }
        }
        IoRequest::Delete { name } => {
            if job_run::suffer(dfs, "delete").await.is_ok() {
                // Best effort: what remains is found by scrubbing.
                let _orphan = bulk::delete(dfs, name).await;
            }
            return None;
        }
        IoRequest::Read { .. } | IoRequest::Write { .. } | IoRequest::Close { .. } => {
            unreachable!("files that are open are the driver's")
        }
    })
}

/// Asks a DFS until it answers, within reason: loads and puts may be repeated.
async fn ask<T>(
    dfs: &Dfs,
    missing: Missing,
    operation: &str,
    mut call: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    job_run::patiently(dfs, missing, async || {
        job_run::suffer(dfs, operation).await?;
        call().await
    })
    .await
}

/// Gives back what jobs have freed, in a while: more may end until then.
async fn tidy<J>(core: Arc<Core<J>>) {
    task::sleep(EXECUTOR_TIDY_NS).await;
    core.tidies.store(false, Ordering::Relaxed);
    sys::give_back_free_memory();
}

impl<J> Link<J> {
    fn answer(&self, finished: Finished<J>) {
        let mut answers = self.answers.borrow_mut();
        // There is room for every answer owed; only a shard that left does not take them.
        let _unheard = answers.ring.push(finished);
        answers.doorbell.ring();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a test that hangs must end")]
#[path = "executor_tests.rs"]
mod tests;
