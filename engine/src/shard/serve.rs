//! Serving requests: staged probes of the rows in memory, writes, and what goes cold.

use smallvec::SmallVec;

use crate::limits::{SERVE_CHUNK, VALUE_BYTES_MAX};
use crate::lsm::rows::{Found, row_bytes};
use crate::shard::cold::ColdGet;
use crate::shard::shard::Shard;
use crate::shard::store::Store;
use crate::shard::values::Outbox;
use crate::state::request::{Batch, Completions, Op, Request, Status, StoreId};
use crate::types::error::ErrorKind;
use crate::types::{Error, RowKind};

/// What waits for memory. Everything behind it waits too: requests take effect in the order of
/// their submission, and a cut holds what was submitted before it.
#[derive(Debug)]
pub(super) enum Stalled {
    /// A request with its bytes.
    Request { session: u16, request: Request, key: SmallVec<[u8; 32]>, value: Box<[u8]> },
    /// A checkpoint.
    Cut { session: u16, user_data: u64, store: StoreId },
}

impl Stalled {
    /// True if it is for the store at this place.
    pub(super) fn is_of(&self, place: usize) -> bool {
        let (Self::Request { request: Request { store, .. }, .. } | Self::Cut { store, .. }) = self;
        usize::from(store.0) == place
    }
}

/// A request with its bytes, wherever they lie.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub session: u16,
    pub request: &'a Request,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// How one request went.
#[derive(Debug, PartialEq, Eq)]
enum Served {
    Completed,
    /// Flushes or merges are behind: ask again when one ended.
    Behind,
    /// This many bytes find no room in memory: ask again when some was freed.
    NoRoom(usize),
}

impl Shard {
    /// Serves a batch, in order.
    pub(super) fn serve(&mut self, session: u16, batch: &Batch, outbox: &mut Outbox) {
        completions(outbox, session);
        self.counters.requests += batch.requests.len() as u64;
        for chunk in batch.requests.chunks(SERVE_CHUNK) {
            for request in chunk {
                if let Some(store) = self.store(request.store) {
                    store.rows.prefetch(request.hash);
                }
            }
            for request in chunk {
                if let Some(store) = self.store(request.store) {
                    store.rows.prefetch_row(request.hash);
                }
            }
            for request in chunk {
                let key = request.key.of(&batch.bytes);
                let value = request.value.of(&batch.bytes);
                let asked = Asked { session, request, key, value };
                if !self.stalled.is_empty() || !self.execute_or_wait(asked, outbox) {
                    self.stall(asked);
                }
            }
            self.look_up_misses(outbox);
        }
    }

    fn stall(&mut self, asked: Asked<'_>) {
        self.counters.stalls += 1;
        self.stalled.push_back(Stalled::Request {
            session: asked.session,
            request: *asked.request,
            key: SmallVec::from_slice(asked.key),
            value: asked.value.into(),
        });
    }

    /// Tries again what waited for memory.
    pub(super) fn serve_stalled(&mut self, outbox: &mut Outbox) {
        while let Some(stalled) = self.stalled.pop_front() {
            let (session, request, key, value) = match &stalled {
                Stalled::Request { session, request, key, value } => {
                    (*session, request, key, value)
                }
                &Stalled::Cut { session, user_data, store } => {
                    self.stalled_cut(session, user_data, store, outbox);
                    continue;
                }
            };
            completions(outbox, session);
            let asked = Asked { session, request, key, value };
            if !self.execute_or_wait(asked, outbox) {
                self.stalled.push_front(stalled);
                break;
            }
        }
        self.look_up_misses(outbox);
    }

    /// Fails the request that waits for memory: nothing is under way that could free some.
    pub(super) fn refuse_stalled(&mut self, outbox: &mut Outbox) {
        let Some(Stalled::Request { session, request, key, value }) = self.stalled.pop_front()
        else {
            return;
        };
        completions(outbox, session);
        let error = Error::new(
            ErrorKind::NoMemory,
            format!(
                "a row of {} bytes finds no room beside what it replaces; raise the memory budget",
                key.len() + value.len()
            ),
        );
        outbox.completions[usize::from(session)].push_error(request.user_data, error);
    }

