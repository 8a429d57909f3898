//! A point lookup in the runs: which unit to read next, and what a unit says. Re-runnable, without
//! effects; the caller reads.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::io::values::ObjectSlot;
use crate::lsm::fold::MergeOps;
use crate::lsm::merge::fold;
use crate::lsm::version::{OpenTable, Tablet};
use crate::sst::extent::ValueExtent;
use crate::sst::layout::Extent;
use crate::sst::unit::{Entry, EntryValue};
use crate::types::{Result, RowKind};

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

/// What the bytes read meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not in this run, or only operands: ask `next`.
    Continue,
    /// The value lies in an extent: read it, then `value`.
    Large(ValueExtent),
    /// The key's value is in `out`.
    Found,
    /// The key is absent.
    Absent,
}

/// The state of one lookup.
#[derive(Debug)]
pub struct Lookup {
    tablet: Rc<Tablet>,
    run: usize,
    // Of each run, where in its table to look.
    partitions: SmallVec<[Option<u32>; 8]>,
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
        Self { tablet, run: 0, partitions, ended: false, operands, large: None }
    }

    /// True if memory or a run held operands.
    #[must_use]
    pub fn has_operands(&self) -> bool {
        self.operands.is_some()
    }

    /// Finds the place in each run's table and asks the CPU for what the search will look at. Once,
    /// before `next`.
    #[inline]
    pub fn start(&mut self, hash: u64, key: &[u8]) {
        for run in &self.tablet.runs {
            let partition = run.open.table.start_probe(hash, key);
            self.partitions.push(partition.map(|p| p as u32));
        }
    }

    /// The unit of the next run that may hold the key; `None` if no run is left.
    #[inline]
    pub fn next(&mut self, hash: u64, key: &[u8]) -> Option<Need> {
        while !self.ended {
            let run = self.tablet.runs.get(self.run)?;
            let partition = self.partitions[self.run];
            self.run += 1;
            let OpenTable { table, object } = &run.open;
            self.ended = table.clears(key);
            let Some(partition) = partition else { continue };
            if let Some(extent) = table.finish_probe(partition as usize, hash, key) {
                let object_key = table.object_key();
                return Some(Need { object: *object, extent, object_key, large: None });
            }
        }
        None
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
