//! What a host lends: file systems that fail, lie, hang and call back; sources of credentials.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aquifer::io::dfs::Dfs;
use aquifer::io::host::credentials::Access;
use aquifer::io::retry::patiently;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Incarnation, ObjectKind, ObjectName};
use aquifer_ffi::layout::{AddFn, CredentialsFn, FileSystem, UrlFn, kind, op, put};
use aquifer_ffi::*;

use crate::host::*;
use crate::urls::{UrlAnswer, url};

pub const IO: i32 = -4;
const EXISTS: i32 = 2;

/// A file system in memory, with what goes wrong next.
#[derive(Default)]
pub struct Shelf {
    pub objects: Mutex<HashMap<String, Vec<u8>>>,
    // A server of what it has, and what is answered if urls are asked for.
    pub url: Option<(String, UrlAnswer)>,
    // So many calls of each function answer with the status.
    left: AtomicU32,
    status: AtomicI32,
    hangs: AtomicBool,
    inside: AtomicU32,
    calls_back: AtomicBool,
    // It fails without a text.
    silent: AtomicBool,
    answered: AtomicI32,
    lists: AtomicU32,
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// The shelf and the path of a call.
//
// SAFETY (for callers): as the header says of a function of the file system.
pub unsafe fn shelf<'a>(context: *mut c_void, path: *const c_char) -> (&'a Shelf, String) {
    // SAFETY: the context is that of `lend`, and the library ends a path with a NUL.
    unsafe { (&*context.cast(), CStr::from_ptr(path).to_str().unwrap().to_owned()) }
}

impl Shelf {
    pub fn with_urls(url: Option<(String, UrlAnswer)>) -> Self {
        Self { url, ..Self::default() }
    }

    fn lend(&self, name: &str) -> i32 {
        self.lend_as(name, size_of::<FileSystem>())
    }

    pub fn lend_as(&self, name: &str, struct_size: usize) -> i32 {
        let functions = FileSystem {
            struct_size: struct_size as u32,
            reserved: 0,
            context: std::ptr::from_ref(self).cast_mut().cast(),
            put: Some(put_piece),
            read: Some(read),
            size: Some(size),
            list: Some(list),
            remove: Some(remove),
            url: self.url.as_ref().map(|_| url as UrlFn),
        };
        // SAFETY: the struct is live; the tests take the shelf back before it goes.
        unsafe { aqf_set_file_system(name.as_ptr().cast(), name.len(), &raw const functions) }
    }

    fn fail(&self, times: u32, status: i32) {
        self.status.store(status, Ordering::Relaxed);
        self.left.store(times, Ordering::Relaxed);
    }

    fn suffer(&self, why: *mut c_char, why_size: usize) -> i32 {
        self.inside.fetch_add(1, Ordering::Relaxed);
        while self.hangs.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        self.inside.fetch_sub(1, Ordering::Relaxed);
        if self.calls_back.swap(false, Ordering::Relaxed) {
            self.answered.store(aqf_session_close(1), Ordering::Relaxed);
        }
        let less = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            return OK;
        }
        if self.silent.load(Ordering::Relaxed) {
            return self.status.load(Ordering::Relaxed);
        }
        let text = b"the shelf is full, token=hunter2 ".repeat(40);
        // No NUL: the library must not read behind the place.
        // SAFETY: the place has so many bytes.
        unsafe { why.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), why_size) };
        self.status.load(Ordering::Relaxed)
    }
}

pub fn take_back(name: &str) -> i32 {
    // SAFETY: the name is live.
    unsafe { aqf_set_file_system(name.as_ptr().cast(), name.len(), std::ptr::null()) }
}

