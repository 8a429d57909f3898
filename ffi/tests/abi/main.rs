//! What `aquifer.h` promises, called as C calls it.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aquifer_ffi::layout::{Option_, Request, kind, op};
use aquifer_ffi::*;

mod bounds;
mod host;
mod lent;
mod told;
mod urls;

use host::*;

#[test]
fn absent_empty_and_failed_never_look_alike() {
    for thread in ["owned", "inline"] {
        let host = Host::open("alike", thread);
        let state = host.state("v", kind::VALUE);
        assert_eq!(host.one(host.on(op::GET, state, b"k", b"")).status, ABSENT);
        assert_eq!(host.one(host.on(op::PUT, state, b"k", b"")).status, OK);
        let empty = host.one(host.on(op::GET, state, b"k", b""));
        assert_eq!((empty.status, &empty.value[..]), (OK, &b""[..]));
        let failed = host.one(host.on(op::SCAN, state, b"k", b""));
        assert_eq!(failed.status, INVALID);
        assert!(failed.message.contains("a value state has no operation 6"), "{}", failed.message);
        host.close();
    }
}

#[test]
fn a_batch_takes_effect_in_order_and_a_wrong_request_fails_alone() {
    for thread in ["owned", "inline"] {
        let host = Host::open("order", thread);
        let (value, sum) = (host.state("v", kind::VALUE), host.state("s", kind::SUM));
        let long = vec![7; 3000];
        let mut batch = vec![
            host.on(op::PUT, value, b"k", b"one"),
            host.on(op::GET, value, b"k", b""),
            host.on(op::GET, 9, b"k", b""),
            host.on(op::PUT, value, b"k", b"two"),
            host.on(op::GET, value, &long, b""),
            host.on(op::GET, value, b"k", b""),
            host.on(op::ADD, sum, b"k", &5_i64.to_le_bytes()),
            host.on(op::ADD, sum, b"k", b"short"),
            host.on(op::GET, sum, b"k", b""),
            Request { key: null(), ..host.on(op::GET, value, b"k", b"") },
            Request { op: 77, ..host.on(op::GET, value, b"k", b"") },
            Request { store: 5, ..host.on(op::GET, value, b"k", b"") },
            Request { key_group: 128, ..host.on(op::GET, value, b"k", b"") },
        ];
        (0..).zip(&mut batch).for_each(|(i, r)| r.user_data = i);
        let done = host.run(&batch);
        let statuses: Vec<i32> = done.iter().map(|d| d.status).collect();
        let expected = [
            OK, OK, INVALID, OK, TOO_LARGE, OK, OK, INVALID, OK, INVALID, INVALID, BAD_HANDLE,
            INVALID,
        ];
        assert_eq!(statuses, expected, "{done:?}");
        assert_eq!((&done[1].value[..], &done[5].value[..]), (&b"one"[..], &b"two"[..]));
        assert_eq!(done[8].value, 5_i64.to_le_bytes());
        assert!(done.iter().all(|d| (d.status < 0) != d.message.is_empty()), "{done:?}");
        host.close();
    }
}

