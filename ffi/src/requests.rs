//! Requests of the host become requests of the engine.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aquifer::checkpoint::handle::split;
use aquifer::codec::reader::Reader;
use aquifer::codec::varint;
use aquifer::limits::{KEY_BYTES_MAX, STATE_NAME_BYTES_MAX, STATES_MAX, VALUE_BYTES_MAX};
use aquifer::shard::engine::opening;
use aquifer::shard::values::ControlOp;
use aquifer::state::handle::{Key, ListState, MapState, ReducingState, Target, ValueState};
use aquifer::state::request::{Batch, StoreId};
use aquifer::state::{StateKind, StateTable};
use aquifer::types::key::too_large;
use aquifer::types::{KeyGroup, MergeOp};

use crate::engine::{STORES, StoreObject, StoreState};
use crate::handles::Kind;
use crate::layout::{KEY_GROUP_AUTO, Request, kind, op};
use crate::session::{State, check_home};
use crate::status::{Failure, Status};

/// An open store as a session knows it.
pub struct Known {
    handle: u64,
    // Of the object when it was copied.
    version: u64,
    object: Arc<StoreObject>,
    id: StoreId,
    states: Vec<AnyState>,
}

#[derive(Clone, Copy)]
enum AnyState {
    Value(ValueState),
    List(ListState),
    Map(MapState),
    Reducing(ReducingState),
}

impl Known {
    fn new(handle: u64, object: Arc<StoreObject>) -> Result<Self, Failure> {
        let version = object.version.load(Ordering::Acquire);
        let inner = object.inner();
        match inner.state {
            StoreState::Open(id) => {
                Ok(Self { handle, version, object, id, states: any_states(id, &inner.states) })
            }
            StoreState::Begun(_) => Err(Failure::invalid(
                "the store keeps its checkpoints itself: restore the newest of them first, by an \
                 AQF_RESTORE without handles",
            )),
            StoreState::Restoring(_) => {
                Err(Failure::invalid("the store is being restored: wait until that completes"))
            }
            StoreState::Closed => Err(Kind::Store.bad(handle)),
        }
    }

    #[inline]
    fn is_now(&self, handle: u64) -> bool {
        self.handle == handle && self.version == self.object.version.load(Ordering::Acquire)
    }
}

fn any_states(store: StoreId, table: &StateTable) -> Vec<AnyState> {
    let state = |descriptor: &aquifer::state::StateDescriptor| {
        let name = &descriptor.name[..];
        Ok(match descriptor.kind {
            StateKind::Value => AnyState::Value(table.value(store, name)?),
            StateKind::List => AnyState::List(table.list(store, name)?),
            StateKind::Map => AnyState::Map(table.map(store, name)?),
            StateKind::Reducing(_) => AnyState::Reducing(table.reducing(store, name)?),
        })
    };
    let states: aquifer::types::Result<Vec<AnyState>> =
        table.iter().map(|(_, descriptor)| state(descriptor)).collect();
    states.expect("a state is of its own kind")
}

/// The bytes that a host's pointer and length name; `'a` is the call's.
///
/// # Safety
/// `len` bytes are readable at `data` for the whole call, unless `data` is null or `len` zero.
pub unsafe fn bytes<'a>(data: *const c_void, len: usize, what: &str) -> Result<&'a [u8], Failure> {
    if data.is_null() && len > 0 {
        return Err(Failure::invalid(format!("{what} is null, and its length {len}")));
    }
    if len > isize::MAX as usize {
        return Err(Failure::invalid(format!("{what} has the impossible length {len}")));
    }
    // SAFETY: not null where there is a length, and the caller vouches for that.
    Ok(unsafe { slice(data, len) })
}

// SAFETY (for callers): `len` bytes are readable at `data`, or `len` is zero.
#[inline(always)]
unsafe fn slice<'a>(data: *const c_void, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(data.cast(), len) }
}

