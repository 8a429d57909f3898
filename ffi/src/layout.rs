//! The structs and numbers of `include/aquifer.h`, as Rust sees them.

use std::ffi::{c_char, c_void};
use std::ptr::null;

/// `AQF_ABI_VERSION`.
pub const ABI_VERSION: u32 = 1;
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
