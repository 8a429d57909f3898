//! Where operations come from: kind, record and version, in the order of the workload.

use super::dataset::{ABSENT_BASE, Dataset};
use super::dist::{Dist, Sampler};
use super::rng::Rng;
use super::target::OpKind;
use super::workload::{Mix, Workload};

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
    /// Operations left, for a workload that ends by itself.
    left: Option<u64>,
    /// A load writes version 0 of everything.
    load: bool,
    version: u64,
}

impl OpSource {
    /// `version` is the last one that the run has given out.
    pub(super) fn new(
        workload: Workload,
        dist: Dist,
        data: &Dataset,
        seed: u64,
        version: u64,
    ) -> Self {
        let load = workload == Workload::Load;
        Self {
            mix: workload.mix(),
            sampler: Sampler::new(dist, data.records, seed),
            // The ranks are scattered by the plain seed, which an ideal cache has to know.
            rng: Rng::new(seed ^ 0x6f70_735f_7365_6564),
            index_base: if workload == Workload::GetAbsent { ABSENT_BASE } else { 0 },
            left: load.then_some(data.records),
            load,
            version: if load { 0 } else { version },
        }
    }

    #[inline]
    pub(super) fn draw(&mut self) -> Draft {
        let kind = self.mix.sample(&mut self.rng);
        let index = self.index_base + self.sampler.sample(&mut self.rng);
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.version += u64::from(kind != OpKind::Get && !self.load);
        Draft { kind, index, version: self.version }
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
}
