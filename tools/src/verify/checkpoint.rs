//! The check of one checkpoint: handle, manifest, tables.

use std::collections::HashSet;

use aquifer::checkpoint::handle::Handle;
use aquifer::codec::reader::Reader;
use aquifer::limits::PAGE_BYTES;
use aquifer::lsm::manifest::Manifest;
use aquifer::sst::{Table, TableRef};
use aquifer::state::StateTable;
use aquifer::types::error::ErrorKind;
use aquifer::types::key::KeyParts;
use aquifer::types::{Error, Locality, ObjectName};
use indicatif::ProgressBar;

use crate::objects::walk::{Flaw, Watch, walk};
use crate::objects::{Object, Root, is_damage};

/// Faults of one checkpoint that are kept and shown; more are counted.
const FAULTS_MAX: usize = 1000;

/// What a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes are not what was written.
    Damaged,
    /// An object is not there.
    Missing,
    /// It could not be read, so nobody knows.
    Unreadable,
}

impl Kind {
    /// Its name in the answer.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }

    fn of(error: &Error) -> Self {
        match error.kind {
            ErrorKind::MissingObject => Self::Missing,
            _ if is_damage(error) => Self::Damaged,
            _ => Self::Unreadable,
        }
    }
}

/// Something that keeps a checkpoint from being whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub kind: Kind,
    /// The object's path below the root, or the handle.
    pub object: String,
    /// The byte of the object, as far as the fault has a place.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The manifest's path below the root.
    pub manifest: Option<String>,
    /// Tables that the manifest names.
    pub tables: usize,
    /// Bytes of the manifest and the tables.
    pub bytes: u64,
    /// Rows that were read, in tables that no checkpoint before has named.
    pub rows: u64,
    /// What is wrong, the first ones.
    pub faults: Vec<Fault>,
    /// How many more.
    pub left_off: u64,
}

impl Checked {
    fn add(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.left_off += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    fn join(&mut self, other: Self) {
        self.rows += other.rows;
        self.left_off += other.left_off;
        other.faults.into_iter().for_each(|fault| self.add(fault));
    }

    fn error(&mut self, object: impl ToString, offset: Option<u64>, error: &Error) {
        let (kind, what) = (Kind::of(error), error.text.to_string());
        self.add(Fault { kind, object: object.to_string(), offset, what });
    }
}

/// Checks checkpoints of one root; a table that several name is read once.
pub struct Checker {
    root: Root,
    deep: bool,
    bar: ProgressBar,
    whole: HashSet<TableRef>,
}

impl Checker {
    /// A checker that reads the ends of tables, or with `deep` all of them.
    #[must_use]
    pub fn new(root: Root, deep: bool, bar: ProgressBar) -> Self {
        Self { root, deep, bar, whole: HashSet::new() }
    }

    /// Ends the progress.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Checks the checkpoint with this handle.
    pub fn check(&mut self, handle: &[u8]) -> Checked {
        let mut checked = Checked::default();
        let handle = match Handle::decode(handle) {
            Ok(handle) => handle,
            Err(error) => {
                checked.error("the handle", None, &error);
                return checked;
            }
        };
        checked.manifest = Some(handle.manifest.to_string());
        let read = || self.root.manifest(&handle);
        match read().or_else(|error| if is_damage(&error) { read() } else { Err(error) }) {
            Ok(manifest) => self.tables(&handle.manifest, &manifest, &mut checked),
            Err(error) => checked.error(handle.manifest, None, &error),
        }
        checked.bytes += handle.manifest_bytes;
        checked
    }

    fn tables(&mut self, name: &ObjectName, manifest: &Manifest, checked: &mut Checked) {
        let states = StateTable::decode(&mut Reader::new(&manifest.states));
        if let Err(error) = &states {
            checked.error(name, None, error);
        }
        let states = states.unwrap_or_default();
        checked.tables = manifest.tables.len();
        checked.bytes = manifest.tables.iter().map(|table| table.file_bytes).sum();
        let todo: u64 = manifest.tables.iter().map(|table| self.cost(table)).sum();
        self.bar.set_length(self.bar.position() + todo);
        for (number, table_ref) in (0..).zip(&manifest.tables) {
            let begun = self.bar.position();
            let look = || self.table(table_ref, Rules::new(manifest, &states, number));
            if !self.whole.contains(table_ref) {
                let mut found = look();
                if found.faults.iter().any(|fault| fault.kind != Kind::Unreadable) {
                    // What stands between here and a store may have answered something else.
                    self.bar.set_position(begun);
                    found = look();
                }
                if found.is_whole() {
                    self.whole.insert(*table_ref);
                }
                checked.join(found);
            }
            self.bar.set_position(begun + self.cost(table_ref));
        }
    }

