//! The end of a run: faults stop, everything is read back, every kept checkpoint is restored.

use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::state::request::Batch;

use crate::model::asked::Outcome;
use crate::model::run::Run;
use crate::sim::faults::FaultMix;

/// Requests of a read back in flight.
pub(super) const READ_BACK_BATCH: usize = 256;

impl Run {
    /// See the module.
    pub(super) fn finish(&mut self) -> Outcome<()> {
        let orphans = self.sim.faults.leaves_orphans();
        let calm = self.sim.faults.is_calm();
        self.sim.faults = FaultMix::calm();
        self.settle("faults stopped")?;
        self.idle()?;
        self.sim.late_calls_arrive();
        if self.damaged {
            // Checkpoints are restored from what is left: right answers or errors.
            self.crash()?;
            self.read_back_all()?;
            self.sim.dfs.heal();
        }
        if std::mem::take(&mut self.damaged) || self.is_poisoned() {
            // What was built on damage would be wrong still.
            self.crash()?;
            self.idle()?;
        }
        self.calm = true;
        for store in 0..self.stores.len() {
            self.drain(store)?;
        }
        self.read_back_all()?;
        self.leaves_no_garbage(orphans)?;
        self.restores_everything()?;
        self.add_counters();
        let (failures, returned) = (self.report.counters.job_failures, self.sim.errands.returned);
        match failures + returned {
            wrong if calm && wrong > 0 => Err(format!(
                "without a fault {failures} jobs failed and {returned} merges came back"
            )),
            _ => Ok(()),
        }
    }

    fn drain(&mut self, store: usize) -> Outcome<()> {
        match self.control(ControlOp::Drain(self.id(store)))? {
            Ok(ControlResult::Done) => Ok(()),
            other => Err(format!("a drain without faults ended with {other:?}")),
        }
    }

    fn read_back_all(&mut self) -> Outcome<()> {
        (0..self.stores.len()).try_for_each(|store| self.read_back(store))
    }

    /// Reads every row that may exist, and scans every map in pages.
    fn read_back(&mut self, store: usize) -> Outcome<()> {
        for ops in self.shape.read_back(&mut self.rng).chunks(READ_BACK_BATCH) {
            let mut batch = Batch::default();
            for op in ops {
                self.add(&mut batch, store, op)?;
            }
            self.sim.submit(0, batch);
            self.settle("a read back")?;
        }
        Ok(())
    }

    // After a checkpoint of a drained store, nothing of its incarnation may exist that no kept
    // checkpoint needs, unless jobs failed: what they wrote is left to a scrub.
    fn leaves_no_garbage(&mut self, orphans: bool) -> Outcome<()> {
        for store in 0..self.stores.len() {
            // Reading back made rows: flushed by the cut they could start a merge behind it.
            self.drain(store)?;
            self.start_checkpoint(store);
        }
        self.settle("the last checkpoint")?;
        let last: Vec<Vec<u8>> = self.kept.iter().rev().map(|kept| kept.handle.clone()).collect();
        for handle in &last[self.stores.len()..] {
            let at = self.kept.iter().position(|kept| kept.handle == *handle);
            let at = at.expect("it was just listed");
            if self.rng.chance(3000) {
                self.release_at(at);
            }
        }
        self.settle("the last releases")?;
        self.idle()?;
        for slot in self.stores.iter().filter(|_| !orphans) {
            let mine = |name: &&aquifer::types::ObjectName| {
                name.incarnation == slot.incarnation || slot.claimed.contains(name)
            };
            let left = self.sim.dfs.names().filter(mine);
            if let Some(name) = left.into_iter().find(|name| !self.sim.dfs.is_retained(name)) {
                return Err(format!("{name} is left, and no checkpoint needs it"));
            }
        }
        Ok(())
    }

    fn restores_everything(&mut self) -> Outcome<()> {
        for store in 0..self.stores.len() {
            self.close(store)?;
        }
        if self.sim.dfs.open_count() > 0 {
            return Err(format!("{} objects are open, and no store is", self.sim.dfs.open_count()));
        }
        for kept in self.kept.clone() {
            let store = kept.store;
            self.open(store, Some(kept))?;
            self.read_back(store)?;
            self.close(store)?;
        }
        Ok(())
    }

    fn close(&mut self, store: usize) -> Outcome<()> {
        match self.control(ControlOp::Close(self.id(store)))? {
            Ok(ControlResult::Done) => self.idle(),
            other => Err(format!("a close ended with {other:?}")),
        }
    }
}
