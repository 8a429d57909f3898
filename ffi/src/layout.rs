//! The structs and numbers of `include/aquifer.h`, as Rust sees them.

use std::ffi::{c_char, c_void};
use std::ptr::null;

/// `AQF_ABI_VERSION`.
pub const ABI_VERSION: u32 = 2;
/// `AQF_ABI_OLDEST`.
pub const ABI_OLDEST: u32 = 1;
/// `AQF_KEY_GROUP_AUTO`.
pub const KEY_GROUP_AUTO: u32 = u32::MAX;
/// `AQF_MORE`.
pub const MORE: u32 = 1;
/// `AQF_SCOPE_ENGINE`.
pub const SCOPE_ENGINE: u32 = 1;
/// `AQF_SCOPE_STORE`.
pub const SCOPE_STORE: u32 = 2;

/// `AQF_GET` and its siblings.
pub mod op {
    #![allow(missing_docs, reason = "the header has them")]
    pub const GET: u16 = 1;
    pub const PUT: u16 = 2;
    pub const ADD: u16 = 3;
    pub const DELETE: u16 = 4;
    pub const CLEAR: u16 = 5;
    pub const SCAN: u16 = 6;
    pub const OPEN_STATE: u16 = 16;
    pub const RESTORE: u16 = 17;
    pub const CHECKPOINT: u16 = 18;
    pub const RELEASE: u16 = 19;
    pub const DRAIN: u16 = 20;
    pub const LIST_OBJECTS: u16 = 21;
    pub const CLAIM: u16 = 22;
}

/// `AQF_KIND_VALUE` and its siblings.
pub mod kind {
    #![allow(missing_docs, reason = "the header has them")]
    pub const VALUE: u32 = 1;
    pub const LIST: u32 = 2;
    pub const MAP: u32 = 3;
    pub const SUM: u32 = 4;
    pub const MIN: u32 = 5;
    pub const MAX: u32 = 6;
}

/// `aqf_request`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header has them")]
pub struct Request {
    pub struct_size: u32,
    pub op: u16,
    pub state: u16,
    pub key_group: u32,
    pub limit: u32,
    pub store: u64,
    pub user_data: u64,
    pub key: *const c_void,
    pub ns: *const c_void,
    pub map_key: *const c_void,
    pub value: *const c_void,
    pub key_len: u32,
    pub ns_len: u32,
    pub map_key_len: u32,
    pub value_len: u32,
}

impl Request {
    /// `AQF_INIT` with what every request has; the key group is left to the engine.
    #[must_use]
    pub const fn new(op: u16, store: u64, user_data: u64) -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            op,
            state: 0,
            key_group: KEY_GROUP_AUTO,
            limit: 0,
            store,
            user_data,
            key: null(),
            ns: null(),
            map_key: null(),
            value: null(),
            key_len: 0,
            ns_len: 0,
            map_key_len: 0,
            value_len: 0,
        }
    }
}

/// `aqf_completion`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header has them")]
pub struct Completion {
    pub struct_size: u32,
    pub status: i32,
    pub user_data: u64,
    pub value: *const c_void,
    pub message: *const c_char,
    pub value_len: u32,
    pub message_len: u32,
    pub flags: u32,
    pub number: u32,
}

impl Completion {
    /// `AQF_INIT`.
    pub const INIT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        status: 0,
        user_data: 0,
        value: null(),
        message: null(),
        value_len: 0,
        message_len: 0,
        flags: 0,
        number: 0,
    };
}

/// `aqf_option`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header has them")]
pub struct Option_ {
    pub struct_size: u32,
    pub scope: u32,
    pub name: *const c_char,
    pub type_: *const c_char,
    pub default_value: *const c_char,
    pub doc: *const c_char,
}

/// `aqf_log_fn`.
///
/// # Safety
/// The host passes the context that it registered, from any thread.
pub type LogFn =
    unsafe extern "C" fn(context: *mut c_void, level: i32, text: *const c_char, text_len: usize);

/// `AQF_PUT_MORE` and its siblings.
pub mod put {
    #![allow(missing_docs, reason = "the header has them")]
    pub const MORE: u32 = 1;
    pub const NEW: u32 = 2;
    pub const GIVEN_UP: u32 = 4;
}

/// `add` of `aqf_file_system.list`.
///
/// # Safety
/// The host passes what the call of `list` had.
pub type AddFn = unsafe extern "C" fn(
    to: *mut c_void,
    path: *const c_char,
    path_len: usize,
    bytes: u64,
    modified_s: i64,
) -> i32;

/// `put` of `aqf_file_system`.
///
/// # Safety
/// The library passes what the header says, from any thread.
pub type PutFn = unsafe extern "C" fn(
    context: *mut c_void,
    word: *mut *mut c_void,
    path: *const c_char,
    offset: u64,
    bytes: *const c_void,
    len: usize,
    flags: u32,
    why: *mut c_char,
    why_size: usize,
) -> i32;

/// `read` of `aqf_file_system`.
///
/// # Safety
/// The library passes what the header says, from any thread.
pub type ReadFn = unsafe extern "C" fn(
    context: *mut c_void,
    path: *const c_char,
    offset: u64,
    buffer: *mut c_void,
    len: usize,
    filled: *mut usize,
    why: *mut c_char,
    why_size: usize,
) -> i32;

/// `size` of `aqf_file_system`.
///
/// # Safety
/// The library passes what the header says, from any thread.
pub type SizeFn = unsafe extern "C" fn(
    context: *mut c_void,
    path: *const c_char,
    bytes: *mut u64,
    why: *mut c_char,
    why_size: usize,
) -> i32;

/// `list` of `aqf_file_system`.
///
/// # Safety
/// The library passes what the header says, from any thread.
pub type ListFn = unsafe extern "C" fn(
    context: *mut c_void,
    prefix: *const c_char,
    add: AddFn,
    to: *mut c_void,
    why: *mut c_char,
    why_size: usize,
) -> i32;

/// `remove` of `aqf_file_system`.
///
/// # Safety
/// The library passes what the header says, from any thread.
pub type RemoveFn = unsafe extern "C" fn(
    context: *mut c_void,
    path: *const c_char,
    why: *mut c_char,
    why_size: usize,
) -> i32;

/// `url` of `aqf_file_system`.
///
/// # Safety
/// The library passes what the header says, from any thread.
pub type UrlFn = unsafe extern "C" fn(
    context: *mut c_void,
    path: *const c_char,
    url: *mut c_char,
    size: usize,
    expires_s: *mut i64,
    why: *mut c_char,
    why_size: usize,
) -> i32;

/// `aqf_file_system`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header has them")]
pub struct FileSystem {
    pub struct_size: u32,
    pub reserved: u32,
    pub context: *mut c_void,
    pub put: Option<PutFn>,
    pub read: Option<ReadFn>,
    pub size: Option<SizeFn>,
    pub list: Option<ListFn>,
    pub remove: Option<RemoveFn>,
    pub url: Option<UrlFn>,
}

/// `aqf_credentials_fn`.
///
/// # Safety
/// The library passes the context that the host registered, from any thread.
pub type CredentialsFn = unsafe extern "C" fn(
    context: *mut c_void,
    place: *const c_char,
    text: *mut c_char,
    size: usize,
    expires_s: *mut i64,
    why: *mut c_char,
    why_size: usize,
) -> i32;
