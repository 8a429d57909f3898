//! A walk through all rows of a table: what it holds, and whether everything that a reader relies
//! on is so.

use std::collections::BTreeMap;

use aquifer::codec::hash::hash64;
use aquifer::limits::KEY_GROUPS_MAX;
use aquifer::sst::layout::{UnitCodec, UnitHeader};
use aquifer::sst::{Entry, EntryValue, Extent, Table, Unit, ValueExtent, extent};
use aquifer::types::key::{KeyParts, key_parts};
use aquifer::types::{Result, RowKind};

use super::{Ahead, Object, is_damage};

/// What the rows of a table are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Units that are as they were written, raw ones.
    pub raw_units: u64,
    /// And packed ones.
    pub lz4_units: u64,
    /// Units that are not, or have a row that should not be.
    pub damaged_units: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Of these, puts.
    pub puts: u64,
    /// Deletions.
    pub deletes: u64,
    /// And operands.
    pub merges: u64,
    /// Values in pages of their own.
    pub large_values: u64,
    /// Bytes of keys and values.
    pub user_bytes: u64,
    /// Rows by the id of their state.
    pub rows_by_state: BTreeMap<u8, u64>,
    /// First and last key group with a row.
    pub key_groups: Option<(u16, u16)>,
}

/// Something that is not as it should be, at a byte of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where, as far as it has a place.
    pub offset: Option<u64>,
    /// What.
    pub what: String,
}

/// Who looks at a walk.
pub trait Watch {
    /// Something is not as it should be.
    fn flaw(&mut self, flaw: Flaw);

    /// The walk has come to this byte.
    fn at(&mut self, _offset: u64) {}

    /// A key that no table of its store should hold, and why.
    fn wrong_key(&mut self, _key: &[u8], _parts: &KeyParts<'_>) -> Option<String> {
        None
    }
}