// SAFETY (for callers): as the header says of the function.
#[allow(clippy::too_many_arguments, reason = "the function of the header")]
unsafe extern "C" fn put_piece(
    context: *mut c_void,
    word: *mut *mut c_void,
    path: *const c_char,
    offset: u64,
    bytes: *const c_void,
    len: usize,
    flags: u32,
    why: *mut c_char,
    why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments; the word is a box of an earlier piece.
    let (shelf, path, word, bytes) = unsafe {
        let (shelf, path) = shelf(context, path);
        (shelf, path, &mut *word.cast::<*mut Vec<u8>>(), slice::from_raw_parts(bytes.cast(), len))
    };
    // SAFETY: as above, and it is taken out of the word.
    let draft = (!word.is_null()).then(|| unsafe { Box::from_raw(*word) });
    *word = null_mut();
    if flags & put::GIVEN_UP != 0 {
        return OK;
    }
    let failed = shelf.suffer(why, why_size);
    if failed != OK {
        return failed;
    }
    let mut draft = draft.unwrap_or_default();
    assert_eq!(draft.len() as u64, offset);
    draft.extend_from_slice(bytes);
    if flags & put::MORE != 0 {
        *word = Box::into_raw(draft);
        return OK;
    }
    let mut objects = locked(&shelf.objects);
    if flags & put::NEW != 0 && objects.contains_key(&path) {
        return EXISTS;
    }
    objects.insert(path, *draft);
    OK
}

// SAFETY (for callers): as the header says of the function.
unsafe extern "C" fn read(
    context: *mut c_void,
    path: *const c_char,
    offset: u64,
    buffer: *mut c_void,
    len: usize,
    filled: *mut usize,
    why: *mut c_char,
    why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments.
    let ((shelf, path), into, filled) = unsafe {
        let into = slice::from_raw_parts_mut(buffer.cast::<u8>(), len);
        (shelf(context, path), into, &mut *filled)
    };
    let failed = shelf.suffer(why, why_size);
    if failed != OK {
        return failed;
    }
    let objects = locked(&shelf.objects);
    let Some(object) = objects.get(&path) else { return MISSING };
    let rest = &object[object.len().min(offset as usize)..];
    // Not all at once.
    *filled = rest.len().min(len).min(10_000);
    into[..*filled].copy_from_slice(&rest[..*filled]);
    OK
}

// SAFETY (for callers): as the header says of the function.
unsafe extern "C" fn size(
    context: *mut c_void,
    path: *const c_char,
    bytes: *mut u64,
    why: *mut c_char,
    why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments.
    let ((shelf, path), bytes) = unsafe { (shelf(context, path), &mut *bytes) };
    let failed = shelf.suffer(why, why_size);
    if failed != OK {
        return failed;
    }
    match locked(&shelf.objects).get(&path) {
        Some(object) => *bytes = object.len() as u64,
        None => return MISSING,
    }
    OK
}

// Lists garbage that differs from call to call, and goes on when it is told to stop.
//
// SAFETY (for callers): as the header says of the function.
unsafe extern "C" fn list(
    context: *mut c_void,
    prefix: *const c_char,
    add: AddFn,
    to: *mut c_void,
    _why: *mut c_char,
    _why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments.
    let (shelf, prefix) = unsafe { shelf(context, prefix) };
    let good = format!("{prefix}note");
    let number = shelf.lists.fetch_add(1, Ordering::Relaxed);
    let bad: (*const c_char, usize) = match number {
        0 => (c"\xff\xfe".as_ptr(), 2),
        1 => (std::ptr::null(), 7),
        2 => (good.as_ptr().cast(), usize::MAX),
        3 => (c"/lent/../etc/passwd".as_ptr(), 19),
        _ => (good.as_ptr().cast(), good.len()),
    };
    // SAFETY: each has so many bytes, or is to be refused unread.
    unsafe {
        add(to, good.as_ptr().cast(), good.len(), 4, -1);
        add(to, bad.0, bad.1, 4, -1);
        add(to, good.as_ptr().cast(), good.len(), u64::MAX, i64::MIN);
    }
    OK
}

// SAFETY (for callers): as the header says of the function.
unsafe extern "C" fn remove(
    context: *mut c_void,
    path: *const c_char,
    why: *mut c_char,
    why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments.
    let (shelf, path) = unsafe { shelf(context, path) };
    locked(&shelf.objects).remove(&path);
    shelf.suffer(why, why_size)
}

