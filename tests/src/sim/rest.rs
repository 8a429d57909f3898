//! Damage that stays: what lies on the DFS is not what was put there, whoever reads it, until it is
//! put back from a replica.

use std::sync::Arc;

use aquifer::types::{ObjectKind, ObjectName};

use crate::sim::dfs::Dfs;
use crate::sim::driver::Sim;
use crate::sim::faults::{AT_REST, Fault};

impl Dfs {
    /// True if readers do not find what was put.
    #[must_use]
    pub fn is_damaged(&self, name: &ObjectName) -> bool {
        self.damaged.contains_key(name)
    }

    /// Readers find again what was put.
    pub fn heal(&mut self) {
        self.damaged.clear();
    }

    /// The bytes of an older object of the kind, if there is one.
    pub(super) fn older(&self, name: &ObjectName) -> Option<Arc<Vec<u8>>> {
        let older = self.objects.range(..name).rev().find(|(other, _)| other.kind == name.kind);
        older.map(|(_, bytes)| Arc::clone(bytes))
    }
}

impl Sim {
    /// Damages objects as the seed has it. True if it did.
    pub fn damage(&mut self) -> bool {
        let mut damages = false;
        for fault in AT_REST {
            if self.faults[fault] == 0 {
                continue;
            }
            let is_data = |name: &&ObjectName| name.kind != ObjectKind::Root;
            let names: Vec<ObjectName> = self.dfs.names().filter(is_data).copied().collect();
            let least = if fault == Fault::RestSwapped { 2 } else { 1 };
            if names.len() >= least && self.meets(fault) {
                let name = self.rng.pick(&names);
                self.damage_one(fault, name, &names);
                damages = true;
            }
        }
        damages
    }

    fn damage_one(&mut self, fault: Fault, name: ObjectName, names: &[ObjectName]) {
        let bytes = self.dfs.object(&name).expect("it was listed");
        let damaged = match fault {
            Fault::RestFlip => {
                let mut flipped = bytes.to_vec();
                let at = self.rng.below(flipped.len());
                flipped[at] ^= 1 << self.rng.below(8);
                Some(Arc::new(flipped))
            }
            Fault::RestSwapped => {
                let at = names.iter().position(|other| *other == name).expect("it is one of them");
                let other = names[(at + self.rng.between(1, names.len() - 1)) % names.len()];
                self.dfs.damaged.insert(other, Some(bytes));
                Some(self.dfs.object(&other).expect("it was listed"))
            }
            // One that has no older one is empty.
            Fault::RestOlder => Some(self.dfs.older(&name).unwrap_or_default()),
            _ => None,
        };
        self.dfs.damaged.insert(name, damaged);
    }
}
