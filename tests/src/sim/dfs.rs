//! The DFS in memory. What was sealed or put is durable; what a job appended and did not seal
//! vanishes in a crash. It also watches what the engine promises about objects: a name is written
//! once, and nothing that the host's checkpoints need is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aquifer::checkpoint::handle::Handle;
use aquifer::io::values::ObjectSlot;
use aquifer::lsm::manifest::Manifest;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectKind, ObjectName, Result};

use crate::sim::rng::Rng;
use crate::sim::roots::Roots;

/// An object that is open for the shard.
#[derive(Debug)]
struct Open {
    name: ObjectName,
    bytes: Arc<Vec<u8>>,
    reads: usize,
}

/// A change of the DFS that was accepted and not made yet.
#[derive(Debug)]
pub(super) enum LateCall {
    Put(ObjectName, Vec<u8>),
    /// A put that was applied before.
    Again(ObjectName, Vec<u8>),
    Delete(ObjectName),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Dfs {
    pub(super) objects: BTreeMap<ObjectName, Arc<Vec<u8>>>,
    // What readers find instead; none is a loss.
    pub(super) damaged: BTreeMap<ObjectName, Option<Arc<Vec<u8>>>>,
    // By processes that wait for it or are long gone.
    floating: Vec<LateCall>,
    // What failed once never recovers: a gap would be worse.
    writing: BTreeMap<ObjectName, Result<Vec<u8>>>,
    ever: BTreeSet<ObjectName>,
    slots: Vec<Option<Open>>,
    retained: BTreeMap<Vec<u8>, BTreeSet<ObjectName>>,
    violations: Vec<String>,
    /// The roots that were put.
    pub roots: Roots,
    tablets_max: usize,
}

impl Dfs {
    /// What was broken so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Tablets of the checkpoint that had most.
    #[must_use]
    pub fn tablets_max(&self) -> usize {
        self.tablets_max
    }

    /// The bytes of an object, as they were put.
    ///
    /// # Errors
    /// `MissingObject`.
    pub fn object(&self, name: &ObjectName) -> Result<Arc<Vec<u8>>> {
        self.objects.get(name).cloned().ok_or_else(|| {
            Error::new(ErrorKind::MissingObject, format!("{name} is not on the DFS"))
        })
    }

    /// The bytes that a reader finds.
    ///
    /// # Errors
    /// `MissingObject`.
    pub fn found(&self, name: &ObjectName) -> Result<Arc<Vec<u8>>> {
        let whole = self.object(name)?;
        let gone = || Error::missing(format!("injected: {name} is gone"));
        self.damaged.get(name).map_or(Ok(whole), |damaged| damaged.clone().ok_or_else(gone))
    }

    /// As `found`, for a reader that must find it.
    ///
    /// # Errors
    /// `MissingObject`.
    pub fn needed(&mut self, name: &ObjectName, who: &str) -> Result<Arc<Vec<u8>>> {
        let found = self.found(name);
        if found.is_err() && !self.is_damaged(name) && self.roots.miss(name) {
            self.violation(format!("{who} needs {name}, which is not on the DFS"));
        }
        found
    }

    /// Names of all objects.
    pub fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.objects.keys()
    }

    /// True if a job started to write the object.
    #[must_use]
    pub fn is_written(&self, name: &ObjectName) -> bool {
        self.writing.contains_key(name)
    }

    /// Appends to an object that a job writes, unless that fails.
    pub fn append(&mut self, name: ObjectName, bytes: &[u8], fault: Option<Error>) -> Result<()> {
        let writer = self.writing.entry(name).or_insert_with(|| Ok(Vec::new()));
        if let (Ok(_), Some(error)) = (&writer, fault) {
            *writer = Err(error);
        }
        writer.as_mut().map_err(|error| error.clone())?.extend_from_slice(bytes);
        Ok(())
    }

    /// What a job appended to an object, which is not written any more: it is to be sealed.
    ///
    /// # Errors
    /// An append had failed.
    pub(super) fn take_written(&mut self, name: &ObjectName) -> Result<Vec<u8>> {
        self.writing.remove(name).expect("a job seals what it appended to")
    }

    /// Makes an object durable and visible.
    pub fn put(&mut self, name: ObjectName, bytes: Vec<u8>) {
        if name.kind == ObjectKind::Root {
            return self.create(name, bytes);
        }
        if !self.ever.insert(name) {
            self.violation(format!("{name} was written twice"));
        }
        self.objects.insert(name, Arc::new(bytes));
    }

    /// Holds a change back.
    pub(super) fn float(&mut self, call: LateCall) {
        self.floating.push(call);
    }

