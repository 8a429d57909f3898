//! Calls of the host by the library: they may not call back, and what they answer is not trusted.

use std::cell::Cell;
use std::ffi::c_char;

use aquifer::limits::HOST_ERROR_BYTES_MAX;
use aquifer::types::Error;
use aquifer::types::error::ErrorKind;

use crate::status::{Status, name};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread is inside a function of the host.
pub fn is_inside() -> bool {
    // A thread that is ending calls no host.
    INSIDE.try_with(Cell::get).unwrap_or(false)
}

/// Calls the host.
pub fn inside<T>(call: impl FnOnce() -> T) -> T {
    let _ending = INSIDE.try_with(|inside| inside.set(true));
    let outcome = call();
    let _ending = INSIDE.try_with(|inside| inside.set(false));
    outcome
}

/// Calls a function of the host that has a status and a place for a text: `Ok` for the statuses in
/// `good`.
pub fn ask(good: &[Status], call: impl FnOnce(*mut c_char, usize) -> i32) -> Result<Status, Error> {
    let mut why = [0_u8; HOST_ERROR_BYTES_MAX];
    let number = inside(|| call(why.as_mut_ptr().cast(), why.len()));
    if let Some(status) = good.iter().find(|status| **status as i32 == number) {
        return Ok(*status);
    }
    let end = why.iter().position(|byte| *byte == 0).unwrap_or(why.len());
    let text = String::from_utf8_lossy(&why[..end]);
    let text = match text.trim() {
        "" => "its function gives no reason; have it write one to `why`",
        text => text,
    };
    let named = name(number).to_string_lossy();
    let kind = KINDS.iter().find(|(status, _)| *status as i32 == number);
    let Some(&(_, kind)) = kind else {
        return Err(Error::invalid(format!(
            "the host answered with status {number} ({named}), which no function of it returns: \
             {text}"
        )));
    };
    Err(Error::new(kind, format!("{text} ({named})")))
}

/// What a host may answer besides success.
const KINDS: [(Status, ErrorKind); 8] = [
    (Status::Io, ErrorKind::Io),
    (Status::Busy, ErrorKind::Io),
    (Status::MissingObject, ErrorKind::MissingObject),
    (Status::NoSpace, ErrorKind::NoSpace),
    (Status::Unsupported, ErrorKind::Unsupported),
    (Status::Invalid, ErrorKind::Invalid),
    (Status::Corrupt, ErrorKind::Corrupt),
    (Status::TooLarge, ErrorKind::TooLarge),
];
