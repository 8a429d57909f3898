//! A scan of one map: its dirty entries in memory merged with the runs, in order, a batch at a
//! time. Without effects; the caller reads what `needs` names.

use std::rc::Rc;

use crate::codec::hash::hash64;
use crate::codec::unverified::Unverified;
use crate::codec::varint;
use crate::limits::SCAN_BYTES_MAX;
use crate::lsm::lookup::Need;
use crate::lsm::version::{OpenTable, Version};
use crate::sst::extent::{self, ValueExtent};
use crate::sst::meta::TableRef;
use crate::sst::unit::{EntryValue, Unit};
use crate::types::key::prefix_end;
use crate::types::{Error, ObjectName, Result, RowKind};

/// A dirty entry: its stored key, and its value unless it was removed.
pub type DirtyEntry = (Box<[u8]>, Option<Box<[u8]>>);

#[derive(Debug)]
enum CursorValue {
    Here(Vec<u8>),
    Removed,
    Large(ValueExtent),
}

#[derive(Debug)]
struct CursorRow {
    key: Vec<u8>,
    value: CursorValue,
}

// The rows of one run, a unit at a time.
#[derive(Debug)]
struct Cursor {
    open: OpenTable,
    next_unit: u32,
    rows: std::collections::VecDeque<CursorRow>,
    need: Option<Need>,
    ended: bool,
}

/// The state of one scan.
#[derive(Debug)]
pub struct Scan {
    prefix: Box<[u8]>,
    prefix_hash: u64,
    // The smallest stored key still to come.
    from: Vec<u8>,
    limit: u32,
    dirty: std::collections::VecDeque<DirtyEntry>,
    // More dirty entries than were copied: beyond the last one nothing is known.
    dirty_cut: Option<Box<[u8]>>,
    version: Rc<Version>,
    // The tablet whose cursors are open, and the one behind the last to visit.
    tablet: usize,
    end_tablet: usize,
    opened: bool,
    cursors: Vec<Cursor>,
    out: Vec<u8>,
    taken: u32,
}

/// What a scan wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum ScanStep {
    /// Read `needs()`, then `land` each.
    Read,
    /// `rows()` is the answer; true: there may be more.
    Done(bool),
}

impl Scan {
    /// Entries of the map `prefix` from the stored key `from` on, at most `limit`. `dirty`: the
    /// map's dirty entries from there on in order, with one more than `limit` that were not removed
    /// unless these are all. `runs`: false if the map was cleared and no run knows it yet.
    #[must_use]
    pub fn new(
        version: Rc<Version>,
        prefix: &[u8],
        from: Vec<u8>,
        limit: u32,
        dirty: Vec<DirtyEntry>,
        runs: bool,
    ) -> Self {
        let tablet = version.tablet_of(&from);
        let end_tablet = match prefix_end(prefix) {
            _ if !runs => tablet,
            Some(end) => version.tablet_of(&end) + 1,
            None => version.tablets().len(),
        };
        // Removed entries do not count: a batch of nothing else would name no key to go on from.
        let cut = dirty.iter().filter(|(_, value)| value.is_some()).count() > limit as usize;
        let dirty_cut = if cut { dirty.last().map(|(key, _)| key.clone()) } else { None };
        Self {
            prefix: prefix.into(),
            prefix_hash: hash64(prefix),
            from,
            limit,
            dirty: dirty.into(),
            dirty_cut,
            version,
            tablet,
            end_tablet,
            opened: false,
            cursors: Vec::new(),
            out: Vec::new(),
            taken: 0,
        }
    }

    /// Tables of its tablets that were not opened yet: it cannot step before `open` says so.
    pub fn unopened(&self) -> impl Iterator<Item = &Rc<TableRef>> {
        let tablets = self.version.tablets().iter().take(self.end_tablet).skip(self.tablet);
        tablets.flat_map(|tablet| &tablet.unopened)
    }

