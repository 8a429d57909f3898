use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::io::clock;
use crate::io::http::response::Unusual;
use crate::io::http::target::Endpoint;
use crate::io::http::test_server::{Act, Server, Then, served};
use crate::io::http::tls::{self, Tls, Trust};
use crate::io::objects::OpenObject;
use crate::io::read_driver::{IoKind, ReadDriver};
use crate::io::reads::Wait;
use crate::io::reads::tests::{Rig, pages};
use crate::io::ring_open::RingMode;
use crate::io::test_support::name;
use crate::io::uring::Uring;
use crate::io::values::ObjectSlot;
use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_RESPONSE_NS_MAX, PAGE_BYTES};
use crate::types::Error;
use crate::types::error::ErrorKind;

const MODES: [RingMode; 2] = [RingMode::Owned, RingMode::Inline];
const PAGES: usize = 64;

fn object() -> Vec<u8> {
    pages(PAGES)
}

/// A server that serves, but for what `odd` says of a request by its number.
fn server(odd: impl Fn(usize, &[u8]) -> Option<Act> + Send + Sync + 'static) -> Server {
    let object = object();
    Server::new(None, move |number, offset, bytes| {
        let answer = served(&object, offset, bytes);
        odd(number, &answer).unwrap_or(Act { bytes: answer, then: Then::Next })
    })
}

fn target(server: &Server) -> Arc<Target> {
    let endpoint = Endpoint::new(vec![server.address], &server.address.to_string(), None).unwrap();
    Arc::new(Target::new(endpoint, "/bucket/key?signature=secret".into(), Nanos::MAX).unwrap())
}

struct Client {
    rig: Rig,
    slot: ObjectSlot,
}

impl Client {
    fn new(mode: RingMode, target: Arc<Target>) -> Self {
        let mut rig = Rig::new((IoKind::Uring, mode));
        let bytes = (PAGES * PAGE_BYTES) as u64;
        let slot = rig.driver.open_object(OpenObject::of_target(name(1), target, bytes));
        Self { rig, slot }
    }

    fn ring(&mut self) -> &mut Uring {
        let ReadDriver::Uring(ring) = &mut self.rig.driver else { panic!("a ring") };
        ring
    }

    fn read(&mut self, page: usize, pages: usize, now: Nanos) {
        self.rig.read(self.slot, (page * PAGE_BYTES) as u64, pages * PAGE_BYTES, now);
    }

    /// Reads that must bring their bytes.
    fn check(&mut self, reads: usize) {
        let object = object();
        for i in 0..reads {
            let pages = [1, 1, 4, 16][i % 4];
            self.read(i * 7 % (PAGES - 16), pages, clock::now());
        }
        for (offset, got) in self.rig.answers(reads) {
            let (at, got) = (offset as usize, got.unwrap());
            assert!(got == object[at..at + got.len()], "wrong bytes at {offset}");
        }
    }

    fn error(&mut self) -> Error {
        self.read(1, 1, clock::now());
        self.rig.answers(1).remove(0).1.unwrap_err()
    }
}

#[test]
fn many_in_flight_bring_their_bytes_on_connections_that_live_on() {
    for mode in MODES {
        let server = server(|_, _| None);
        let mut client = Client::new(mode, target(&server));
        client.check(1);
        client.check(1);
        assert_eq!(server.connections(), 1);
        client.check(200);
        let counters = client.ring().counters().http;
        assert!(counters.connects <= 200, "{counters:?}");
        client.check(HTTP_CONNECTIONS_MAX + 100);
        client.check(50);
        let counters = client.ring().counters().http;
        assert!(counters.connects <= HTTP_CONNECTIONS_MAX as u64, "{counters:?}");
        assert_eq!((counters.stale, counters.refused, counters.timeouts), (0, 0, 0));
        assert_eq!(counters.requests, 252 + HTTP_CONNECTIONS_MAX as u64 + 100);
        assert_eq!(client.rig.driver.counters().repeats, 0);
        assert_eq!(client.rig.driver.pending(), 0);
    }
}