#[test]
fn lists_and_maps_come_as_items() {
    let host = Host::open("items", "inline");
    let (list, map) = (host.state("l", kind::LIST), host.state("m", kind::MAP));
    for element in [&b"a"[..], b"", b"ccc"] {
        assert_eq!(host.one(host.on(op::ADD, list, b"k", element)).status, OK);
    }
    let got = host.one(host.on(op::GET, list, b"k", b""));
    assert_eq!(items(&got.value), [&b"a"[..], b"", b"ccc"]);
    assert_eq!(host.one(host.on(op::PUT, list, b"k2", &got.value)).status, OK);
    assert_eq!(host.one(host.on(op::GET, list, b"k2", b"")).value, got.value);
    // What is not items, and lengths in more bytes than they need.
    for wrong in [&got.value[1..], b"\x82\x00ab", b"\x80"] {
        assert_eq!(host.one(host.on(op::PUT, list, b"k2", wrong)).status, INVALID);
        let (mut at, mut left) = (wrong.as_ptr().cast::<c_void>(), wrong.len());
        let (mut item, mut len) = (null(), 0);
        // SAFETY: the places are live, and so are the bytes.
        let read = unsafe {
            aqf_next_item(&raw mut at, &raw mut left, &raw mut item, &raw mut len);
            aqf_next_item(&raw mut at, &raw mut left, &raw mut item, &raw mut len)
        };
        assert_eq!(read, INVALID);
    }
    let (mut room, elements) = ([0_u8; 203], [&[5; 200][..], b""]);
    let (mut at, mut left) = (room.as_mut_ptr().cast::<c_void>(), room.len());
    for element in elements {
        let (data, len) = (element.as_ptr().cast(), element.len());
        // SAFETY: the places are live, and so are the bytes.
        assert_eq!(unsafe { aqf_put_item(&raw mut at, &raw mut left, data, len) }, OK);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { aqf_put_item(&raw mut at, &raw mut left, null(), 0) }, TOO_SMALL);
    assert_eq!(left, 0);
    assert_eq!(host.one(host.on(op::PUT, list, b"k2", &room)).status, OK);
    assert_eq!(items(&host.one(host.on(op::GET, list, b"k2", b"")).value), elements);
    let entry = |op, key: &'static [u8], value: &'static [u8]| Request {
        map_key: key.as_ptr().cast(),
        map_key_len: key.len() as u32,
        limit: 2,
        ..host.on(op, map, b"k", value)
    };
    for (key, value) in [(&b"x"[..], &b"1"[..]), (b"y", b"2"), (b"z", b"3")] {
        assert_eq!(host.one(entry(op::PUT, key, value)).status, OK);
    }
    let scanned = host.one(entry(op::SCAN, b"", b""));
    assert_eq!(items(&scanned.value), [&b"x"[..], b"1", b"y", b"2"]);
    assert_eq!(items(&host.one(entry(op::SCAN, b"y", b"")).value), [&b"z"[..], b"3"]);
    assert_eq!(host.one(entry(op::PUT, b"", b"4")).status, INVALID);
    assert_eq!(host.one(host.on(op::CLEAR, map, b"k", b"")).status, OK);
    assert_eq!(host.one(entry(op::GET, b"x", b"")).status, ABSENT);
    host.close();
}

#[test]
fn a_checkpoint_restores_into_an_empty_store_only() {
    for thread in ["owned", "inline"] {
        let host = Host::open("restore", thread);
        let state = host.state("v", kind::VALUE);
        host.one(host.on(op::PUT, state, b"k", b"kept"));
        let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0)).value;
        assert!(!handle.is_empty() && handle.len() <= 1024);
        host.one(host.on(op::PUT, state, b"k", b"forgotten"));
        let listed = with_key(Request::new(op::LIST_OBJECTS, host.store, 0), b"", &handle);
        let listed = String::from_utf8(host.one(listed).value).unwrap();
        assert!(listed.lines().count() >= 2 && listed.contains("/manifest-"), "{listed}");

        let restore = |handle| with_key(Request::new(op::RESTORE, host.store, 0), b"", handle);
        let late = host.one(restore(&handle));
        assert_eq!(late.status, INVALID, "{}", late.message);
        assert_eq!(aqf_store_close(host.session, host.store), OK);
        assert_eq!(host.one(host.on(op::GET, state, b"k", b"")).status, BAD_HANDLE);

        let mut other = Host { store: 0, ..host };
        // SAFETY: the place is live.
        assert_eq!(unsafe { aqf_store_open(other.session, null(), 0, &raw mut other.store) }, OK);
        let restore = |handle| with_key(Request::new(op::RESTORE, other.store, 0), b"", handle);
        // A restore that fails leaves the store as it was.
        let missing = aquifer_handle();
        assert_eq!(other.one(restore(&handle[1..])).status, CORRUPT);
        let both = handle.repeat(2);
        let twice = other.one(restore(&both));
        assert!(twice.status == INVALID && twice.message.contains("both hold"), "{twice:?}");
        assert_eq!(other.one(restore(&missing)).status, MISSING);
        assert_eq!(other.one(Request::new(op::CHECKPOINT, other.store, 0)).status, OK);
        assert_eq!(other.one(restore(&handle)).status, OK);
        let found = other.state("v", kind::VALUE);
        assert_eq!(found, state);
        assert_eq!(other.one(other.on(op::GET, found, b"k", b"")).value, b"kept");
        other.close();
    }
}

