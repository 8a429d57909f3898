//! The runs of a store at one moment. A version never changes: an edit makes a new one that shares
//! all tablets it did not touch, and a request keeps the version it started with.
//!
//! A *tablet* is a key range with its own stack of runs, newest first; a run is the part of one
//! table that lies in the tablet's range. A flush writes one table and adds a run to every tablet
//! it has rows in; a merge of all runs of a tablet splits it where its output files split.

use std::rc::Rc;
use std::sync::Arc;

use crate::io::values::ObjectSlot;
use crate::sst::meta::TableRef;
use crate::sst::table::Table;
use crate::types::ObjectName;
use crate::types::key::{head_u64, prefix_end};

/// A table that a driver has opened.
#[derive(Clone, Debug)]
pub struct OpenTable {
    /// What is resident of it.
    pub table: Arc<Table>,
    /// Where its units are read.
    pub object: ObjectSlot,
}

/// One table's rows in one tablet.
#[derive(Clone, Debug)]
pub struct Run {
    /// The table.
    pub open: OpenTable,
    /// About how many bytes of it lie in the tablet.
    pub bytes: u64,
}

/// A key range and its runs.
#[derive(Clone, Debug)]
pub struct Tablet {
    /// First key of the range; empty for the first tablet.
    pub low: Box<[u8]>,
    /// End of the range, exclusive; `None` for the last tablet.
    pub high: Option<Box<[u8]>>,
    /// Newest first.
    pub runs: Vec<Run>,
    /// The bytes of the runs, for the picker.
    pub run_bytes: Vec<u64>,
    /// Older than the runs, newest first: tables of a restored store that were not opened yet.
    /// Until all of them are, nobody looks for anything in the tablet.
    pub unopened: Vec<Rc<TableRef>>,
}

impl Tablet {
    /// A tablet over a range.
    #[must_use]
    pub fn new(low: Box<[u8]>, high: Option<Box<[u8]>>, runs: Vec<Run>) -> Self {
        let run_bytes = runs.iter().map(|r| r.bytes).collect();
        Self { low, high, runs, run_bytes, unopened: Vec::new() }
    }

    /// True if lookups can go through its runs.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.unopened.is_empty()
    }

    /// This tablet with all its tables open; `None` if `find` does not know one of them.
    #[must_use]
    pub fn opened<'a>(&self, find: impl Fn(&ObjectName) -> Option<&'a OpenTable>) -> Option<Self> {
        let mut runs = self.runs.clone();
        for table_ref in &self.unopened {
            runs.push(self.run(find(&table_ref.name)?));
        }
        Some(Self::new(self.low.clone(), self.high.clone(), runs))
    }

    /// Its tables, newest first.
    pub fn table_refs(&self) -> impl Iterator<Item = &TableRef> {
        let unopened = self.unopened.iter().map(|table_ref| &**table_ref);
        self.runs.iter().map(|run| run.open.table.table_ref()).chain(unopened)
    }

    /// The run of `open` in this tablet, if it has rows or clears here.
    #[must_use]
    pub fn run_of(&self, open: &OpenTable) -> Option<Run> {
        let table = &open.table;
        let high = self.high.as_deref();
        let rows = table.rows() > 0
            && table.largest() >= &self.low[..]
            && high.is_none_or(|high| table.smallest() < high);
        if !rows && !table.clear_prefixes().iter().any(|prefix| self.overlaps(prefix)) {
            return None;
        }
        Some(self.run(open))
    }

    fn run(&self, open: &OpenTable) -> Run {
        let bytes = open.table.bytes_between(&self.low, self.high.as_deref());
        Run { open: open.clone(), bytes }
    }

    fn overlaps(&self, prefix: &[u8]) -> bool {
        let starts_below = self.high.as_deref().is_none_or(|high| prefix < high);
        let ends_above = prefix_end(prefix).is_none_or(|end| end[..] > self.low[..]);
        starts_below && ends_above
    }
}

/// All tablets of a store, in key order, without gaps.
#[derive(Clone, Debug)]
pub struct Version {
    tablets: Vec<Rc<Tablet>>,
    // First eight bytes of each low key: most searches end there.
    heads: Vec<u64>,
}

impl Default for Version {
    fn default() -> Self {
        Self::new(vec![Rc::new(Tablet::new(Box::default(), None, Vec::new()))])
    }
}

/// The outcome of a merge, to be applied to the version of the moment.
#[derive(Debug)]
pub struct MergeEdit {
    /// Low key of the tablet that was merged.
    pub low: Box<[u8]>,
    /// The tables whose runs were merged: a contiguous part of the tablet's runs.
    pub inputs: Vec<ObjectName>,
    /// What replaces them, in key order. More than one only if the oldest run was merged.
    pub outputs: Vec<OpenTable>,
}