#[test]
fn a_server_that_closes_idle_connections_costs_no_read() {
    for mode in MODES {
        let server = server(|_, answer| Some(Act { bytes: answer.into(), then: Then::Close }));
        let mut client = Client::new(mode, target(&server));
        for _ in 0..20 {
            client.check(1);
        }
        client.check(40);
        assert!(client.ring().counters().http.stale > 0);
        assert_eq!(client.rig.driver.counters().repeats, 0, "sent again at once");
    }
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    for then in [Then::Close, Then::Reset] {
        for sent in [0, 20, 150, 2000] {
            let server = server(move |number, answer| {
                (number == 0).then(|| Act { bytes: answer[..sent].into(), then })
            });
            let mut client = Client::new(RingMode::Owned, target(&server));
            client.check(1);
            assert_eq!(client.rig.driver.counters().repeats, 1, "{then:?} {sent}");
            assert_eq!(server.connections(), 2);
        }
    }
}

#[test]
fn what_is_unusual_is_handed_back_with_its_reason() {
    type Case = (fn(&str) -> String, Unusual, ErrorKind);
    let cases: [Case; 5] = [
        (|a| a.replace("bytes 4096-8191", "bytes 0-4095"), Unusual::WrongRange, ErrorKind::Io),
        (|a| a.replace("206 Partial Content", "200 OK"), Unusual::Whole, ErrorKind::Io),
        (|a| a.replace("206 Partial", "404 Not"), Unusual::Missing, ErrorKind::MissingObject),
        (|a| a.replace("206 Partial", "416 Not"), Unusual::PastEnd, ErrorKind::Corrupt),
        (|a| a.replace("206 Partial", "307 Other"), Unusual::Redirect(307), ErrorKind::Io),
    ];
    for (change, why, kind) in cases {
        let server = server(move |_, answer| {
            let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let changed = change(std::str::from_utf8(&answer[..head]).unwrap());
            let bytes = [changed.as_bytes(), &answer[head..]].concat();
            Some(Act { bytes, then: Then::Next })
        });
        let mut client = Client::new(RingMode::Owned, target(&server));
        let error = client.error();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.text.contains(&name(1).to_string()) && !error.text.contains("secret"));
        if why != Unusual::PastEnd {
            assert!(error.text.contains(&why.to_string()), "{error}");
        }
        assert_eq!(client.rig.driver.counters().http.fallbacks, 1);
        assert_eq!(server.requests(), 1);
    }
}

#[test]
fn a_refusal_is_waited_out_as_long_as_the_server_asks() {
    let server = server(|number, _| {
        let refusal = "HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nslow";
        (number == 0).then(|| Act { bytes: refusal.into(), then: Then::Next })
    });
    let mut client = Client::new(RingMode::Inline, target(&server));
    client.read(3, 1, 0);
    while client.ring().counters().http.refused == 0 {
        client.rig.turn(0, Wait::No);
    }
    let due = client.rig.driver.next_due().unwrap();
    assert!((1_000_000_000..1_100_000_000).contains(&due), "{due}");
    client.rig.turn(due - 1, Wait::No);
    assert_eq!(client.ring().counters().http.requests, 1);
    while client.rig.done.is_empty() {
        client.rig.turn(due, Wait::Until { deadline: None });
    }
    client.rig.answers(1).remove(0).1.unwrap();
    assert_eq!((server.requests(), server.connections()), (2, 1));
}