#[test]
fn a_store_without_a_coordinator_begins_with_its_newest_checkpoint() {
    let host = Host::open("roots", "owned");
    let begin = || {
        let options = "number = 7\nkeep_checkpoints = 2";
        let mut opened = Host { store: 0, ..host };
        let (text, len) = (options.as_ptr().cast(), options.len());
        // SAFETY: the text and the place are live.
        let status = unsafe { aqf_store_open(host.session, text, len, &raw mut opened.store) };
        assert_eq!(status, OK, "{}", last_error());
        let cut = Request::new(op::CHECKPOINT, opened.store, 0);
        let early = opened.one(cut);
        assert!(early.status == INVALID && early.message.contains("AQF_RESTORE"), "{early:?}");
        let restore = Request::new(op::RESTORE, opened.store, 0);
        assert_eq!(opened.one(restore).status, OK);
        assert_eq!(opened.one(restore).status, INVALID);
        let state = opened.state("v", kind::VALUE);
        (opened, state, cut)
    };
    let (first, state, cut) = begin();
    first.one(first.on(op::PUT, state, b"k", b"kept"));
    assert_eq!(first.one(cut).status, OK);
    first.one(first.on(op::PUT, state, b"k", b"forgotten"));

    let (second, state, cut_again) = begin();
    assert_eq!(second.one(second.on(op::GET, state, b"k", b"")).value, b"kept");
    let handle = second.one(cut_again);
    assert_eq!(handle.status, OK, "{}", handle.message);
    let release = with_key(Request::new(op::RELEASE, second.store, 0), b"", &handle.value);
    assert_eq!(second.one(release).status, INVALID);

    const FENCED: i32 = -16;
    let lost = first.one(cut);
    assert!(lost.status == FENCED && lost.message.contains("store 7"), "{lost:?}");
    assert_eq!(first.one(first.on(op::GET, state, b"k", b"")).status, FENCED);
    host.close();
}

#[test]
fn handles_that_name_nothing_are_a_status_everywhere() {
    let host = Host::open("handles", "inline");
    let other = Host::open("handles-other", "inline");
    let closed = Host { ..other };
    other.close();
    let (mut number, mut size, mut fd, mut ns) = (0, 0, 0, 0);
    let mut text = [0_i8; 8];
    for bad in [0, 1, !0, closed.session, closed.engine, host.store, host.session ^ 1 << 20] {
        // SAFETY: the places are live.
        unsafe {
            if bad != host.engine {
                assert_eq!(aqf_session_open(bad, 0, &raw mut number), BAD_HANDLE, "{bad:#x}");
                let options = aqf_engine_options(bad, text.as_mut_ptr(), 8, &raw mut size);
                assert_eq!(options, BAD_HANDLE, "{bad:#x}");
                assert_eq!(aqf_engine_close(bad, 0), BAD_HANDLE, "{bad:#x}");
            }
            assert_eq!(aqf_session_doorbell(bad, &raw mut fd), BAD_HANDLE, "{bad:#x}");
            assert_eq!(aqf_session_arm(bad, &raw mut ns), BAD_HANDLE, "{bad:#x}");
            assert_eq!(aqf_store_open(bad, null(), 0, &raw mut number), BAD_HANDLE, "{bad:#x}");
            let r = Request::new(op::GET, host.store, 0);
            assert_eq!(aqf_submit(bad, &raw const r, 1, &raw mut size), BAD_HANDLE, "{bad:#x}");
        }
        assert_eq!(aqf_session_wake(bad), BAD_HANDLE, "{bad:#x}");
        assert_eq!(aqf_session_close(bad), BAD_HANDLE, "{bad:#x}");
        assert_eq!(aqf_store_close(bad, host.store), BAD_HANDLE, "{bad:#x}");
        assert_eq!(aqf_release(bad, 0), BAD_HANDLE, "{bad:#x}");
        assert_eq!(aqf_release(host.session, bad), BAD_HANDLE, "{bad:#x}");
    }
    assert_eq!(aqf_store_close(host.session, closed.store), INVALID, "of another engine");
    assert!(last_error().contains("another engine"), "{}", last_error());
    host.close();
}

