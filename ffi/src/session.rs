//! A session: the ledger of what is pending, and what its polls lent.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use aquifer::io::doorbell::Doorbell;
use aquifer::io::give_back_free_memory;
use aquifer::limits::{KEPT_BYTES_MAX, SESSION_IN_FLIGHT_MAX};
use aquifer::shard::engine::{StoreConfig, opening};
use aquifer::shard::session::{Armed, Session, Waker};
use aquifer::shard::values::{ControlDone, ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions, Status as EngineStatus};
use aquifer::types::Error;
use aquifer::types::error::ErrorKind;

use crate::engine::{EngineObject, Home, STORES, StoreObject};
use crate::handles::{Kind, Table};
use crate::ledger::{Ledger, Special};
use crate::requests::Known;
use crate::status::{Failure, Outcome, Status};
use crate::{layout, options};

/// Sessions of a process.
pub static SESSIONS: Table<SessionObject, { 1 << 12 }> = Table::new(Kind::Session);

/// Results lent so far, by all sessions: those of one name nothing in another.
static RESULTS: AtomicU64 = AtomicU64::new(1);

/// Bytes of keys and values that a session takes before it says that enough are in flight; one
/// request is always taken.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// After so many bytes of large answers were freed, the allocator is told to give free memory back,
/// which it would keep: a millisecond, beside the tens that copying them took.
const FREED_BYTES_MAX: usize = 64 << 20;

/// Behind an `aqf_session`.
pub struct SessionObject {
    pub waker: Waker,
    pub engine: Arc<EngineObject>,
    bell: Doorbell,
    closing: AtomicBool,
    state: Mutex<State>,
}

/// What one call at a time works on.
pub struct State {
    pub home: Home,
    // None once the shard is gone.
    session: Option<Session>,
    pub pending: Ledger,
    // The pending number of a control request, by the engine's.
    controls: HashMap<u64, u64>,
    pub batch: Batch,
    pub stores: Vec<Known>,
    // Where in `stores` the last one was found.
    pub last_store: usize,
    // Completions made here.
    own: Completions,
    // What is being handed out, and how much of it was.
    current: Arc<Completions>,
    handed_out: usize,
    lent: BTreeMap<u64, Arc<Completions>>,
    spare: Vec<Completions>,
    // Bytes of large answers that were freed and may still lie with the allocator.
    freed: usize,
}

/// The error of what comes after the end of an engine.
pub fn engine_closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine was closed")
}

impl SessionObject {
    /// Takes a session of the engine in.
    pub fn insert(
        engine: &Arc<EngineObject>,
        shard: u32,
        session: Session,
    ) -> Result<u64, Failure> {
        let inline = session.is_inline();
        SESSIONS.insert(|handle| {
            let home =
                Home { engine: engine.handle, shard, session: if inline { handle } else { 0 } };
            let object = Arc::new(Self {
                waker: session.waker(),
                engine: Arc::clone(engine),
                bell: session.doorbell(),
                closing: AtomicBool::new(false),
                state: Mutex::new(State {
                    home,
                    session: Some(session),
                    pending: Ledger::default(),
                    controls: HashMap::new(),
                    batch: Batch::default(),
                    stores: Vec::new(),
                    last_store: 0,
                    own: Completions::default(),
                    current: Arc::default(),
                    handed_out: 0,
                    lent: BTreeMap::new(),
                    spare: Vec::new(),
                    freed: 0,
                }),
            });
            engine.remember(&object);
            object
        })
    }

    /// The number of the eventfd.
    pub fn doorbell(&self) -> RawFd {
        self.bell.number()
    }

    /// Has polls of other threads end; the handle is void already.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// The state, for one call.
    pub fn enter(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    Status::Busy,
                    "another thread is inside a call with this session; open one for each thread",
                ));
            }
            Err(TryLockError::Poisoned(_)) => {
                return Err(Failure::new(
                    Status::Poisoned,
                    "a call with this session met a bug; close it, and restore its stores from a \
                     checkpoint",
                ));
            }
        };
        self.end_with_engine(&mut state);
        Ok(state)
    }

    // Once the engine was closed, whatever is pending completes with that.
    fn end_with_engine(&self, state: &mut State) {
        if self.engine.closed.load(Ordering::Acquire) {
            state.end(&engine_closed());
        }
    }

    /// Polls: fills `out` from the first place on, and says how many places it filled and what is
    /// to be released.
    pub fn poll(
        &self,
        patience: Option<Duration>,
        capacity: usize,
        put: impl FnMut(usize, layout::Completion),
    ) -> Result<(usize, u64), Failure> {
        let mut state = self.enter()?;
        if !state.has_completions() {
            state.fetch(patience);
            if self.closing.load(Ordering::Acquire) {
                return Err(Failure::new(Status::Closed, "the session was closed"));
            }
            self.end_with_engine(&mut state);
        }
        Ok(state.hand_out(capacity, put))
    }
}

impl State {
    /// Requests that may still be submitted.
    pub fn room(&self) -> usize {
        let full = self.pending.bytes() >= IN_FLIGHT_BYTES_MAX;
        if full { 0 } else { SESSION_IN_FLIGHT_MAX.saturating_sub(self.pending.len()) }
    }

