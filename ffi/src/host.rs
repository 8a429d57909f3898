//! What a host lends: its functions as the engine knows them.

use std::ffi::{CString, c_char, c_void};
use std::mem::offset_of;
use std::slice;
use std::sync::Arc;

use aquifer::io::host::credentials::{CredentialSource, Given, Lease, SOURCES, Secret};
use aquifer::io::host::{End, Entry, FILE_SYSTEMS, FileSystem, Piece, SignedUrl};
use aquifer::limits::{CREDENTIALS_BYTES_MAX, HOST_NAME_BYTES_MAX, HOST_URL_BYTES_MAX};
use aquifer::types::{Error, Result};

use crate::callback::ask;
use crate::layout::{self, CredentialsFn, put};
use crate::requests::bytes;
use crate::status::{Failure, Outcome, Status, call};
use crate::{check, check_size_from};

/// A file system with all its functions.
struct Functions(layout::FileSystem);

// SAFETY: the header demands functions that any thread may call with the context.
unsafe impl Send for Functions {}
// SAFETY: as above; many calls at once are demanded too.
unsafe impl Sync for Functions {}

/// Lends a file system, or takes one back.
fn set_file_system(name: &str, functions: Option<&layout::FileSystem>) -> Outcome {
    let Some(functions) = functions else {
        FILE_SYSTEMS.take_back(name)?;
        return Ok(Status::Ok);
    };
    let layout::FileSystem { put, read, size, list, remove, reserved, .. } = functions;
    if *reserved != 0 {
        let text = format!("the field reserved of the file system is {reserved}, and not zero");
        return Err(Failure::invalid(text));
    }
    let there = [
        ("put", put.is_some()),
        ("read", read.is_some()),
        ("size", size.is_some()),
        ("list", list.is_some()),
        ("remove", remove.is_some()),
    ];
    if let Some((missing, _)) = there.iter().find(|(_, there)| !there) {
        return Err(Failure::invalid(format!("the file system has no function {missing}")));
    }
    FILE_SYSTEMS.lend(name, Arc::new(Functions(*functions)))?;
    Ok(Status::Ok)
}

fn c_path(path: &str) -> Result<CString> {
    CString::new(path).map_err(|_| Error::invalid("a path of the library holds a NUL"))
}

fn lacking() -> Error {
    Error::invalid("the file system lacks a function")
}

impl FileSystem for Functions {
    fn put(&self, piece: Piece<'_>) -> Result<bool> {
        let (put, path) = (self.0.put.ok_or_else(lacking)?, c_path(piece.path)?);
        let new = if piece.only_new { put::NEW } else { 0 };
        let flags = match piece.end {
            End::More => put::MORE,
            End::Last => 0,
            End::GivenUp => put::GIVEN_UP,
        };
        let (bytes, len) = (piece.bytes.as_ptr().cast(), piece.bytes.len());
        let word = std::ptr::from_mut(piece.word).cast();
        let good = [Status::Ok, Status::Exists];
        let said = ask(&good[..if piece.only_new { 2 } else { 1 }], |why, why_size| {
            // SAFETY: as the header says of the function; the path ends with a NUL, `len` bytes can
            // be read, and the word, as wide as a pointer, is this call's alone.
            unsafe {
                put(
                    self.0.context,
                    word,
                    path.as_ptr(),
                    piece.offset,
                    bytes,
                    len,
                    flags | new,
                    why,
                    why_size,
                )
            }
        })?;
        Ok(said == Status::Ok)
    }

