//! Sizes: what grows too large, and what a host may hold at once.

use aquifer_ffi::layout::{Request, kind, op};
use aquifer_ffi::*;

use crate::host::*;

#[test]
fn a_list_that_outgrew_its_limit_says_so_and_heals() {
    for thread in ["owned", "inline"] {
        let host = Host::open("outgrown", thread);
        let (list, value) = (host.state("l", kind::LIST), host.state("v", kind::VALUE));
        host.one(host.on(op::PUT, value, b"k", b"other"));
        let element = [7; 100];
        // 17 MiB, flushed in between: nobody knows how long the list is.
        for _ in 0..180 {
            let added = host.run(&[host.on(op::ADD, list, b"k", &element); 1000]);
            assert!(added.iter().all(|done| done.status == OK), "{:?}", added[0]);
        }
        let drained = host.one(Request::new(op::DRAIN, host.store, 0));
        assert_eq!(drained.status, OK, "{}", drained.message);
        let outgrown = |host: &Host, list| {
            let got = host.one(host.on(op::GET, list, b"k", b""));
            assert_eq!(got.status, TOO_LARGE, "{}", got.message);
            assert!(got.message.contains("map state"), "{}", got.message);
        };
        outgrown(&host, list);
        let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0));
        assert_eq!(handle.status, OK, "{}", handle.message);
        assert_eq!(aqf_store_close(host.session, host.store), OK);

        let host = host.restored(&handle.value);
        outgrown(&host, list);
        assert_eq!(host.one(host.on(op::GET, value, b"k", b"")).value, b"other");
        // It stays so, and a replacement heals it.
        assert_eq!(host.one(host.on(op::ADD, list, b"k", b"more")).status, OK);
        outgrown(&host, list);
        assert_eq!(host.one(host.on(op::DELETE, list, b"k", b"")).status, OK);
        assert_eq!(host.one(host.on(op::GET, list, b"k", b"")).status, ABSENT);
        assert_eq!(host.one(host.on(op::ADD, list, b"k", b"new")).status, OK);
        let healed = host.one(host.on(op::GET, list, b"k", b""));
        assert_eq!(items(&healed.value), [b"new"]);
        host.close();
    }
}

#[test]
fn an_element_for_which_a_list_is_seen_to_be_too_long_is_refused() {
    let host = Host::open_with("full", "inline", "512M");
    let list = host.state("l", kind::LIST);
    let element = vec![7; 1 << 20];
    let added: Vec<i32> =
        (0..20).map(|_| host.one(host.on(op::ADD, list, b"k", &element)).status).collect();
    assert_eq!(added, [[OK; 15].as_slice(), &[TOO_LARGE; 5]].concat());
    assert_eq!(items(&host.one(host.on(op::GET, list, b"k", b"")).value).len(), 15);
    assert_eq!(host.one(Request::new(op::DRAIN, host.store, 0)).status, OK);
    assert_eq!(items(&host.one(host.on(op::GET, list, b"k", b"")).value).len(), 15);
    host.close();
}

fn process_bytes(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn large_answers_come_as_the_host_takes_them() {
    for thread in ["owned", "inline"] {
        let host = Host::open_with("answers", thread, "128M");
        let state = host.state("v", kind::VALUE);
        let value = vec![7; 16 << 20];
        let taken = |host: &Host| {
            let gets: Vec<Request> = (0..60)
                .map(|i| Request { user_data: i, ..host.on(op::GET, state, b"k", b"") })
                .collect();
            assert_eq!(host.submit(&gets), gets.len());
            let (mut seen, mut most) = (Vec::new(), 0);
            while seen.len() < gets.len() {
                let done = host.try_poll(-1, true).unwrap().0;
                most = most.max(done.iter().map(|done| done.value.len()).sum());
                assert!(done.iter().all(|done| done.status == OK && done.value == value));
                seen.extend(done.iter().map(|done| done.user_data));
            }
            seen.sort_unstable();
            assert!((0..60).eq(seen));
            assert!(most <= 2 * value.len(), "{most} bytes at a poll");
        };
        assert_eq!(host.one(host.on(op::PUT, state, b"k", &value)).status, OK);
        taken(&host);
        // And from the disk.
        let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0)).value;
        assert_eq!(aqf_store_close(host.session, host.store), OK);
        let host = host.restored(&handle);
        taken(&host);
        host.close();
    }
    let peak = process_bytes("VmHWM:");
    assert!(peak < 1 << 30, "{peak}");
}