fn object(seq: u64) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 1, nonce: 2 };
    ObjectName { store: 3, incarnation, kind: ObjectKind::Sst, seq, rand: 4 }
}

#[test]
fn what_a_file_system_answers_is_understood_or_refused() {
    let shelf = Shelf::default();
    assert_eq!(shelf.lend("answers"), OK);
    assert_eq!(shelf.lend("answers"), INVALID);
    assert!(last_error().contains("already"), "{}", last_error());
    let dfs = Dfs::open("host://answers/lent").unwrap();
    dfs.put(&object(1), &[7; 30_000]).unwrap();
    assert!(dfs.load(&object(1), 1 << 20).unwrap() == [7; 30_000]);
    assert!(!dfs.create(&object(1), b"other").unwrap());
    let kinds = [
        (-1, ErrorKind::Invalid),
        (-2, ErrorKind::TooLarge),
        (-3, ErrorKind::Corrupt),
        (-4, ErrorKind::Io),
        (-5, ErrorKind::MissingObject),
        (-6, ErrorKind::NoSpace),
        (-7, ErrorKind::Unsupported),
        (-12, ErrorKind::Io),
        // What a file system has no reason to say.
        (-9, ErrorKind::Invalid),
        (1, ErrorKind::Invalid),
        (EXISTS, ErrorKind::Invalid),
        (77, ErrorKind::Invalid),
        (i32::MIN, ErrorKind::Invalid),
    ];
    for (status, kind) in kinds {
        shelf.fail(1, status);
        let error = dfs.size(&object(1)).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.text.contains("size of host://answers/lent/00"), "{error}");
        assert!(error.text.contains("shelf") && !error.text.contains("hunter2"), "{error}");
        assert!(error.text.len() < 700, "{error}");
    }
    shelf.silent.store(true, Ordering::Relaxed);
    for (status, said) in [(IO, "(AQF_IO)"), (77, "status 77 (AQF_UNKNOWN)")] {
        shelf.fail(1, status);
        let error = dfs.size(&object(1)).unwrap_err();
        assert!(error.text.contains("gives no reason; have it write one"), "{error}");
        assert!(error.text.contains(said), "{error}");
    }
    for said in ["no path", "no path", "no path", "not below /lent/"] {
        let error = dfs.list(3).unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.text.contains(said), "{error}");
    }
    assert_eq!(dfs.list(3).unwrap(), [], "a note is no object");
    shelf.calls_back.store(true, Ordering::Relaxed);
    dfs.size(&object(1)).unwrap();
    assert_eq!(shelf.answered.load(Ordering::Relaxed), INVALID, "a callback calls the library");
    assert_eq!(take_back("answers"), INVALID);
    assert!(last_error().contains("in use"), "{}", last_error());
    dfs.close(Duration::from_secs(60)).unwrap();
    assert_eq!(take_back("answers"), OK);
    assert_eq!(take_back("answers"), INVALID);
    let error = Dfs::open("host://answers/lent").unwrap_err();
    assert!(error.text.contains("only inside the process"), "{error}");
}

