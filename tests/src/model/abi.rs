//! Programs through the C interface of the engine, called as C calls it. Polls wait inside
//! `aqf_poll` or on the doorbell; some results are kept for a while, and must not have changed when
//! they are released; what is submitted is overwritten as soon as it was.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::time::{Duration, Instant};

use aquifer::shard::engine::{Config, ShardThread, StoreConfig};
use aquifer::state::StateKind;
use aquifer::types::MergeOp;
use aquifer::types::error::ErrorKind;
use aquifer_ffi::layout::{Completion, MORE, Request, kind, op};
use aquifer_ffi::{
    aqf_engine_close, aqf_engine_open, aqf_key_group, aqf_last_error, aqf_poll, aqf_release,
    aqf_session_arm, aqf_session_close, aqf_session_doorbell, aqf_session_open, aqf_store_close,
    aqf_store_open, aqf_submit,
};

use crate::model::asked::Outcome;
use crate::model::oracle::{KEY_GROUPS, Op, STATES, key_bytes, namespace_bytes, put_items};
use crate::model::real::{About, End, Host};
use crate::model::report::Report;
use crate::sim::driver::Answer;
use crate::sim::rng::Rng;

/// Results that a session keeps at most.
const HELD_MAX: usize = 6;
/// Requests given to one `aqf_submit`: what a program has asked for may be far more.
const SUBMIT_MAX: usize = 400;
/// A close or the opening of a store that takes longer has failed, milliseconds.
const CLOSE_MS: u32 = 600_000;
/// A request without an end for this long while a store is opened or an engine closed is lost.
const PATIENCE: Duration = Duration::from_secs(600);

// Statuses of `aquifer.h`.
const OK: i32 = 0;
const ABSENT: i32 = 1;
const KINDS: [(i32, ErrorKind); 10] = [
    (-1, ErrorKind::Invalid),
    (-2, ErrorKind::TooLarge),
    (-3, ErrorKind::Corrupt),
    (-4, ErrorKind::Io),
    (-5, ErrorKind::MissingObject),
    (-6, ErrorKind::NoSpace),
    (-7, ErrorKind::Unsupported),
    (-8, ErrorKind::Closed),
    (-9, ErrorKind::Poisoned),
    (-10, ErrorKind::NoMemory),
];

/// See the module.
pub(super) struct Abi {
    engine: u64,
    lanes: Vec<Lane>,
}

struct Lane {
    session: u64,
    doorbell: i32,
    batch: VecDeque<Call>,
    in_flight: usize,
    held: Vec<Held>,
}

/// A request with its bytes: key, namespace, map key, value.
struct Call {
    request: Request,
    bytes: [Vec<u8>; 4],
}

/// What a completion brings, told apart by the low bits of `user_data`.
#[derive(Clone, Copy)]
enum Brings {
    Nothing,
    Value,
    Entries,
    Number,
}

/// Results that were not given back yet: where their bytes are, and what they were.
struct Held {
    results: u64,
    values: Vec<(*const c_void, Vec<u8>)>,
}

/// A store, and the numbers of its states in the order of `State`.
#[derive(Clone, Copy)]
pub(super) struct Store {
    handle: u64,
    states: [u16; STATES.len()],
}

/// What a call brought, or why it failed.
fn done(status: i32, what: &str) -> Outcome<()> {
    if status == OK {
        return Ok(());
    }
    let mut text = [0_u8; 1024];
    // SAFETY: the buffer has the given size.
    let len = unsafe { aqf_last_error(text.as_mut_ptr().cast(), text.len()) };
    let text = String::from_utf8_lossy(&text[..len.min(text.len() - 1)]);
    Err(format!("{what}: status {status}: {text}"))
}

/// A copy of lent bytes.
fn copied(data: *const c_void, len: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the library lends so many bytes until their results are released.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) }.to_vec()
}

impl Call {
    fn new(op: u16, store: u64, number: u64, brings: Brings) -> Self {
        let request = Request::new(op, store, number << 2 | brings as u64);
        Self { request, bytes: Default::default() }
    }

