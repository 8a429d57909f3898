use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::tests::Shelf;
use super::*;
use crate::io::clock;
use crate::io::dfs::Dfs;
use crate::io::handoff::locked;
use crate::io::host::credentials::Secret;
use crate::io::http::test_server::{Act, Server, Then, served};
use crate::io::read_driver::IoKind;
use crate::io::reads::tests::{Rig, pages};
use crate::io::ring_open::RingMode;
use crate::io::test_support::name;
use crate::io::values::ObjectSlot;
use crate::limits::{HOST_URL_BYTES_MAX, PAGE_BYTES};
use crate::types::Error;
use crate::types::error::ErrorKind;

const RING: (IoKind, RingMode) = (IoKind::Uring, RingMode::Owned);
const PAGES: usize = 64;
/// What takes so long never comes, nanoseconds.
const PATIENCE_NS: u64 = 60_000_000_000;

type Sign = Box<dyn FnMut() -> Result<Option<SignedUrl>> + Send>;

/// A shelf whose objects a server has too.
struct Signs {
    shelf: Arc<Shelf>,
    sign: Mutex<Sign>,
    asked: AtomicUsize,
    reads: AtomicUsize,
}

impl FileSystem for Signs {
    fn put(&self, piece: Piece<'_>) -> Result<bool> {
        self.shelf.put(piece)
    }

    fn read(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.shelf.read(path, offset, into)
    }

    fn size(&self, path: &str) -> Result<u64> {
        self.shelf.size(path)
    }

    fn list(&self, prefix: &str, add: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        self.shelf.list(prefix, add)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.shelf.delete(path)
    }

    fn url(&self, path: &str) -> Result<Option<SignedUrl>> {
        assert_eq!(path, format!("/some/path/{}", name(1)));
        // Behind the answer, which makes a reader of this count wait for what it decides.
        let signed = (locked(&self.sign))();
        self.asked.fetch_add(1, Ordering::Relaxed);
        signed
    }
}

/// A shard's reads of an object of a host that signs.
struct Client {
    signs: Arc<Signs>,
    rig: Rig,
    slot: ObjectSlot,
}

impl Client {
    fn new(
        way: (IoKind, RingMode),
        sign: impl FnMut() -> Result<Option<SignedUrl>> + Send + 'static,
    ) -> Self {
        let (shelf, _) = Shelf::lent();
        let (asked, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let signs = Arc::new(Signs { shelf, sign: Mutex::new(Box::new(sign)), asked, reads });
        let fs = format!("signs-{:x}", crate::io::entropy::nonce().unwrap());
        FILE_SYSTEMS.lend(&fs, signs.clone()).unwrap();
        let dfs = Dfs::open(&format!("host://{fs}/some/path")).unwrap();
        dfs.put(&name(1), &pages(PAGES)).unwrap();
        let mut rig = Rig::new(way);
        let bytes = (PAGES * PAGE_BYTES) as u64;
        let slot = rig.driver.open_object(dfs.open_object(&name(1), bytes).unwrap());
        Self { signs, rig, slot }
    }

    /// Reads that must bring their bytes.
    fn check(&mut self, reads: usize) {
        let object = pages(PAGES);
        for i in 0..reads {
            let offset = (i * 7 % (PAGES - 4) * PAGE_BYTES) as u64;
            self.rig.read(self.slot, offset, [1, 4][i % 2] * PAGE_BYTES, clock::now());
        }
        for (offset, got) in self.rig.answers(reads) {
            let (at, got) = (offset as usize, got.unwrap());
            assert!(got == object[at..at + got.len()], "wrong bytes at {offset}");
        }
    }

    /// Reads, one after the other, until it has come to this.
    fn check_until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let begun = clock::now();
        while !so(self) {
            assert!(clock::now() - begun < PATIENCE_NS, "it never comes to this: {what}");
            self.check(1);
        }
    }

    fn asked(&self) -> usize {
        self.signs.asked.load(Ordering::Relaxed)
    }

    fn reads(&self) -> usize {
        self.signs.reads.load(Ordering::Relaxed)
    }
}

/// A server that refuses the requests whose numbers `refuses` says.
fn server(refuses: impl Fn(usize) -> bool + Send + Sync + 'static) -> Server {
    let object = pages(PAGES);
    let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    Server::new(None, move |number, offset, bytes| {
        let answer = served(&object, offset, bytes);
        Act { bytes: if refuses(number) { refusal.to_vec() } else { answer }, then: Then::Next }
    })
}

fn signed(url: &str, expires_s: Option<i64>) -> Result<Option<SignedUrl>> {
    Ok(Some(SignedUrl { url: Secret::new(url), expires_s }))
}

fn url_at(server: &Server) -> String {
    format!("http://{}/bucket/key?signature=hunter2", server.address)
}

#[test]
fn a_ring_reads_by_itself_what_the_host_signs() {
    let server = server(|_| false);
    let url = url_at(&server);
    let mut client = Client::new(RING, move || signed(&url, None));
    client.check_until("the server is asked", |_| server.requests() > 0);
    let (calls, requests) = (client.reads(), server.requests());
    client.check(200);
    assert_eq!(client.reads(), calls, "the host is called no more");
    assert_eq!((server.requests(), client.asked()), (requests + 200, 1));
}

