//! Requests about a store as a whole: open and restore, checkpoint, release, drain, close.

use crate::checkpoint::handle::Handle;
use crate::io::values::IoRequest;
use crate::limits::{
    KEY_GROUPS_MAX, MANIFEST_BYTES_MAX, MANIFEST_MEMORY_BYTES_MAX, STORES_MAX, TRIAL_STORE,
};
use crate::lsm::manifest::Manifest;
use crate::mem::slab::Token;
use crate::shard::cold::closed;
use crate::shard::restore::{Gathering, Purpose};
use crate::shard::roots::Rooting;
use crate::shard::serve::no_store;
use crate::shard::shard::Shard;
use crate::shard::store::{Cut, Store};
use crate::shard::values::{
    Control, ControlDone, ControlOp, ControlResult, OpenStore, Outbox, StoredObject,
};
use crate::shard::warm::hot_pages;
use crate::state::StateKind;
use crate::state::request::StoreId;
use crate::types::{Error, ObjectKind, Result};

/// A control request that waits for the DFS or a job.
#[derive(Debug)]
pub(super) enum PendingControl {
    /// The manifests of some checkpoints are being read.
    Gather(Gathering),
    /// One of them: the number `at` of the whole.
    Source { whole: Token, at: usize, again: bool },
    /// The manifest whose objects are to be listed is being read.
    List { session: u16, user_data: u64, handle: Handle, again: bool },
    /// The manifest of a checkpoint is being written.
    Put { session: u16, user_data: u64, store: StoreId, handle: Handle, rooted: bool },
    /// A root is being looked for or committed.
    Root(Box<Rooting>),
}

pub(super) fn done(
    outbox: &mut Outbox,
    session: u16,
    user_data: u64,
    result: Result<ControlResult>,
) {
    outbox.controls.push(ControlDone { session, user_data, result });
}

/// What the loaded bytes of a manifest say, if they are those of the handle and memory of so many
/// bytes takes it.
pub(super) fn manifest_of(
    handle: &Handle,
    loaded: &Result<Vec<u8>>,
    memory_bytes: usize,
) -> Result<Manifest> {
    let bytes = loaded.as_ref().map_err(Clone::clone)?;
    handle.verify(bytes)?;
    Manifest::decode_within(&handle.manifest, bytes, memory_bytes)
}

impl Shard {
    /// Cuts a checkpoint that waited behind requests.
    pub(super) fn stalled_cut(
        &mut self,
        session: u16,
        user_data: u64,
        id: StoreId,
        outbox: &mut Outbox,
    ) {
        if let Err(error) = self.cut(session, user_data, id, outbox) {
            done(outbox, session, user_data, Err(error));
        }
    }

    /// Takes a control request.
    pub(super) fn control(&mut self, control: Control, outbox: &mut Outbox) {
        let Control { session, user_data, op, .. } = control;
        let result = match op {
            ControlOp::Open(open) => self.open(session, user_data, open, outbox),
            ControlOp::Declare(id, name, kind) => self.declare(id, &name, kind).map(Some),
            ControlOp::List(handle) => self.list(session, user_data, &handle, outbox),
            // Writes that wait were submitted before.
            ControlOp::Checkpoint(id) if self.stalled.names(id) => {
                self.stalled.push_cut(session, user_data, id);
                Ok(None)
            }
            ControlOp::Checkpoint(id) => self.cut(session, user_data, id, outbox),
            ControlOp::Claim(id, handles) => self
                .host_kept(id)
                .and_then(|_| {
                    self.gather((session, user_data), &handles, Purpose::Claim(id), outbox)
                })
                .map(|()| handles.is_empty().then_some(ControlResult::Done)),
            ControlOp::Release(id, handle) => self.release(id, &handle, outbox).map(Some),
            ControlOp::Drain(id) => self.index(id).map(|index| {
                let store = self.stores[index].as_mut().expect("just looked up");
                store.drains.push((session, user_data));
                self.finish_drains(index, outbox);
                None
            }),
            ControlOp::Close(id) => self.close(id, outbox).map(Some),
        };
        match result {
            Ok(None) => {}
            Ok(Some(result)) => done(outbox, session, user_data, Ok(result)),
            Err(error) => done(outbox, session, user_data, Err(error)),
        }
    }

