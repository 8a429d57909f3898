//! Serving requests: staged probes of the rows in memory, writes, and what goes cold.

use crate::limits::{INLINE_VALUE_BYTES_MAX, SERVE_CHUNK, VALUE_BYTES_MAX};
use crate::lsm::rows::{Found, row_bytes};
use crate::shard::cold::{ColdGet, Waiting};
use crate::shard::shard::Shard;
use crate::shard::stalled::Waits;
use crate::shard::statistics::Kind;
use crate::shard::store::Store;
use crate::shard::values::Outbox;
use crate::state::request::{Batch, Completions, Op, Request, Status, StoreId};
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, RowKind};

/// A request with its bytes, wherever they lie.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub session: u16,
    pub request: &'a Request,
    /// When a tick took it.
    pub since: Nanos,
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
    /// Its session has not taken enough answers: ask again when it did.
    Held,
}

/// Whether one request was served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Served,
    /// What it needs is noted.
    Waits,
    /// See `Served::Held`.
    Held,
}

impl Shard {
    /// Serves the requests of a batch from number `from` on, in order. The number of the one that
    /// must wait until the session took answers, or how many there are.
    pub(super) fn serve(
        &mut self,
        session: u16,
        batch: &Batch,
        from: usize,
        outbox: &mut Outbox,
    ) -> usize {
        completions(outbox, session);
        let mut served = from;
        for chunk in batch.requests[from..].chunks(SERVE_CHUNK) {
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
                let asked = Asked { session, request, since: self.now, key, value };
                let follows = !self.stalled.is_empty() && self.stalled.holds_up(request, key);
                let tried =
                    if follows { Tried::Waits } else { self.execute_or_wait(asked, outbox) };
                match tried {
                    Tried::Served => {}
                    Tried::Waits => {
                        self.counters.stalls += 1;
                        self.stalled.push(asked);
                    }
                    Tried::Held => {
                        self.look_up_misses(outbox);
                        return served;
                    }
                }
                served += 1;
            }
            self.look_up_misses(outbox);
        }
        served
    }

    /// Tries again what waited.
    pub(super) fn serve_stalled(&mut self, outbox: &mut Outbox) {
        for store in self.stalled.oldest_first() {
            while let Some(stalled) = self.stalled.pop(store) {
                if !self.try_again(store, &stalled.what, outbox) {
                    self.stalled.put_back(store, stalled);
                    break;
                }
            }
            if self.room_wanted.is_some() {
                // Memory belongs to all: what waits longest for it gets it first.
                break;
            }
        }
        self.look_up_misses(outbox);
    }

    fn try_again(&mut self, store: StoreId, what: &Waits, outbox: &mut Outbox) -> bool {
        match what {
            &Waits::Cut { session, user_data } => {
                self.stalled_cut(session, user_data, store, outbox);
                true
            }
            Waits::Request { session, request, since, key, value } => {
                completions(outbox, *session);
                let (session, since) = (*session, *since);
                let asked = Asked { session, request, since, key, value };
                let tried = self.execute_or_wait(asked, outbox);
                if tried == Tried::Held {
                    self.answers.stalled.push(session);
                }
                tried == Tried::Served
            }
        }
    }

    /// Fails the first request of a store, which waits for memory: nothing is under way that could
    /// free some.
    pub(super) fn refuse_stalled(&mut self, store: StoreId, outbox: &mut Outbox) {
        let first = self.stalled.pop(store).map(|stalled| stalled.what);
        let Some(Waits::Request { session, request, key, value, .. }) = first else { return };
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

    fn execute_or_wait(&mut self, asked: Asked<'_>, outbox: &mut Outbox) -> Tried {
        let Request { store, user_data, .. } = *asked.request;
        let waits = match self.execute(asked, outbox) {
            Served::Completed => return Tried::Served,
            Served::Held => return Tried::Held,
            waits => waits,
        };
        let mut outage = self.store(store).and_then(Store::outage);
        if let Served::NoRoom(_) = waits {
            outage = outage.or_else(|| self.outage());
        }
        if let Some(error) = outage {
            outbox.completions[usize::from(asked.session)].push_error(user_data, error);
            return Tried::Served;
        }
        if let Served::NoRoom(bytes) = waits {
            self.room_wanted.get_or_insert((store, bytes));
        }
        Tried::Waits
    }

    // Why no store will free memory soon: all that have rows to flush fail to.
    fn outage(&self) -> Option<Error> {
        let unflushed = self.stores.iter().flatten().filter(|store| store.unflushed());
        unflushed.map(Store::outage).collect::<Option<Vec<_>>>()?.pop()
    }

    /// The store with this number, which may be closed.
    #[inline]
    pub(super) fn store(&self, id: StoreId) -> Option<&Store> {
        self.stores.get(id.place())?.as_ref().filter(|store| store.id == id)
    }

    /// As `store`.
    #[inline]
    pub(super) fn store_mut(&mut self, id: StoreId) -> Option<&mut Store> {
        self.stores.get_mut(id.place())?.as_mut().filter(|store| store.id == id)
    }

    fn execute(&mut self, asked: Asked<'_>, outbox: &mut Outbox) -> Served {
        let Asked { session, request, since, key, value } = asked;
        let flush_bytes = self.limits.flush_bytes;
        let out = &mut outbox.completions[usize::from(session)];
        let slot = self.stores.get_mut(request.store.place()).and_then(Option::as_mut);
        let Some(store) = slot.filter(|store| store.id == request.store) else {
            out.push_error(request.user_data, no_store(request.store));
            return Served::Completed;
        };
        if let Some(poison) = &store.poison {
            out.push_error(request.user_data, poison.clone());
            return Served::Completed;
        }
        match request.op {
            Op::Get => self.get(asked, out),
            Op::Scan if self.answers.enough(session, out.bytes.len()) => Served::Held,
            Op::Scan => {
                store.requests.of(request.state).count(Op::Scan);
                self.scan(asked, outbox);
                Served::Completed
            }
            _ => {
                match write(store, request, key, value, flush_bytes) {
                    Ok(Served::Completed) => out.push(request.user_data, Status::Done),
                    Ok(waits) => return waits,
                    Err(error) => out.push_error(request.user_data, error),
                }
                store.requests.of(request.state).count(request.op);
                self.latencies.answered(Kind::Write, since, self.now);
                Served::Completed
            }
        }
    }

    fn get(&mut self, asked: Asked<'_>, out: &mut Completions) -> Served {
        let Asked { session, request, since, key, .. } = asked;
        let store = self.stores[request.store.place()].as_mut().expect("checked");
        let requests = store.requests.of(request.state);
        requests.count(Op::Get);
        let operands = match store.rows.probe(request.hash, key) {
            Found::Put(value)
                if value.len() > INLINE_VALUE_BYTES_MAX
                    && self.answers.enough(session, out.bytes.len()) =>
            {
                // It comes again.
                requests.gets -= 1;
                return Served::Held;
            }
            Found::Put(value) => {
                out.push_value(request.user_data, Status::Value, value);
                requests.row_hits += 1;
                self.latencies.answered(Kind::Get, since, self.now);
                return Served::Completed;
            }
            Found::Absent => {
                out.push(request.user_data, Status::Absent);
                requests.row_hits += 1;
                requests.absent += 1;
                self.latencies.answered(Kind::Get, since, self.now);
                return Served::Completed;
            }
            Found::Nothing => None,
            Found::Partial(operands) => match store.ops.fold_all(key, &operands) {
                Ok(folded) => Some(folded),
                Err(error) => {
                    out.push_error(request.user_data, error);
                    return Served::Completed;
                }
            },
        };
        let get = ColdGet::new(asked, operands, store);
        let open = get.lookup.tablet().is_open();
        let waiting = if open { &mut self.misses } else { &mut store.opening.waiting };
        waiting.push(self.cold.insert(Waiting::Get(get)));
        Served::Completed
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
        Op::Merge(_) => store.rows.merged_bytes(request.hash, key, value.len())?,
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

/// The error of a request for a store that is not there.
pub(super) fn no_store(id: StoreId) -> Error {
    Error::new(ErrorKind::Closed, format!("store {} is not open on this shard", id.0))
}