/// Reads every unit and every large value of a table.
///
/// # Errors
/// What is not damage: the file system's refusal.
pub fn walk(object: &Object, table: &Table, watch: &mut dyn Watch) -> Result<Tally> {
    let (tally, last) = (Tally::default(), Vec::new());
    let mut walk = Walk { object, table, watch, tally, last, map: Vec::new() };
    let mut ahead = Ahead::new(object);
    let mut scratch = Vec::new();
    for number in 0..table.units() {
        let Some(place) = table.unit(number) else { break };
        walk.watch.at(place.offset);
        match unit(&mut ahead, table, place, &mut scratch) {
            Ok((codec, unit)) => match (walk.rows(place, &unit)?, codec) {
                (false, _) => walk.tally.damaged_units += 1,
                (true, UnitCodec::Lz4) => walk.tally.lz4_units += 1,
                (true, UnitCodec::Raw) => walk.tally.raw_units += 1,
            },
            Err(error) if is_damage(&error) => {
                walk.tally.damaged_units += 1;
                walk.flaw(place.offset, error.text.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    walk.totals();
    Ok(walk.tally)
}

fn unit<'a>(
    ahead: &'a mut Ahead<'_>,
    table: &Table,
    place: Extent,
    scratch: &'a mut Vec<u8>,
) -> Result<(UnitCodec, Unit<'a>)> {
    let bytes = ahead.read(place)?;
    let codec = UnitHeader::check(bytes).map_or(UnitCodec::Raw, |header| header.codec);
    Ok((codec, Unit::check(table.object_key(), place.offset, bytes, scratch)?))
}

struct Walk<'a> {
    object: &'a Object,
    table: &'a Table,
    watch: &'a mut dyn Watch,
    tally: Tally,
    /// The last key so far.
    last: Vec<u8>,
    /// The map of the last row that belongs to one.
    map: Vec<u8>,
}

impl Walk<'_> {
    fn flaw(&mut self, offset: u64, what: String) {
        self.watch.flaw(Flaw { offset: Some(offset), what });
    }

    /// The rows of a unit, up to the first that is wrong: those behind it are most likely too.
    /// Whether none is.
    fn rows(&mut self, place: Extent, unit: &Unit<'_>) -> Result<bool> {
        for index in 0..unit.len() {
            let wrong = match unit.entry(index) {
                Ok(entry) => self.row(place, &entry)?,
                Err(error) => Some(error.text.to_string()),
            };
            if let Some(what) = wrong {
                self.flaw(place.offset, format!("row {index} of the unit: {what}"));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is wrong with a row.
    fn row(&mut self, place: Extent, entry: &Entry<'_>) -> Result<Option<String>> {
        let key = entry.key;
        let Some(parts) = key_parts(key).filter(|parts| parts.state.0 > 0) else {
            return Ok(Some("its key is not a stored key".to_owned()));
        };
        if let Some(what) = self.order(key).or_else(|| self.found(place, key, &parts)) {
            return Ok(Some(what));
        }
        if let Some(what) = self.watch.wrong_key(key, &parts) {
            return Ok(Some(what));
        }
        let value_bytes = match entry.value {
            EntryValue::Inline(value) => value.len() as u64,
            EntryValue::Extent(value) => {
                if let Some(what) = self.large(value)? {
                    return Ok(Some(what));
                }
                u64::from(value.len)
            }
        };
        self.count(entry, &parts, value_bytes);
        Ok(None)
    }

    fn order(&mut self, key: &[u8]) -> Option<String> {
        if self.tally.rows > 0 && key <= &self.last[..] {
            return Some("its key does not ascend from the one before".to_owned());
        }
        if key < self.table.smallest() || key > self.table.largest() {
            return Some("its key lies outside the table's range".to_owned());
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        None
    }

    /// Whether a reader that looks for the row comes here.
    fn found(&mut self, place: Extent, key: &[u8], parts: &KeyParts<'_>) -> Option<String> {
        let hash = hash64(key);
        let partition = self.table.partition(hash, key)?;
        if !self.table.may_hold(partition, hash, key) {
            return Some("the filter denies its key".to_owned());
        }
        let led = self.table.locate(key);
        if led != Some(place) {
            let where_to = led.map_or("nowhere".to_owned(), |led| format!("byte {}", led.offset));
            return Some(format!("the fences lead its key to {where_to}"));
        }
        let prefix = &key[..parts.prefix_len];
        if parts.collection && prefix != &self.map[..] {
            self.map.clear();
            self.map.extend_from_slice(prefix);
            if !self.table.may_hold_collection(hash64(prefix), prefix) {
                return Some("the filter denies its map".to_owned());
            }
        }
        None
    }

    fn large(&mut self, value: ValueExtent) -> Result<Option<String>> {
        let stored = value.stored();
        let checked = self.object.read(stored.offset, stored.len as usize).and_then(|bytes| {
            extent::check(self.table.object_key(), value.offset, value.len, &bytes).map(drop)
        });
        match checked {
            Ok(()) => Ok(None),
            Err(error) if is_damage(&error) => Ok(Some(error.text.to_string())),
            Err(error) => Err(error),
        }
    }

    fn count(&mut self, entry: &Entry<'_>, parts: &KeyParts<'_>, value_bytes: u64) {
        let tally = &mut self.tally;
        tally.rows += 1;
        match entry.kind {
            RowKind::Put => tally.puts += 1,
            RowKind::Delete => tally.deletes += 1,
            RowKind::Merge => tally.merges += 1,
        }
        tally.large_values += u64::from(matches!(entry.value, EntryValue::Extent(_)));
        tally.user_bytes += entry.key.len() as u64 + value_bytes;
        *tally.rows_by_state.entry(parts.state.0).or_default() += 1;
        let first = tally.key_groups.map_or(parts.group, |(first, _)| first);
        tally.key_groups = Some((first, parts.group));
    }

    /// What the properties say, against what was counted; of a table with damage only the units
    /// are known to be wrong.
    fn totals(&mut self) {
        let (table, tally) = (self.table, self.tally.clone());
        if tally.damaged_units > 0 {
            return;
        }
        let offset = table.table_ref().meta_offset;
        let mut differs = |what: &str, said: u64, counted: u64| {
            if said != counted {
                let what = format!("the properties say {said} {what}, {counted} are there");
                self.watch.flaw(Flaw { offset: Some(offset), what });
            }
        };
        differs("rows", table.rows(), tally.rows);
        differs("bytes of keys and values", table.user_bytes(), tally.user_bytes);
        if tally.rows > 0 && self.last != table.largest() {
            self.flaw(offset, "the properties name another last key than the last row".to_owned());
        }
    }
}

/// A stored key for people: key group, key, state, namespace and map key.
#[must_use]
pub fn shown_key(stored: &[u8]) -> Option<String> {
    let parts = key_parts(stored).filter(|parts| u32::from(parts.group) < KEY_GROUPS_MAX)?;
    let mut out = format!("group {} key \"{}\"", parts.group, parts.key.escape_ascii());
    out += &format!(" state {}", parts.state.0);
    if !parts.namespace.is_empty() {
        out += &format!(" namespace \"{}\"", parts.namespace.escape_ascii());
    }
    if parts.collection {
        out += &format!(" map key \"{}\"", stored[parts.prefix_len..].escape_ascii());
    }
    Some(out)
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