    pub(super) fn index(&self, id: StoreId) -> Result<usize> {
        match self.store(id) {
            Some(store) => match &store.poison {
                Some(poison) => Err(poison.clone()),
                None => Ok(id.place()),
            },
            None => Err(no_store(id)),
        }
    }

    fn open(
        &mut self,
        session: u16,
        user_data: u64,
        open: Box<OpenStore>,
        outbox: &mut Outbox,
    ) -> Result<Option<ControlResult>> {
        check_groups(open.key_groups, open.range)?;
        if open.number == TRIAL_STORE {
            let what = "trials of the DFS write below this number of a store: use a smaller one";
            return Err(Error::invalid(what));
        }
        if open.keep > 0 {
            self.open_newest((session, user_data), open, outbox)?;
            return Ok(None);
        }
        if open.handles.is_empty() {
            return self.add(Store::new(*open, &self.limits)).map(Some);
        }
        let handles = open.handles.clone();
        self.gather((session, user_data), &handles, Purpose::Open(open), outbox)?;
        Ok(None)
    }

    pub(super) fn load(&mut self, handle: &Handle, pending: PendingControl, outbox: &mut Outbox) {
        let token = self.controls.insert(pending);
        let bytes_max = handle.manifest_bytes.min(MANIFEST_BYTES_MAX);
        let (name, expected) = (handle.manifest, true);
        outbox.io.push(IoRequest::Load { token, name, bytes_max, expected });
    }

    // Jobs that run know the states that their rows are of; no row is of a new one.
    fn declare(&mut self, id: StoreId, name: &str, kind: StateKind) -> Result<ControlResult> {
        let index = self.index(id)?;
        let store = self.stores[index].as_mut().expect("just looked up");
        let state = store.states.declare(name, kind)?;
        store.ops = store.states.merge_ops();
        store.requests.grow(store.states.len());
        Ok(ControlResult::Declared(state, store.states.clone()))
    }

    fn list(
        &mut self,
        session: u16,
        user_data: u64,
        handle: &[u8],
        outbox: &mut Outbox,
    ) -> Result<Option<ControlResult>> {
        let handle = Handle::decode(handle)?;
        self.load(
            &handle,
            PendingControl::List { session, user_data, handle, again: false },
            outbox,
        );
        Ok(None)
    }

    pub(super) fn add(&mut self, mut store: Store) -> Result<ControlResult> {
        let states = store.states.clone();
        let free = self.stores.iter().position(Option::is_none);
        let index = free.unwrap_or(self.stores.len());
        if index >= STORES_MAX {
            return Err(Error::invalid(format!(
                "a shard holds at most {STORES_MAX} stores; use more shards"
            )));
        }
        if index == self.stores.len() {
            self.stores.push(None);
        }
        let id = StoreId::new(index, self.stores_opened);
        self.stores_opened = self.stores_opened.wrapping_add(1);
        store.id = id;
        self.stores[index] = Some(store);
        Ok(ControlResult::Opened(id, states))
    }

