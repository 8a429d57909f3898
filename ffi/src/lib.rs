//! The C interface of Aquifer: the functions that `include/aquifer.h` describes, and nothing else.
//! The header is the contract; a test compares its structs and numbers with `layout`.
//!
//! Each function checks its pointers, then works on things behind handles in one frame,
//! `status::call`, out of which no panic gets.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use aquifer::codec::reader::Reader;
use aquifer::codec::{hash, varint};
use aquifer::limits::{KEY_BYTES_MAX, KEY_GROUPS_MAX, VALUE_BYTES_MAX};
use aquifer::shard::session::Armed;
use aquifer::types::key::too_large;

mod callback;
mod engine;
mod fork;
mod handles;
mod host;
pub mod layout;
mod ledger;
mod log;
mod options;
mod requests;
mod session;
mod status;

use engine::ENGINES;
pub use host::{aqf_set_credentials, aqf_set_file_system};
use layout::{Completion, LogFn, Option_, Request};
use requests::{bytes, value_too_large};
use session::SESSIONS;
use status::{Failure, Status, call};

// Checks a pointer to something that the call fills or reads.
fn check<T>(pointer: *const T, what: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{what} is null; pass a pointer to one")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid(format!("{what} is not aligned to {}", align_of::<T>())));
    }
    Ok(())
}

// Stores what a call gives.
//
// SAFETY (for callers): `to` is a place for a `T` of the host's, if it is not null.
unsafe fn give<T>(to: *mut T, what: &str, value: T) -> Result<(), Failure> {
    check(to, what)?;
    // SAFETY: not null, aligned, and the host's.
    unsafe { to.write(value) };
    Ok(())
}

// Checks the size that a host's struct says it has.
fn check_size<T>(struct_size: u32, what: &str) -> Result<usize, Failure> {
    check_size_from::<T>(size_of::<T>(), struct_size, what)
}

// The same, of a struct that had `least` bytes in the oldest version that is served.
fn check_size_from<T>(least: usize, struct_size: u32, what: &str) -> Result<usize, Failure> {
    let size = struct_size as usize;
    if size < least || size > STRUCT_BYTES_MAX || !size.is_multiple_of(align_of::<T>()) {
        let text = format!(
            "{what} has struct_size {size}, and this version reads {least}: set it to sizeof, as \
             AQF_INIT does"
        );
        return Err(Failure::invalid(text));
    }
    Ok(size)
}

/// A struct that claims more has no size set, bytes.
const STRUCT_BYTES_MAX: usize = 1024;