    fn read(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize> {
        let (read, path) = (self.0.read.ok_or_else(lacking)?, c_path(path)?);
        let (buffer, len) = (into.as_mut_ptr().cast(), into.len());
        let mut filled = 0;
        ask(&[Status::Ok], |why, why_size| {
            let filled = &raw mut filled;
            // SAFETY: as the header says of the function; it may fill `len` bytes.
            unsafe {
                read(self.0.context, path.as_ptr(), offset, buffer, len, filled, why, why_size)
            }
        })?;
        Ok(filled)
    }

    fn size(&self, path: &str) -> Result<u64> {
        let (size, path) = (self.0.size.ok_or_else(lacking)?, c_path(path)?);
        let mut bytes = 0;
        ask(&[Status::Ok], |why, why_size| {
            // SAFETY: as the header says of the function.
            unsafe { size(self.0.context, path.as_ptr(), &raw mut bytes, why, why_size) }
        })?;
        Ok(bytes)
    }

    fn list(&self, prefix: &str, add: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        let (list, prefix) = (self.0.list.ok_or_else(lacking)?, c_path(prefix)?);
        let mut sink = Sink { add, garbage: false };
        let to = (&raw mut sink).cast();
        ask(&[Status::Ok], |why, why_size| {
            // SAFETY: as the header says of the function; `take` gets what it expects in `to`.
            unsafe { list(self.0.context, prefix.as_ptr(), take, to, why, why_size) }
        })?;
        match sink.garbage {
            true => Err(Error::invalid("it names an object by bytes that are no path")),
            false => Ok(()),
        }
    }

    fn delete(&self, path: &str) -> Result<()> {
        let (remove, path) = (self.0.remove.ok_or_else(lacking)?, c_path(path)?);
        ask(&[Status::Ok], |why, why_size| {
            // SAFETY: as the header says of the function.
            unsafe { remove(self.0.context, path.as_ptr(), why, why_size) }
        })?;
        Ok(())
    }

    fn url(&self, path: &str) -> Result<Option<SignedUrl>> {
        let Some(url) = self.0.url else { return Ok(None) };
        let (path, mut expires_s) = (c_path(path)?, 0_i64);
        let mut text = Text::new(HOST_URL_BYTES_MAX + 1);
        let said = ask(&[Status::Ok, Status::Absent], |why, why_size| {
            let (to, size, expires_s) = (text.place(), text.0.len(), &raw mut expires_s);
            // SAFETY: as the header says of the function; it may fill `size` bytes.
            unsafe { url(self.0.context, path.as_ptr(), to, size, expires_s, why, why_size) }
        })?;
        if said == Status::Absent {
            return Ok(None);
        }
        let url = std::str::from_utf8(text.read("a url")?);
        let url = url.map_err(|_| Error::invalid("a url that is not UTF-8"))?;
        let expires_s = (expires_s != 0).then_some(expires_s);
        Ok(Some(SignedUrl { url: Secret::new(url), expires_s }))
    }
}

/// Memory for a text of the host that nobody else may know.
struct Text(Vec<u8>);

impl Text {
    fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    fn place(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    /// What stands before the NUL.
    fn read(&self, what: &str) -> Result<&[u8]> {
        let end = self.0.iter().position(|byte| *byte == 0);
        end.map(|end| &self.0[..end]).ok_or_else(|| {
            let most = self.0.len() - 1;
            Error::invalid(format!("{what} without a NUL, or of more than {most} bytes"))
        })
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // It lies in memory that is used again.
        self.0.fill(0);
    }
}

/// Where a list goes.
struct Sink<'a> {
    add: &'a mut dyn FnMut(Entry<'_>) -> bool,
    garbage: bool,
}

