//! Where operations come from: kind, record and version, in the order of the workload.

use super::dataset::{ABSENT_BASE, Dataset};
use super::dist::{Dist, Sampler};
use super::rng::Rng;
use super::target::OpKind;
use super::workload::{Kind, Mix, Workload};

/// Most entries of one scan: the default of YCSB. They are drawn evenly from 1.
const SCAN_ENTRIES_MAX: u64 = 100;

/// One operation before it has bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) kind: OpKind,
    pub(super) index: u64,
    /// The version a put writes.
    pub(super) version: u64,
}

/// The operations of one phase.
///
/// Versions come from one counter that also moves for every read-modify-write, so that a put always
/// writes a higher version than its key has: a read-modify-write adds 1 to one key, the counter
/// adds 1 for all.
#[derive(Debug)]
pub(super) struct OpSource {
    mix: Mix,
    sampler: Sampler,
    rng: Rng,
    index_base: u64,
    records: u64,
    /// Records given out to be inserted, in this phase and the ones before.
    inserted: u64,
    /// Operations left, for a workload that ends by itself.
    left: Option<u64>,
    /// A load writes version 0 of everything.
    load: bool,
    version: u64,
}

impl OpSource {
    /// `version` is the last one that the run has given out, `inserted` how many records.
    pub(super) fn new(
        workload: Workload,
        dist: Dist,
        data: &Dataset,
        seed: u64,
        (version, inserted): (u64, u64),
    ) -> Self {
        let load = workload == Workload::Load;
        // Those that were inserted are read like those that were loaded.
        let whole = workload == Workload::Rescale;
        let records = data.records + if whole { inserted } else { 0 };
        Self {
            mix: workload.mix(),
            sampler: Sampler::new(dist, records, seed),
            // The ranks are scattered by the plain seed, which an ideal cache has to know.
            rng: Rng::new(seed ^ 0x6f70_735f_7365_6564),
            index_base: if workload == Workload::GetAbsent { ABSENT_BASE } else { 0 },
            records,
            inserted,
            left: (load || whole).then_some(records),
            load,
            version: if load { 0 } else { version },
        }
    }

    /// The next operation, where the engine has acknowledged the inserts of records below `there`.
    #[inline]
    pub(super) fn draw(&mut self, there: u64) -> Draft {
        let kind = match self.mix.sample(&mut self.rng) {
            Kind::Get => OpKind::Get,
            Kind::Scan => OpKind::Scan(1 + self.rng.below(SCAN_ENTRIES_MAX) as u32),
            Kind::Put => OpKind::Put,
            Kind::Rmw => OpKind::Rmw,
            Kind::Insert => return self.insert(),
        };
        let index = self.index_base + self.sampler.sample(&mut self.rng, there - self.records);
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.version += u64::from(kind.writes() && !self.load);
        Draft { kind, index, version: self.version }
    }

    fn insert(&mut self) -> Draft {
        let index = self.records + self.inserted;
        self.inserted += 1;
        self.version += 1;
        Draft { kind: OpKind::Put, index, version: self.version }
    }

    /// The same operations, and no more than `ops` of them.
    pub(super) fn limited_to(self, ops: u64) -> Self {
        Self { left: Some(ops), ..self }
    }

    /// Operations that may still be drawn.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.left.map_or(usize::MAX, |left| left as usize)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }
}