    fn of(store: Store, op: &Op, number: u64) -> Outcome<Self> {
        let (code, brings) = match op {
            Op::Put(..) | Op::Update(..) => (op::PUT, Brings::Nothing),
            Op::Delete(_) => (op::DELETE, Brings::Nothing),
            Op::Append(..) | Op::Add(..) => (op::ADD, Brings::Nothing),
            Op::Clear(_) => (op::CLEAR, Brings::Nothing),
            Op::Get(_) => (op::GET, Brings::Value),
            Op::Scan(..) => (op::SCAN, Brings::Entries),
        };
        let value = match op {
            Op::Put(_, value) => value.clone(),
            Op::Append(_, items) => items.concat(),
            Op::Update(_, items) => {
                let mut list = Vec::new();
                put_items(&mut list, items);
                list
            }
            Op::Add(_, number) => number.to_le_bytes().to_vec(),
            Op::Delete(_) | Op::Clear(_) | Op::Get(_) | Op::Scan(..) => Vec::new(),
        };
        let row = op.row();
        let key = key_bytes(row.key);
        let mut call = Self::new(code, store.handle, number, brings);
        call.request.state = store.states[row.state as usize];
        if let Op::Scan(_, limit) = op {
            call.request.limit = *limit;
        }
        if number.is_multiple_of(2) {
            let group = &raw mut call.request.key_group;
            // SAFETY: the key and the place are live.
            let status =
                unsafe { aqf_key_group(key.as_ptr().cast(), key.len(), KEY_GROUPS, group) };
            done(status, "a key group")?;
        }
        call.bytes = [key, namespace_bytes(row.namespace).to_vec(), row.map_key.clone(), value];
        Ok(call)
    }

    /// The request with pointers to its bytes.
    fn request(&self) -> Request {
        let [key, ns, map_key, value] = self.bytes.each_ref().map(|bytes| bytes.as_ptr().cast());
        let [key_len, ns_len, map_key_len, value_len] =
            self.bytes.each_ref().map(|bytes| bytes.len() as u32);
        Request { key, ns, map_key, value, key_len, ns_len, map_key_len, value_len, ..self.request }
    }
}

impl Lane {
    fn open(engine: u64, shard: usize) -> Outcome<Self> {
        let (mut session, mut doorbell) = (0, -1);
        // SAFETY: the places are live.
        unsafe {
            done(aqf_session_open(engine, shard as u32, &raw mut session), "opening a session")?;
            done(aqf_session_doorbell(session, &raw mut doorbell), "a doorbell")?;
        }
        Ok(Self { session, doorbell, batch: VecDeque::new(), in_flight: 0, held: Vec::new() })
    }

