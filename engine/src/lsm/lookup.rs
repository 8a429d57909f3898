//! A point lookup in the runs: which unit to read next, and what a unit says. Re-runnable, without
//! effects; the caller reads.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::cache::coalescer::Pages;
use crate::io::values::ObjectSlot;
use crate::lsm::fold::MergeOps;
use crate::lsm::merge::fold;
use crate::lsm::version::{OpenTable, Tablet};
use crate::sst::extent::ValueExtent;
use crate::sst::layout::Extent;
use crate::sst::unit::{Entry, EntryValue};
use crate::types::{Error, ObjectName, Result, RowKind};

/// What to read for a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Of this object.
    pub object: ObjectSlot,
    /// The unit or value; read its `pages()`.
    pub extent: Extent,
    /// Key of the object's checksums.
    pub object_key: u64,
    /// Set if the extent is a large value instead of a unit.
    pub large: Option<ValueExtent>,
}

impl Need {
    /// What is to be read.
    #[must_use]
    pub fn pages(&self) -> Pages {
        let Self { object, object_key, extent, .. } = *self;
        Pages { object, object_key, extent: extent.pages() }
    }
}

/// What the bytes read meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not in this run, or only operands: `seek` the next.
    Continue,
    /// The value lies in an extent: read it, then `value`.
    Large(ValueExtent),
    /// The key's value is in `out`.
    Found,
    /// The key is absent.
    Absent,
}

/// A run that may hold the key, and how far the search in its table is.
#[derive(Clone, Copy, Debug)]
struct Place {
    run: usize,
    partition: usize,
    group: usize,
}

// Of a table without rows.
const NO_PARTITION: u32 = u32::MAX;

/// The state of one lookup.
#[derive(Debug)]
pub struct Lookup {
    tablet: Rc<Tablet>,
    run: usize,
    // Of each run, the partition of its table to look in.
    partitions: SmallVec<[u32; 8]>,
    // The run to read next.
    place: Option<Place>,
    // A newer run cleared the map: older ones say nothing.
    ended: bool,
    // Operands found so far, folded; newer than everything still to come.
    operands: Option<Vec<u8>>,
    // Kind of the row whose large value is being read.
    large: Option<RowKind>,
}

impl Lookup {
    /// A lookup in a tablet, on top of operands that memory holds.
    #[must_use]
    pub fn new(tablet: Rc<Tablet>, operands: Option<Vec<u8>>) -> Self {
        let partitions = SmallVec::new();
        Self { tablet, run: 0, partitions, place: None, ended: false, operands, large: None }
    }

    /// The tablet it looks in.
    #[inline]
    #[must_use]
    pub fn tablet(&self) -> &Tablet {
        &self.tablet
    }

    /// Opens the tablet if `find` knows all its tables; false if some are missing.
    pub fn open<'a>(&mut self, find: impl Fn(&ObjectName) -> Option<&'a OpenTable>) -> bool {
        let opened = self.tablet.opened(find);
        let open = opened.is_some();
        if let Some(tablet) = opened {
            self.tablet = Rc::new(tablet);
        }
        open
    }

    /// True if memory or a run held operands.
    #[must_use]
    pub fn has_operands(&self) -> bool {
        self.operands.is_some()
    }

    /// Finds the partition of each run's table and asks the CPU for what `seek` will look at. Once,
    /// before it.
    #[inline]
    pub fn start(&mut self, hash: u64, key: &[u8]) {
        for run in &self.tablet.runs {
            let partition = run.open.table.partition(hash, key);
            self.partitions.push(partition.map_or(NO_PARTITION, |p| p as u32));
        }
    }

    /// Finds the next run that may hold the key, if one is left. Then `narrow`, then `need`; when
    /// several lookups take each step together, their cache misses overlap.
    #[inline]
    pub fn seek(&mut self, hash: u64, key: &[u8]) {
        self.place = None;
        while !self.ended && self.run < self.tablet.runs.len() {
            let run = self.run;
            let table = &self.tablet.runs[run].open.table;
            let partition = self.partitions[run];
            self.run += 1;
            self.ended = table.clears(key);
            if partition != NO_PARTITION && table.may_hold(partition as usize, hash, key) {
                self.place = Some(Place { run, partition: partition as usize, group: 0 });
                return;
            }
        }
    }

    /// Narrows the search in the run that `seek` found.
    #[inline]
    pub fn narrow(&mut self, key: &[u8]) {
        if let Some(place) = &mut self.place {
            let table = &self.tablet.runs[place.run].open.table;
            place.group = table.group(place.partition, key);
        }
    }

    /// The unit of the run that `seek` found; `None` if no run is left.
    #[inline]
    #[must_use]
    pub fn need(&self, key: &[u8]) -> Option<Need> {
        let Place { run, partition, group } = self.place?;
        let OpenTable { table, object } = &self.tablet.runs[run].open;
        let extent = table.unit_of(partition, group, key)?;
        Some(Need { object: *object, extent, object_key: table.object_key(), large: None })
    }

    /// Damage of what the last need brought.
    #[cold]
    #[must_use]
    pub fn damaged(&self, error: Error) -> Error {
        let place = self.place.expect("what was read was needed");
        error.in_object(self.tablet.runs[place.run].open.table.name())
    }

    /// What the row of the unit read last says; `entry` is `None` if the filter erred. A found
    /// value is left in `out`, folded.
    ///
    /// # Errors
    /// Damage.
    pub fn take(
        &mut self,
        ops: &MergeOps,
        key: &[u8],
        entry: Option<Entry<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<Answer> {
        let Some(entry) = entry else { return Ok(Answer::Continue) };
        match entry.value {
            EntryValue::Inline(value) => self.value(ops, key, entry.kind, value, out),
            EntryValue::Extent(extent) => {
                self.large = Some(entry.kind);
                Ok(Answer::Large(extent))
            }
        }
    }

    /// What the large value asked for last says.
    ///
    /// # Errors
    /// Damage.
    pub fn take_large(
        &mut self,
        ops: &MergeOps,
        key: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Answer> {
        let kind = self.large.take().expect("a large value was asked for");
        self.value(ops, key, kind, value, out)
    }

    fn value(
        &mut self,
        ops: &MergeOps,
        key: &[u8],
        kind: RowKind,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Answer> {
        match (kind, &self.operands) {
            (RowKind::Put, None) => {
                out.clear();
                out.extend_from_slice(value);
                Ok(Answer::Found)
            }
            (RowKind::Put, Some(newer)) => {
                fold(ops.of(key)?, Some(value), newer, out)?;
                Ok(Answer::Found)
            }
            (RowKind::Delete, _) => self.exhausted(ops, key, out),
            (RowKind::Merge, None) => {
                self.operands = Some(value.to_vec());
                Ok(Answer::Continue)
            }
            (RowKind::Merge, Some(newer)) => {
                fold(ops.of(key)?, Some(value), newer, out)?;
                self.operands = Some(out.clone());
                Ok(Answer::Continue)
            }
        }
    }

    /// The answer when nothing older is left.
    ///
    /// # Errors
    /// Damage.
    pub fn exhausted(&self, ops: &MergeOps, key: &[u8], out: &mut Vec<u8>) -> Result<Answer> {
        let Some(operands) = &self.operands else { return Ok(Answer::Absent) };
        fold(ops.of(key)?, None, operands, out)?;
        Ok(Answer::Found)
    }
}