#[test]
fn null_pointers_and_wrong_sizes_are_a_status() {
    let host = Host::open("null", "inline");
    let r = Request::new(op::CHECKPOINT, host.store, 0);
    let (mut number, mut size) = (0, 0);
    // SAFETY: what is not null is live.
    unsafe {
        assert_eq!(aqf_engine_open(null(), 4, &raw mut number), INVALID);
        assert_eq!(aqf_engine_open(null(), 0, null_mut()), INVALID);
        assert_eq!(aqf_session_open(host.engine, 0, null_mut()), INVALID);
        assert_eq!(aqf_session_open(host.engine, 7, &raw mut number), INVALID);
        assert!(last_error().contains("shard 7 of 1"), "{}", last_error());
        assert_eq!(aqf_submit(host.session, null(), 1, &raw mut size), INVALID);
        assert_eq!(aqf_submit(host.session, &raw const r, 1, null_mut()), INVALID);
        assert_eq!(aqf_submit(host.session, null(), 0, &raw mut size), OK);
        for struct_size in [0, 4, 79, 81, 4096, u32::MAX] {
            let r = Request { struct_size, ..r };
            assert_eq!(aqf_submit(host.session, &raw const r, 1, &raw mut size), INVALID);
        }
        let mixed = [r, Request { struct_size: 88, user_data: 1, ..r }, r];
        let statuses: Vec<i32> = host.run(&mixed).iter().map(|done| done.status).collect();
        assert_eq!(statuses, [OK, OK, INVALID], "the wrong one fails alone");
        assert_eq!(aqf_poll(host.session, null_mut(), 1, 0, null_mut(), null_mut()), INVALID);
        assert_eq!(aqf_key_group(null(), 0, 0, null_mut()), INVALID);
        // Lengths that are wrong by far are not read.
        let (text, long, mut group) = (c"k".as_ptr(), 1 << 40, 0);
        assert_eq!(aqf_key_group(text.cast(), long, 128, &raw mut group), TOO_LARGE);
        assert_eq!(aqf_engine_open(text, long, &raw mut number), TOO_LARGE);
        assert_eq!(aqf_store_open(host.session, text, long, &raw mut number), TOO_LARGE);
        assert_eq!(aqf_option_at(0, null_mut()), INVALID);
        assert_eq!(aqf_engine_statistics(host.engine, null_mut(), 0, &raw mut size), TOO_SMALL);
        let mut json = vec![0_i8; size + 64];
        let (place, len) = (json.as_mut_ptr(), json.len());
        assert_eq!(aqf_engine_statistics(host.engine, place, len, &raw mut size), OK);
        let json = std::ffi::CStr::from_ptr(place).to_str().unwrap();
        assert!(json.contains("\"schema\":\"aquifer-statistics/1\""), "{json}");
        assert_eq!(aqf_engine_options(host.engine, null_mut(), 0, &raw mut size), TOO_SMALL);
        let mut text = vec![0_i8; size + 1];
        let filled = aqf_engine_options(host.engine, text.as_mut_ptr(), size + 1, &raw mut size);
        assert_eq!(filled, OK);
        let odd = (&raw const r).cast::<u8>().add(1).cast::<Request>();
        assert_eq!(aqf_submit(host.session, odd, 1, &raw mut size), INVALID);
    }
    host.close();
}