    // False if the request must wait; what it needs is noted.
    fn execute_or_wait(&mut self, asked: Asked<'_>, outbox: &mut Outbox) -> bool {
        match self.execute(asked, outbox) {
            Served::Completed => true,
            Served::Behind => false,
            Served::NoRoom(bytes) => {
                self.room_wanted = bytes;
                false
            }
        }
    }

    fn store(&self, id: StoreId) -> Option<&Store> {
        self.stores.get(usize::from(id.0))?.as_ref()
    }

    fn execute(&mut self, asked: Asked<'_>, outbox: &mut Outbox) -> Served {
        let Asked { session, request, key, value } = asked;
        let flush_bytes = self.limits.flush_bytes;
        let out = &mut outbox.completions[usize::from(session)];
        let slot = self.stores.get_mut(usize::from(request.store.0)).and_then(Option::as_mut);
        let Some(store) = slot else {
            out.push_error(request.user_data, no_store(request.store));
            return Served::Completed;
        };
        if let Some(poison) = &store.poison {
            out.push_error(request.user_data, poison.clone());
            return Served::Completed;
        }
        match request.op {
            Op::Get => {
                self.get(asked, out);
                Served::Completed
            }
            Op::Scan => {
                self.scan(asked, outbox);
                Served::Completed
            }
            _ => match write(store, request, key, value, flush_bytes) {
                Ok(Served::Completed) => {
                    out.push(request.user_data, Status::Done);
                    Served::Completed
                }
                Ok(waits) => waits,
                Err(error) => {
                    out.push_error(request.user_data, error);
                    Served::Completed
                }
            },
        }
    }

    fn get(&mut self, asked: Asked<'_>, out: &mut Completions) {
        let Asked { session, request, key, .. } = asked;
        let store = self.stores[usize::from(request.store.0)].as_mut().expect("checked");
        let operands = match store.rows.probe(request.hash, key) {
            Found::Put(value) => {
                self.counters.row_hits += 1;
                return out.push_value(request.user_data, Status::Value, value);
            }
            Found::Absent => {
                self.counters.row_hits += 1;
                return out.push(request.user_data, Status::Absent);
            }
            Found::Nothing => None,
            Found::Partial(operands) => match store.ops.fold_all(key, &operands) {
                Ok(folded) => Some(folded),
                Err(error) => return out.push_error(request.user_data, error),
            },
        };
        self.misses.push(Box::new(ColdGet::new(session, request, key, operands, store)));
    }
}

/// A write takes effect at once, or must wait.
fn write(
    store: &mut Store,
    request: &Request,
    key: &[u8],
    value: &[u8],
    flush_bytes: usize,
) -> Result<Served, Error> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("a value of {} bytes exceeds {VALUE_BYTES_MAX}; split it", value.len()),
        ));
    }
    // Dirty rows may take what one flush writes while the flush before it runs.
    let behind = store.unflushed() && store.rows.active_bytes() >= flush_bytes;
    let paced = store.pace(flush_bytes) > 0;
    let cost = (key.len() + value.len()) as u64;
    if behind || (paced && store.credit_bytes < cost) {
        return Ok(Served::Behind);
    }
    let bytes = match request.op {
        Op::Merge(_) => store.rows.merged_bytes(request.hash, key, value.len()),
        _ => row_bytes(key.len(), value.len()),
    };
    if !store.rows.reserve(bytes) {
        return Ok(Served::NoRoom(bytes));
    }
    if paced {
        store.credit_bytes -= cost;
    }
    match request.op {
        Op::Put => store.rows.write(request.hash, key, RowKind::Put, value),
        Op::Delete => store.rows.write(request.hash, key, RowKind::Delete, &[]),
        Op::Merge(op) => store.rows.merge(request.hash, key, op, value)?,
        Op::Clear => {
            store.clears += 1;
            store.rows.clear(key);
        }
        Op::Get | Op::Scan => unreachable!("reads are served elsewhere"),
    }
    Ok(Served::Completed)
}

/// Makes sure the session has a list of completions.
pub(super) fn completions(outbox: &mut Outbox, session: u16) {
    let needed = usize::from(session) + 1;
    if outbox.completions.len() < needed {
        outbox.completions.resize_with(needed, Completions::default);
    }
}

fn no_store(id: StoreId) -> Error {
    Error::new(ErrorKind::Closed, format!("store {} is not open on this shard", id.0))
}
