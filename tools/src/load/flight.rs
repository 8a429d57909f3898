//! What is in flight: a slot per operation, named by its tag, and the checks of what comes back.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};
use aquifer::state::Entries;

use super::dataset::{ABSENT_BASE, Dataset, MAP_ENTRIES, MAP_KEY_BYTES};
use super::source::Draft;
use super::target::{OpKind, Outcome};

#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u64,
    start_ns: u64,
    version: u64,
    /// The lowest version that is right for this operation to see.
    floor: u32,
    /// Records that were there when it began: those below this index.
    there: u64,
    generation: u32,
    kind: OpKind,
}

/// Operations completed since the tally was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) ops: u64,
    pub(super) writes: u64,
    pub(super) wrong: u64,
    pub(super) missing: u64,
}

/// What a run knows about its writes, from phase to phase.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The last version given out.
    pub(super) version: u64,
    /// Records given out to be inserted, all of them acknowledged.
    pub(super) inserted: u64,
    /// With `--verify`: per record a version that the engine has acknowledged.
    pub(super) floors: Option<Vec<u32>>,
}

/// Which inserts the engine has acknowledged: nothing reads a record before.
#[derive(Debug)]
struct Inserts {
    /// All records below this index are there.
    there: u64,
    /// Whether those from it on are; they are inserted in order and end in any.
    ended: VecDeque<bool>,
}

impl Inserts {
    fn started(&mut self, index: u64) {
        debug_assert_eq!(index, self.there + self.ended.len() as u64, "inserts are in order");
        self.ended.push_back(false);
    }

    fn ended(&mut self, index: u64) {
        self.ended[(index - self.there) as usize] = true;
        while self.ended.front() == Some(&true) {
            self.ended.pop_front();
            self.there += 1;
        }
    }
}

/// The slots. A tag is slot and generation, so that a completion delivered twice is found.
#[derive(Debug)]
pub(super) struct Flight {
    data: Dataset,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// With `--verify`: per record a version that the engine has acknowledged.
    floors: Option<Vec<u32>>,
    inserts: Inserts,
    /// Start times of completions that have no latency yet.
    finished_ns: Vec<u64>,
    tally: Tally,
}

impl Flight {
    pub(super) fn new(
        data: Dataset,
        in_flight: u32,
        inserted: u64,
        floors: Option<Vec<u32>>,
    ) -> Self {
        let slot = Slot {
            index: 0,
            start_ns: 0,
            version: 0,
            floor: 0,
            there: 0,
            generation: 0,
            kind: OpKind::Get,
        };
        Self {
            inserts: Inserts { there: data.records + inserted, ended: VecDeque::new() },
            data,
            slots: vec![slot; in_flight as usize],
            free: (0..in_flight).rev().collect(),
            floors,
            finished_ns: Vec::with_capacity(in_flight as usize),
            tally: Tally::default(),
        }
    }