#[test]
fn a_larger_struct_of_a_later_header_is_served() {
    #[repr(C)]
    struct Later {
        request: Request,
        more: [u64; 2],
    }
    let host = Host::open("later", "inline");
    let state = host.state("v", kind::VALUE);
    let later = [(b"a", b"1"), (b"b", b"2")].map(|(key, value)| Later {
        request: Request {
            struct_size: size_of::<Later>() as u32,
            ..host.on(op::PUT, state, key, value)
        },
        more: [0; 2],
    });
    let mut accepted = 0;
    // SAFETY: two structs of the size that they say.
    let status =
        unsafe { aqf_submit(host.session, (&raw const later).cast(), 2, &raw mut accepted) };
    assert_eq!((status, accepted), (OK, 2), "{}", last_error());
    while host.try_poll(-1, true).unwrap().0.iter().all(|done| done.status != OK) {}
    assert_eq!(host.one(host.on(op::GET, state, b"b", b"")).value, b"2");
    host.close();
}

#[test]
fn results_live_until_they_are_released() {
    let host = Host::open("lent", "inline");
    let state = host.state("v", kind::VALUE);
    host.one(host.on(op::PUT, state, b"k", &[7; 500]));
    host.submit(&[host.on(op::GET, state, b"k", b"")]);
    let (_, first) = host.try_poll(-1, false).unwrap();
    assert_ne!(first, 0);
    for _ in 0..50 {
        assert_eq!(host.one(host.on(op::GET, state, b"k", b"")).value, [7; 500]);
    }
    assert_eq!(aqf_release(host.session, first), OK);
    assert_eq!(aqf_release(host.session, first), BAD_HANDLE);
    host.close();
}

#[test]
fn results_are_those_of_their_session() {
    let hosts = ["one", "other"].map(|name| Host::open(name, "inline"));
    let lent = hosts.each_ref().map(|host| {
        let state = host.state("v", kind::VALUE);
        host.one(host.on(op::PUT, state, b"k", b"value"));
        host.submit(&[host.on(op::GET, state, b"k", b"")]);
        host.try_poll(-1, false).unwrap().1
    });
    assert_ne!(lent[0], lent[1]);
    assert_eq!(aqf_release(hosts[0].session, lent[1]), BAD_HANDLE);
    assert_eq!(aqf_release(hosts[1].session, lent[1]), OK);
    hosts.iter().for_each(Host::close);
}

#[test]
fn a_restore_whose_session_was_closed_can_be_made_again() {
    let host = Host::open("left", "owned");
    let state = host.state("v", kind::VALUE);
    host.one(host.on(op::PUT, state, b"k", b"kept"));
    let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0)).value;
    let mut other = Host { ..host };
    // SAFETY: the places are live.
    unsafe {
        assert_eq!(aqf_session_open(host.engine, 0, &raw mut other.session), OK);
        assert_eq!(aqf_store_open(other.session, null(), 0, &raw mut other.store), OK);
    }
    let restore = with_key(Request::new(op::RESTORE, other.store, 0), b"", &handle);
    assert_eq!(other.submit(&[restore]), 1);
    assert_eq!(aqf_session_close(other.session), OK);
    other.session = host.session;
    let again = other.one(restore);
    assert_eq!(again.status, OK, "{}", again.message);
    let state = other.state("v", kind::VALUE);
    assert_eq!(other.one(other.on(op::GET, state, b"k", b"")).value, b"kept");
    other.close();
}