#[test]
fn a_file_system_that_is_none_is_refused() {
    let shelf = Shelf::default();
    let lend = |name: &str, functions: &FileSystem| {
        // SAFETY: both are live.
        unsafe { aqf_set_file_system(name.as_ptr().cast(), name.len(), functions) }
    };
    let whole = FileSystem {
        struct_size: size_of::<FileSystem>() as u32,
        reserved: 0,
        context: std::ptr::from_ref(&shelf).cast_mut().cast(),
        put: Some(put_piece),
        read: Some(read),
        size: Some(size),
        list: Some(list),
        remove: Some(remove),
        url: None,
    };
    assert_eq!(lend("none", &FileSystem { struct_size: 8, ..whole }), INVALID);
    let old = offset_of!(FileSystem, url) as u32;
    assert_eq!(lend("none", &FileSystem { struct_size: old - 8, ..whole }), INVALID);
    assert_eq!(lend("none", &FileSystem { list: None, ..whole }), INVALID);
    assert!(last_error().contains("no function list"), "{}", last_error());
    assert_eq!(lend("none", &FileSystem { reserved: 5, ..whole }), INVALID);
    assert!(last_error().contains("reserved"), "{}", last_error());
    for name in ["", "a/b", ".", "..", &"x".repeat(65)] {
        assert_eq!(lend(name, &whole), INVALID, "{name}");
    }
    // SAFETY: a null name has no bytes.
    assert_eq!(unsafe { aqf_set_file_system(std::ptr::null(), 4, &raw const whole) }, INVALID);
}

#[test]
fn an_engine_lives_on_a_file_system_that_fails_for_the_moment() {
    for thread in ["owned", "inline"] {
        let (shelf, name) = (Shelf::default(), format!("engine-{thread}"));
        assert_eq!(shelf.lend(&name), OK);
        let host = Host::open_on(&format!("host://{name}/lent"), thread, "48M");
        let state = host.state("v", kind::VALUE);
        let value = vec![3; 100_000];
        assert_eq!(host.one(host.on(op::PUT, state, b"k", &value)).status, OK);
        shelf.fail(4, IO);
        let cut = host.one(host.on(op::CHECKPOINT, 0, b"", b""));
        assert_eq!(cut.status, OK, "{}", cut.message);
        host.close();
        let host = Host::open_on(&format!("host://{name}/lent"), thread, "48M");
        // Nobody knows the objects for a while.
        shelf.fail(4, MISSING);
        let again = host.restored(&cut.value);
        shelf.fail(3, IO);
        let got = again.one(again.on(op::GET, again.state("v", kind::VALUE), b"k", b""));
        assert!(got.status == OK && got.value == value, "{thread} {}", got.message);
        host.close();
        assert_eq!(take_back(&name), OK, "{}", last_error());
        assert!(locked(&shelf.objects).keys().all(|path| path.starts_with("/lent/00")));
    }
}

#[test]
fn a_call_that_hangs_holds_up_no_close() {
    let shelf = Shelf::default();
    assert_eq!(shelf.lend("hangs"), OK);
    let host = Host::open_on("host://hangs/lent", "owned", "48M");
    let state = host.state("v", kind::VALUE);
    assert_eq!(host.one(host.on(op::PUT, state, b"k", b"v")).status, OK);
    shelf.hangs.store(true, Ordering::Relaxed);
    host.submit(&[host.on(op::CHECKPOINT, 0, b"", b"")]);
    while shelf.inside.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(aqf_engine_close(host.engine, 200), IO);
    assert!(last_error().contains("1 calls of the host"), "{}", last_error());
    assert_eq!(host.try_poll(-1, true).unwrap().0[0].status, CLOSED);
    assert_eq!(aqf_session_close(host.session), OK);
    assert_eq!(take_back("hangs"), INVALID, "its function runs");
    shelf.hangs.store(false, Ordering::Relaxed);
    while take_back("hangs") != OK {
        std::thread::yield_now();
    }
    assert_eq!(shelf.inside.load(Ordering::Relaxed), 0);
}

/// What a source of credentials answers.
struct Answer {
    asked: AtomicU32,
    status: i32,
    text: Vec<u8>,
    expires_s: i64,
}

// SAFETY (for callers): as the header says of the function.
unsafe extern "C" fn answer(
    context: *mut c_void,
    place: *const c_char,
    text: *mut c_char,
    size: usize,
    expires_s: *mut i64,
    why: *mut c_char,
    why_size: usize,
) -> i32 {
    // SAFETY: as the header says of the arguments; the context is an answer.
    unsafe {
        assert_eq!(CStr::from_ptr(place), c"s3://bucket/state/");
        let answer = &*context.cast::<Answer>();
        answer.asked.fetch_add(1, Ordering::Relaxed);
        text.cast::<u8>()
            .copy_from_nonoverlapping(answer.text.as_ptr(), answer.text.len().min(size));
        expires_s.write(answer.expires_s);
        why.copy_from_nonoverlapping(c"a vault".as_ptr(), 8.min(why_size));
        answer.status
    }
}