    pub(super) fn room(&self) -> usize {
        self.free.len()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All records below this index are there.
    pub(super) fn there(&self) -> u64 {
        self.inserts.there
    }

    /// Takes a slot and returns the tag of the operation.
    ///
    /// # Panics
    /// If there is no room: the caller asks first.
    #[inline]
    pub(super) fn start(&mut self, draft: Draft, start_ns: u64) -> u64 {
        let at = self.free.pop().expect("no more operations are started than there is room for");
        if draft.kind == OpKind::Put && draft.index >= self.inserts.there {
            self.inserts.started(draft.index);
        }
        let floor = match &mut self.floors {
            Some(floors) if draft.index < ABSENT_BASE => {
                let index = draft.index as usize;
                if index >= floors.len() {
                    floors.resize(index + 1, 0);
                }
                floors[index]
            }
            _ => 0,
        };
        let slot = &mut self.slots[at as usize];
        slot.index = draft.index;
        slot.start_ns = start_ns;
        slot.version = draft.version;
        slot.floor = floor;
        slot.there = self.inserts.there;
        slot.kind = draft.kind;
        u64::from(slot.generation) << 32 | u64::from(at)
    }

    /// Frees the slot of a completion and judges its outcome.
    #[inline]
    pub(super) fn finish(&mut self, tag: u64, outcome: &Outcome<'_>) -> Result<()> {
        let at = (tag & u64::from(u32::MAX)) as usize;
        let slot = match self.slots.get_mut(at) {
            Some(slot) if u64::from(slot.generation) == tag >> 32 => slot,
            _ => bail!(
                "the engine completed tag {tag:#x}, which is not in flight: twice, or made up"
            ),
        };
        slot.generation = slot.generation.wrapping_add(1);
        let slot = *slot;
        self.free.push(at as u32);
        self.finished_ns.push(slot.start_ns);
        self.tally.ops += 1;
        self.tally.writes += u64::from(slot.kind.writes());
        match (slot.kind, outcome) {
            (_, Outcome::Failed(cause)) => bail!("an operation failed: {cause}"),
            (OpKind::Get, Outcome::Absent) => self.absent(&slot),
            (OpKind::Get, Outcome::Value(value)) => self.value(&slot, value),
            (OpKind::Scan(limit), Outcome::Entries(entries)) => {
                self.entries(&slot, limit, entries.clone())
            }
            (OpKind::Put | OpKind::Rmw, Outcome::Done) => {
                self.acknowledge(&slot);
                Ok(())
            }
            (kind, outcome) => bail!("a {kind:?} ended as {outcome:?}: a defect of the engine"),
        }
    }

    /// Start times of what completed since the last call to
    /// [`forget_finished`](Self::forget_finished).
    pub(super) fn finished_ns(&self) -> &[u64] {
        &self.finished_ns
    }

    pub(super) fn forget_finished(&mut self) {
        self.finished_ns.clear();
    }

    pub(super) fn into_floors(self) -> Option<Vec<u32>> {
        self.floors
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn absent(&mut self, slot: &Slot) -> Result<()> {
        if slot.index < ABSENT_BASE {
            self.tally.missing += 1;
            ensure!(self.floors.is_none(), "record {} is missing", slot.index);
        }
        Ok(())
    }

    #[inline]
    fn value(&mut self, slot: &Slot, value: &[u8]) -> Result<()> {
        if self.floors.is_none() && slot.index < ABSENT_BASE {
            return Ok(());
        }
        self.tally.wrong += 1;
        ensure!(slot.index < ABSENT_BASE, "a key that was never written has a value");
        match self.data.check(slot.index, value) {
            Ok(version) if version >= u64::from(slot.floor) => {
                self.tally.wrong -= 1;
                Ok(())
            }
            Ok(version) => bail!(
                "record {} has version {version} though {} was acknowledged: a write was lost",
                slot.index,
                slot.floor
            ),
            Err(wrong) => bail!("the value of record {} is wrong: {wrong:?}", slot.index),
        }
    }

    /// What a scan found: the entries from its own on, without a gap among those that were there
    /// when it began, as many as were asked for or up to the end of the map.
    fn entries(&mut self, slot: &Slot, limit: u32, entries: Entries<'_>) -> Result<()> {
        if self.floors.is_none() {
            return Ok(());
        }
        let map_end = (slot.index / MAP_ENTRIES + 1) * MAP_ENTRIES;
        let (mut next, more) = (slot.index, entries.more());
        let mut found = 0;
        self.tally.wrong += 1;
        for (map_key, value) in entries {
            let entry = map_key.first_chunk::<MAP_KEY_BYTES>().map(|key| u64::from_be_bytes(*key));
            let entry =
                entry.filter(|entry| map_key.len() == MAP_KEY_BYTES && *entry < MAP_ENTRIES);
            let index = entry.map(|entry| map_end - MAP_ENTRIES + entry);
            let index = index.filter(|index| *index >= next).with_context(|| {
                format!("a scan from record {} brought the map key {map_key:?}", slot.index)
            })?;
            ensure!(index == next || next >= slot.there, "record {next} is missing in a scan");
            if let Err(wrong) = self.data.check(index, value) {
                bail!("the value of record {index} is wrong in a scan: {wrong:?}");
            }
            next = index + 1;
            found += 1;
        }
        let due = u64::from(limit).min(map_end.min(slot.there).saturating_sub(slot.index));
        ensure!(found <= limit, "a scan of at most {limit} entries brought {found}");
        // One that reached the limit of its bytes goes on where it ended; that is not counted.
        let whole = u64::from(found) >= due || (more && found > 0);
        ensure!(whole, "record {next} is missing in a scan: {found} of {due} entries came");
        self.tally.wrong -= 1;
        Ok(())
    }

    /// Raises the floor of a record. Concurrent changes of one key may raise it by less than they
    /// should, never by more.
    #[inline]
    fn acknowledge(&mut self, slot: &Slot) {
        if slot.index >= self.inserts.there {
            self.inserts.ended(slot.index);
        }
        let Some(floors) = &mut self.floors else { return };
        let reached = match slot.kind {
            OpKind::Put => u32::try_from(slot.version).unwrap_or(u32::MAX),
            OpKind::Rmw => slot.floor.saturating_add(1),
            OpKind::Get | OpKind::Scan(_) => return,
        };
        let floor = &mut floors[slot.index as usize];
        *floor = reached.max(*floor);
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
