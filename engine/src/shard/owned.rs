//! The owned driver: a shard on a thread of its own, and the rings of the sessions that talk to
//! it. Batches and completions cross as boxes and go back empty, so nothing is copied.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::io::clock;
use crate::io::dfs::Dfs;
use crate::io::doorbell::Doorbell;
use crate::io::uring::{RingMode, Wait};
use crate::limits::{SESSION_PARK_MS, SESSION_RING_SLOTS, SHARD_SPIN_NS};
use crate::shard::driver::Driver;
use crate::shard::session::take_completions;
use crate::shard::statistics::Slot;
use crate::shard::values::{Control, ControlDone, ControlOp};
use crate::state::request::{Batch, Completions};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

enum ToShard {
    Batch(Box<Batch>),
    Control { user_data: u64, op: ControlOp },
}

enum FromShard {
    Completions(Box<Completions>),
    Control(ControlDone),
    Spare(Box<Batch>),
}

/// The session's end.
pub(super) struct Remote {
    requests: Producer<ToShard>,
    answers: Consumer<FromShard>,
    // What the ring had no room for; the host keeps polling, so it drains.
    backlog: VecDeque<ToShard>,
    shard: Arc<Shared>,
    sleeper: Arc<Sleeper>,
}

/// The shard's end.
struct Peer {
    requests: Consumer<ToShard>,
    answers: Producer<FromShard>,
    backlog: VecDeque<FromShard>,
    sleeper: Arc<Sleeper>,
}

/// Lets a host thread sleep until the shard has something for it.
struct Sleeper {
    thread: Mutex<Option<Thread>>,
    asleep: AtomicBool,
}

/// What sessions and shard share.
pub(super) struct Shared {
    doorbell: Doorbell,
    new_peers: Mutex<Vec<Peer>>,
    peers_waiting: AtomicBool,
    slot: Arc<Slot>,
    stop: AtomicBool,
    // Why the shard's thread ended, once it has.
    ended: Mutex<Option<Error>>,
    gone: AtomicBool,
}

/// The thread of a shard. Dropping it stops the shard.
pub(super) struct OwnedShard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl OwnedShard {
    /// Starts the thread `index`; returns when its ring is open.
    pub fn start(index: usize, memory_bytes: usize, dfs: Dfs) -> Result<Self> {
        let (opened, outcome) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("aquifer-s{index:02}"))
            .spawn(move || {
                // The ring belongs to the thread that opens it.
                let driver = match Driver::open(RingMode::Owned, index, memory_bytes, dfs) {
                    Ok(driver) => driver,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                let shared = Arc::new(Shared::new(&driver));
                drop(opened.send(Ok(Arc::clone(&shared))));
                let result = Loop { driver, peers: Vec::new(), shared: &shared }.run();
                *locked(&shared.ended) = result.err();
                shared.gone.store(true, Ordering::Release);
            })
            .map_err(|e| Error::io("starting the thread of a shard", &e))?;
        let failed = Error::new(ErrorKind::Io, "the thread of a shard ended while it started");
        let shared = outcome.recv().unwrap_or(Err(failed))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where the shard publishes its statistics.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.shared.slot
    }

    /// A new session.
    pub fn connect(&self) -> Remote {
        let (requests, from_host) = RingBuffer::new(SESSION_RING_SLOTS);
        let (to_host, answers) = RingBuffer::new(SESSION_RING_SLOTS);
        let sleeper =
            Arc::new(Sleeper { thread: Mutex::new(None), asleep: AtomicBool::new(false) });
        let peer = Peer {
            requests: from_host,
            answers: to_host,
            backlog: VecDeque::new(),
            sleeper: Arc::clone(&sleeper),
        };
        locked(&self.shared.new_peers).push(peer);
        self.shared.peers_waiting.store(true, Ordering::Release);
        self.shared.doorbell.ring();
        let shard = Arc::clone(&self.shared);
        Remote { requests, answers, backlog: VecDeque::new(), shard, sleeper }
    }
}