    /// Submits what the session takes; what it took is overwritten.
    fn submit(&mut self) -> Outcome<bool> {
        while !self.batch.is_empty() {
            let requests: Vec<Request> =
                self.batch.iter().take(SUBMIT_MAX).map(Call::request).collect();
            let mut accepted = 0;
            // SAFETY: the requests and their bytes are live.
            let status = unsafe {
                aqf_submit(self.session, requests.as_ptr(), requests.len(), &raw mut accepted)
            };
            done(status, "submitting")?;
            self.in_flight += accepted;
            for mut call in self.batch.drain(..accepted) {
                call.bytes.iter_mut().for_each(|bytes| bytes.fill(0xee));
            }
            if accepted < requests.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Submits one request behind what the session did not take yet.
    fn start(&mut self, call: Call) -> Outcome<bool> {
        self.batch.push_back(call);
        self.submit()
    }

    /// One `aqf_poll`.
    fn poll(&mut self, capacity: usize, timeout_ns: i64) -> Outcome<Vec<(Completion, Answer)>> {
        let empty = Completion { status: 99, ..Completion::INIT };
        let mut filled = vec![empty; capacity];
        let (mut count, mut results) = (0, 0);
        let to = filled.as_mut_ptr();
        // SAFETY: the places are live, and the capacity is theirs.
        let status = unsafe {
            aqf_poll(self.session, to, capacity, timeout_ns, &raw mut count, &raw mut results)
        };
        done(status, "polling")?;
        filled.truncate(count);
        let left = self.in_flight.checked_sub(count);
        self.in_flight = left.ok_or("more requests complete than were accepted")?;
        let copies = filled.iter().map(|c| (c.value, copied(c.value, c.value_len as usize)));
        let values: Vec<_> = copies.filter(|(data, _)| !data.is_null()).collect();
        if results != 0 {
            self.held.push(Held { results, values });
        } else if !values.is_empty() {
            return Err("values without results".to_owned());
        }
        filled.into_iter().map(|c| Ok((c, answer(&c)?))).collect()
    }

    /// Gives results back, whose bytes must be what they were.
    fn release(&mut self, at: usize) -> Outcome<()> {
        let Held { results, values } = self.held.swap_remove(at);
        for (data, copy) in &values {
            if copied(*data, copy.len()) != *copy {
                return Err(format!("{} lent bytes changed before their release", copy.len()));
            }
        }
        done(aqf_release(self.session, results), "releasing")
    }

    /// Polls until something completes, or `patience` is at its end, in one of the ways to wait.
    fn wait(&mut self, patience: Duration, rng: &mut Rng) -> Outcome<Vec<End>> {
        let capacity = rng.pick(&[1, 16, 400]);
        let on_doorbell = rng.chance(5000);
        let inside = if on_doorbell { 0 } else { patience.as_nanos() as i64 };
        let deadline = Instant::now() + patience;
        loop {
            self.submit()?;
            let ends = self.poll(capacity, inside)?;
            // A poll for nothing does not wait.
            let waits = ends.is_empty() && self.in_flight > 0;
            if !waits || Instant::now() >= deadline {
                while self.held.len() > HELD_MAX || (!self.held.is_empty() && rng.chance(5000)) {
                    let at = rng.below(self.held.len());
                    self.release(at)?;
                }
                let end = |(c, answer): (Completion, _)| (c.user_data >> 2, answer);
                return Ok(ends.into_iter().map(end).collect());
            }
            if on_doorbell {
                self.sleep()?;
            }
        }
    }

    /// Sleeps on the doorbell until it rings or says so.
    fn sleep(&self) -> Outcome<()> {
        let mut timeout_ns = 0;
        // SAFETY: the place is live.
        let status = unsafe { aqf_session_arm(self.session, &raw mut timeout_ns) };
        if status == ABSENT {
            return Ok(());
        }
        done(status, "arming")?;
        let most_ms = PATIENCE.as_millis() as i64;
        let ms = if timeout_ns < 0 { most_ms } else { (timeout_ns / 1_000_000 + 1).min(most_ms) };
        let mut fd = libc::pollfd { fd: self.doorbell, events: libc::POLLIN, revents: 0 };
        // SAFETY: one live `pollfd`.
        unsafe { libc::poll(&raw mut fd, 1, ms as i32) };
        Ok(())
    }

    /// Starts a request of which nothing else is in flight, and waits for its end.
    fn run(&mut self, call: Call) -> Outcome<Completion> {
        if !self.start(call)? {
            return Err("a session with nothing in flight takes no request".to_owned());
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some((completion, answer)) = self.poll(1, PATIENCE.as_nanos() as i64)?.pop() {
                return match answer {
                    Answer::Failed(_, text) => Err(text),
                    _ => Ok(completion),
                };
            }
        }
        Err("a request is lost".to_owned())
    }
}

/// What a completion says.
fn answer(c: &Completion) -> Outcome<Answer> {
    let value = copied(c.value, c.value_len as usize);
    let brings = |brings| c.user_data & 3 == brings as u64;
    Ok(match c.status {
        OK if brings(Brings::Value) => Answer::Value(value),
        OK if brings(Brings::Entries) => Answer::Entries(value, c.flags == MORE),
        OK if value.is_empty() => Answer::Done,
        ABSENT if brings(Brings::Value) => Answer::Absent,
        status => {
            let kind = KINDS.iter().find(|(number, _)| *number == status);
            let (_, kind) = kind.ok_or_else(|| format!("a request ended with status {status}"))?;
            let text = copied(c.message.cast(), c.message_len as usize);
            Answer::Failed(*kind, String::from_utf8_lossy(&text).into_owned())
        }
    })
}

fn kind_number(kind: StateKind) -> u32 {
    match kind {
        StateKind::Value => kind::VALUE,
        StateKind::List => kind::LIST,
        StateKind::Map => kind::MAP,
        StateKind::Reducing(MergeOp::Sum) => kind::SUM,
        StateKind::Reducing(MergeOp::Min) => kind::MIN,
        StateKind::Reducing(_) => kind::MAX,
    }
}

impl Host for Abi {
    type Store = Store;

    fn start(config: &Config, shards: &[usize]) -> Outcome<Self> {
        let Config { memory_bytes, dfs, shards: count, thread, io, .. } = config;
        let thread = if *thread == ShardThread::Inline { "inline" } else { "owned" };
        let io = format!("{io:?}").to_lowercase();
        let text = format!(
            "dfs = {dfs}\nmemory = {memory_bytes}\nshards = {count}\nthread = {thread}\nio = {io}\n"
        );
        let mut engine = 0;
        // SAFETY: the text and the place are live.
        let status = unsafe { aqf_engine_open(text.as_ptr().cast(), text.len(), &raw mut engine) };
        done(status, "opening the engine")?;
        let lanes = shards.iter().map(|&shard| Lane::open(engine, shard));
        Ok(Self { engine, lanes: lanes.collect::<Outcome<_>>()? })
    }

    fn open_store(&mut self, session: usize, config: StoreConfig) -> Outcome<Store> {
        let StoreConfig { number, host_epoch, key_groups, .. } = config;
        let text =
            format!("number = {number}\nhost_epoch = {host_epoch}\nkey_groups = {key_groups}");
        let lane = &mut self.lanes[session];
        let mut handle = 0;
        // SAFETY: the text and the place are live.
        let status = unsafe {
            aqf_store_open(lane.session, text.as_ptr().cast(), text.len(), &raw mut handle)
        };
        done(status, "opening a store")?;
        if !config.handles.is_empty() {
            let mut restore = Call::new(op::RESTORE, handle, 0, Brings::Nothing);
            restore.bytes[3] = config.handles.concat();
            lane.run(restore)?;
        }
        let mut states = [0; STATES.len()];
        // In an order of its own each time: states are found by name.
        for at in 0..STATES.len() {
            let (state, name, kind) = STATES[(at + number as usize) % STATES.len()];
            let mut open = Call::new(op::OPEN_STATE, handle, 0, Brings::Number);
            open.request.limit = kind_number(kind);
            open.bytes[0] = name.as_bytes().to_vec();
            states[state as usize] = lane.run(open)?.number as u16;
        }
        Ok(Store { handle, states })
    }

    fn close_store(&mut self, session: usize, store: Store) -> Outcome<()> {
        done(aqf_store_close(self.lanes[session].session, store.handle), "closing a store")
    }

    fn split(op: Op) -> Vec<Op> {
        match op {
            Op::Append(row, items) => {
                items.into_iter().map(|item| Op::Append(row.clone(), vec![item])).collect()
            }
            op => vec![op],
        }
    }

    fn add(&mut self, session: usize, store: Store, op: &Op, number: u64) -> Outcome<()> {
        self.lanes[session].batch.push_back(Call::of(store, op, number)?);
        Ok(())
    }

    fn submit(&mut self, session: usize) -> Outcome<bool> {
        self.lanes[session].submit()
    }

    fn start_about(
        &mut self,
        session: usize,
        store: Store,
        about: About,
        number: u64,
    ) -> Outcome<()> {
        let (op, brings, value) = match about {
            About::Checkpoint => (op::CHECKPOINT, Brings::Value, Vec::new()),
            About::Release(handle) => (op::RELEASE, Brings::Nothing, handle),
            About::Drain => (op::DRAIN, Brings::Nothing, Vec::new()),
        };
        let mut call = Call::new(op, store.handle, number, brings);
        call.bytes[3] = value;
        self.lanes[session].start(call)?;
        Ok(())
    }

    fn poll(&mut self, session: usize, patience: Duration, rng: &mut Rng) -> Outcome<Vec<End>> {
        self.lanes[session].wait(patience, rng)
    }

    fn stop(mut self, rng: &mut Rng, _: &mut Report) -> Outcome<Option<Vec<End>>> {
        if rng.chance(3000) {
            for lane in &self.lanes {
                done(aqf_session_close(lane.session), "closing a session")?;
            }
            done(aqf_engine_close(self.engine, CLOSE_MS), "closing the engine")?;
            return Ok(None);
        }
        done(aqf_engine_close(self.engine, CLOSE_MS), "closing the engine")?;
        let mut ends = Vec::new();
        for lane in &mut self.lanes {
            // What found no room is not the engine's to answer.
            let left = lane.batch.drain(..).map(|call| call.request.user_data >> 2);
            ends.extend(
                left.map(|number| (number, Answer::Failed(ErrorKind::Closed, String::new()))),
            );
            while lane.in_flight > 0 {
                let more = lane.wait(PATIENCE, rng)?;
                if more.is_empty() {
                    return Err(format!("{} requests never complete", lane.in_flight));
                }
                ends.extend(more);
            }
            while !lane.held.is_empty() {
                lane.release(0)?;
            }
            done(aqf_session_close(lane.session), "closing a session")?;
        }
        Ok(Some(ends))
    }
}
