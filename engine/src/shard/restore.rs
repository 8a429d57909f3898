//! A store that opens from checkpoints: their manifests are read at once, and with the last of them
//! it serves. Nothing is copied; its tables are opened later (`opening.rs`).

use crate::checkpoint::handle::Handle;
use crate::codec::reader::Reader;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::lsm::manifest::Manifest;
use crate::lsm::slices::slices;
use crate::lsm::version::Version;
use crate::mem::slab::Token;
use crate::shard::control::{PendingControl, done, manifest_of};
use crate::shard::shard::Shard;
use crate::shard::store::Store;
use crate::shard::values::{ControlResult, OpenStore, Outbox};
use crate::state::StateTable;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// A store whose manifests are being read.
#[derive(Debug)]
pub(super) struct Restore {
    session: u16,
    user_data: u64,
    open: Box<OpenStore>,
    handles: Vec<Handle>,
    // By handle; a manifest that is not there yet is none.
    manifests: Vec<Option<Manifest>>,
}

impl Shard {
    /// Reads the manifests that the handles of a store name.
    pub(super) fn start_restore(
        &mut self,
        session: u16,
        user_data: u64,
        open: Box<OpenStore>,
        outbox: &mut Outbox,
    ) -> Result<()> {
        let handles = open.handles.iter().map(|handle| Handle::decode(&handle[..]));
        let handles = handles.collect::<Result<Vec<_>>>()?;
        let bytes = handles.iter().fold(0, |sum: u64, h| sum.saturating_add(h.manifest_bytes));
        if bytes > MANIFEST_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the manifests of the store have {bytes} bytes, at most {MANIFEST_BYTES_MAX} \
                     fit; pass only the handles that hold its key groups, or open more stores"
                ),
            ));
        }
        let manifests = handles.iter().map(|_| None).collect();
        let restore = Restore { session, user_data, open, handles: handles.clone(), manifests };
        let restore = self.controls.insert(PendingControl::Restore(restore));
        for (at, handle) in handles.iter().enumerate() {
            self.load(handle, PendingControl::Source { restore, at }, outbox);
        }
        Ok(())
    }

    /// A manifest of a restore arrived. The first that cannot be used ends it.
    pub(super) fn source_loaded(
        &mut self,
        token: Token,
        at: usize,
        loaded: Result<Vec<u8>>,
        outbox: &mut Outbox,
    ) {
        let Some(PendingControl::Restore(restore)) = self.controls.get_mut(token) else { return };
        let (session, user_data) = (restore.session, restore.user_data);
        let read = manifest_of(&restore.handles[at], loaded);
        let failure = read.map(|manifest| restore.manifests[at] = Some(manifest)).err();
        if failure.is_none() && restore.manifests.iter().any(Option::is_none) {
            return;
        }
        let Some(PendingControl::Restore(restore)) = self.controls.remove(token) else { return };
        let number = restore.open.number;
        let result = failure.map_or_else(|| self.restore(restore), Err);
        let result = result.inspect_err(|error| {
            log::warn!("store {number}: a restore failed: {}", error.text);
        });
        done(outbox, session, user_data, result);
    }

    fn restore(&mut self, restore: Restore) -> Result<ControlResult> {
        let mut open = *restore.open;
        let names = restore.handles.iter().map(|handle| handle.manifest);
        let checkpoints: Vec<(ObjectName, Manifest)> =
            names.zip(restore.manifests.into_iter().flatten()).collect();
        let slices = slices(&checkpoints, open.key_groups, open.range)?;
        let mut states = StateTable::default();
        for slice in &slices {
            states.join(&StateTable::decode(&mut Reader::new(&slice.manifest.states))?)?;
        }
        for (_, state) in open.states.iter() {
            states.declare(&state.name, state.kind)?;
        }
        open.states = states;
        let mut store = Store::new(open, self.limits.table_bytes_target);
        store.restore(Version::of_slices(&slices)?, self.now);
        self.add(store)
    }
}
