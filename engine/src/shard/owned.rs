//! The owned driver: a shard on a thread of its own, and the rings of the sessions that talk to
//! it. Batches and completions cross as boxes and go back empty, so nothing is copied.

use std::collections::VecDeque;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::io::clock;
use crate::io::doorbell::Doorbell;
use crate::io::handoff::{Handoff, locked};
use crate::io::read_driver::IoKind;
use crate::io::reads::Wait;
use crate::io::ring_open::RingMode;
use crate::io::sys;
use crate::io::vacancy::Vacancy;
use crate::limits::{ANSWERS_TOLD_BYTES, SESSION_RING_SLOTS, SHARD_SPIN_NS};
use crate::shard::driver::{Driver, Own};
use crate::shard::statistics::Slot;
use crate::shard::values::{Control, ControlDone, ControlOp, ControlResult, Inbox};
use crate::state::request::{Batch, Completions};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

enum ToShard {
    Batch(Box<Batch>),
    Control {
        user_data: u64,
        op: ControlOp,
    },
    /// The session took so many bytes of answers.
    Taken(usize),
}

enum FromShard {
    Completions(Box<Completions>),
    Control(ControlDone),
    Spare(Box<Batch>),
}

/// No session has this number: the answer is for nobody.
const NOBODY: u16 = u16::MAX;

/// The session's end.
pub(super) struct Remote {
    requests: Producer<ToShard>,
    answers: Consumer<FromShard>,
    // What the ring had no room for; the host keeps polling, so it drains.
    backlog: VecDeque<ToShard>,
    bell: Doorbell,
    // The host polls the bell's number.
    armed: bool,
    // Of places in `answers`.
    vacancy: Arc<Vacancy>,
    // Bytes of answers that the shard was not told of.
    taken: usize,
    // Dropped last: the shard is rung when the rings are gone.
    shard: Link,
}

/// A session's way to its shard, which hears when the session leaves.
struct Link(Arc<Shared>);

impl Deref for Link {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Answers that nobody took go back to the shard.
impl Drop for Remote {
    fn drop(&mut self) {
        let (_, nothing) = RingBuffer::new(1);
        self.shard.returned.put(std::mem::replace(&mut self.answers, nothing));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.doorbell.ring();
    }
}

/// The shard's end.
struct Peer {
    requests: Consumer<ToShard>,
    answers: Producer<FromShard>,
    backlog: VecDeque<FromShard>,
    // Requests without answer: until none is left, no other session may have its number.
    owed: usize,
    // Bytes of answers that the session has not taken.
    untaken: usize,
    // The session's, which sleeps until there is something for it.
    bell: Doorbell,
    vacancy: Arc<Vacancy>,
}

/// What sessions and shard share.
pub(super) struct Shared {
    doorbell: Doorbell,
    new_peers: Handoff<Peer>,
    // Of sessions that have left, with what they did not take.
    returned: Handoff<Consumer<FromShard>>,
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
    /// Starts the thread `index`; returns when its driver is open.
    pub fn start(kind: IoKind, own: Own) -> Result<Self> {
        let (opened, outcome) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("aquifer-s{:02}", own.index))
            .spawn(move || {
                // A ring belongs to the thread that opens it.
                let driver = match Driver::open(kind, RingMode::Owned, own) {
                    Ok(driver) => driver,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                let shared = Arc::new(Shared::new(driver.doorbell(), Arc::clone(driver.slot())));
                drop(opened.send(Ok(Arc::clone(&shared))));
                let mut peers = Vec::new();
                shared.serve(|| Loop { driver, peers: &mut peers, shared: &shared }.run());
                for peer in peers.iter().flatten().chain(&shared.new_peers.take()) {
                    peer.bell.ring();
                }
            })
            .map_err(|e| sys::no_thread("starting the thread of a shard", &e))?;
        let failed = Error::new(ErrorKind::Io, "the thread of a shard ended while it started");
        let shared = outcome.recv().unwrap_or(Err(failed))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where the shard publishes its statistics.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.shared.slot
    }

