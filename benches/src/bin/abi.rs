//! What the C interface costs a host: gets of rows in memory through `aqf_submit` and `aqf_poll`
//! beside the same gets through the Rust interface, CPU nanoseconds of the host's thread for each.
//! Rounds alternate, so that both meet the same moments of the machine. `inline`: the shard's work
//! is in both figures, and the difference is the interface. `owned`: the shard has a core of its
//! own, and the host sleeps on the doorbell between its batches, four of which are in flight.
//! Arguments: sizes of batches instead of 1, 16, 64 and 256.

use std::os::fd::BorrowedFd;
use std::ptr::null;

use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::{Armed, Session};
use aquifer::state::request::{Batch, Completions, Status};
use aquifer::state::{Key, StateKind, StateTable, Target, ValueState};
use aquifer_ffi::layout::{Completion, Request, kind, op};
use aquifer_ffi::{
    aqf_engine_open, aqf_last_error, aqf_poll, aqf_release, aqf_session_arm, aqf_session_doorbell,
    aqf_session_open, aqf_store_open, aqf_submit,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};

const KEYS: u64 = 400 * 256;
const KEY_GROUPS: u32 = 128;
static VALUE: [u8; 128] = [7; 128];
const ROUNDS: usize = 11;
/// Gets of one side in one round.
const GETS: u64 = 400_000;
/// Batches in flight to an owned shard.
const BATCHES: usize = 4;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).map(|n| n.parse().expect("sizes")).collect();
    let batches = if asked.is_empty() { vec![1, 16, 64, 256] } else { asked };
    println!("ns of CPU a get    rust    c  c - rust: min  median  max");
    for (thread, name) in [(ShardThread::Inline, "inline"), (ShardThread::Owned, "owned")] {
        let in_flight = if thread == ShardThread::Inline { 1 } else { BATCHES };
        let mut rust = Rust::open(thread);
        let mut c = C::open(name);
        rust.load();
        c.load();
        for &batch in &batches {
            let mut rounds: Vec<(f64, f64)> = Vec::new();
            for _ in 0..ROUNDS {
                let ours = cpu_ns_per_get(|keys| rust.gets(keys, batch, in_flight));
                rounds.push((ours, cpu_ns_per_get(|keys| c.gets(keys, batch, in_flight))));
            }
            let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
                let mut all: Vec<f64> = rounds.iter().map(of).collect();
                all.sort_by(f64::total_cmp);
                (all[0], all[ROUNDS / 2], all[ROUNDS - 1])
            };
            let (ours, theirs) = (median(&|r| r.0).1, median(&|r| r.1).1);
            let (min, middle, max) = median(&|r| r.1 - r.0);
            println!(
                "{name:>6} batch {batch:>4} {ours:>6.0} {theirs:>6.0} {min:>12.0} {middle:>7.0} \
                 {max:>5.0}"
            );
        }
    }
}

fn thread_cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

fn cpu_ns_per_get(run: impl FnOnce(u64)) -> f64 {
    let before = thread_cpu_ns();
    run(GETS);
    (thread_cpu_ns() - before) / GETS as f64
}

