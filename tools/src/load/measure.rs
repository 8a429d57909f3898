//! From two snapshots and a window to the report of a phase.

use std::collections::BTreeMap;

use super::dataset::Dataset;
use super::dist::Dist;
use super::options::LoadArgs;
use super::probe::Snapshot;
use super::report::{DevicePerOp, DfsReport, PhaseReport};
use super::target::{CONTROLLER_TURNS, DfsCounts, RECORDS_IN_FLIGHT_SUM, TargetStats};
use super::window::Window;

/// A phase as it was measured.
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) dist: Dist,
    pub(super) window: Window,
    pub(super) begin: Snapshot,
    pub(super) end: Snapshot,
    pub(super) rss_bytes_max: u64,
    pub(super) stored_bytes: u64,
    pub(super) drain_ms: Option<f64>,
}

impl Measured {
    pub(super) fn report(
        &self,
        args: &LoadArgs,
        engine: &str,
        round: u32,
        data: &Dataset,
    ) -> PhaseReport {
        let tally = self.window.tally;
        let seconds = self.end.at.duration_since(self.begin.at).as_secs_f64();
        let cpu_us = self.end.cpu_us - self.begin.cpu_us;
        let written_bytes = self.process_bytes().1;
        let user_bytes = tally.writes * data.row_bytes();
        PhaseReport {
            name: self.name.to_owned(),
            engine: engine.to_owned(),
            round,
            dist: self.dist.to_string(),
            batch: args.batch_ops(),
            in_flight: args.in_flight_all(),
            ops: tally.ops,
            seconds,
            ops_per_s: tally.ops as f64 / seconds,
            cpu_us_per_op: self.per_op(cpu_us),
            latency_us: self.window.latency_us(),
            latency_spectrum_us: self.window.spectrum_us(),
            samples: self.window.samples(),
            wrong: tally.wrong,
            missing: tally.missing,
            device: self.device(),
            block_device: self.block_device(),
            dfs: self.dfs(),
            write_amplification: (user_bytes > 0).then(|| written_bytes as f64 / user_bytes as f64),
            space_amplification: self.stored_bytes as f64 / data.data_bytes() as f64,
            rss_bytes_max: self.rss_bytes_max,
            budget_bytes: self.end.target.budget_bytes,
            longest_pause_ms: self.window.longest_pause_ms(),
            drain_ms: self.drain_ms,
            records_in_flight_mean: self.records_in_flight_mean(),
            counters: self.counters(),
            checkpoint: None,
            restore: None,
            rescale: None,
        }
    }

    fn per_op(&self, total: u64) -> f64 {
        total as f64 / self.window.tally.ops.max(1) as f64
    }

    /// What every counter grew by, and every level at the end.
    fn counters(&self) -> BTreeMap<String, u64> {
        let counted = self.end.target.counters.iter();
        let grown = counted.map(|(name, _)| ((*name).to_owned(), self.grown(name)));
        let levels = self.end.levels.iter().map(|(name, level)| ((*name).to_owned(), *level));
        grown.chain(levels).collect()
    }

    /// What a counter grew by; one that the engine added meanwhile began at 0.
    fn grown(&self, name: &str) -> u64 {
        let count = |stats: &TargetStats| {
            let mut counters = stats.counters.iter();
            counters.find(|(other, _)| *other == name).map_or(0, |(_, count)| *count)
        };
        count(&self.end.target) - count(&self.begin.target)
    }

    fn records_in_flight_mean(&self) -> Option<f64> {
        let turns = self.grown(CONTROLLER_TURNS);
        (turns > 0).then(|| self.grown(RECORDS_IN_FLIGHT_SUM) as f64 / turns as f64)
    }

    /// Bytes this process read and wrote.
    fn process_bytes(&self) -> (u64, u64) {
        let begin = self.begin.process.unwrap_or_default();
        let end = self.end.process.unwrap_or_default();
        (end.read_bytes - begin.read_bytes, end.write_bytes - begin.write_bytes)
    }

    fn device(&self) -> DevicePerOp {
        let (read_bytes, write_bytes) = self.process_bytes();
        let by_engine = self.begin.target.device.zip(self.end.target.device);
        let reads_per_op = match by_engine {
            Some((begin, end)) => Some(self.per_op(end.reads - begin.reads)),
            None => self.block_device().and_then(|disk| disk.reads_per_op),
        };
        DevicePerOp {
            reads_per_op,
            read_bytes_per_op: self.per_op(read_bytes),
            write_bytes_per_op: self.per_op(write_bytes),
        }
    }

    fn block_device(&self) -> Option<DevicePerOp> {
        let (begin, end) = self.begin.disk.zip(self.end.disk)?;
        Some(DevicePerOp {
            reads_per_op: Some(self.per_op(end.reads - begin.reads)),
            read_bytes_per_op: self.per_op(end.read_bytes - begin.read_bytes),
            write_bytes_per_op: self.per_op(end.write_bytes - begin.write_bytes),
        })
    }

    fn dfs(&self) -> Option<DfsReport> {
        let (begin, end) = self.begin.target.dfs.zip(self.end.target.dfs)?;
        let grown = |count: fn(&DfsCounts) -> u64| count(&end) - count(&begin);
        Some(DfsReport {
            gets_per_op: self.per_op(grown(|dfs| dfs.gets)),
            get_bytes_per_op: self.per_op(grown(|dfs| dfs.get_bytes)),
            puts: grown(|dfs| dfs.puts),
            put_bytes: grown(|dfs| dfs.put_bytes),
            deletes: grown(|dfs| dfs.deletes),
            lists: grown(|dfs| dfs.lists),
            retries: grown(|dfs| dfs.retries),
            billed_reads: grown(|dfs| dfs.billed_reads),
            billed_writes: grown(|dfs| dfs.billed_writes),
        })
    }
}
