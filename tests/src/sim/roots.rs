//! Roots on the simulated DFS: looks that miss what was just put, and what must hold of those that
//! were put.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aquifer::checkpoint::root::{Root, boundary};
use aquifer::io::values::IoDone;
use aquifer::mem::slab::Token;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, Incarnation, ObjectKind, ObjectName, Result};

use crate::sim::dfs::{Dfs, LateCall};
use crate::sim::driver::{Event, Sim};

/// The roots of the one store that has some.
#[derive(Debug, Default)]
pub struct Roots {
    /// Of so many one is never deleted.
    pub spacing: u64,
    /// By number, as each was first put.
    pub chain: BTreeMap<u64, Root>,
    /// Roots that were deleted and put again: by openings that do not know.
    pub risen: u64,
    // What the newest keeps.
    kept: BTreeSet<ObjectName>,
}

impl Roots {
    /// Who put the roots, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let by =
            |(number, root): (&u64, &Root)| format!("{number}:{} ", root.incarnation.host_epoch);
        self.chain.iter().map(by).collect()
    }

    /// The number of the newest.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.chain.last_key_value().map_or(0, |(&number, _)| number)
    }

    /// True if an object that is missing is missed: where stores have roots, openings that do not
    /// know that they lost theirs need what is gone.
    #[must_use]
    pub(super) fn miss(&self, name: &ObjectName) -> bool {
        let question = name.kind == ObjectKind::Root;
        !question && (self.chain.is_empty() || self.kept.contains(name))
    }

    /// The number under which an opening committed a checkpoint.
    #[must_use]
    pub fn committed(&self, incarnation: Incarnation, handle: &[u8]) -> Option<u64> {
        let mine = |root: &&Root| {
            let first = root.kept.first().map(aquifer::checkpoint::handle::Handle::encode);
            root.incarnation == incarnation && first.as_deref() == Some(handle)
        };
        self.chain.values().find(mine).map(|root| root.number)
    }

    /// The number by which an opening that has not committed yet took the store over: the last of
    /// its roots, for others may have gone on behind one before it knew that it was its own.
    #[must_use]
    pub fn taken(&self, incarnation: Incarnation) -> Option<u64> {
        let mine = |root: &&Root| root.incarnation == incarnation;
        self.chain.values().rev().find(mine).map(|root| root.number)
    }
}

impl Dfs {
    /// Puts a root, unless there is one.
    pub(super) fn create(&mut self, name: ObjectName, bytes: Vec<u8>) {
        if self.objects.contains_key(&name) {
            return;
        }
        let root = Root::decode(&name, &bytes).expect("a shard puts what is a root");
        self.objects.insert(name, Arc::new(bytes));
        if self.roots.chain.contains_key(&root.number) {
            self.roots.risen += 1;
            return;
        }
        if root.number != self.roots.newest() + 1 {
            self.violation(format!("{name} was put, and no root before it"));
        }
        let mut kept = BTreeSet::new();
        for handle in &root.kept {
            match self.reachable(&handle.encode()) {
                Ok(names) => kept.extend(names),
                Err(error) => self.violation(format!("{name} keeps what is not whole: {error}")),
            }
        }
        for gone in kept.iter().filter(|name| self.object(name).is_err()).collect::<Vec<_>>() {
            self.violation(format!("{name} keeps {gone}, which is gone"));
        }
        self.roots.kept = kept;
        self.roots.chain.insert(root.number, root);
    }

    /// Nothing goes that the newest root keeps, and no root that the protocol needs.
    pub(super) fn check_delete(&mut self, name: &ObjectName) {
        if self.roots.kept.contains(name) {
            self.violation(format!("{name} was deleted, and the newest root keeps it"));
        }
        let (newest, spacing) = (self.roots.newest(), self.roots.spacing);
        let dead = boundary(name.seq, spacing.max(1)).is_some_and(|b| b + spacing <= newest);
        if name.kind == ObjectKind::Root && !dead {
            self.violation(format!("{name} was deleted, and the newest root is {newest}"));
        }
    }

    /// What a store shows that shows a put late: for a while, in which others do not put as many
    /// roots as lie between two boundaries.
    ///
    /// # Errors
    /// `MissingObject`, for what is that young.
    pub(super) fn shown(&self, name: &ObjectName) -> Result<()> {
        if name.seq + self.roots.spacing > self.roots.newest() {
            return Err(Error::new(ErrorKind::MissingObject, "injected: it is not shown yet"));
        }
        Ok(())
    }
}

impl Sim {
    pub(super) fn start_put(&mut self, token: Token, name: ObjectName, bytes: Vec<u8>) {
        let done = IoDone::Put { token, result: Ok(()) };
        if self.rng.chance(5000) {
            self.apply(name, bytes);
            self.later(Event::Io(done, None));
        } else {
            self.later(Event::Put(done, name, bytes));
        }
    }

    /// The process is gone. What it asked for may still be done, at any time.
    pub fn leave(&mut self) {
        for event in std::mem::take(&mut self.events).into_values() {
            match event {
                Event::Put(_, name, bytes) => self.dfs.float(LateCall::Put(name, bytes)),
                Event::Delete(name) => self.dfs.float(LateCall::Delete(name)),
                _ => {}
            }
        }
    }
}