    /// True once no request reaches the shard any more.
    pub fn is_ended(&self) -> bool {
        self.session.is_none()
    }

    /// Completes a pending request that did not reach the engine.
    pub fn refuse(&mut self, number: u64, failure: &Failure) {
        self.pending.special(number).refused = Some(failure.status);
        self.own.push_error(number, Error::invalid(&failure.text));
    }

    /// Gives what the batch holds to the shard.
    pub fn flush(&mut self) {
        if let Some(session) = &mut self.session
            && !self.batch.requests.is_empty()
        {
            let submitted = session.submit(&mut self.batch);
            debug_assert!(self.batch.requests.is_empty() || submitted.is_err());
            if let Err(error) = submitted {
                self.end(&error);
            }
        }
    }

    /// Starts a control request behind what the batch holds.
    pub fn start(&mut self, number: u64, op: ControlOp, store: Option<Arc<StoreObject>>) {
        self.flush();
        self.pending.special(number).store = store;
        let Some(session) = &mut self.session else { return };
        match session.start_control(op) {
            Ok(control) => drop(self.controls.insert(control, number)),
            Err(error) => self.end(&error),
        }
    }

    /// Has the shard do something that completes nowhere.
    pub fn start_unheard(&mut self, op: ControlOp) {
        self.flush();
        if let Some(session) = &mut self.session
            && let Err(error) = session.start_unheard(op)
        {
            self.end(&error);
        }
    }

    /// Runs a control request to its end; other ends are kept for the next poll.
    pub fn run(&mut self, op: ControlOp) -> Result<ControlResult, Error> {
        self.flush();
        self.session.as_mut().ok_or_else(engine_closed)?.run_control(op)
    }

    /// The shard is gone: whatever is pending completes with `error`.
    pub fn end(&mut self, error: &Error) {
        if self.session.take().is_none() {
            return;
        }
        self.controls.clear();
        self.batch.clear();
        let handed = self.current.items.iter().skip(self.handed_out);
        let mut done: Vec<u64> =
            handed.chain(&self.own.items).map(|completion| completion.user_data).collect();
        done.sort_unstable();
        self.pending.take_stores().iter().for_each(|store| store.restore_failed());
        for number in self.pending.pending() {
            if done.binary_search(&number).is_err() {
                self.own.push_error(number, error.clone());
            }
        }
    }

    fn has_completions(&self) -> bool {
        self.handed_out < self.current.items.len() || !self.own.items.is_empty()
    }

    // Takes what the shard has, and waits for it.
    fn fetch(&mut self, patience: Option<Duration>) {
        let Some(session) = &mut self.session else { return };
        let mut into = self.spare.pop().unwrap_or_default();
        match session.poll(patience, &mut into) {
            Ok(_) => {
                let mut ended = Vec::new();
                while let Some(done) = session.finished_control() {
                    ended.push(done);
                }
                if into.items.is_empty() {
                    self.spare.push(into);
                } else {
                    self.take(into);
                }
                ended.into_iter().for_each(|done| self.finish(done));
            }
            Err(error) => self.end(&error),
        }
    }

    // Hands `completions` out next.
    fn take(&mut self, completions: Completions) {
        let before = std::mem::replace(&mut self.current, Arc::new(completions));
        self.recycle(before);
        self.handed_out = 0;
    }

    fn recycle(&mut self, completions: Arc<Completions>) {
        let Some(mut spare) = Arc::into_inner(completions) else { return };
        let bytes = spare.bytes.capacity();
        spare.clear();
        if self.spare.len() < 2 {
            self.spare.push(spare);
        }
        if bytes > KEPT_BYTES_MAX {
            self.freed += bytes;
        }
        if self.freed >= FREED_BYTES_MAX {
            self.freed = 0;
            give_back_free_memory();
        }
    }

    // A control request ended.
    fn finish(&mut self, done: ControlDone) {
        let Some(number) = self.controls.remove(&done.user_data) else { return };
        let special = self.pending.special(number);
        let store = special.store.take();
        let mut unused = None;
        let result = match (done.result, store) {
            (Ok(ControlResult::Opened(id, states)), Some(store)) => {
                // The store that it replaces; if the store was closed meanwhile, the new one.
                unused = Some(store.restored(id, states));
                Ok(Vec::new())
            }
            (Ok(ControlResult::Declared(state, states)), Some(store)) => {
                special.number = u32::from(state.0);
                store.declared(states);
                Ok(Vec::new())
            }
            (Ok(ControlResult::Handle(handle)), _) => Ok(handle),
            (Ok(ControlResult::Objects(objects)), _) => {
                let lines = objects.iter().map(|o| format!("{} {}\n", o.bytes, o.name));
                Ok(lines.collect::<String>().into_bytes())
            }
            (Ok(_), _) => Ok(Vec::new()),
            (Err(error), store) => {
                if let Some(store) = store {
                    store.restore_failed();
                }
                Err(error)
            }
        };
        match result {
            Ok(bytes) if bytes.is_empty() => self.own.push(number, EngineStatus::Done),
            Ok(bytes) => self.own.push_value(number, EngineStatus::Value, &bytes),
            Err(error) => self.own.push_error(number, error),
        }
        // Behind the completion: if the shard is gone by now, all others that are pending end.
        if let Some(unused) = unused {
            self.start_unheard(ControlOp::Close(unused));
        }
    }