#[test]
fn a_server_that_says_nothing_is_asked_again_on_another_connection() {
    for mode in MODES {
        let server = server(|number, answer| {
            (number == 0).then(|| Act { bytes: answer[..100].into(), then: Then::Hang })
        });
        let mut client = Client::new(mode, target(&server));
        client.read(3, 1, 0);
        while server.requests() == 0 {
            client.rig.turn(0, Wait::No);
        }
        let late = HTTP_RESPONSE_NS_MAX;
        client.rig.turn(late - 1, Wait::No);
        assert_eq!(client.ring().counters().http.timeouts, 0);
        client.rig.turn(late, Wait::No);
        assert_eq!(client.ring().counters().http.timeouts, 1);
        let due = client.rig.driver.next_due().unwrap();
        while client.rig.done.is_empty() {
            client.rig.turn(due, Wait::Until { deadline: None });
        }
        client.rig.answers(1).remove(0).1.unwrap();
        assert_eq!(client.rig.driver.counters().repeats, 1);
        // The kernel let go of the first one.
        while client.ring().http_in_kernel() > 0 {
            client.rig.turn(due, Wait::No);
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let server = server(|_, _| None);
    let target = target(&server);
    let address = server.address;
    drop(server);
    let mut client = Client::new(RingMode::Owned, target);
    client.read(3, 1, 0);
    let mut now = 0;
    while client.rig.done.is_empty() {
        client.rig.turn(now, Wait::No);
        // Time passes while nothing is asked, or what is asked would take too long.
        if client.ring().http_in_kernel() == 0 {
            now = client.rig.driver.next_due().unwrap_or(now).max(now);
        }
    }
    let error = client.rig.answers(1).remove(0).1.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.text.contains(&format!("connecting to {address}")), "{error}");
    assert!(error.text.contains("11 times in 10.0 s"), "{error}");
    assert_eq!(client.rig.driver.counters().http.fallbacks, 1);
}

#[test]
fn a_ring_can_be_dropped_with_requests_in_flight() {
    for mode in MODES {
        let server = server(|_, _| Some(Act { bytes: Vec::new(), then: Then::Hang }));
        let mut client = Client::new(mode, target(&server));
        (0..100).for_each(|i| client.read(i % 60, 1, clock::now()));
        while server.requests() < 100 {
            client.rig.turn(clock::now(), Wait::No);
        }
        (0..10).for_each(|i| client.read(i, 1, clock::now()));
        client.rig.turn(clock::now(), Wait::No);
        assert_eq!(client.rig.driver.pending(), 110);
        drop(client);
    }
}

#[test]
fn a_closed_object_lets_its_requests_end() {
    let server = server(|_, _| None);
    let mut client = Client::new(RingMode::Owned, target(&server));
    (0..20).for_each(|i| client.read(i, 1, clock::now()));
    client.rig.driver.close_object(client.slot);
    client.rig.turn(clock::now(), Wait::No);
    for (offset, got) in client.rig.answers(20) {
        assert!(got.unwrap() == object()[offset as usize..][..PAGE_BYTES]);
    }
    client.read(0, 1, clock::now());
    assert_eq!(client.rig.answers(1).remove(0).1.unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn requests_outlive_the_threads_that_sent_them() {
    let server = server(|_, _| None);
    let mut client = Client::new(RingMode::Inline, target(&server));
    client.check(64);
    for _ in 0..20 {
        let sender = std::thread::spawn(move || {
            (0..32).for_each(|i| client.read(i, 1, clock::now()));
            client.rig.turn(clock::now(), Wait::No);
            client
        });
        client = sender.join().unwrap();
        for (offset, got) in client.rig.answers(32) {
            assert!(got.unwrap() == object()[offset as usize..][..PAGE_BYTES]);
        }
    }
    assert_eq!(client.rig.driver.counters().repeats, 0);
}

#[test]
fn a_polled_number_tells_of_answers() {
    let server = server(|_, _| None);
    let mut client = Client::new(RingMode::Inline, target(&server));
    let bell = client.rig.driver.doorbell();
    for _ in 0..50 {
        client.read(5, 1, clock::now());
        while client.rig.done.is_empty() {
            if client.rig.driver.wait_on_number().unwrap() {
                crate::io::sys::wait_readable(&bell, None).unwrap();
            }
            client.rig.turn(clock::now(), Wait::No);
        }
        client.rig.answers(1).remove(0).1.unwrap();
    }
}

#[test]
fn threads_read_no_object_of_a_server() {
    let server = server(|_, _| None);
    let mut rig = Rig::new((IoKind::Portable, RingMode::Inline));
    let slot = rig.driver.open_object(OpenObject::of_target(name(1), target(&server), 4096));
    rig.read(slot, 0, PAGE_BYTES, 0);
    let error = rig.answers(1).remove(0).1.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert_eq!((rig.driver.counters().http.fallbacks, server.connections()), (1, 0));
}

#[test]
fn a_doorbell_wakes_a_ring_that_waits_for_a_server() {
    let released = Arc::new(AtomicBool::new(false));
    let gate = released.clone();
    let server = server(move |_, _| {
        while !gate.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        None
    });
    let mut client = Client::new(RingMode::Owned, target(&server));
    client.read(0, 1, clock::now());
    let bell = client.rig.driver.doorbell();
    let ringer = std::thread::spawn(move || bell.ring());
    ringer.join().unwrap();
    // Without the bell this would wait for the server, which waits for what follows.
    client.rig.turn(clock::now(), Wait::Until { deadline: None });
    released.store(true, Ordering::SeqCst);
    client.rig.answers(1).remove(0).1.unwrap();
}

/// A server that speaks TLS and proves to be at its address, and a target on it whose client
/// trusts it, or another of that name.
fn tls_server(trusted: bool) -> (Server, Arc<Target>) {
    let (config, certificate) = tls::tests::server("127.0.0.1");
    let (_, other) = tls::tests::server("127.0.0.1");
    let object = object();
    let server = Server::new(Some(config), move |_, offset, bytes| Act {
        bytes: served(&object, offset, bytes),
        then: Then::Next,
    });
    let trust = Trust::new(&[if trusted { certificate } else { other }]).unwrap();
    let tls = Tls::new(&trust, "127.0.0.1").unwrap();
    let host = server.address.to_string();
    let endpoint = Endpoint::new(vec![server.address], &host, Some(tls)).unwrap();
    let target = Target::new(endpoint, "/bucket/key?signature=secret".into(), Nanos::MAX);
    (server, Arc::new(target.unwrap()))
}

#[test]
fn many_in_flight_bring_their_bytes_over_tls() {
    for mode in MODES {
        let (server, target) = tls_server(true);
        let mut client = Client::new(mode, target);
        client.check(1);
        client.check(1);
        assert_eq!(server.connections(), 1);
        client.check(100);
        client.check(100);
        let counters = client.ring().counters().http;
        assert!(counters.connects <= 100, "{counters:?}");
        assert_eq!(client.rig.driver.counters().repeats, 0);
    }
}

#[test]
fn a_server_that_is_not_trusted_is_named_at_once() {
    let (server, target) = tls_server(false);
    let mut client = Client::new(RingMode::Owned, target);
    let error = client.error();
    assert!(error.text.contains("certificate is not trusted"), "{error}");
    assert!(error.text.contains("SSL_CERT_FILE") && !error.text.contains("secret"), "{error}");
    assert_eq!((server.requests(), client.rig.driver.counters().repeats), (0, 0));
}

#[test]
fn a_server_without_tls_is_named() {
    let (tls_server, other) = tls_server(true);
    let server = server(|_, _| None);
    let tls = other.endpoint.tls.clone();
    let endpoint = Endpoint::new(vec![server.address], "127.0.0.1", tls).unwrap();
    drop(tls_server);
    let target = Arc::new(Target::new(endpoint, "/a".into(), Nanos::MAX).unwrap());
    let mut client = Client::new(RingMode::Owned, target);
    client.read(0, 1, 0);
    // It waits for the end of a request: nobody answers.
    while server.connections() == 0 {
        client.rig.turn(0, Wait::No);
    }
    client.rig.turn(HTTP_RESPONSE_NS_MAX, Wait::No);
    assert_eq!(client.ring().counters().http.timeouts, 1);
}