#[test]
fn threads_read_by_calls_and_so_does_a_ring_without_url() {
    for way in [RING, (IoKind::Portable, RingMode::Inline)] {
        let mut client = Client::new(way, || Ok(None));
        client.check(1);
        let calls = client.reads();
        client.check(50);
        assert!(client.reads() >= calls + 50, "{way:?}");
        assert_eq!(client.asked(), usize::from(way == RING), "once for an object that is open");
    }
}

#[test]
fn a_url_that_has_ended_is_signed_anew() {
    // The server would take the old one for ever.
    let server = server(|_| false);
    let url = url_at(&server);
    let mut client = Client::new(RING, move || signed(&url, Some(clock::unix_s() + 2)));
    client.check_until("others are signed", |client| client.asked() > 2);
    assert!(server.requests() > 2);
}

#[test]
fn what_a_server_refuses_is_read_by_calls() {
    // It serves nothing: nobody asks for another url.
    let refuses = server(|_| true);
    let url = url_at(&refuses);
    let mut client = Client::new(RING, move || signed(&url, None));
    client.check_until("the server is asked", |_| refuses.requests() > 0);
    client.check(50);
    let requests = refuses.requests();
    client.check(50);
    assert_eq!((refuses.requests(), client.asked()), (requests, 1));
    // A url that served before may have ended without notice.
    let ends = server(|number| number % 40 == 39);
    let url = url_at(&ends);
    let mut client = Client::new(RING, move || signed(&url, None));
    client.check_until("others are signed", |client| client.asked() > 2);
    assert!(ends.requests() >= 80, "one for each that is refused");
}

#[test]
fn what_a_server_fails_at_is_read_by_calls() {
    let breaks = |bytes: &'static [u8], then: fn() -> Then| {
        let server = Server::new(None, move |_, _, _| Act { bytes: bytes.to_vec(), then: then() });
        (url_at(&server), Some(server))
    };
    let zeros = Server::new(None, move |_, offset, bytes| {
        let wrong = served(&[0; PAGES * PAGE_BYTES], offset, bytes);
        Act { bytes: wrong, then: Then::Next }
    });
    let servers = [
        ("refuses connections", ("http://127.0.0.1:1/a".to_owned(), None)),
        ("fails", breaks(b"HTTP/1.1 500 E\r\nContent-Length: 0\r\n\r\n", || Then::Next)),
        (
            "waits",
            breaks(b"HTTP/1.1 503 S\r\nContent-Length: 0\r\nRetry-After: 600\r\n\r\n", || {
                Then::Next
            }),
        ),
        ("ends", breaks(b"HTTP/1.1 206 Partial Content\r\nContent-Le", || Then::Close)),
    ];
    for (what, (url, server)) in servers {
        let mut client = Client::new(RING, move || signed(&url, None));
        client.check_until(what, |client| client.asked() > 0);
        client.check(50);
        let calls = client.reads();
        client.check(50);
        assert!(client.reads() >= calls + 50, "{what}");
        let counters = client.rig.driver.counters();
        assert_eq!((counters.repeats, client.asked()), (0, 1), "{what}");
        drop(server);
    }
    // Wrong bytes are known by their checksum: whoever reads them again reads by a call.
    let url = url_at(&zeros);
    let mut client = Client::new(RING, move || signed(&url, None));
    let begun = clock::now();
    while zeros.requests() == 0 {
        assert!(clock::now() - begun < PATIENCE_NS, "the server is never asked");
        client.rig.read(client.slot, 0, PAGE_BYTES, clock::now());
        client.rig.answers(1);
    }
    client.rig.read_again(client.slot, 0, PAGE_BYTES, clock::now());
    let (_, got) = client.rig.answers(1).pop().unwrap();
    assert!(got.unwrap() == pages(PAGES)[..PAGE_BYTES]);
    client.check(50);
}

#[test]
fn what_is_no_url_to_ask_is_read_by_calls() {
    let server = server(|_| false);
    let (url, past) = (url_at(&server), clock::unix_s() - 10);
    let long = format!("{url}{}", "x".repeat(HOST_URL_BYTES_MAX));
    let panics = || -> Result<Option<SignedUrl>> { panic!("the host breaks") };
    let signs: [(&str, Sign); 6] = [
        ("none", Box::new(|| signed("hunter2", None))),
        ("user", Box::new(|| signed("http://me:hunter2@127.0.0.1:9/a", None))),
        ("long", Box::new(move || signed(&long, None))),
        ("past", Box::new(move || signed(&url, Some(past)))),
        ("fails", Box::new(|| Err(Error::new(ErrorKind::Io, "the vault is closed")))),
        ("panics", Box::new(panics)),
    ];
    for (what, sign) in signs {
        let mut client = Client::new(RING, sign);
        client.check_until(what, |client| client.asked() > 0 || what == "panics");
        let calls = client.reads();
        client.check(50);
        assert!(client.reads() >= calls + 50, "{what}");
        assert!(client.asked() <= 1, "{what} is asked for again");
    }
    assert_eq!(server.requests(), 0);
}
