//! What checkpoints hold together, read from their objects without an engine: the rows that a merge
//! of everything would write.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use aquifer::checkpoint::handle::Handle;
use aquifer::codec::hash::hash64;
use aquifer::codec::reader::Reader as Fields;
use aquifer::io::retry::patiently;
use aquifer::io::values::{JobDone, JobIo, JobState};
use aquifer::lsm::merged::{MergeOrder, Merged};
use aquifer::lsm::slices::slices;
use aquifer::lsm::version::{Tablet, Version};
use aquifer::sst::{Table, TableRef};
use aquifer::state::StateTable;
use aquifer::types::{Error, ObjectName, Result};

use super::format::Head;
use super::readers::Readers;
use crate::objects::{Object, Root};

/// Bytes of a piece that a run is read in: three are in memory for each run of a tablet.
const PIECE_BYTES: usize = 1 << 20;

/// See the module.
pub struct Source {
    pub(super) root: Root,
    head: Head,
    version: Version,
    digest: u64,
}

/// A table that is open.
struct Opened {
    object: Arc<Object>,
    table: Arc<Table>,
}

impl Source {
    /// Reads the manifests of checkpoints that hold a range of key groups together.
    ///
    /// # Errors
    /// `Invalid` if none, or several, hold a key group, or if their states differ; `Corrupt` and
    /// `MissingObject`; those of the DFS.
    pub fn load(root: Root, handles: &[Vec<u8>]) -> Result<Self> {
        let mut checkpoints = Vec::new();
        for handle in handles {
            let handle = Handle::decode(handle)?;
            let manifest = patiently(|| root.manifest(&handle))?;
            checkpoints.push((handle.manifest, manifest));
        }
        let all = || checkpoints.iter().map(|(_, manifest)| manifest);
        let ends = (all().map(|m| m.range.0).min(), all().map(|m| m.range.1).max());
        let (Some((_, some)), (Some(first), Some(last))) = (checkpoints.first(), ends) else {
            return Err(Error::invalid("no checkpoint is named"));
        };
        let (key_groups, range) = (some.key_groups, (first, last));
        let slices = slices(&checkpoints, key_groups, range)?;
        let mut states = StateTable::default();
        for slice in &slices {
            states.join(&StateTable::decode(&mut Fields::new(&slice.manifest.states))?)?;
        }
        let version = Version::of_slices(&slices);
        let mut sorted = handles.to_vec();
        sorted.sort_unstable();
        let digest = hash64(&sorted.concat());
        Ok(Self { root, head: Head { key_groups, range, states }, version, digest })
    }

    /// What a dump of it says before its rows.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Tells the checkpoints from others.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Gives the rows behind a stored key, in order, to `each`: stored key and value.
    ///
    /// # Errors
    /// `Corrupt` and `MissingObject`; those of the DFS, and of `each`.
    pub fn rows(
        &self,
        behind: &[u8],
        each: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        // The smallest key above it.
        let from = if behind.is_empty() { Vec::new() } else { [behind, &[0]].concat() };
        let readers = Readers::start();
        let mut open = HashMap::new();
        for tablet in self.version.tablets() {
            if tablet.high.as_deref().is_some_and(|high| *high <= from[..]) {
                continue;
            }
            let order = self.order(tablet, &from, &mut open)?;
            self.tablet(order, &readers, &open, each)?;
        }
        Ok(())
    }

    /// A merge of all runs of a tablet, whose tables it opens; those of other tablets it closes.
    fn order(
        &self,
        tablet: &Tablet,
        from: &[u8],
        open: &mut HashMap<ObjectName, Opened>,
    ) -> Result<MergeOrder> {
        open.retain(|name, _| tablet.table_refs().any(|table| table.name == *name));
        let mut inputs = Vec::new();
        for table_ref in tablet.table_refs() {
            let opened = match open.entry(table_ref.name) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(place) => place.insert(self.open(*table_ref)?),
            };
            inputs.push(Arc::clone(&opened.table));
        }
        let low = if from > &tablet.low[..] { from.into() } else { tablet.low.clone() };
        let high = tablet.high.clone();
        Ok(MergeOrder { low, high, inputs, bottom: true, read_bytes: PIECE_BYTES })
    }

    fn open(&self, table_ref: TableRef) -> Result<Opened> {
        let object = patiently(|| self.root.open(&table_ref.name))?;
        let table = patiently(|| object.table(table_ref))?;
        Ok(Opened { object: Arc::new(object), table: Arc::new(table) })
    }

    fn tablet(
        &self,
        order: MergeOrder,
        readers: &Readers,
        open: &HashMap<ObjectName, Opened>,
        each: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut merged = Merged::new(&order, self.head.states.merge_ops());
        let mut io = JobIo::default();
        loop {
            for done in io.done.drain(..) {
                if let JobDone::Read { tag, result } = done {
                    merged.answer(tag, result)?;
                }
            }
            let state = merged.step(&mut io, &mut |row, _| each(row.key, row.value))?;
            if state == JobState::Finished {
                return Ok(());
            }
            let find = |name: &ObjectName| open.get(name).map(|opened| &opened.object);
            readers.turn(&mut io, state == JobState::Waiting, find)?;
        }
    }
}