// A request with its bytes.
struct Parts<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
    map_key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Parts<'a> {
    // Limits come before the first look at the bytes: a length that is wrong by far is not read.
    //
    // SAFETY (for callers): the pointers and lengths of `r` name readable bytes.
    #[inline(always)]
    unsafe fn of(r: &Request) -> Result<Self, Failure> {
        let Request { key, ns, map_key, value, .. } = *r;
        let (key_len, ns_len) = (r.key_len as usize, r.ns_len as usize);
        let (map_key_len, value_len) = (r.map_key_len as usize, r.value_len as usize);
        let null = |data: *const c_void, len| data.is_null() & (len > 0);
        let missing = null(key, key_len)
            | null(ns, ns_len)
            | null(map_key, map_key_len)
            | null(value, value_len);
        let long = key_len + ns_len + map_key_len > KEY_BYTES_MAX || value_len > VALUE_BYTES_MAX;
        if missing | long {
            return Err(wrong_bytes(r.op, [key_len, ns_len, map_key_len, value_len], missing));
        }
        // SAFETY: as the caller says; what has a length is not null.
        unsafe {
            Ok(Self {
                key: slice(key, key_len),
                namespace: slice(ns, ns_len),
                map_key: slice(map_key, map_key_len),
                value: slice(value, value_len),
            })
        }
    }
}

#[cold]
pub fn value_too_large(bytes: usize) -> Failure {
    let text = format!(
        "a value of {bytes} bytes exceeds the limit of {VALUE_BYTES_MAX}; split it over the \
         entries of a map state"
    );
    Failure::new(Status::TooLarge, text)
}

#[cold]
fn wrong_bytes(op: u16, lens: [usize; 4], missing: bool) -> Failure {
    let [key, ns, map_key, value] = lens;
    if op == op::OPEN_STATE && key > STATE_NAME_BYTES_MAX {
        let text = format!(
            "the name of a state has {key} bytes; use 1 to {STATE_NAME_BYTES_MAX}, for it stands \
             in every checkpoint"
        );
        return Failure::invalid(text);
    }
    if key + ns + map_key > KEY_BYTES_MAX {
        return too_large(key + ns + map_key).into();
    }
    if value > VALUE_BYTES_MAX {
        return value_too_large(value);
    }
    debug_assert!(missing);
    Failure::invalid(format!(
        "a null pointer with a length: key {key}, namespace {ns}, map key {map_key}, value {value}"
    ))
}

impl State {
    /// Takes one request; if it is wrong, it completes with its error.
    ///
    /// # Safety
    /// The pointers and lengths of `r` name readable bytes.
    pub unsafe fn take_request(&mut self, r: &Request) {
        let bytes = r.key_len.saturating_add(r.value_len);
        let bytes = bytes.min((KEY_BYTES_MAX + VALUE_BYTES_MAX) as u32);
        let number = self.pending.note(r.user_data, bytes);
        // SAFETY: as the caller says.
        let taken = unsafe { Parts::of(r) }.and_then(|parts| {
            if r.op < op::OPEN_STATE {
                self.push(r, &parts, number)
            } else {
                self.control(r, &parts, number)
            }
        });
        if let Err(failure) = taken {
            self.refuse(number, &failure);
        }
    }

    /// Takes a request that is wrong as a whole: it completes with its error.
    #[cold]
    pub fn refuse_request(&mut self, user_data: u64, failure: &Failure) {
        let number = self.pending.note(user_data, 0);
        self.refuse(number, failure);
    }

