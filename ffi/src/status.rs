//! How a call ends: a number, and a text that the thread can ask for.

use std::cell::RefCell;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aquifer::types::Error;
use aquifer::types::error::ErrorKind;

use crate::{callback, fork};

#[cfg(panic = "abort")]
compile_error!("a panic must not end the host's process: build with panic = \"unwind\"");

/// A status of `include/aquifer.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// See the header for this and the others.
    Ok = 0,
    Absent = 1,
    Exists = 2,
    Invalid = -1,
    TooLarge = -2,
    Corrupt = -3,
    Io = -4,
    MissingObject = -5,
    NoSpace = -6,
    Unsupported = -7,
    Closed = -8,
    Poisoned = -9,
    NoMemory = -10,
    BadHandle = -11,
    Busy = -12,
    Forked = -13,
    Panic = -14,
    BufferTooSmall = -15,
    Fenced = -16,
    UnknownCommit = -17,
}

/// Every status with its name.
pub const NAMES: [(Status, &CStr); 20] = [
    (Status::Ok, c"AQF_OK"),
    (Status::Absent, c"AQF_ABSENT"),
    (Status::Exists, c"AQF_EXISTS"),
    (Status::Invalid, c"AQF_INVALID"),
    (Status::TooLarge, c"AQF_TOO_LARGE"),
    (Status::Corrupt, c"AQF_CORRUPT"),
    (Status::Io, c"AQF_IO"),
    (Status::MissingObject, c"AQF_MISSING_OBJECT"),
    (Status::NoSpace, c"AQF_NO_SPACE"),
    (Status::Unsupported, c"AQF_UNSUPPORTED"),
    (Status::Closed, c"AQF_CLOSED"),
    (Status::Poisoned, c"AQF_POISONED"),
    (Status::NoMemory, c"AQF_NO_MEMORY"),
    (Status::BadHandle, c"AQF_BAD_HANDLE"),
    (Status::Busy, c"AQF_BUSY"),
    (Status::Forked, c"AQF_FORKED"),
    (Status::Panic, c"AQF_PANIC"),
    (Status::BufferTooSmall, c"AQF_BUFFER_TOO_SMALL"),
    (Status::Fenced, c"AQF_FENCED"),
    (Status::UnknownCommit, c"AQF_UNKNOWN_COMMIT"),
];

/// The name of a number.
pub fn name(number: i32) -> &'static CStr {
    let known = NAMES.iter().find(|(status, _)| *status as i32 == number);
    known.map_or(c"AQF_UNKNOWN", |(_, name)| name)
}

impl From<ErrorKind> for Status {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Io => Self::Io,
            ErrorKind::MissingObject => Self::MissingObject,
            ErrorKind::NoSpace => Self::NoSpace,
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::Closed => Self::Closed,
            ErrorKind::Poisoned => Self::Poisoned,
            ErrorKind::NoMemory => Self::NoMemory,
            ErrorKind::Fenced => Self::Fenced,
            ErrorKind::UnknownCommit => Self::UnknownCommit,
        }
    }
}

/// Why a call failed. One word wide: what is returned for each request of a batch is looked at and
/// not copied.
#[derive(Debug)]
pub struct Failure(Box<Why>);

#[derive(Debug)]
pub struct Why {
    pub status: Status,
    pub text: String,
}

impl std::ops::Deref for Failure {
    type Target = Why;

    fn deref(&self) -> &Why {
        &self.0
    }
}

impl Failure {
    #[cold]
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self(Box::new(Why { status, text: text.into() }))
    }

    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Status::Invalid, text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.kind.into(), &*error.text)
    }
}

/// What the body of a function returns.
pub type Outcome = Result<Status, Failure>;

thread_local! {
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Of a thread whose destructors run: the text of its last failure is gone.
const ENDING: &str = "this thread is ending, and what failed in it last is forgotten; ask at once \
                      after the call that failed";

/// The text of the last failure of this thread.
pub fn with_last_error<T>(read: impl FnOnce(&str) -> T) -> T {
    if fork::is_child() {
        return read(fork::REFUSED);
    }
    let mut read = Some(read);
    let mut once = |text: &str| read.take().map(|read| read(text));
    let told = LAST_ERROR.try_with(|last| once(&last.borrow())).ok().flatten();
    told.or_else(|| once(ENDING)).expect("one of the two reads")
}

/// The frame of every function that can fail: refuses forked children and functions of the host
/// that call back, keeps panics inside, notes the failure.
pub fn call(body: impl FnOnce() -> Outcome) -> i32 {
    if fork::is_child() {
        // Nothing is noted: a thread that the child does not have may hold the allocator.
        return Status::Forked as i32;
    }
    if callback::is_inside() {
        let text = "a function of the host that the library calls may not call the library: let it \
                    return first";
        return fail(&Failure::invalid(text));
    }
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no text");
        Err(Failure::new(
            Status::Panic,
            format!("a bug of the library: {text}; close the session, and please report it"),
        ))
    });
    match outcome {
        Ok(status) => status as i32,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> i32 {
    // A thread that is ending has no place for the text any more.
    let _ending = LAST_ERROR.try_with(|last| last.borrow_mut().clone_from(&failure.text));
    failure.status as i32
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};

    use super::{ENDING, NAMES, Status, call, name, with_last_error};

    #[test]
    fn a_panic_becomes_a_status() {
        let status = call(|| panic!("the {} broke", "wheel"));
        assert_eq!(status, Status::Panic as i32);
        assert!(with_last_error(|text| text.contains("the wheel broke")));
    }

    /// Asks for the last error when its thread ends.
    #[derive(Default)]
    struct Asks(Arc<Mutex<String>>);

    impl Drop for Asks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = with_last_error(str::to_owned);
        }
    }

    thread_local! {
        static ASKS: RefCell<Asks> = RefCell::default();
    }

    #[test]
    fn a_thread_that_ends_may_ask_too() {
        let told = Arc::new(Mutex::new(String::new()));
        let asks = Asks(Arc::clone(&told));
        let thread = std::thread::spawn(|| {
            // What a thread has since before goes after the text.
            ASKS.replace(asks);
            assert_eq!(call(|| panic!("the wheel broke")), Status::Panic as i32);
        });
        thread.join().unwrap();
        assert_eq!(*told.lock().unwrap(), ENDING);
    }

    #[test]
    fn numbers_have_one_name_each() {
        for (at, (status, text)) in NAMES.iter().enumerate() {
            assert_eq!(name(*status as i32), *text);
            assert!(NAMES[..at].iter().all(|(other, _)| other != status));
        }
        assert_eq!(name(77), c"AQF_UNKNOWN");
    }
}
