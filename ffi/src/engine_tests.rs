//! An engine that ends while a session is inside a call.

use std::ptr::null;
use std::time::Duration;

use aquifer::limits::SESSION_IN_FLIGHT_MAX;

use super::{ENGINES, locked, open};
use crate::layout::{Completion, Request, op};
use crate::status::Status;
use crate::{aqf_poll, aqf_session_close, aqf_session_open, aqf_store_open, aqf_submit};

fn request(op: u16, store: u64, user_data: u64) -> Request {
    Request { state: 1, ..Request::new(op, store, user_data) }
}

fn poll(session: u64) -> Vec<(u64, i32)> {
    let mut done = [Completion::INIT; 16];
    let (mut count, mut results) = (0, 0);
    // SAFETY: the places are live, and the capacity is theirs.
    let status =
        unsafe { aqf_poll(session, done.as_mut_ptr(), 16, 0, &raw mut count, &raw mut results) };
    assert_eq!(status, Status::Ok as i32);
    done[..count].iter().map(|c| (c.user_data, c.status)).collect()
}

#[test]
fn what_is_taken_while_the_shard_ends_completes() {
    let engine = open(b"dfs = memory://ends\nmemory = 48M").unwrap();
    let (mut session, mut store, mut accepted) = (0, 0, 0);
    // SAFETY: the places are live.
    unsafe {
        assert_eq!(aqf_session_open(engine, 0, &raw mut session), 0);
        assert_eq!(aqf_store_open(session, null(), 0, &raw mut store), 0);
    }
    // What `aqf_engine_close` of another thread does once the call below is under way.
    let object = ENGINES.remove(engine).unwrap();
    let shards = locked(&object.engine).take().unwrap();
    shards.close(Duration::from_secs(60)).unwrap();
    let requests: Vec<Request> = [op::CHECKPOINT, op::GET, op::GET, op::DRAIN, op::GET]
        .into_iter()
        .zip(0..)
        .map(|(op, number)| request(op, store, number))
        .collect();
    // SAFETY: the requests are live.
    let status =
        unsafe { aqf_submit(session, requests.as_ptr(), requests.len(), &raw mut accepted) };
    assert_eq!(status, Status::Ok as i32);
    assert!(accepted > 0 && accepted <= SESSION_IN_FLIGHT_MAX);
    let mut done = poll(session);
    done.sort_unstable();
    let numbers: Vec<u64> = done.iter().map(|&(number, _)| number).collect();
    assert!((0..accepted as u64).eq(numbers), "accepted {accepted}: {done:?}");
    assert!(done.iter().any(|&(_, status)| status == Status::Closed as i32), "{done:?}");
    assert_eq!(aqf_session_close(session), 0);
}