#[test]
fn closing_the_engine_completes_what_is_pending() {
    for thread in ["owned", "inline"] {
        let host = Host::open("pending", thread);
        let state = host.state("v", kind::VALUE);
        let mut all: Vec<Request> = (0..5000)
            .map(|i| Request { user_data: i, ..host.on(op::PUT, state, b"k", b"v") })
            .collect();
        all.push(Request::new(op::DRAIN, host.store, 5000));
        assert_eq!(host.submit(&all), all.len());
        assert_eq!(aqf_engine_close(host.engine, 10_000), OK, "{}", last_error());
        let mut seen: Vec<u64> = Vec::new();
        while seen.len() < all.len() {
            let (done, _) = host.try_poll(-1, true).unwrap();
            assert!(done.iter().all(|d| d.status == OK || d.status == CLOSED), "{done:?}");
            seen.extend(done.iter().map(|d| d.user_data));
        }
        seen.sort_unstable();
        assert!((0..=5000).eq(seen), "each completes once");
        assert_eq!(host.try_poll(-1, true).unwrap().0, [], "a poll for nothing does not wait");
        let (mut accepted, r) = (9, Request::new(op::GET, host.store, 0));
        // SAFETY: the places are live.
        let late = unsafe { aqf_submit(host.session, &raw const r, 1, &raw mut accepted) };
        assert_eq!((late, accepted), (CLOSED, 0));
        assert_eq!(aqf_session_close(host.session), OK);
    }
}

#[test]
fn a_second_thread_is_refused_and_may_wake_and_close() {
    for thread in ["owned", "inline"] {
        let host = Host::open("threads", thread);
        let state = host.state("v", kind::VALUE);
        let polls = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let poller = scope.spawn(|| {
                let missing = aquifer_handle();
                let mut store = 0;
                // SAFETY: the place is live.
                let opened = unsafe { aqf_store_open(host.session, null(), 0, &raw mut store) };
                assert_eq!(opened, OK);
                host.submit(&[with_key(Request::new(op::RESTORE, store, 0), b"", &missing)]);
                loop {
                    polls.fetch_add(1, Ordering::Relaxed);
                    match host.try_poll(-1, true) {
                        Ok((done, _)) if done.is_empty() => {}
                        ended => return ended,
                    }
                }
            });
            while polls.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let mut busy = 0;
            while !poller.is_finished() && busy < 3 {
                let r = host.on(op::GET, state, b"k", b"");
                let mut accepted = 0;
                // SAFETY: the places are live.
                match unsafe { aqf_submit(host.session, &raw const r, 1, &raw mut accepted) } {
                    BUSY => busy += 1,
                    OK => {}
                    other => panic!("{other}: {}", last_error()),
                }
                assert_eq!(aqf_session_wake(host.session), OK);
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(aqf_session_close(host.session), OK);
            drop(poller.join().unwrap());
        });
        assert_eq!(aqf_session_wake(host.session), BAD_HANDLE);
        assert_eq!(aqf_engine_close(host.engine, 10_000), OK);
    }
}

#[test]
fn a_poll_waits_until_a_restore_has_ended() {
    for thread in ["owned", "inline"] {
        let host = Host::open_on("memory://abi-waits?latency=20ms", thread, "48M");
        let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0)).value;
        for _ in 0..5 {
            let mut other = Host { store: 0, ..host };
            // SAFETY: the place is live.
            let opened = unsafe { aqf_store_open(host.session, null(), 0, &raw mut other.store) };
            assert_eq!(opened, OK);
            let restore = with_key(Request::new(op::RESTORE, other.store, 0), b"", &handle);
            for request in [restore, Request::new(op::CHECKPOINT, other.store, 1)] {
                assert_eq!(other.submit(&[request]), 1);
                let done = other.try_poll(-1, true).unwrap().0;
                assert_eq!(done.len(), 1, "a poll ended for nothing");
                assert_eq!(done[0].status, OK, "{}", done[0].message);
            }
        }
        host.close();
    }
}

#[test]
fn requests_behind_a_restore_fail_until_it_completed() {
    let host = Host::open("behind", "inline");
    let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0)).value;
    let restore = with_key(Request::new(op::RESTORE, host.store, 0), b"", &handle);
    let mut state = with_key(Request::new(op::OPEN_STATE, host.store, 1), b"v", b"");
    state.limit = kind::VALUE;
    let done = host.run(&[restore, state]);
    assert_eq!([done[0].status, done[1].status], [OK, INVALID], "{done:?}");
    assert!(done[1].message.contains("wait until that completes"), "{done:?}");
    assert_eq!(host.one(state).status, OK);
    host.close();
}