    /// An object arrived that a control request needs.
    pub(super) fn object_loaded(
        &mut self,
        token: Token,
        result: Result<Vec<u8>>,
        of_store: bool,
        outbox: &mut Outbox,
    ) {
        let pending = self.controls.remove(token);
        if of_store
            && let (Some(pending), Ok(bytes)) = (&pending, &result)
            && let Some((handle, next)) = self.another_load(pending)
            && handle.verify(bytes).is_err()
        {
            self.counters.rereads += 1;
            return self.load(&handle, next, outbox);
        }
        match pending {
            Some(PendingControl::Source { whole, at, .. }) => {
                self.source_loaded(whole, at, result, outbox);
            }
            Some(PendingControl::List { session, user_data, handle, .. }) => {
                let listed = manifest_of(&handle, &result, MANIFEST_MEMORY_BYTES_MAX);
                let listed = listed.map(|manifest| {
                    let own = StoredObject::of_manifest(&handle);
                    let tables = manifest.tables.iter().map(StoredObject::of_table);
                    ControlResult::Objects(std::iter::once(own).chain(tables).collect())
                });
                done(outbox, session, user_data, listed);
            }
            Some(PendingControl::Root(root)) => self.root_looked(*root, result, outbox),
            Some(PendingControl::Put { .. } | PendingControl::Gather(_)) | None => {}
        }
    }

    // Which manifest is loaded once more, and for what, if a store brought wrong bytes.
    fn another_load(&self, pending: &PendingControl) -> Option<(Handle, PendingControl)> {
        match *pending {
            PendingControl::Source { whole, at, again: false } => {
                let Some(PendingControl::Gather(all)) = self.controls.get(whole) else {
                    return None;
                };
                Some((all.handle(at), PendingControl::Source { whole, at, again: true }))
            }
            PendingControl::List { session, user_data, handle, again: false } => {
                let next = PendingControl::List { session, user_data, handle, again: true };
                Some((handle, next))
            }
            _ => None,
        }
    }

    /// Cuts a checkpoint: what was submitted before belongs to it.
    fn cut(
        &mut self,
        session: u16,
        user_data: u64,
        id: StoreId,
        outbox: &mut Outbox,
    ) -> Result<Option<ControlResult>> {
        let index = self.index(id)?;
        let store = self.stores[index].as_mut().expect("just looked up");
        let last = store.freeze().or_else(|| store.last_frozen());
        store.cuts.push_back(Cut { session, user_data, generation: last });
        self.finish_cuts(index, outbox);
        Ok(None)
    }

    /// Writes the manifest of every cut whose rows are flushed.
    pub(super) fn finish_cuts(&mut self, index: usize, outbox: &mut Outbox) {
        let Some(store) = self.stores[index].as_mut() else { return };
        while let Some(cut) = store.cuts.front() {
            let oldest = store.oldest_unflushed();
            let flushed = match (cut.generation, oldest) {
                (Some(last), Some(oldest)) => last < oldest,
                _ => true,
            };
            if !flushed || store.lineage.as_ref().is_some_and(|lineage| lineage.commits) {
                break;
            }
            let cut = store.cuts.pop_front().expect("just seen");
            let name = store.new_name(ObjectKind::Manifest);
            let mut manifest = store.manifest();
            manifest.hot = hot_pages(self.ssd.as_ref(), &manifest);
            let bytes = match manifest.to_object(&name) {
                Ok(bytes) => bytes,
                Err(error) => {
                    log::warn!("store {}: a checkpoint failed: {}", store.number, error.text);
                    done(outbox, cut.session, cut.user_data, Err(error));
                    continue;
                }
            };
            let handle = Handle::of(name, &bytes);
            // From here on nothing that the manifest names may be deleted.
            store.retain(handle);
            if let Some(lineage) = &mut store.lineage {
                lineage.commits = true;
            }
            let token = self.controls.insert(PendingControl::Put {
                session: cut.session,
                user_data: cut.user_data,
                store: store.id,
                handle,
                rooted: store.lineage.is_some(),
            });
            outbox.io.push(IoRequest::Put { token, name, bytes });
        }
    }

    /// A put ended that a control request needs.
    pub(super) fn object_put(&mut self, token: Token, result: Result<()>, outbox: &mut Outbox) {
        match self.controls.remove(token) {
            Some(PendingControl::Put { session, user_data, store, handle, rooted }) => {
                let ended = match result {
                    Ok(()) if rooted => {
                        return self.commit_root((session, user_data), store, handle, outbox);
                    }
                    Ok(()) => {
                        self.counters.checkpoints += 1;
                        Ok(ControlResult::Handle(handle.encode()))
                    }
                    Err(error) => {
                        self.give_cut_up(store, &handle, &error, outbox);
                        Err(error)
                    }
                };
                done(outbox, session, user_data, ended);
            }
            Some(PendingControl::Root(rooting)) => self.root_put(*rooting, result, outbox),
            _ => {}
        }
    }