// The key of the i-th get: scattered, and the same for both sides.
fn key(i: u64) -> [u8; 16] {
    let mut key = [0; 16];
    let scattered = (i % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key[..8].copy_from_slice(&scattered.to_be_bytes());
    key
}

// Sleeps until the doorbell rings.
fn sleep_on(doorbell: BorrowedFd<'_>) {
    poll(&mut [PollFd::new(&doorbell, PollFlags::IN)], None).expect("a poll of one descriptor");
}

struct Rust {
    session: Session,
    // Behind the session, which ends first.
    _engine: Engine,
    state: ValueState,
    batch: Batch,
    done: Completions,
}

impl Rust {
    fn open(thread: ShardThread) -> Self {
        let config = Config { thread, ..Config::new("memory://abi-rust") };
        let engine = Engine::open(config).expect("an engine");
        let mut session = engine.session(0).expect("a session");
        let mut states = StateTable::default();
        states.declare("v", StateKind::Value).expect("a state");
        let config = StoreConfig { states, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, states) = session.open_store(config).expect("a store");
        let state = states.value(store, "v").expect("a state");
        let (batch, done) = (Batch::default(), Completions::default());
        Self { session, _engine: engine, state, batch, done }
    }

    fn load(&mut self) {
        for i in 0..KEYS {
            let key = key(i);
            let target = Target { key: Key::new(&key, KEY_GROUPS), namespace: &[], user_data: 0 };
            self.state.request_put(&mut self.batch, &target, &VALUE).expect("it fits");
            if self.batch.requests.len() == 256 {
                self.session.submit(&mut self.batch).expect("a shard");
                while self.session.in_flight() > 0 {
                    self.session.poll(None, &mut self.done).expect("a shard");
                }
            }
        }
    }

    fn gets(&mut self, gets: u64, batch: usize, in_flight: usize) {
        let (mut asked, mut found) = (0, 0);
        while found < gets {
            while asked < gets && self.session.in_flight() + batch <= batch * in_flight {
                for i in asked..asked + batch as u64 {
                    let key = key(i);
                    let key = Key::new(&key, KEY_GROUPS);
                    let target = Target { key, namespace: &[], user_data: i };
                    self.state.request_get(&mut self.batch, &target).expect("it fits");
                }
                asked += batch as u64;
                self.session.submit(&mut self.batch).expect("a shard");
            }
            let patience = Some(std::time::Duration::ZERO);
            let ended = self.session.poll(patience, &mut self.done).expect("a shard");
            for item in &self.done.items {
                assert!(item.status == Status::Value && self.done.value(item).len() == VALUE.len());
            }
            found += ended as u64;
            if ended == 0 && self.session.arm().expect("a shard") != Armed::Ready {
                let doorbell = self.session.doorbell();
                sleep_on(std::os::fd::AsFd::as_fd(&doorbell));
            }
        }
    }
}

struct C {
    session: u64,
    store: u64,
    state: u16,
    doorbell: i32,
    requests: Vec<Request>,
    keys: Vec<[u8; 16]>,
    completions: Vec<Completion>,
}

fn check(status: i32) {
    let mut text = [0_u8; 512];
    // SAFETY: the buffer has this size.
    let len = unsafe { aqf_last_error(text.as_mut_ptr().cast(), text.len()) };
    assert!(status >= 0, "{}", String::from_utf8_lossy(&text[..len.min(511)]));
}

impl C {
    fn open(thread: &str) -> Self {
        let options = format!("dfs = memory://abi-c\nmemory = 256M\nthread = {thread}");
        let (mut engine, mut session, mut store, mut doorbell) = (0, 0, 0, 0);
        // SAFETY: the places and the text are live.
        unsafe {
            check(aqf_engine_open(options.as_ptr().cast(), options.len(), &raw mut engine));
            check(aqf_session_open(engine, 0, &raw mut session));
            check(aqf_session_doorbell(session, &raw mut doorbell));
            check(aqf_store_open(session, null(), 0, &raw mut store));
        }
        let completions = vec![Completion::INIT; 256];
        let (requests, keys) = (Vec::new(), Vec::new());
        let mut c = Self { session, store, state: 0, doorbell, requests, keys, completions };
        let name = *b"v";
        c.requests.push(Request {
            key: name.as_ptr().cast(),
            key_len: 1,
            limit: kind::VALUE,
            ..c.request(op::OPEN_STATE, 0)
        });
        c.submit();
        while c.poll(-1, |c| c.number) == 0 {}
        c.state = c.completions[0].number as u16;
        c
    }

    fn request(&self, op: u16, user_data: u64) -> Request {
        Request { state: self.state, ..Request::new(op, self.store, user_data) }
    }

    fn submit(&mut self) {
        let mut accepted = 0;
        let (requests, count) = (self.requests.as_ptr(), self.requests.len());
        // SAFETY: the requests and the keys that they name are live.
        check(unsafe { aqf_submit(self.session, requests, count, &raw mut accepted) });
        assert_eq!(accepted, count, "fewer are in flight than may be");
    }

    fn poll(&mut self, timeout_ns: i64, expect: impl Fn(&Completion) -> u32) -> u64 {
        let (mut count, mut results) = (0, 0);
        let (session, into) = (self.session, self.completions.as_mut_ptr());
        let capacity = self.completions.len();
        // SAFETY: the places are live, and the capacity is theirs.
        unsafe {
            check(aqf_poll(session, into, capacity, timeout_ns, &raw mut count, &raw mut results));
        }
        for completion in &self.completions[..count] {
            assert!(completion.status == 0 && expect(completion) > 0);
        }
        if results != 0 {
            check(aqf_release(session, results));
        }
        count as u64
    }

    // A host keeps its array of requests: what is the same in all stays as it is.
    fn prepare(&mut self, batch: usize, op: u16, value: &'static [u8]) {
        self.keys = vec![[0; 16]; batch];
        self.requests.clear();
        for key in &self.keys {
            self.requests.push(Request {
                key: key.as_ptr().cast(),
                key_len: 16,
                value: value.as_ptr().cast(),
                value_len: value.len() as u32,
                ..self.request(op, 0)
            });
        }
    }

    fn fill(&mut self, from: u64) {
        for ((i, to), request) in (from..).zip(&mut self.keys).zip(&mut self.requests) {
            *to = key(i);
            request.user_data = i;
        }
        self.submit();
    }

    fn load(&mut self) {
        self.prepare(256, op::PUT, &VALUE);
        for from in (0..KEYS).step_by(256) {
            self.fill(from);
            let mut done = 0;
            while done < 256 {
                done += self.poll(-1, |_| 1);
            }
        }
    }

    fn gets(&mut self, gets: u64, batch: usize, in_flight: usize) {
        self.prepare(batch, op::GET, &[]);
        let (mut asked, mut found) = (0, 0);
        while found < gets {
            while asked < gets && asked - found + batch as u64 <= (batch * in_flight) as u64 {
                self.fill(asked);
                asked += batch as u64;
            }
            let ended = self.poll(0, |c| u32::from(c.value_len as usize == VALUE.len()));
            found += ended;
            let mut timeout_ns = 0;
            // SAFETY: the place is live.
            if ended == 0 && unsafe { aqf_session_arm(self.session, &raw mut timeout_ns) } == 0 {
                // SAFETY: the session, which owns the descriptor, is open.
                sleep_on(unsafe { BorrowedFd::borrow_raw(self.doorbell) });
            }
        }
    }
}
