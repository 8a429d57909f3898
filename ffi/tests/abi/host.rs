//! A host of the tests: one engine, one session, one store.

use std::ffi::c_void;
use std::ptr::null;

use aquifer_ffi::layout::{Completion, Request, op};
use aquifer_ffi::*;

pub const OK: i32 = 0;
pub const ABSENT: i32 = 1;
pub const INVALID: i32 = -1;
pub const TOO_LARGE: i32 = -2;
pub const CORRUPT: i32 = -3;
pub const MISSING: i32 = -5;
pub const CLOSED: i32 = -8;
pub const BAD_HANDLE: i32 = -11;
pub const BUSY: i32 = -12;
pub const FORKED: i32 = -13;
pub const TOO_SMALL: i32 = -15;

/// The text of this thread's last failure.
pub fn last_error() -> String {
    let mut buffer = [0_u8; 1024];
    // SAFETY: the buffer has the given size.
    let len = unsafe { aqf_last_error(buffer.as_mut_ptr().cast(), buffer.len()) };
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

pub fn open_engine(options: &str) -> Result<u64, i32> {
    let mut engine = 0;
    // SAFETY: the text and the place are live.
    match unsafe { aqf_engine_open(options.as_ptr().cast(), options.len(), &raw mut engine) } {
        OK => Ok(engine),
        status => Err(status),
    }
}

/// One engine, one session, one store.
pub struct Host {
    pub engine: u64,
    pub session: u64,
    pub store: u64,
}

/// A completion with its bytes copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub status: i32,
    pub user_data: u64,
    pub number: u32,
    pub value: Vec<u8>,
    pub message: String,
}

/// Sets a pointer and a length of a request.
pub fn with_key<'a>(mut r: Request, key: &'a [u8], value: &'a [u8]) -> Request {
    (r.key, r.key_len) = (key.as_ptr().cast(), key.len() as u32);
    (r.value, r.value_len) = (value.as_ptr().cast(), value.len() as u32);
    r
}

pub fn bytes(data: *const c_void, len: u32) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the library lends so many bytes until they are released.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len as usize) }.to_vec()
}

impl Host {
    pub fn open(name: &str, thread: &str) -> Self {
        Self::open_with(name, thread, "48M")
    }

    pub fn open_with(name: &str, thread: &str, memory: &str) -> Self {
        Self::open_on(&format!("memory://abi-{name}-{thread}"), thread, memory)
    }

    pub fn open_on(dfs: &str, thread: &str, memory: &str) -> Self {
        let options = format!("dfs = {dfs}\nmemory = {memory}\nthread = {thread}");
        let engine = open_engine(&options).unwrap();
        let (mut session, mut store) = (0, 0);
        // SAFETY: the places are live.
        unsafe {
            assert_eq!(aqf_session_open(engine, 0, &raw mut session), OK, "{}", last_error());
            assert_eq!(aqf_store_open(session, null(), 0, &raw mut store), OK, "{}", last_error());
        }
        Self { engine, session, store }
    }

    pub fn submit(&self, requests: &[Request]) -> usize {
        let mut accepted = 0;
        // SAFETY: the requests and what they name are live.
        let status = unsafe {
            aqf_submit(self.session, requests.as_ptr(), requests.len(), &raw mut accepted)
        };
        assert_eq!(status, OK, "{}", last_error());
        accepted
    }

    pub fn try_poll(&self, timeout_ns: i64, release: bool) -> Result<(Vec<Done>, u64), i32> {
        let empty = Completion { status: 99, ..Completion::INIT };
        let mut completions = [empty; 64];
        let (mut count, mut results) = (0, 0);
        // SAFETY: the places are live, and the capacity is theirs.
        let status = unsafe {
            aqf_poll(
                self.session,
                completions.as_mut_ptr(),
                completions.len(),
                timeout_ns,
                &raw mut count,
                &raw mut results,
            )
        };
        if status != OK {
            return Err(status);
        }
        let done = completions[..count].iter().map(|c| Done {
            status: c.status,
            user_data: c.user_data,
            number: c.number,
            value: bytes(c.value, c.value_len),
            message: String::from_utf8(bytes(c.message.cast(), c.message_len)).unwrap(),
        });
        let done = done.collect();
        if release && results != 0 {
            assert_eq!(aqf_release(self.session, results), OK);
        }
        Ok((done, results))
    }

    /// Submits and polls until all have completed, in the order of `user_data`.
    pub fn run(&self, requests: &[Request]) -> Vec<Done> {
        assert_eq!(self.submit(requests), requests.len());
        let mut all = Vec::new();
        while all.len() < requests.len() {
            all.extend(self.try_poll(-1, true).unwrap().0);
        }
        all.sort_by_key(|done: &Done| done.user_data);
        all
    }

    pub fn one(&self, request: Request) -> Done {
        self.run(&[request]).remove(0)
    }

    pub fn state(&self, name: &str, kind: u32) -> u16 {
        let mut r = with_key(Request::new(op::OPEN_STATE, self.store, 0), name.as_bytes(), &[]);
        r.limit = kind;
        let done = self.one(r);
        assert_eq!(done.status, OK, "{}", done.message);
        done.number as u16
    }

    pub fn on(&self, op: u16, state: u16, key: &[u8], value: &[u8]) -> Request {
        Request { state, ..with_key(Request::new(op, self.store, 0), key, value) }
    }

    /// The host with a new store, which holds what a checkpoint held.
    pub fn restored(&self, handle: &[u8]) -> Self {
        let mut host = Self { store: 0, ..*self };
        // SAFETY: the place is live.
        unsafe {
            assert_eq!(aqf_store_open(host.session, null(), 0, &raw mut host.store), OK);
        }
        let restored = host.one(with_key(Request::new(op::RESTORE, host.store, 0), b"", handle));
        assert_eq!(restored.status, OK, "{}", restored.message);
        host
    }

    pub fn close(&self) {
        assert_eq!(aqf_engine_close(self.engine, 10_000), OK, "{}", last_error());
        assert_eq!(aqf_session_close(self.session), OK);
    }
}

pub fn items(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut at, mut left) = (value.as_ptr().cast::<c_void>(), value.len());
    let (mut item, mut len) = (null(), 0);
    let mut all = Vec::new();
    // SAFETY: the places are live, and the bytes are the value's.
    while unsafe { aqf_next_item(&raw mut at, &raw mut left, &raw mut item, &raw mut len) } == OK {
        all.push(bytes(item, len as u32));
    }
    all
}