#[test]
fn the_memory_of_large_answers_goes_back_when_they_are_released() {
    let host = Host::open("released", "owned");
    let state = host.state("v", kind::VALUE);
    let value = vec![7; 12 << 20];
    assert_eq!(host.one(host.on(op::PUT, state, b"k", &value)).status, OK);
    assert_eq!(host.submit(&[host.on(op::GET, state, b"k", b""); 20]), 20);
    let (mut seen, mut lent) = (0, Vec::new());
    while seen < 20 {
        let (done, results) = host.try_poll(-1, false).unwrap();
        seen += done.len();
        lent.push(results);
    }
    let held = process_bytes("VmRSS:");
    assert!(lent.into_iter().all(|results| aqf_release(host.session, results) == OK));
    let left = process_bytes("VmRSS:");
    // What other tests take meanwhile is far less.
    assert!(left + (120 << 20) < held, "{left} of {held}");
    host.close();
}

#[test]
fn a_name_of_a_state_that_is_too_long_is_told_so() {
    let host = Host::open("names", "inline");
    for bytes in [0, 256, 2999] {
        let name = vec![b'n'; bytes];
        let opened = host.one(with_key(Request::new(op::OPEN_STATE, host.store, 0), &name, b""));
        assert_eq!(opened.status, INVALID);
    }
    let name = vec![b'n'; 2999];
    let mut request = with_key(Request::new(op::OPEN_STATE, host.store, 0), &name, b"");
    request.limit = kind::VALUE;
    let opened = host.one(request);
    assert!(opened.message.contains("1 to 255"), "{}", opened.message);
    host.close();
}

#[test]
fn what_waits_for_answers_to_be_taken_keeps_its_order() {
    for thread in ["owned", "inline"] {
        let host = Host::open_with("ordered", thread, "192M");
        let (state, map) = (host.state("v", kind::VALUE), host.state("m", kind::MAP));
        let value = vec![7; 12 << 20];
        assert_eq!(host.one(host.on(op::PUT, state, b"k", &value)).status, OK);
        let entry = Request {
            map_key: b"e".as_ptr().cast(),
            map_key_len: 1,
            ..host.on(op::PUT, map, b"k", &value)
        };
        assert_eq!(host.one(entry).status, OK);
        let get = host.on(op::GET, state, b"k", b"");
        let scan = Request { limit: 1, ..host.on(op::SCAN, map, b"k", b"") };
        let put = host.on(op::PUT, state, b"k", b"small");
        let mut batch = vec![get, get, get, scan, scan, put, get];
        batch.push(Request::new(op::CHECKPOINT, host.store, 0));
        batch.extend([host.on(op::DELETE, state, b"k", b""), get]);
        (0..).zip(&mut batch).for_each(|(i, r)| r.user_data = i);
        let done = host.run(&batch);
        for large in &done[..3] {
            assert_eq!((large.status, large.value.len()), (OK, value.len()));
        }
        for scanned in &done[3..5] {
            assert_eq!(items(&scanned.value), [&b"e"[..], &value]);
        }
        assert_eq!((done[5].status, &done[6].value[..]), (OK, &b"small"[..]));
        assert_eq!((done[7].status, done[8].status, done[9].status), (OK, OK, ABSENT));
        let host = host.restored(&done[7].value);
        assert_eq!(host.one(host.on(op::GET, state, b"k", b"")).value, b"small");
        // A session that leaves while something waits holds nobody up.
        let leaving = Host { ..host };
        let mut other = 0;
        if thread == "owned" {
            assert_eq!(leaving.submit(&[entry_get(&host, map); 20]), 20);
            assert_eq!(aqf_session_close(leaving.session), OK);
            // SAFETY: the place is live.
            assert_eq!(unsafe { aqf_session_open(host.engine, 0, &raw mut other) }, OK);
            let host = Host { session: other, ..host };
            let drained = host.one(Request::new(op::DRAIN, host.store, 0));
            assert_eq!(drained.status, OK, "{}", drained.message);
            host.close();
        } else {
            host.close();
        }
    }
}

fn entry_get(host: &Host, map: u16) -> Request {
    let map_key = b"e".as_ptr().cast();
    Request { map_key, map_key_len: 1, ..host.on(op::GET, map, b"k", b"") }
}
