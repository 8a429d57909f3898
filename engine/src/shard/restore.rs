//! A store that opens from checkpoints: their manifests are read at once, and with the last of them
//! it serves. Nothing is copied; its tables are opened later (`opening.rs`). It may claim them too.

use crate::checkpoint::handle::Handle;
use crate::checkpoint::root::Root;
use crate::codec::reader::Reader;
use crate::limits::{MANIFEST_BYTES_MAX, MANIFEST_MEMORY_BYTES_MAX};
use crate::lsm::manifest::Manifest;
use crate::lsm::slices::slices;
use crate::lsm::version::Version;
use crate::mem::slab::Token;
use crate::shard::control::{PendingControl, done, manifest_of};
use crate::shard::roots::unreadable;
use crate::shard::shard::Shard;
use crate::shard::store::Store;
use crate::shard::values::{ControlResult, OpenStore, Outbox};
use crate::shard::warm::HotTable;
use crate::state::StateTable;
use crate::state::request::StoreId;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// Checkpoints whose manifests are being read.
#[derive(Debug)]
pub(super) struct Gathering {
    session: u16,
    user_data: u64,
    what_for: Purpose,
    handles: Vec<Handle>,
    // By handle; a manifest that is not there yet is none.
    manifests: Vec<Option<Result<Manifest>>>,
}

impl Gathering {
    /// The checkpoint of a number.
    pub fn handle(&self, at: usize) -> Handle {
        self.handles[at]
    }

    // Of the memory for manifests, bytes.
    fn memory_left(&self) -> usize {
        let there = self.manifests.iter().flatten().flatten().map(Manifest::memory_bytes);
        MANIFEST_MEMORY_BYTES_MAX.saturating_sub(there.sum())
    }
}

#[derive(Debug)]
pub(super) enum Purpose {
    Open(Box<OpenStore>),
    /// From what a root keeps, which is this opening's.
    OpenRoot(Box<OpenStore>, Root),
    Claim(StoreId),
}

impl Shard {
    /// Reads the manifests that handles name.
    pub(super) fn gather(
        &mut self,
        (session, user_data): (u16, u64),
        handles: &[Vec<u8>],
        what_for: Purpose,
        outbox: &mut Outbox,
    ) -> Result<()> {
        let handles = handles.iter().map(|handle| Handle::decode(&handle[..]));
        let handles = handles.collect::<Result<Vec<_>>>()?;
        let bytes = handles.iter().fold(0, |sum: u64, h| sum.saturating_add(h.manifest_bytes));
        if bytes > MANIFEST_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the manifests have {bytes} bytes, at most {MANIFEST_BYTES_MAX} fit; pass only \
                     the handles that hold the store's key groups, or open more stores"
                ),
            ));
        }
        let manifests = handles.iter().map(|_| None).collect();
        let gathering =
            Gathering { session, user_data, what_for, handles: handles.clone(), manifests };
        let whole = self.controls.insert(PendingControl::Gather(gathering));
        for (at, handle) in handles.iter().enumerate() {
            self.load(handle, PendingControl::Source { whole, at, again: false }, outbox);
        }
        Ok(())
    }

    /// A manifest arrived. The first that cannot be used ends what it is for.
    pub(super) fn source_loaded(
        &mut self,
        token: Token,
        at: usize,
        loaded: Result<Vec<u8>>,
        outbox: &mut Outbox,
    ) {
        let Some(PendingControl::Gather(whole)) = self.controls.get_mut(token) else { return };
        let mut read = manifest_of(&whole.handles[at], &loaded, whole.memory_left());
        // A root keeps older checkpoints beside the one that the store begins with.
        let is_root = matches!(whole.what_for, Purpose::OpenRoot(..));
        if let Err(error) = &read
            && (at, is_root, error.kind) == (0, true, ErrorKind::TooLarge)
        {
            // That one does not lack memory for them.
            whole.manifests.iter_mut().flatten().for_each(|older| *older = Err(error.clone()));
            read = manifest_of(&whole.handles[at], &loaded, whole.memory_left());
        }
        drop(loaded);
        let is_spare = at > 0 && is_root;
        let failure = read.as_ref().err().filter(|_| !is_spare).cloned();
        whole.manifests[at] = Some(read);
        if failure.is_none() && whole.manifests.iter().any(Option::is_none) {
            return;
        }
        let Some(PendingControl::Gather(whole)) = self.controls.remove(token) else { return };
        let Gathering { session, user_data, what_for, handles, manifests } = whole;
        let manifests = manifests.into_iter().flatten();
        let result = match (failure, what_for) {
            (None, Purpose::OpenRoot(open, root)) => {
                let number = open.number;
                let kept = handles.into_iter().zip(manifests).collect();
                let restored = self.restore_root(*open, root, kept);
                restored.inspect_err(|error| failed(number, error))
            }
            (None, Purpose::Open(open)) => {
                let manifests = manifests.flatten();
                let names = handles.iter().map(|handle| handle.manifest);
                let number = open.number;
                let checkpoints: Vec<_> = names.zip(manifests).collect();
                let restored = self.restore(*open, &checkpoints);
                restored.inspect_err(|error| failed(number, error))
            }
            (None, Purpose::Claim(store)) => {
                self.claim(store, handles.into_iter().zip(manifests.flatten()).collect())
            }
            (Some(error), Purpose::OpenRoot(open, root)) => {
                let error = unreadable(&root, error);
                failed(open.number, &error);
                Err(error)
            }
            (Some(error), Purpose::Open(open)) => {
                failed(open.number, &error);
                Err(error)
            }
            (Some(error), Purpose::Claim(_)) => Err(error),
        };
        done(outbox, session, user_data, result);
    }

    // Takes over what the host hands over: all of it or nothing.
    fn claim(
        &mut self,
        id: StoreId,
        checkpoints: Vec<(Handle, Manifest)>,
    ) -> Result<ControlResult> {
        let index = self.index(id)?;
        let store = self.stores[index].as_mut().expect("just looked up");
        let ((first, last), groups) = (store.range, store.key_groups);
        for (handle, manifest) in &checkpoints {
            let (low, high) = manifest.range;
            if manifest.key_groups != groups || low < first || high > last {
                return Err(Error::invalid(format!(
                    "{} holds key groups {low} to {high} of {}, and the store that claims it has \
                     {first} to {last} of {groups}: others may need what it would delete; claim \
                     only what was written for the store's own key groups",
                    handle.manifest, manifest.key_groups
                )));
            }
        }
        for (handle, manifest) in checkpoints {
            store.claim(handle, manifest.tables.iter().map(|table| table.name));
        }
        Ok(ControlResult::Done)
    }

    pub(super) fn restore(
        &mut self,
        mut open: OpenStore,
        checkpoints: &[(ObjectName, Manifest)],
    ) -> Result<ControlResult> {
        let slices = slices(checkpoints, open.key_groups, open.range)?;
        let mut states = StateTable::default();
        for slice in &slices {
            states.join(&StateTable::decode(&mut Reader::new(&slice.manifest.states))?)?;
        }
        for (_, state) in open.states.iter() {
            states.declare(&state.name, state.kind)?;
        }
        open.states = states;
        let mut store = Store::new(open, &self.limits);
        store.restore(Version::of_slices(&slices), self.now);
        if let Some(ssd) = &mut self.ssd {
            store.hot = HotTable::of_manifests(slices.iter().map(|slice| slice.manifest));
            store.hot.iter().for_each(|hot| hot.tell(ssd));
        }
        self.add(store)
    }
}

pub(super) fn failed(number: u64, error: &Error) {
    log::warn!("store {number}: a restore failed: {}", error.text);
}