    // The manifest of a checkpoint cannot be put.
    fn give_cut_up(&mut self, id: StoreId, handle: &Handle, error: &Error, outbox: &mut Outbox) {
        let Some(store) = self.store_mut(id) else { return };
        log::warn!("store {}: a checkpoint failed: {}", store.number, error.text);
        for name in store.ownership.release(handle) {
            outbox.io.push(IoRequest::Delete { name });
        }
        self.commit_ended(id, outbox);
    }

    fn release(
        &mut self,
        id: StoreId,
        handle: &[u8],
        outbox: &mut Outbox,
    ) -> Result<ControlResult> {
        let index = self.host_kept(id)?;
        let handle = Handle::decode(handle)?;
        let store = self.stores[index].as_mut().expect("just looked up");
        for name in store.ownership.release(&handle) {
            outbox.io.push(IoRequest::Delete { name });
        }
        Ok(ControlResult::Done)
    }

    /// Answers the drains of a store with nothing left to do.
    pub(super) fn finish_drains(&mut self, index: usize, outbox: &mut Outbox) {
        let Some(store) = self.stores[index].as_mut() else { return };
        if store.drains.is_empty() {
            return;
        }
        if store.settled() {
            answer_drains(store, &Ok(ControlResult::Done), outbox);
        }
    }

    fn close(&mut self, id: StoreId, outbox: &mut Outbox) -> Result<ControlResult> {
        let store = self.store_mut(id).filter(|s| !s.closed).ok_or_else(|| no_store(id))?;
        store.close();
        give_up(store, outbox);
        self.refuse_waiting(id.place(), &closed(), outbox);
        // It answers what waits.
        self.serve_stalled(outbox);
        Ok(ControlResult::Done)
    }
}

/// Answers the cuts and drains of a store whose jobs fail and fail, or that answers nothing any
/// more.
pub(super) fn give_up(store: &mut Store, outbox: &mut Outbox) {
    if let Some(error) = store.poison.clone().or_else(|| store.cut_outage()) {
        if !store.cuts.is_empty() && !store.closed {
            log::warn!("store {}: a checkpoint failed: {}", store.number, error.text);
        }
        for cut in store.cuts.drain(..) {
            done(outbox, cut.session, cut.user_data, Err(error.clone()));
        }
    }
    if let Some(error) = store.poison.clone().or_else(|| store.drain_outage()) {
        answer_drains(store, &Err(error), outbox);
    }
}

/// Ends the drains of a store.
pub(super) fn answer_drains(
    store: &mut Store,
    result: &Result<ControlResult>,
    outbox: &mut Outbox,
) {
    for (session, user_data) in std::mem::take(&mut store.drains) {
        done(outbox, session, user_data, result.clone());
    }
}

impl Store {
    /// The manifest of the version of now.
    fn manifest(&self) -> Manifest {
        let mut states = Vec::new();
        self.states.encode(&mut states);
        Manifest::of_version(&self.version, self.number, self.key_groups, self.range, states)
    }
}

fn check_groups(key_groups: u32, (first, last): (u16, u16)) -> Result<()> {
    if key_groups == 0 || key_groups > KEY_GROUPS_MAX {
        let what = format!("{key_groups} key groups: choose 1 to {KEY_GROUPS_MAX}");
        return Err(Error::invalid(what));
    }
    if first > last || u32::from(last) >= key_groups {
        return Err(Error::invalid(format!(
            "key groups {first} to {last} of {key_groups}: the first is at most the last, which is \
             at most {}",
            key_groups - 1
        )));
    }
    Ok(())
}