    fn hand_out(
        &mut self,
        capacity: usize,
        mut put: impl FnMut(usize, layout::Completion),
    ) -> (usize, u64) {
        if self.handed_out == self.current.items.len() && !self.own.items.is_empty() {
            let own = std::mem::replace(&mut self.own, self.spare.pop().unwrap_or_default());
            self.take(own);
        }
        let from = self.handed_out;
        let to = self.current.items.len().min(from.saturating_add(capacity));
        let mut lends = false;
        for (at, item) in (0..).zip(&self.current.items[from..to]) {
            let (user_data, special) = self.pending.settle(item.user_data);
            let completion = completion(&self.current, item, user_data, special);
            lends |= !completion.value.is_null() || !completion.message.is_null();
            put(at, completion);
        }
        self.handed_out = to;
        let results = if lends {
            let results = Kind::Results.numbered(RESULTS.fetch_add(1, Ordering::Relaxed));
            self.lent.insert(results, Arc::clone(&self.current));
            results
        } else {
            0
        };
        (to - from, results)
    }

    /// Takes results back.
    pub fn release(&mut self, results: u64) -> Outcome {
        let lent = self.lent.remove(&results);
        let completions = lent.ok_or_else(|| Kind::Results.bad(results))?;
        self.recycle(completions);
        Ok(Status::Ok)
    }

    /// Prepares the doorbell.
    pub fn arm(&mut self) -> Armed {
        if self.has_completions() {
            return Armed::Ready;
        }
        match self.session.as_mut().map(Session::arm) {
            Some(Ok(armed)) => armed,
            Some(Err(error)) => {
                self.end(&error);
                Armed::Ready
            }
            None => Armed::For(None),
        }
    }
}

// The completion of one item of `lender`. Made of values in registers, for it is written to the
// host's memory once.
#[inline(always)]
fn completion(
    lender: &Completions,
    item: &aquifer::state::request::Completion,
    user_data: u64,
    special: Option<Special>,
) -> layout::Completion {
    let special = special.unwrap_or_default();
    let (mut status, mut flags) = (Status::Ok, 0);
    let (mut value, mut message): (&[u8], &str) = (&[], "");
    match item.status {
        EngineStatus::Done => {}
        EngineStatus::Absent => status = Status::Absent,
        EngineStatus::Value => value = lender.value(item),
        EngineStatus::Entries { more } => {
            value = lender.value(item);
            flags = if more { layout::MORE } else { 0 };
        }
        EngineStatus::Failed { index } => {
            let error = &lender.errors[index as usize];
            status = special.refused.unwrap_or_else(|| error.kind.into());
            message = &error.text;
        }
    }
    layout::Completion {
        struct_size: size_of::<layout::Completion>() as u32,
        status: status as i32,
        user_data,
        value: if value.is_empty() { std::ptr::null() } else { value.as_ptr().cast() },
        message: if message.is_empty() { std::ptr::null() } else { message.as_ptr().cast() },
        value_len: value.len() as u32,
        message_len: message.len() as u32,
        flags,
        number: special.number,
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Nobody hears how these restores end: other sessions may restore the stores again.
        self.pending.take_stores().iter().for_each(|store| store.restore_failed());
    }
}

/// Opens an empty store on the session's shard.
pub fn open_store(state: &mut State, text: &[u8]) -> Result<u64, Failure> {
    let config = options::store(text)?;
    // What keeps its checkpoints itself begins with a restore, which waits for I/O.
    match state.run(opening(StoreConfig { keep: 0, ..config.clone() })?)? {
        ControlResult::Opened(id, _) => {
            STORES.insert(|_| Arc::new(StoreObject::new(state.home, config, id)))
        }
        other => Err(Failure::new(Status::Poisoned, format!("the shard answered {other:?}"))),
    }
}

/// Closes a store.
pub fn close_store(state: &mut State, handle: u64) -> Outcome {
    let store = STORES.get(handle)?;
    check_home(&store, state)?;
    STORES.remove(handle)?;
    if let Some(id) = store.close()
        && !state.is_ended()
    {
        state.run(ControlOp::Close(id))?;
    }
    Ok(Status::Ok)
}

/// Requests of a store go to its shard.
pub fn check_home(store: &StoreObject, state: &State) -> Result<(), Failure> {
    if store.home == state.home {
        return Ok(());
    }
    let (store, session) = (store.home, state.home);
    let text = if store.engine != session.engine {
        "the store belongs to another engine than the session".to_owned()
    } else if store.session != session.session {
        "the store lives in the inline shard of another session".to_owned()
    } else {
        format!(
            "the store lives on shard {}, and this session goes to shard {}",
            store.shard, session.shard
        )
    };
    Err(Failure::invalid(text))
}