    /// Makes a change that was accepted long ago; false if there is none.
    pub fn float_ashore(&mut self, rng: &mut Rng) -> bool {
        if self.floating.is_empty() {
            return false;
        }
        match self.floating.swap_remove(rng.below(self.floating.len())) {
            LateCall::Put(name, bytes) => self.put(name, bytes),
            LateCall::Again(name, bytes) if name.kind == ObjectKind::Root => {
                self.create(name, bytes);
            }
            LateCall::Again(name, bytes) => {
                self.damaged.remove(&name);
                self.objects.insert(name, Arc::new(bytes));
            }
            LateCall::Delete(name) => self.delete(&name),
        }
        true
    }

    /// Deletes an object.
    pub fn delete(&mut self, name: &ObjectName) {
        if self.retained.values().any(|names| names.contains(name)) {
            self.violation(format!("{name} was deleted, and a retained checkpoint needs it"));
        }
        self.check_delete(name);
        self.damaged.remove(name);
        self.objects.remove(name);
    }

    /// Loses every table, behind the back of everything that watches: a planted fault.
    pub fn lose_tables(&mut self) {
        self.objects.retain(|name, _| name.kind != ObjectKind::Sst);
    }

    /// Opens an object for the shard, under the lowest free number: reuse finds stale users.
    ///
    /// # Errors
    /// `MissingObject`.
    pub fn open(&mut self, name: &ObjectName) -> Result<ObjectSlot> {
        let open = Open { name: *name, bytes: self.needed(name, "an open")?, reads: 0 };
        let free = self.slots.iter().position(Option::is_none);
        let at = free.unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[at] = Some(open);
        Ok(ObjectSlot(at as u32))
    }

    /// Closes an object.
    pub fn close(&mut self, slot: ObjectSlot) {
        match self.slots[slot.0 as usize].take() {
            Some(open) if open.reads == 0 => {}
            Some(open) => {
                self.violation(format!("{slot:?} was closed with {} reads in flight", open.reads));
            }
            None => self.violation(format!("{slot:?} was closed twice")),
        }
    }

    /// Objects open for the shard.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// The name of an open object.
    #[must_use]
    pub(super) fn name_of(&self, slot: ObjectSlot) -> Option<ObjectName> {
        self.slots.get(slot.0 as usize)?.as_ref().map(|open| open.name)
    }

    /// A read of an open object starts: its bytes, whatever became of the name, unless they are
    /// damaged by now.
    ///
    /// # Errors
    /// It is gone, or was never open.
    pub fn start_read(&mut self, slot: ObjectSlot) -> Result<Arc<Vec<u8>>> {
        let Some(open) = self.slots.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            self.violation(format!("a read of {slot:?}, which is not open"));
            return Err(Error::new(ErrorKind::Io, "the object is not open"));
        };
        open.reads += 1;
        let (name, bytes) = (open.name, Arc::clone(&open.bytes));
        if self.is_damaged(&name) { self.found(&name) } else { Ok(bytes) }
    }

    /// A read of an open object ended.
    pub fn end_read(&mut self, slot: ObjectSlot) {
        if let Some(open) = self.slots.get_mut(slot.0 as usize).and_then(Option::as_mut) {
            open.reads = open.reads.saturating_sub(1);
        }
    }

    /// The host keeps a checkpoint from here on: all it needs must be there, and stay.
    pub fn retain(&mut self, handle: &[u8]) {
        match self.reachable(handle) {
            Ok(names) => {
                for name in &names {
                    if !self.objects.contains_key(name) {
                        self.violation(format!("a checkpoint needs {name}, which is gone"));
                    }
                }
                self.retained.insert(handle.to_vec(), names);
            }
            Err(error) => self.violation(format!("a new checkpoint does not read: {error}")),
        }
    }

    /// The host gives a checkpoint up.
    pub fn give_up(&mut self, handle: &[u8]) {
        self.retained.remove(handle);
    }

    /// Everything a checkpoint needs.
    ///
    /// # Errors
    /// Its manifest is missing or damaged.
    pub fn reachable(&mut self, handle: &[u8]) -> Result<BTreeSet<ObjectName>> {
        let handle = Handle::decode(handle)?;
        let bytes = self.object(&handle.manifest)?;
        handle.verify(&bytes)?;
        let manifest = Manifest::decode(&handle.manifest, bytes.as_ref())?;
        self.tablets_max = self.tablets_max.max(manifest.tablets.len());
        let tables = manifest.tables.iter().map(|table| table.name);
        Ok(tables.chain([handle.manifest]).collect())
    }

    /// True if a retained checkpoint needs the object.
    #[must_use]
    pub fn is_retained(&self, name: &ObjectName) -> bool {
        self.retained.values().any(|names| names.contains(name))
    }

    /// A process died: what it had begun to write is gone.
    pub fn abandon(&mut self, names: &[ObjectName]) {
        names.iter().for_each(|name| drop(self.writing.remove(name)));
    }

    /// The shard's process died: what was not durable is gone, but for what others write, and
    /// nothing is open.
    pub fn crash(&mut self, others: &BTreeSet<ObjectName>) {
        self.writing.retain(|name, _| others.contains(name));
        self.slots.clear();
    }
}