/// Its name, status, text and end, and what comes of it.
type Case<'a> = (&'a str, i32, &'a [u8], i64, ErrorKind, &'a str);

#[test]
fn a_source_of_credentials_that_gives_none_is_told() {
    let keys = b"AWS_ACCESS_KEY_ID = hunter2\nAWS_SECRET_ACCESS_KEY = hunter2\0";
    let (long, half) = ([b'A'; 1 << 16], b"AWS_ACCESS_KEY_ID = hunter2\0");
    let (io, wrong) = (ErrorKind::Io, ErrorKind::Invalid);
    let cases: [Case<'_>; 11] = [
        ("refuses", IO, b"", 0, io, "a vault (AQF_IO)"),
        ("busy", BUSY, b"", 0, io, "a vault (AQF_BUSY)"),
        ("old", OK, keys, 1_000, io, "have ended"),
        // These stand.
        ("cannot", -7, b"", 0, ErrorKind::Unsupported, "a vault (AQF_UNSUPPORTED)"),
        ("lost", MISSING, b"", 0, wrong, "a vault (AQF_MISSING_OBJECT)"),
        ("odd", 77, b"", 0, wrong, "status 77 (AQF_UNKNOWN)"),
        ("empty", OK, b"\0", 0, wrong, "no credentials"),
        ("garbage", OK, b"\xff\xfehunter2\0", 0, wrong, "not UTF-8"),
        ("unknown", OK, b"AWS_SECRET = hunter2\0", 0, wrong, "is called \"AWS_SECRET\""),
        ("half", OK, half, 0, wrong, "AWS_SECRET_ACCESS_KEY"),
        ("long", OK, &long, 0, wrong, "without a NUL"),
    ];
    for (name, status, text, expires_s, kind, said) in cases {
        let asked = AtomicU32::new(0);
        let answer_ = Answer { asked, status, text: text.to_vec(), expires_s };
        let context = std::ptr::from_ref(&answer_).cast_mut().cast();
        let set = |function: Option<CredentialsFn>| {
            // SAFETY: the answer lives until the source is taken back.
            unsafe { aqf_set_credentials(name.as_ptr().cast(), name.len(), function, context) }
        };
        assert_eq!(set(Some(answer)), OK);
        // Nobody listens there, and nobody is asked.
        let url = "s3://bucket/state?endpoint=http://127.0.0.1:9";
        let dfs = Dfs::open_as(url, &Access::Source(name.to_owned())).unwrap();
        let size = || dfs.size(&object(1));
        // What is of the moment would be asked for again for ten seconds.
        let error = if kind == io { size() } else { patiently(size) }.unwrap_err();
        assert_eq!((error.kind, answer_.asked.load(Ordering::Relaxed)), (kind, 1), "{error}");
        assert!(error.text.contains(said) && !error.text.contains("hunter2"), "{error}");
        assert!(error.text.contains("credentials for s3://bucket/state/"), "{error}");
        // Who asks for something meanwhile hears what the source said last.
        for _ in 0..1000 {
            assert_eq!(size().unwrap_err().kind, kind);
        }
        assert!(answer_.asked.load(Ordering::Relaxed) < 100, "once a second at most");
        assert_eq!(set(None), INVALID, "it is in use");
        dfs.close(Duration::from_secs(60)).unwrap();
        assert_eq!(set(None), OK);
    }
    let open = |options: &str| open_engine(&format!("dfs = s3://b?region=r\n{options}"));
    assert_eq!(open("credentials = nobody"), Err(INVALID));
    assert!(last_error().contains("no source of credentials 'nobody'"), "{}", last_error());
}