// Copies text with its NUL, and gives its length.
//
// SAFETY (for callers): `capacity` bytes at `buffer` are the host's to fill, if it is not null.
unsafe fn give_text(text: &str, buffer: *mut c_char, capacity: usize) -> usize {
    if !buffer.is_null() && capacity > 0 {
        let mut len = text.len().min(capacity - 1);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        // SAFETY: `len` and the NUL fit the capacity; the text is not the host's memory.
        unsafe {
            buffer.copy_from_nonoverlapping(text.as_ptr().cast(), len);
            buffer.add(len).write(0);
        }
    }
    text.len()
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_abi_check(abi_version: u32) -> i32 {
    call(|| {
        if (layout::ABI_OLDEST..=layout::ABI_VERSION).contains(&abi_version) {
            return Ok(Status::Ok);
        }
        let (oldest, newest) = (layout::ABI_OLDEST, layout::ABI_VERSION);
        let text = format!(
            "the program was compiled with interface {abi_version}, and this library serves \
             {oldest} to {newest}; install the library that the program was built with"
        );
        Err(Failure::new(Status::Unsupported, text))
    })
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_abi_version() -> u32 {
    layout::ABI_VERSION
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_status_name(status: i32) -> *const c_char {
    status::name(status).as_ptr()
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_status_is_retryable(status: i32) -> c_int {
    let retryable = [Status::Io, Status::NoSpace, Status::Busy];
    c_int::from(retryable.iter().any(|known| *known as i32 == status))
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_last_error(buffer: *mut c_char, capacity: usize) -> usize {
    // SAFETY: as the header says.
    status::with_last_error(|text| unsafe { give_text(text, buffer, capacity) })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_option_at(index: u32, option: *mut Option_) -> i32 {
    call(|| {
        check(option, "option")?;
        // SAFETY: not null, aligned, and as the header says.
        check_size::<Option_>(unsafe { (*option).struct_size }, "the option")?;
        let Some(known) = options::OPTIONS.get(index as usize) else { return Ok(Status::Absent) };
        let described = Option_ {
            // SAFETY: as above.
            struct_size: unsafe { (*option).struct_size },
            scope: known.scope,
            name: known.name.as_ptr(),
            type_: known.type_.as_ptr(),
            default_value: known.default.as_ptr(),
            doc: known.doc.as_ptr(),
        };
        // SAFETY: as above.
        unsafe { give(option, "option", described)? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_set_log(
    function: Option<LogFn>,
    context: *mut c_void,
    level: i32,
) -> i32 {
    call(|| log::set(function, context, level))
}

/// Longest text of options: a hundred times what they are; a length beyond is not read.
const OPTIONS_BYTES_MAX: usize = 64 << 10;

// The text of options.
//
// SAFETY (for callers): as `bytes`.
unsafe fn option_text<'a>(options: *const c_char, len: usize) -> Result<&'a [u8], Failure> {
    if len > OPTIONS_BYTES_MAX {
        let text = format!("options of {len} bytes exceed the limit of {OPTIONS_BYTES_MAX}");
        return Err(Failure::new(Status::TooLarge, text));
    }
    // SAFETY: as the caller says.
    unsafe { bytes(options.cast(), len, "options") }
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_engine_open(
    options: *const c_char,
    options_len: usize,
    engine: *mut u64,
) -> i32 {
    call(|| {
        check(engine, "engine")?;
        // SAFETY: as the header says.
        let text = unsafe { option_text(options, options_len)? };
        let handle = engine::open(text)?;
        // SAFETY: as the header says.
        unsafe { give(engine, "engine", handle)? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_engine_close(engine: u64, timeout_ms: u32) -> i32 {
    call(|| ENGINES.remove(engine)?.close(Duration::from_millis(timeout_ms.into())))
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_engine_options(
    engine: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let engine = ENGINES.get(engine)?;
        // SAFETY: as the header says.
        unsafe { give_whole(&engine.options, buffer, capacity, length) }
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_engine_statistics(
    engine: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let text = ENGINES.get(engine)?.statistics()?;
        // SAFETY: as the header says.
        unsafe { give_whole(&text, buffer, capacity, length) }
    })
}

// Text that is of no use unless it is whole.
//
// SAFETY (for callers): as `give_text`; `length` is a place of the host's, if it is not null.
unsafe fn give_whole(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> status::Outcome {
    // SAFETY: as the caller says.
    let len = unsafe { give_text(text, buffer, capacity) };
    if !length.is_null() {
        // SAFETY: as the caller says.
        unsafe { give(length, "length", len)? };
    }
    if buffer.is_null() || len >= capacity {
        let text = format!("the text has {len} bytes and a NUL, and the buffer {capacity}");
        return Err(Failure::new(Status::BufferTooSmall, text));
    }
    Ok(Status::Ok)
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_session_open(engine: u64, shard: u32, session: *mut u64) -> i32 {
    call(|| {
        check(session, "session")?;
        let handle = ENGINES.get(engine)?.open_session(shard)?;
        // SAFETY: as the header says.
        unsafe { give(session, "session", handle)? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_session_close(session: u64) -> i32 {
    call(|| {
        SESSIONS.remove(session)?.close();
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_session_wake(session: u64) -> i32 {
    call(|| {
        SESSIONS.get(session)?.waker.wake();
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_session_doorbell(session: u64, fd: *mut c_int) -> i32 {
    call(|| {
        let number = SESSIONS.get(session)?.doorbell();
        // SAFETY: as the header says.
        unsafe { give(fd, "fd", number)? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_session_arm(session: u64, timeout_ns: *mut i64) -> i32 {
    call(|| {
        check(timeout_ns, "timeout_ns")?;
        let session = SESSIONS.get(session)?;
        let (status, timeout) = match session.enter()?.arm() {
            Armed::Ready => (Status::Absent, 0),
            Armed::For(None) => (Status::Ok, -1),
            Armed::For(Some(sleep)) => {
                (Status::Ok, i64::try_from(sleep.as_nanos()).unwrap_or(i64::MAX))
            }
        };
        // SAFETY: as the header says.
        unsafe { give(timeout_ns, "timeout_ns", timeout)? };
        Ok(status)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_store_open(
    session: u64,
    options: *const c_char,
    options_len: usize,
    store: *mut u64,
) -> i32 {
    call(|| {
        check(store, "store")?;
        // SAFETY: as the header says.
        let text = unsafe { option_text(options, options_len)? };
        let session = SESSIONS.get(session)?;
        let handle = session::open_store(&mut *session.enter()?, text)?;
        // SAFETY: as the header says.
        unsafe { give(store, "store", handle)? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_store_close(session: u64, store: u64) -> i32 {
    call(|| {
        let session = SESSIONS.get(session)?;
        session::close_store(&mut *session.enter()?, store)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_key_group(
    key: *const c_void,
    key_len: usize,
    key_groups: u32,
    key_group: *mut u32,
) -> i32 {
    call(|| {
        if key_groups == 0 || key_groups > KEY_GROUPS_MAX {
            let text = format!("{key_groups} key groups: use 1 to {KEY_GROUPS_MAX}");
            return Err(Failure::invalid(text));
        }
        if key_len > KEY_BYTES_MAX {
            return Err(too_large(key_len).into());
        }
        // SAFETY: as the header says.
        let key = unsafe { bytes(key, key_len, "the key")? };
        let group = hash::key_group(key, key_groups);
        // SAFETY: as the header says.
        unsafe { give(key_group, "key_group", group.into())? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_submit(
    session: u64,
    requests: *const Request,
    count: usize,
    accepted: *mut usize,
) -> i32 {
    call(|| {
        // SAFETY: as the header says.
        unsafe { give(accepted, "accepted", 0)? };
        if count == 0 {
            return Ok(Status::Ok);
        }
        check(requests, "requests")?;
        // SAFETY: not null, aligned, and as the header says.
        let stride =
            check_size::<Request>(unsafe { (*requests).struct_size }, "the first request")?;
        let session = SESSIONS.get(session)?;
        let mut state = session.enter()?;
        if state.is_ended() {
            return Err(session::engine_closed().into());
        }
        let mut taken = 0;
        // The engine can be closed meanwhile: what was taken completes with that, and no more is.
        while taken < count && state.room() > 0 && !state.is_ended() {
            // SAFETY: `count` structs of `stride` bytes lie there, as the header says.
            let request = unsafe { &*requests.byte_add(taken * stride) };
            if request.struct_size as usize == stride {
                // SAFETY: its pointers and lengths name readable bytes, as the header says.
                unsafe { state.take_request(request) };
            } else {
                let text = format!(
                    "the request has struct_size {}, and the first of its batch {stride}; set it \
                     as AQF_INIT does",
                    request.struct_size
                );
                state.refuse_request(request.user_data, &Failure::invalid(text));
            }
            taken += 1;
        }
        state.flush();
        // SAFETY: as above.
        unsafe { give(accepted, "accepted", taken)? };
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_poll(
    session: u64,
    completions: *mut Completion,
    capacity: usize,
    timeout_ns: i64,
    count: *mut usize,
    results: *mut u64,
) -> i32 {
    call(|| {
        check(results, "results")?;
        // SAFETY: as the header says.
        unsafe {
            give(count, "count", 0)?;
            give(results, "results", 0)?;
        }
        check(completions, "completions")?;
        if capacity == 0 {
            return Err(Failure::invalid("a poll for at most 0 completions; have room for some"));
        }
        // SAFETY: not null, aligned, and as the header says.
        let size = unsafe { (*completions).struct_size };
        let stride = check_size::<Completion>(size, "the first completion")?;
        let patience = u64::try_from(timeout_ns).ok().map(Duration::from_nanos);
        let session = SESSIONS.get(session)?;
        let (filled, lent) = session.poll(patience, capacity, |at, mut completion| {
            completion.struct_size = size;
            // SAFETY: `capacity` structs of `stride` bytes lie there, as the header says.
            unsafe { completions.byte_add(at * stride).write(completion) };
        })?;
        // SAFETY: as the header says.
        unsafe {
            give(count, "count", filled)?;
            give(results, "results", lent)?;
        }
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
#[unsafe(no_mangle)]
pub extern "C" fn aqf_release(session: u64, results: u64) -> i32 {
    call(|| SESSIONS.get(session)?.enter()?.release(results))
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_next_item(
    at: *mut *const c_void,
    left: *mut usize,
    item: *mut *const c_void,
    item_len: *mut usize,
) -> i32 {
    call(|| {
        check(at, "at")?;
        check(left, "left")?;
        check(item, "item")?;
        check(item_len, "item_len")?;
        // SAFETY: not null, aligned, and as the header says.
        let rest = unsafe { bytes(*at, *left, "*at")? };
        if rest.is_empty() {
            return Ok(Status::Absent);
        }
        let span = requests::item(&mut Reader::new(rest))?;
        let read = span.as_ptr().addr() + span.len() - rest.as_ptr().addr();
        // SAFETY: as above.
        unsafe {
            at.write(rest.as_ptr().add(read).cast());
            left.write(rest.len() - read);
            item.write(span.as_ptr().cast());
            item_len.write(span.len());
        }
        Ok(Status::Ok)
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_put_item(
    at: *mut *mut c_void,
    left: *mut usize,
    item: *const c_void,
    item_len: usize,
) -> i32 {
    call(|| {
        check(at, "at")?;
        check(left, "left")?;
        if item_len > VALUE_BYTES_MAX {
            return Err(value_too_large(item_len));
        }
        // SAFETY: as the header says.
        let item = unsafe { bytes(item, item_len, "item")? };
        let mut head = Vec::new();
        varint::put(&mut head, item_len as u64);
        let need = head.len() + item_len;
        // SAFETY: not null, aligned, and as the header says.
        let (to, room) = unsafe { (at.read(), left.read()) };
        if to.is_null() || room < need {
            let text = format!("the item takes {need} bytes, and {room} are left at *at");
            return Err(Failure::new(Status::BufferTooSmall, text));
        }
        // SAFETY: `need` bytes are free there, and the host's item is not among them.
        unsafe {
            let to = to.cast::<u8>();
            to.copy_from_nonoverlapping(head.as_ptr(), head.len());
            to.add(head.len()).copy_from_nonoverlapping(item.as_ptr(), item_len);
            at.write(to.add(need).cast());
            left.write(room - need);
        }
        Ok(Status::Ok)
    })
}