    // The place of a store in `stores`, as it is now.
    #[inline]
    fn known(&mut self, handle: u64) -> Result<usize, Failure> {
        match self.stores.get(self.last_store) {
            Some(known) if known.is_now(handle) => Ok(self.last_store),
            _ => self.look_up(handle),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, handle: u64) -> Result<usize, Failure> {
        let at = self.stores.iter().position(|known| known.handle == handle);
        self.last_store = match at.filter(|&at| self.stores[at].is_now(handle)) {
            Some(at) => at,
            None => {
                // Closed stores go, lest a session that sees many keeps them all.
                self.stores.retain(|known| known.is_now(known.handle));
                let object = STORES.get(handle)?;
                check_home(&object, self)?;
                self.stores.push(Known::new(handle, object)?);
                self.stores.len() - 1
            }
        };
        Ok(self.last_store)
    }

    #[inline(always)]
    fn push(&mut self, r: &Request, parts: &Parts<'_>, number: u64) -> Result<(), Failure> {
        let at = self.known(r.store)?;
        let known = &self.stores[at];
        let state = known.states.get(usize::from(r.state).wrapping_sub(1));
        let state = *state.ok_or_else(|| no_state(r.state, known.states.len()))?;
        let key = key_of(r, parts.key, &known.object)?;
        let target = Target { key, namespace: parts.namespace, user_data: number };
        push_to(&mut self.batch, state, r, parts, &target)
    }

    fn control(&mut self, r: &Request, parts: &Parts<'_>, number: u64) -> Result<(), Failure> {
        if r.op == op::RESTORE {
            return self.restore(r.store, parts.value, number);
        }
        let at = self.known(r.store)?;
        let known = &self.stores[at];
        let id = known.id;
        let mut opens = None;
        let control = match r.op {
            op::OPEN_STATE => {
                opens = Some(Arc::clone(&known.object));
                ControlOp::Declare(id, state_name(parts.key)?, state_kind(r.limit)?)
            }
            op::CHECKPOINT => ControlOp::Checkpoint(id),
            op::RELEASE => ControlOp::Release(id, parts.value.to_vec()),
            op::DRAIN => ControlOp::Drain(id),
            op::CLAIM => {
                let handles = split(parts.value).into_iter().map(<[u8]>::to_vec);
                ControlOp::Claim(id, handles.collect())
            }
            op::LIST_OBJECTS => ControlOp::List(parts.value.to_vec()),
            wrong => return Err(Failure::invalid(format!("there is no operation {wrong}"))),
        };
        self.start(number, control, opens);
        Ok(())
    }

    fn restore(&mut self, store: u64, handles: &[u8], number: u64) -> Result<(), Failure> {
        let object = STORES.get(store)?;
        check_home(&object, self)?;
        let config = object.begin_restore(handles)?;
        let open = opening(config).inspect_err(|_| object.restore_failed())?;
        self.start(number, open, Some(object));
        Ok(())
    }
}

#[inline]
fn key_of<'a>(r: &Request, bytes: &'a [u8], store: &StoreObject) -> Result<Key<'a>, Failure> {
    let key = if r.key_group == KEY_GROUP_AUTO {
        Key::new(bytes, store.config.key_groups)
    } else {
        let group = KeyGroup::try_from(r.key_group).unwrap_or(KeyGroup::MAX);
        Key { group, bytes }
    };
    let (first, last) = store.config.range;
    if key.group < first || key.group > last {
        return Err(Failure::invalid(format!(
            "the key is of key group {}, and the store has {first} to {last}",
            if r.key_group == KEY_GROUP_AUTO { u32::from(key.group) } else { r.key_group }
        )));
    }
    Ok(key)
}

// The usual operations; each is inlined whole, which pays for two of them.
#[inline(always)]
fn push_to(
    batch: &mut Batch,
    state: AnyState,
    r: &Request,
    parts: &Parts<'_>,
    target: &Target<'_>,
) -> Result<(), Failure> {
    match (state, r.op) {
        (AnyState::Value(state), op::GET) => Ok(state.request_get(batch, target)?),
        (AnyState::Value(state), op::PUT) => Ok(state.request_put(batch, target, parts.value)?),
        _ => push_other(batch, state, r, parts, target),
    }
}