impl Drop for OwnedShard {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.doorbell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic of the shard has been reported to its sessions as its end.
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn new(driver: &Driver) -> Self {
        Self {
            doorbell: driver.doorbell(),
            new_peers: Mutex::default(),
            peers_waiting: AtomicBool::new(false),
            slot: Arc::clone(driver.slot()),
            stop: AtomicBool::new(false),
            ended: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Remote {
    pub fn send(&mut self, batch: Box<Batch>) -> Result<()> {
        self.push(ToShard::Batch(batch))
    }

    pub fn send_control(&mut self, user_data: u64, op: ControlOp) -> Result<()> {
        self.push(ToShard::Control { user_data, op })
    }

    fn push(&mut self, message: ToShard) -> Result<()> {
        self.check_alive()?;
        self.backlog.push_back(message);
        self.flush();
        Ok(())
    }

    fn flush(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        while let Some(message) = self.backlog.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.requests.push(message) {
                self.backlog.push_front(message);
                break;
            }
        }
        self.shard.doorbell.ring();
    }

    /// Takes what arrived; sleeps until something did if `wait` says so.
    pub fn receive(
        &mut self,
        wait: Wait,
        completions: &mut Completions,
        controls: &mut VecDeque<ControlDone>,
        spare: &mut Vec<Box<Batch>>,
    ) -> Result<()> {
        self.flush();
        if let Wait::Until { deadline } = wait
            && self.answers.is_empty()
        {
            let asleep = clock::now();
            let slept = self.sleep(deadline);
            self.shard.slot.add_blocked(clock::now() - asleep);
            slept?;
        }
        while let Ok(answer) = self.answers.pop() {
            match answer {
                FromShard::Completions(mut done) => take_completions(completions, &mut done),
                FromShard::Control(done) => controls.push_back(done),
                FromShard::Spare(batch) => spare.push(batch),
            }
        }
        Ok(())
    }

    fn sleep(&self, deadline: Option<Nanos>) -> Result<()> {
        let deadline = deadline.unwrap_or(Nanos::MAX);
        let until = clock::now() + SHARD_SPIN_NS;
        while clock::now() < until.min(deadline) {
            if !self.answers.is_empty() {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        *locked(&self.sleeper.thread) = Some(std::thread::current());
        while self.answers.is_empty() {
            self.check_alive()?;
            let left = Duration::from_nanos(deadline.saturating_sub(clock::now()));
            if left.is_zero() {
                break;
            }
            self.sleeper.asleep.store(true, Ordering::SeqCst);
            if self.answers.is_empty() {
                std::thread::park_timeout(left.min(Duration::from_millis(SESSION_PARK_MS)));
            }
            self.sleeper.asleep.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    fn check_alive(&self) -> Result<()> {
        if !self.shard.gone.load(Ordering::Acquire) {
            return Ok(());
        }
        let ended = locked(&self.shard.ended).clone();
        Err(ended.unwrap_or_else(|| Error::new(ErrorKind::Closed, "the shard was stopped")))
    }

    /// Has the shard publish its statistics.
    pub fn publish(&self) -> Result<()> {
        self.shard.slot.ask();
        while self.shard.slot.is_asked() {
            self.check_alive()?;
            std::thread::yield_now();
            self.shard.doorbell.ring();
        }
        Ok(())
    }

    pub fn slot(&self) -> &Slot {
        &self.shard.slot
    }
}

/// The thread of a shard.
struct Loop<'a> {
    driver: Driver,
    peers: Vec<Option<Peer>>,
    shared: &'a Shared,
}

impl Loop<'_> {
    fn run(mut self) -> Result<()> {
        let mut busy_until: Nanos = 0;
        while !self.shared.stop.load(Ordering::Acquire) {
            let mut worked = self.collect();
            let wait = if worked || clock::now() < busy_until {
                Wait::No
            } else {
                Wait::Until { deadline: None }
            };
            self.driver.turn(wait)?;
            worked |= self.deliver();
            if worked {
                busy_until = clock::now() + SHARD_SPIN_NS;
            }
        }
        Ok(())
    }

    // Takes what sessions sent.
    fn collect(&mut self) -> bool {
        if self.shared.peers_waiting.swap(false, Ordering::AcqRel) {
            for peer in locked(&self.shared.new_peers).drain(..) {
                match self.peers.iter().position(Option::is_none) {
                    Some(free) => self.peers[free] = Some(peer),
                    None => self.peers.push(Some(peer)),
                }
            }
        }
        let mut worked = false;
        for (session, slot) in (0_u16..).zip(&mut self.peers) {
            let Some(peer) = slot else { continue };
            while let Ok(message) = peer.requests.pop() {
                worked = true;
                match message {
                    ToShard::Batch(batch) => self.driver.inbox.batches.push((session, batch)),
                    ToShard::Control { user_data, op } => {
                        let after = self.driver.inbox.batches.len();
                        let control = Control { session, user_data, after, op };
                        self.driver.inbox.controls.push(control);
                    }
                }
            }
        }
        worked
    }

    // Hands out what the tick made.
    fn deliver(&mut self) -> bool {
        let mut worked = false;
        for (session, mut batch) in self.driver.inbox.batches.drain(..) {
            batch.clear();
            if let Some(Some(peer)) = self.peers.get_mut(usize::from(session)) {
                peer.backlog.push_back(FromShard::Spare(batch));
            }
        }
        let completions = self.driver.outbox.completions.iter_mut();
        for (done, slot) in completions.zip(&mut self.peers) {
            if done.items.is_empty() {
                continue;
            }
            let done = Box::new(std::mem::take(done));
            if let Some(peer) = slot {
                peer.backlog.push_back(FromShard::Completions(done));
            }
        }
        for done in self.driver.outbox.controls.drain(..) {
            if let Some(Some(peer)) = self.peers.get_mut(usize::from(done.session)) {
                peer.backlog.push_back(FromShard::Control(done));
            }
        }
        for slot in &mut self.peers {
            let Some(peer) = slot else { continue };
            worked |= peer.flush();
            if peer.requests.is_abandoned() {
                *slot = None;
            }
        }
        worked
    }
}

impl Peer {
    fn flush(&mut self) -> bool {
        let mut worked = false;
        while let Some(answer) = self.backlog.pop_front() {
            if let Err(rtrb::PushError::Full(answer)) = self.answers.push(answer) {
                self.backlog.push_front(answer);
                break;
            }
            worked = true;
        }
        if worked
            && self.sleeper.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = &*locked(&self.sleeper.thread)
        {
            thread.unpark();
        }
        worked
    }
}
