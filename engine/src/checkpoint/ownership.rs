//! Which objects may be deleted. An object goes when three things hold: this incarnation wrote it
//! or claimed it, no live version, request or job reads it, and no checkpoint that the host holds
//! names it. What a store has from the checkpoints it was opened with is borrowed until the host
//! hands those over: its checkpoints name it, and it deletes none of it.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::checkpoint::handle::Handle;
use crate::types::{Incarnation, ObjectName};

/// The objects that checkpoints keep alive.
#[derive(Debug)]
pub struct Ownership {
    incarnation: Incarnation,
    // Written by others, and handed over.
    claimed: HashSet<ObjectName>,
    // In order, since deletes leave in the order of names.
    retained: HashMap<Handle, BTreeSet<ObjectName>>,
    // Left every version while a checkpoint still named them.
    waiting: HashSet<ObjectName>,
}

impl Ownership {
    /// Of a store that was just opened as `incarnation`.
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            claimed: HashSet::new(),
            retained: HashMap::new(),
            waiting: HashSet::new(),
        }
    }

    /// A checkpoint was handed to the host: it keeps these tables (and its manifest).
    pub fn retain(&mut self, handle: Handle, tables: impl Iterator<Item = ObjectName>) {
        self.retained.insert(handle, tables.chain([handle.manifest]).collect());
    }

    /// The host handed a checkpoint over, which others may have written. What of it is not `live`
    /// goes when no checkpoint names it any more.
    pub fn claim(
        &mut self,
        handle: Handle,
        tables: impl Iterator<Item = ObjectName>,
        live: &HashSet<ObjectName>,
    ) {
        let names: BTreeSet<ObjectName> = tables.chain([handle.manifest]).collect();
        self.waiting.extend(names.iter().filter(|name| !live.contains(name)));
        self.claimed.extend(&names);
        self.retained.insert(handle, names);
    }

    /// The host gave a checkpoint up. Returns what may be deleted now; empty for a handle this
    /// store does not know.
    pub fn release(&mut self, handle: &Handle) -> Vec<ObjectName> {
        let Some(names) = self.retained.remove(handle) else { return Vec::new() };
        let gone = |name: &ObjectName| self.waiting.contains(name) || *name == handle.manifest;
        let free: Vec<ObjectName> = names
            .into_iter()
            .filter(|name| self.mine(name) && gone(name) && !self.named(name))
            .collect();
        for name in &free {
            self.waiting.remove(name);
            self.claimed.remove(name);
        }
        free
    }

    /// An object left every version and nobody reads it. True: delete it now.
    pub fn retire(&mut self, name: ObjectName) -> bool {
        if !self.mine(&name) {
            return false;
        }
        if self.named(&name) {
            self.waiting.insert(name);
            return false;
        }
        self.claimed.remove(&name);
        true
    }

    fn mine(&self, name: &ObjectName) -> bool {
        name.incarnation == self.incarnation || self.claimed.contains(name)
    }

    fn named(&self, name: &ObjectName) -> bool {
        self.retained.values().any(|names| names.contains(name))
    }
}