impl Version {
    /// A version of these tablets: in key order, without gaps.
    #[must_use]
    pub fn new(tablets: Vec<Rc<Tablet>>) -> Self {
        let heads = tablets.iter().map(|t| head_u64(&t.low)).collect();
        Self { tablets, heads }
    }

    /// The tablets in key order.
    #[must_use]
    pub fn tablets(&self) -> &[Rc<Tablet>] {
        &self.tablets
    }

    /// Index of the tablet that holds `key`.
    #[inline]
    #[must_use]
    pub fn tablet_of(&self, key: &[u8]) -> usize {
        let head = head_u64(key);
        let mut at = self.heads.partition_point(|&h| h <= head);
        while at > 1 && self.tablets[at - 1].low[..] > *key {
            at -= 1;
        }
        at.saturating_sub(1)
    }

    /// The version after a flush wrote `open`.
    #[must_use]
    pub fn with_flush(&self, open: &OpenTable) -> Self {
        let tablets = self
            .tablets
            .iter()
            .map(|tablet| match tablet.run_of(open) {
                None => Rc::clone(tablet),
                Some(run) => {
                    let mut runs = Vec::with_capacity(tablet.runs.len() + 1);
                    runs.push(run);
                    runs.extend(tablet.runs.iter().cloned());
                    let after = Tablet::new(tablet.low.clone(), tablet.high.clone(), runs);
                    Rc::new(Tablet { unopened: tablet.unopened.clone(), ..after })
                }
            })
            .collect();
        Self::new(tablets)
    }

    /// The version after a merge; `None` if its inputs are not the runs they were any more.
    #[must_use]
    pub fn with_merge(&self, edit: &MergeEdit) -> Option<Self> {
        let at = self.tablets.iter().position(|t| t.low == edit.low)?;
        let tablet = &self.tablets[at];
        let first = tablet
            .runs
            .iter()
            .position(|run| Some(run.open.table.name()) == edit.inputs.first())?;
        let end = first + edit.inputs.len();
        let merged = tablet.runs.get(first..end)?;
        if !merged.iter().map(|r| *r.open.table.name()).eq(edit.inputs.iter().copied()) {
            return None;
        }
        let newer = &tablet.runs[..first];
        let older = &tablet.runs[end..];
        debug_assert!(edit.outputs.len() <= 1 || older.is_empty());
        let mut tablets = self.tablets[..at].to_vec();
        tablets.extend(split(tablet, newer, &edit.outputs, older).into_iter().map(Rc::new));
        tablets.extend_from_slice(&self.tablets[at + 1..]);
        Some(Self::new(tablets))
    }

    /// The version in which every tablet is open whose tables `find` knows.
    #[must_use]
    pub fn with_opened<'a>(
        &self,
        find: impl Copy + Fn(&ObjectName) -> Option<&'a OpenTable>,
    ) -> Self {
        let open = |tablet: &Rc<Tablet>| {
            let opened = if tablet.is_open() { None } else { tablet.opened(find) };
            opened.map_or_else(|| Rc::clone(tablet), Rc::new)
        };
        Self::new(self.tablets.iter().map(open).collect())
    }

    /// The tables of all tablets, each once per tablet.
    pub fn table_refs(&self) -> impl Iterator<Item = &TableRef> {
        self.tablets.iter().flat_map(|tablet| tablet.table_refs())
    }
}

// One tablet for each output; the newer runs are clipped to each.
fn split(tablet: &Tablet, newer: &[Run], outputs: &[OpenTable], older: &[Run]) -> Vec<Tablet> {
    let count = outputs.len().max(1);
    let low_of = |i: usize| -> Box<[u8]> {
        if i == 0 { tablet.low.clone() } else { outputs[i].table.smallest().into() }
    };
    (0..count)
        .map(|i| {
            let high = if i + 1 < count { Some(low_of(i + 1)) } else { tablet.high.clone() };
            let mut part = Tablet::new(low_of(i), high, Vec::new());
            let mut runs: Vec<Run> = if count == 1 {
                newer.to_vec()
            } else {
                newer.iter().filter_map(|run| part.run_of(&run.open)).collect()
            };
            runs.extend(outputs.get(i).and_then(|open| part.run_of(open)));
            runs.extend_from_slice(older);
            part.run_bytes = runs.iter().map(|r| r.bytes).collect();
            part.runs = runs;
            part
        })
        .collect()
}