// Takes an object of a list. Does not panic: what it calls checks and stores.
//
// SAFETY (for callers): as the header says of `add`.
unsafe extern "C" fn take(
    to: *mut c_void,
    path: *const c_char,
    path_len: usize,
    bytes: u64,
    modified_s: i64,
) -> i32 {
    // SAFETY: the host passes what `list` got, from the call of it that runs, as the header says.
    let sink = unsafe { &mut *to.cast::<Sink<'_>>() };
    if path.is_null() || path_len > PATH_BYTES_MAX {
        sink.garbage = true;
        return 1;
    }
    // SAFETY: so many bytes are there, as the header says.
    let path = unsafe { slice::from_raw_parts(path.cast::<u8>(), path_len) };
    let Ok(path) = std::str::from_utf8(path) else {
        sink.garbage = true;
        return 1;
    };
    let modified_s = (modified_s >= 0).then_some(modified_s);
    i32::from(!(sink.add)(Entry { path, bytes, modified_s }))
}

/// A longer path is none of a file system, bytes.
const PATH_BYTES_MAX: usize = 64 << 10;

/// A source of credentials.
struct Source {
    function: CredentialsFn,
    context: *mut c_void,
}

// SAFETY: the header demands a function that any thread may call with the context.
unsafe impl Send for Source {}
// SAFETY: as above; engines call it at once.
unsafe impl Sync for Source {}

/// Lends a source of credentials, or takes one back.
fn set_credentials(name: &str, function: Option<CredentialsFn>, context: *mut c_void) -> Outcome {
    match function {
        None => SOURCES.take_back(name)?,
        Some(function) => SOURCES.lend(name, Arc::new(Source { function, context }))?,
    }
    Ok(Status::Ok)
}

impl CredentialSource for Source {
    fn credentials(&self, place: &str) -> Result<Lease> {
        let place = c_path(place)?;
        let (mut text, mut expires_s) = (Text::new(CREDENTIALS_BYTES_MAX), 0_i64);
        ask(&[Status::Ok], |why, why_size| {
            let (to, size) = (text.place(), text.0.len());
            let (place, expires_s) = (place.as_ptr(), &raw mut expires_s);
            // SAFETY: as the header says of the function; it may fill `size` bytes.
            unsafe { (self.function)(self.context, place, to, size, expires_s, why, why_size) }
        })?;
        let given = Given::parse(text.read("credentials")?)?;
        Ok(Lease { given, expires_s: (expires_s != 0).then_some(expires_s) })
    }
}

// A name that a host chose.
//
// SAFETY (for callers): as `bytes`.
unsafe fn checked_name<'a>(
    name: *const c_char,
    len: usize,
) -> std::result::Result<&'a str, Failure> {
    if len > HOST_NAME_BYTES_MAX {
        let text = format!("a name of {len} bytes exceeds the limit of {HOST_NAME_BYTES_MAX}");
        return Err(Failure::invalid(text));
    }
    // SAFETY: as the caller says.
    let name = unsafe { bytes(name.cast(), len, "the name")? };
    std::str::from_utf8(name).map_err(|_| Failure::invalid("the name is not UTF-8"))
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_set_file_system(
    name: *const c_char,
    name_len: usize,
    file_system: *const layout::FileSystem,
) -> i32 {
    call(|| {
        // SAFETY: as the header says.
        let name = unsafe { checked_name(name, name_len)? };
        if file_system.is_null() {
            return set_file_system(name, None);
        }
        check(file_system, "file_system")?;
        // What a program of version 1 does not have is null.
        let mut functions = layout::FileSystem {
            struct_size: 0,
            reserved: 0,
            context: std::ptr::null_mut(),
            put: None,
            read: None,
            size: None,
            list: None,
            remove: None,
            url: None,
        };
        let least = offset_of!(layout::FileSystem, url);
        // SAFETY: not null, aligned, and as the header says.
        let size = unsafe { (*file_system).struct_size };
        let size = check_size_from::<layout::FileSystem>(least, size, "the file system")?;
        let size = size.min(size_of::<layout::FileSystem>());
        // SAFETY: it has so many bytes, as the header says, and its fields are those of the copy.
        unsafe {
            let to = (&raw mut functions).cast::<u8>();
            to.copy_from_nonoverlapping(file_system.cast(), size);
        }
        set_file_system(name, Some(&functions))
    })
}

/// See `aquifer.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aqf_set_credentials(
    name: *const c_char,
    name_len: usize,
    function: Option<CredentialsFn>,
    context: *mut c_void,
) -> i32 {
    call(|| {
        // SAFETY: as the header says.
        let name = unsafe { checked_name(name, name_len)? };
        set_credentials(name, function, context)
    })
}