// A whole handle of a manifest that does not exist.
fn aquifer_handle() -> Vec<u8> {
    let host = Host::open("missing", "inline");
    let handle = host.one(Request::new(op::CHECKPOINT, host.store, 0)).value;
    host.close();
    handle
}

extern "C" fn keep_line(context: *mut c_void, level: i32, text: *const i8, len: usize) {
    // SAFETY: the test passes a list that outlives the log.
    let lines = unsafe { &*context.cast::<Mutex<Vec<(i32, String)>>>() };
    let text = String::from_utf8(bytes(text.cast(), len as u32)).unwrap();
    lines.lock().unwrap().push((level, text));
}

#[test]
fn the_log_goes_to_the_host_until_it_says_no() {
    let lines: Mutex<Vec<(i32, String)>> = Mutex::default();
    let context = (&raw const lines).cast_mut().cast();
    // SAFETY: the list outlives the log, which ends below.
    unsafe {
        assert_eq!(aqf_set_log(Some(keep_line), context, 9), INVALID);
        assert_eq!(aqf_set_log(Some(keep_line), context, 3), OK);
    }
    let host = Host::open_on("memory://abi-log", "inline", "49M");
    let handle = aquifer_handle();
    let restore = with_key(Request::new(op::RESTORE, host.store, 0), b"", &handle);
    assert_eq!(host.one(restore).status, MISSING);
    host.close();
    let logged = |level, word: &str| {
        let lines = lines.lock().unwrap();
        lines.iter().any(|(at, text)| *at == level && text.contains(word))
    };
    // What other tests do is logged too.
    assert!(logged(3, "memory 51380224 bytes, io "), "{lines:?}");
    assert!(logged(3, "an engine is closed") && logged(2, "a restore failed"), "{lines:?}");
    // SAFETY: null ends it.
    assert_eq!(unsafe { aqf_set_log(None, null_mut(), 0) }, OK);
    let before = lines.lock().unwrap().len();
    log::error!("another line");
    assert_eq!(lines.lock().unwrap().len(), before);
}

#[test]
fn options_are_described() {
    let mut index = 0;
    loop {
        let mut option = Option_ {
            struct_size: size_of::<Option_>() as u32,
            scope: 0,
            name: null(),
            type_: null(),
            default_value: null(),
            doc: null(),
        };
        // SAFETY: the place is live.
        match unsafe { aqf_option_at(index, &raw mut option) } {
            OK => {}
            status => break assert_eq!(status, ABSENT),
        }
        for text in [option.name, option.type_, option.default_value, option.doc] {
            // SAFETY: static strings.
            assert!(unsafe { std::ffi::CStr::from_ptr(text) }.to_str().is_ok());
        }
        index += 1;
    }
    assert!(index > 5);
    assert_eq!(open_engine("dfs = memory://x\0\nmemory = 48M"), Err(INVALID));
    assert!(last_error().contains("line 1") && !last_error().contains('\0'), "{}", last_error());
    assert_eq!(open_engine("dsf = x"), Err(INVALID));
    assert!(last_error().contains("did you mean `dfs`?") || last_error().contains("there are dfs"));
    assert_eq!((aqf_abi_check(1), aqf_abi_check(2)), (OK, OK));
    assert_eq!((aqf_abi_check(0), aqf_abi_check(3)), (-7, -7));
}

#[test]
fn a_forked_child_is_refused() {
    let host = Host::open("fork", "inline");
    // SAFETY: the child calls what must work there, and ends without running anything else.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = aqf_session_wake(host.session) == FORKED
            && aqf_engine_close(host.engine, 0) == FORKED
            && open_engine("dfs = memory://child") == Err(FORKED);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = -1;
    // SAFETY: the place is live, and the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child was served");
    host.close();
}
