//! A file system that a host lends with urls for its objects, and what it answers for them.

use std::ffi::{c_char, c_void};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::mem::offset_of;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aquifer_ffi::layout::{FileSystem, kind, op};

use crate::host::*;
use crate::lent::{IO, Shelf, locked, shelf, take_back};

const KEYS: u32 = 400;

/// What the function answers; a text that begins with http goes on with server, path and secret.
#[derive(Default)]
pub struct UrlAnswer {
    pub status: i32,
    pub text: Vec<u8>,
    pub expires_s: i64,
    pub asked: AtomicU32,
}

// SAFETY (for callers): as the header says of the function.
pub unsafe extern "C" fn url(
    context: *mut c_void,
    path: *const c_char,
    url: *mut c_char,
    size: usize,
    expires_s: *mut i64,
    why: *mut c_char,
    why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments.
    let (shelf, path) = unsafe { shelf(context, path) };
    let (at, UrlAnswer { status, text, expires_s: end, asked }) = shelf.url.as_ref().unwrap();
    let mut text = text.clone();
    if text.starts_with(b"http") {
        text.extend_from_slice(format!("://{at}{path}?signature=hunter2\0").as_bytes());
    }
    // SAFETY: the places have so many bytes.
    unsafe {
        url.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len().min(size));
        expires_s.write(*end);
        why.copy_from_nonoverlapping(c"a vault".as_ptr(), 8.min(why_size));
    }
    asked.fetch_add(1, Ordering::Relaxed);
    *status
}

/// Serves ranges of what lies on the shelf, to those that have the secret.
fn serve(mut stream: TcpStream, shelf: &Shelf, served: &AtomicU32) {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        text.push(byte[0]);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        let request = String::from_utf8(std::mem::take(&mut text)).unwrap();
        let target = request.split(' ').nth(1).unwrap();
        let path = target.strip_suffix("?signature=hunter2").unwrap();
        let range = request.split("Range: bytes=").nth(1).unwrap().lines().next().unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let object = locked(&shelf.objects)[path].clone();
        let (len, whole) = (last + 1 - first, object.len());
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {len}\r\n\
             Content-Range: bytes {range}/{whole}\r\n\r\n"
        );
        served.fetch_add(1, Ordering::Relaxed);
        stream.write_all(&[head.as_bytes(), &object[first..=last]].concat()).unwrap();
    }
}

fn value(key: u32) -> Vec<u8> {
    let mut x = u64::from(key) + 1;
    let mut text = String::new();
    while text.len() < 2000 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        write!(text, "{x}").unwrap();
    }
    text.into_bytes()
}

/// Puts values, restores them and gets each, of a file system that answers so when it is asked for
/// urls, or that is not asked: how often it was, and how often a server.
fn live(name: &str, answer: Option<UrlAnswer>, struct_size: usize) -> (u32, u32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let url = answer.map(|answer| (at, answer));
    let shelf = Arc::new(Shelf::with_urls(url));
    let (stored, served) = (shelf.clone(), Arc::new(AtomicU32::new(0)));
    let counts = served.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (shelf, served, stream) = (stored.clone(), counts.clone(), stream.unwrap());
            std::thread::spawn(move || serve(stream, &shelf, &served));
        }
    });
    assert_eq!(shelf.lend_as(name, struct_size), OK, "{}", last_error());
    let host = Host::open_on(&format!("host://{name}/lent"), "owned", "48M");
    let state = host.state("v", kind::VALUE);
    for key in 0..KEYS {
        let put = host.one(host.on(op::PUT, state, &key.to_be_bytes(), &value(key)));
        assert_eq!(put.status, OK, "{}", put.message);
    }
    let cut = host.one(host.on(op::CHECKPOINT, 0, b"", b""));
    assert_eq!(cut.status, OK, "{}", cut.message);
    let again = host.restored(&cut.value);
    let state = again.state("v", kind::VALUE);
    for key in 0..KEYS {
        let got = again.one(again.on(op::GET, state, &key.to_be_bytes(), b""));
        assert!(got.status == OK && got.value == value(key), "{name} {key} {}", got.message);
    }
    host.close();
    assert_eq!(take_back(name), OK);
    let asked = shelf.url.as_ref().map_or(0, |(_, answer)| answer.asked.load(Ordering::Relaxed));
    (asked, served.load(Ordering::Relaxed))
}

#[test]
fn shards_ask_at_urls_and_the_host_where_none_can_be_used() {
    let good = || UrlAnswer { text: b"http".to_vec(), ..UrlAnswer::default() };
    let (whole, old) = (size_of::<FileSystem>(), offset_of!(FileSystem, url));
    assert_eq!(live("no-urls", None, whole), (0, 0));
    assert_eq!(live("of-version-1", Some(good()), old), (0, 0), "its struct has no such function");
    let bad = |status, text: &[u8], expires_s| UrlAnswer {
        status,
        text: text.to_vec(),
        expires_s,
        ..UrlAnswer::default()
    };
    let cases = [
        ("absent", bad(ABSENT, b"http", 0)),
        ("refuses", bad(IO, b"http", 0)),
        ("odd", bad(77, b"http", 0)),
        ("empty", bad(OK, b"\0", 0)),
        ("garbage", bad(OK, b"\xff\xfehunter2\0", 0)),
        ("endless", bad(OK, &[b'A'; 1 << 16], 0)),
        ("past", bad(OK, b"http", 1000)),
    ];
    for (name, answer) in cases {
        let (asked, served) = live(name, Some(answer), whole);
        // Where shards have no ring it is not asked.
        assert!(asked <= 1 && served == 0, "{name}: {asked} and {served}");
    }
    let (asked, served) = live("good", Some(good()), whole);
    assert!(asked == 0 || served > KEYS / 4, "{asked} and {served}");
}