#[inline(never)]
fn push_other(
    batch: &mut Batch,
    state: AnyState,
    r: &Request,
    parts: &Parts<'_>,
    target: &Target<'_>,
) -> Result<(), Failure> {
    let Parts { map_key, value, .. } = *parts;
    match (state, r.op) {
        (AnyState::Value(state), op::DELETE) => state.request_delete(batch, target)?,
        (AnyState::List(state), op::GET) => state.request_get(batch, target)?,
        (AnyState::List(state), op::PUT) => {
            state.request_update(batch, target, &items(value)?)?;
        }
        (AnyState::List(state), op::ADD) => state.request_add(batch, target, &[value])?,
        (AnyState::List(state), op::DELETE) => state.request_update(batch, target, &[])?,
        (AnyState::Map(state), op::GET) => state.request_get(batch, target, map_key)?,
        (AnyState::Map(state), op::PUT) => state.request_put(batch, target, map_key, value)?,
        (AnyState::Map(state), op::DELETE) => state.request_remove(batch, target, map_key)?,
        (AnyState::Map(state), op::CLEAR) => state.request_clear(batch, target)?,
        (AnyState::Map(state), op::SCAN) => state.request_scan(batch, target, map_key, r.limit)?,
        (AnyState::Reducing(state), op::GET) => state.request_get(batch, target)?,
        (AnyState::Reducing(state), op::ADD) => {
            let number = value.try_into().map_err(|_| {
                let text = "a number is eight bytes, little-endian";
                Failure::invalid(format!("{text}, and not {}", value.len()))
            })?;
            state.request_add(batch, target, i64::from_le_bytes(number))?;
        }
        (AnyState::Reducing(state), op::DELETE) => state.request_clear(batch, target)?,
        (state, op) => return Err(wrong_op(state, op)),
    }
    Ok(())
}

/// The next item of bytes that a host passes: a length, in no more bytes than it needs, and so many
/// bytes.
pub fn item<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Failure> {
    let before = reader.remaining();
    let item = reader
        .span()
        .filter(|item| before - reader.remaining() == varint::len(item.len() as u64) + item.len());
    item.ok_or_else(|| {
        Failure::invalid(
            "these bytes are not items; pass those of a list or a scan, or what aqf_put_item wrote",
        )
    })
}

fn items(value: &[u8]) -> Result<Vec<&[u8]>, Failure> {
    let mut reader = Reader::new(value);
    let mut items = Vec::new();
    while reader.remaining() > 0 {
        items.push(item(&mut reader)?);
    }
    Ok(items)
}

#[cold]
fn wrong_op(state: AnyState, op: u16) -> Failure {
    let (kind, has) = match state {
        AnyState::Value(_) => ("value", "AQF_GET, AQF_PUT and AQF_DELETE"),
        AnyState::List(_) => ("list", "AQF_GET, AQF_PUT, AQF_ADD and AQF_DELETE"),
        AnyState::Map(_) => ("map", "AQF_GET, AQF_PUT, AQF_DELETE, AQF_CLEAR and AQF_SCAN"),
        AnyState::Reducing(_) => ("reducing", "AQF_GET, AQF_ADD and AQF_DELETE"),
    };
    Failure::invalid(format!("a {kind} state has no operation {op}; it has {has}"))
}

#[cold]
fn no_state(state: u16, open: usize) -> Failure {
    Failure::invalid(format!(
        "the store has no state {state} among its {open}; use the number that AQF_OPEN_STATE gave"
    ))
}

fn state_name(name: &[u8]) -> Result<String, Failure> {
    let name = std::str::from_utf8(name);
    let name = name.map_err(|_| Failure::invalid("the name of a state is not UTF-8"))?;
    Ok(name.to_owned())
}

fn state_kind(number: u32) -> Result<StateKind, Failure> {
    Ok(match number {
        kind::VALUE => StateKind::Value,
        kind::LIST => StateKind::List,
        kind::MAP => StateKind::Map,
        kind::SUM => StateKind::Reducing(MergeOp::Sum),
        kind::MIN => StateKind::Reducing(MergeOp::Min),
        kind::MAX => StateKind::Reducing(MergeOp::Max),
        wrong => return Err(Failure::invalid(format!("there is no kind of state {wrong}"))),
    })
}

const _: () = assert!(STATES_MAX <= u16::MAX as usize);