    /// A new session.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn connect(&self) -> Result<Remote> {
        let (requests, from_host) = RingBuffer::new(SESSION_RING_SLOTS);
        let (to_host, answers) = RingBuffer::new(SESSION_RING_SLOTS);
        let (bell, vacancy) = (Doorbell::new()?, Arc::new(Vacancy::new()));
        let peer = Peer {
            requests: from_host,
            answers: to_host,
            backlog: VecDeque::new(),
            owed: 0,
            untaken: 0,
            bell: bell.clone(),
            vacancy: Arc::clone(&vacancy),
        };
        self.shared.new_peers.put(peer);
        self.shared.doorbell.ring();
        let shard = Link(Arc::clone(&self.shared));
        let backlog = VecDeque::new();
        Ok(Remote { requests, answers, backlog, bell, armed: false, vacancy, taken: 0, shard })
    }

    /// Has the shard end soon.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.doorbell.ring();
    }

    /// True once the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Leaves the thread to itself.
    pub fn abandon(mut self) {
        self.thread = None;
    }
}

impl Drop for OwnedShard {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the shard has been reported to its sessions as its end.
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn new(doorbell: Doorbell, slot: Arc<Slot>) -> Self {
        Self {
            doorbell,
            new_peers: Handoff::new(),
            returned: Handoff::new(),
            slot,
            stop: AtomicBool::new(false),
            ended: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }

    // Runs the shard to its end, and tells the sessions however that comes about.
    fn serve(&self, run: impl FnOnce() -> Result<()>) {
        let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            let what = "the shard panicked; restart the process and restore from a checkpoint";
            Err(Error::new(ErrorKind::Poisoned, what))
        });
        *locked(&self.ended) = result.err();
        self.gone.store(true, Ordering::Release);
    }
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

    /// Takes what arrived, and nothing more once there are `bytes_max` bytes of answers; sleeps
    /// until something did if `wait` says so.
    pub fn receive(
        &mut self,
        wait: Wait,
        bytes_max: usize,
        completions: &mut Completions,
        controls: &mut VecDeque<ControlDone>,
        spare: &mut Vec<Box<Batch>>,
    ) -> Result<()> {
        self.flush();
        if std::mem::take(&mut self.armed) && self.bell.wake() {
            self.bell.drain();
        }
        if let Wait::Until { deadline } = wait
            && self.answers.is_empty()
        {
            let asleep = clock::now();
            let slept = self.sleep(deadline);
            self.shard.slot.add_blocked(clock::now() - asleep);
            slept?;
        }
        let arrived = !self.answers.is_empty();
        while completions.bytes.len() < bytes_max
            && let Ok(answer) = self.answers.pop()
        {
            match answer {
                FromShard::Completions(mut done) => {
                    self.taken += done.bytes.len();
                    completions.append(&mut done);
                }
                FromShard::Control(done) => controls.push_back(done),
                FromShard::Spare(batch) => spare.push(batch),
            }
        }
        if arrived && self.vacancy.made() {
            self.shard.doorbell.ring();
        }
        if self.taken >= ANSWERS_TOLD_BYTES {
            let taken = std::mem::take(&mut self.taken);
            self.backlog.push_back(ToShard::Taken(taken));
            self.flush();
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
        self.check_alive()?;
        let left = (deadline < Nanos::MAX).then(|| deadline.saturating_sub(clock::now()));
        self.bell.sleep(left)
    }

    /// For a host that will poll the bell's number: from here to the next `receive` it becomes
    /// readable when something arrives. False if something is there already.
    pub fn arm(&mut self) -> Result<bool> {
        self.flush();
        self.check_alive()?;
        self.armed = self.answers.is_empty() && self.bell.try_sleep();
        Ok(self.armed)
    }

    /// The bell that wakes the session.
    pub fn bell(&self) -> &Doorbell {
        &self.bell
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
    peers: &'a mut Vec<Option<Peer>>,
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
        for peer in self.shared.new_peers.take() {
            match self.peers.iter().position(Option::is_none) {
                Some(free) => self.peers[free] = Some(peer),
                None => self.peers.push(Some(peer)),
            }
        }
        for mut answers in self.shared.returned.take() {
            while let Ok(answer) = answers.pop() {
                close_unknown(&answer, &mut self.driver.inbox);
            }
        }
        let mut worked = !self.driver.inbox.controls.is_empty();
        for (session, slot) in (0_u16..).zip(self.peers.iter_mut()) {
            let Some(peer) = slot else { continue };
            while let Ok(message) = peer.requests.pop() {
                worked = true;
                match message {
                    ToShard::Batch(batch) => {
                        peer.owed += batch.requests.len();
                        self.driver.inbox.batches.push((session, batch));
                    }
                    ToShard::Control { user_data, op } => {
                        peer.owed += 1;
                        let after = self.driver.inbox.batches.len();
                        let control = Control { session, user_data, after, op };
                        self.driver.inbox.controls.push(control);
                    }
                    ToShard::Taken(bytes) => peer.untaken -= bytes,
                }
            }
        }
        let taking = |peer: &&Peer| !peer.requests.is_abandoned();
        let untaken = |peer: &Option<Peer>| peer.as_ref().filter(taking).map_or(0, |p| p.untaken);
        let untaken = self.peers.iter().map(untaken);
        self.driver.inbox.untaken.clear();
        self.driver.inbox.untaken.extend(untaken);
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
        for (done, slot) in completions.zip(self.peers.iter_mut()) {
            if done.items.is_empty() {
                continue;
            }
            let done = Box::new(std::mem::take(done));
            worked = true;
            let Some(peer) = slot else { continue };
            peer.owed -= done.items.len();
            // Nobody takes the answers of a session that has left: it must not wait for that.
            if !peer.has_left() {
                peer.untaken += done.bytes.len();
                peer.backlog.push_back(FromShard::Completions(done));
            }
        }
        worked |= self.deliver_controls();
        for slot in self.peers.iter_mut() {
            let Some(peer) = slot else { continue };
            if peer.has_left() {
                let inbox = &mut self.driver.inbox;
                peer.backlog.drain(..).for_each(|answer| close_unknown(&answer, inbox));
                worked |= !inbox.controls.is_empty();
            }
            worked |= peer.flush();
            // First: what was sent before the session left is seen below.
            let left = peer.requests.is_abandoned();
            if left && peer.requests.is_empty() && peer.owed == 0 {
                *slot = None;
            }
        }
        worked
    }

    // True if something is left to do: a store that was opened for a session that has left is
    // closed again, since nobody knows of it.
    fn deliver_controls(&mut self) -> bool {
        let Driver { inbox, outbox, .. } = &mut self.driver;
        for done in outbox.controls.drain(..) {
            let session = done.session;
            let Some(Some(peer)) = self.peers.get_mut(usize::from(session)) else { continue };
            match done.result {
                Ok(ControlResult::Opened(store, _)) if peer.has_left() => {
                    let (user_data, op) = (done.user_data, ControlOp::Close(store));
                    inbox.controls.push(Control { session, user_data, after: 0, op });
                }
                _ => {
                    peer.owed -= 1;
                    peer.backlog.push_back(FromShard::Control(done));
                }
            }
        }
        !inbox.controls.is_empty()
    }
}

/// Closes a store whose opening nobody heard of.
fn close_unknown(answer: &FromShard, inbox: &mut Inbox) {
    if let FromShard::Control(ControlDone { result: Ok(ControlResult::Opened(store, _)), .. }) =
        answer
    {
        let (op, after) = (ControlOp::Close(*store), inbox.batches.len());
        inbox.controls.push(Control { session: NOBODY, user_data: 0, after, op });
    }
}

impl Peer {
    fn has_left(&self) -> bool {
        self.requests.is_abandoned() || self.answers.is_abandoned()
    }

    fn flush(&mut self) -> bool {
        let (mut worked, mut waits) = (false, false);
        while let Some(answer) = self.backlog.pop_front() {
            let Err(rtrb::PushError::Full(answer)) = self.answers.push(answer) else {
                worked = true;
                continue;
            };
            self.backlog.push_front(answer);
            if waits {
                break;
            }
            self.vacancy.want();
            waits = true;
        }
        if worked {
            self.bell.ring();
        }
        worked
    }
}

#[cfg(test)]
#[path = "owned_tests.rs"]
mod tests;
