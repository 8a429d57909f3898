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

fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
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
    assert!(peak_bytes() < 1 << 30, "{}", peak_bytes());
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