    /// Bytes to read of a table.
    fn cost(&self, table: &TableRef) -> u64 {
        if self.deep { table.file_bytes } else { u64::from(table.meta_len) + PAGE_BYTES as u64 }
    }

    /// What is wrong with a table, and its rows.
    fn table(&self, table_ref: &TableRef, rules: Rules<'_>) -> Checked {
        let (name, mut checked) = (&table_ref.name, Checked::default());
        let (object, table) = match self.resident(table_ref) {
            Ok(opened) => opened,
            Err((offset, error)) => {
                checked.error(name, offset, &error);
                return checked;
            }
        };
        if self.deep {
            let begun = self.bar.position();
            let mut look = Look { name, rules, bar: &self.bar, begun, checked: &mut checked };
            match walk(&object, &table, &mut look) {
                Ok(tally) => checked.rows += tally.rows,
                Err(error) => checked.error(name, None, &error),
            }
        }
        checked
    }

    /// The ends of a table: its length, its footer, its resident part.
    fn resident(
        &self,
        table_ref: &TableRef,
    ) -> std::result::Result<(Object, Table), (Option<u64>, Error)> {
        let object = self.root.open(&table_ref.name).map_err(|error| (None, error))?;
        let (found, expected) = (object.bytes(), table_ref.file_bytes);
        if found != expected {
            let what = format!("it has {found} bytes, the manifest names {expected}");
            return Err((Some(found.min(expected)), Error::corrupt(what)));
        }
        let footer_at = expected - PAGE_BYTES as u64;
        let at = |offset| move |error| (Some(offset), error);
        let page = object.last_page().map_err(at(footer_at))?;
        let footer = TableRef::from_footer(table_ref.name, &page[..]).map_err(at(footer_at))?;
        if footer != *table_ref {
            let what = "its footer names another resident part than the manifest";
            return Err((Some(footer_at), Error::corrupt(what)));
        }
        let table = object.table(*table_ref).map_err(at(table_ref.meta_offset))?;
        Ok((object, table))
    }
}

/// What a store says about the keys of one of its tables.
struct Rules<'a> {
    manifest: &'a Manifest,
    states: &'a StateTable,
    table: u32,
}

impl<'a> Rules<'a> {
    fn new(manifest: &'a Manifest, states: &'a StateTable, table: u32) -> Self {
        Self { manifest, states, table }
    }

    /// What is wrong with a key, if a reader of the store could meet it: of a table, only what lies
    /// in tablets that name it counts.
    fn wrong(&self, key: &[u8], parts: &KeyParts<'_>) -> Option<String> {
        let tablets = &self.manifest.tablets;
        let behind = tablets.partition_point(|tablet| *tablet.low <= *key);
        if !tablets[behind.checked_sub(1)?].runs.contains(&self.table) {
            return None;
        }
        let (first, last) = self.manifest.range;
        if !(first..=last).contains(&parts.group) {
            let group = parts.group;
            return Some(format!("key group {group} is not of the store's, {first} to {last}"));
        }
        let Some(state) = self.states.get(parts.state) else {
            return Some(format!("the store has no state {}", parts.state.0));
        };
        let collection = state.kind.locality() == Locality::Collection;
        (collection != parts.collection)
            .then(|| format!("its key is not one of state {}, a {}", parts.state.0, state.kind))
    }
}

struct Look<'a> {
    name: &'a ObjectName,
    rules: Rules<'a>,
    bar: &'a ProgressBar,
    begun: u64,
    checked: &'a mut Checked,
}

impl Watch for Look<'_> {
    fn flaw(&mut self, flaw: Flaw) {
        let (object, Flaw { offset, what }) = (self.name.to_string(), flaw);
        self.checked.add(Fault { kind: Kind::Damaged, object, offset, what });
    }

    fn at(&mut self, offset: u64) {
        self.bar.set_position(self.begun + offset);
    }

    fn wrong_key(&mut self, key: &[u8], parts: &KeyParts<'_>) -> Option<String> {
        self.rules.wrong(key, parts)
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