    /// Takes the tables that `find` knows; true if none is left to open.
    pub fn open<'a>(&mut self, find: impl Copy + Fn(&ObjectName) -> Option<&'a OpenTable>) -> bool {
        self.version = Rc::new(self.version.with_opened(find));
        self.unopened().next().is_none()
    }

    /// The rows taken, as `Status::Entries` has them.
    #[must_use]
    pub fn rows(&self) -> &[u8] {
        &self.out
    }

    /// What is to be read now.
    pub fn needs(&self) -> impl Iterator<Item = Need> {
        self.cursors.iter().filter_map(|c| c.need)
    }

    /// Goes on as far as possible without reading.
    pub fn step(&mut self) -> ScanStep {
        loop {
            if self.taken >= self.limit || self.out.len() >= SCAN_BYTES_MAX {
                return ScanStep::Done(true);
            }
            if self.cursors.is_empty() && self.tablet < self.end_tablet && !self.opened {
                self.open_cursors();
            }
            if self.cursors.iter_mut().fold(false, |wait, c| c.want() | wait) {
                return ScanStep::Read;
            }
            self.cursors.retain(|c| !c.ended);
            match self.smallest() {
                Some(key) => {
                    if self.dirty_cut.as_deref().is_some_and(|cut| *key >= *cut) {
                        return ScanStep::Done(true);
                    }
                    if !self.take(key) {
                        return ScanStep::Read;
                    }
                }
                None if self.tablet + 1 < self.end_tablet => {
                    self.tablet += 1;
                    self.opened = false;
                }
                None => return ScanStep::Done(false),
            }
        }
    }

    fn open_cursors(&mut self) {
        self.opened = true;
        let tablet = &self.version.tablets()[self.tablet];
        for run in &tablet.runs {
            let table = &run.open.table;
            if table.may_hold_collection(self.prefix_hash, &self.prefix) {
                let from =
                    if self.from[..] < tablet.low[..] { &tablet.low } else { &self.from[..] };
                self.cursors.push(Cursor {
                    next_unit: table.unit_at(from),
                    open: run.open.clone(),
                    rows: std::collections::VecDeque::new(),
                    need: None,
                    ended: false,
                });
            }
            // Older runs hold nothing of a map that this one cleared.
            if table.clears(&self.prefix) {
                break;
            }
        }
    }

    // The smallest current key; it may lie beyond the tablet in the dirty entries only.
    fn smallest(&self) -> Option<Vec<u8>> {
        let last = self.tablet + 1 >= self.end_tablet;
        let high = self.version.tablets()[self.tablet].high.as_deref();
        let dirty = self.dirty.front().map(|(key, _)| &key[..]);
        let dirty = dirty.filter(|key| last || high.is_none_or(|high| *key < high));
        let rows = self.cursors.iter().filter_map(|c| c.rows.front()).map(|r| &r.key[..]);
        dirty.into_iter().chain(rows).min().map(<[u8]>::to_vec)
    }

    // Takes the newest row of `key`; false if its value must be read first.
    fn take(&mut self, key: Vec<u8>) -> bool {
        let dirty = self.dirty.front().is_some_and(|(k, _)| **k == *key);
        if dirty {
            let (_, value) = self.dirty.pop_front().expect("just seen");
            self.skip(&key);
            self.push(key, value.as_deref());
            return true;
        }
        let newest = self.cursors.iter().position(|c| c.rows.front().is_some_and(|r| r.key == key));
        let Some(cursor) = newest else { return true };
        let cursor = &mut self.cursors[cursor];
        if let CursorValue::Large(value) = cursor.rows[0].value {
            cursor.need = Some(Need {
                object: cursor.open.object,
                extent: value.stored(),
                object_key: cursor.open.table.object_key(),
                large: Some(value),
            });
            return false;
        }
        let row = cursor.rows.pop_front().expect("just seen");
        self.skip(&key);
        match row.value {
            CursorValue::Here(value) => self.push(key, Some(&value)),
            _ => self.push(key, None),
        }
        true
    }

    // Leaves `key` in every run: what was taken is newer.
    fn skip(&mut self, key: &[u8]) {
        for cursor in &mut self.cursors {
            if cursor.rows.front().is_some_and(|row| row.key == key) {
                cursor.rows.pop_front();
            }
        }
    }

    fn push(&mut self, key: Vec<u8>, value: Option<&[u8]>) {
        if let Some(value) = value {
            let map_key = &key[self.prefix.len()..];
            varint::put(&mut self.out, map_key.len() as u64);
            self.out.extend_from_slice(map_key);
            varint::put(&mut self.out, value.len() as u64);
            self.out.extend_from_slice(value);
            self.taken += 1;
        }
        // The successor in byte order.
        self.from = key;
        self.from.push(0);
    }

    /// Takes the whole pages that `need` asked for.
    ///
    /// # Errors
    /// Damage.
    pub fn land(
        &mut self,
        need: &Need,
        pages: Unverified<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let same = |c: &&mut Cursor| {
            c.need.is_some_and(|n| n.object == need.object && n.extent == need.extent)
        };
        let Some(cursor) = self.cursors.iter_mut().find(same) else { return Ok(()) };
        if let Some(large) = need.large {
            let value = extent::check(need.object_key, large.offset, large.len, pages)
                .map_err(|error| error.in_object(cursor.open.table.name()))?;
            cursor.rows[0].value = CursorValue::Here(value.to_vec());
            cursor.need = None;
            return Ok(());
        }
        let from = (need.extent.offset - need.extent.pages().offset) as usize;
        let in_object = |error: Error| error.in_object(cursor.open.table.name());
        let bytes = pages.part(from..);
        let unit =
            Unit::check(need.object_key, need.extent.offset, bytes, scratch).map_err(in_object)?;
        cursor.need = None;
        cursor
            .fill(&unit, &self.prefix, &self.from, &self.version, self.tablet)
            .map_err(|error| error.in_object(cursor.open.table.name()))
    }
}

impl Cursor {
    // Asks for the next unit if no row is current. True: a read is wanted.
    fn want(&mut self) -> bool {
        if self.need.is_some() {
            return true;
        }
        if self.ended || !self.rows.is_empty() {
            return false;
        }
        let Some(extent) = self.open.table.unit(self.next_unit) else {
            self.ended = true;
            return false;
        };
        self.next_unit += 1;
        self.need = Some(Need {
            object: self.open.object,
            extent,
            object_key: self.open.table.object_key(),
            large: None,
        });
        true
    }

    fn fill(
        &mut self,
        unit: &Unit<'_>,
        prefix: &[u8],
        from: &[u8],
        version: &Version,
        tablet: usize,
    ) -> Result<()> {
        let tablet = &version.tablets()[tablet];
        for index in unit.seek(from)?..unit.len() {
            let entry = unit.entry(index)?;
            if *entry.key < *from {
                return Err(Error::corrupt(format!("row {index} of a unit is out of order")));
            }
            let outside = tablet.high.as_deref().is_some_and(|high| entry.key >= high);
            if outside || !entry.key.starts_with(prefix) {
                self.ended = self.rows.is_empty();
                self.next_unit = self.open.table.units();
                return Ok(());
            }
            if *entry.key < *tablet.low {
                continue;
            }
            let value = match (entry.kind, entry.value) {
                (RowKind::Delete, _) => CursorValue::Removed,
                (_, EntryValue::Inline(value)) => CursorValue::Here(value.to_vec()),
                (_, EntryValue::Extent(extent)) => CursorValue::Large(extent),
            };
            self.rows.push_back(CursorRow { key: entry.key.to_vec(), value });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
