//! The `checkpoint` workload: rounds of rewriting a share of the keys, then a checkpoint while the
//! rewriting goes on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::dataset::Dataset;
use super::report::{CheckpointReport, Spread};
use super::runner::{Runner, Watch};
use super::target::{Checkpointed, Checkpoints, Target};

/// The checkpoint part of an engine; only workloads that [`run`](super::run) has admitted ask.
pub(super) fn of(target: &mut dyn Target) -> Result<&mut dyn Checkpoints> {
    target.checkpoints().context("this engine has no checkpoints")
}

/// The rounds of one phase.
pub(super) struct Rounds {
    data: Dataset,
    /// Writes before each checkpoint.
    change: u64,
    /// Writes handed to the engine before the last cut.
    cut_at: u64,
    cuts: Vec<Cut>,
    before: Stretch,
    during: Stretch,
}

struct Cut {
    held: Duration,
    took: Duration,
    writes: u64,
    ended: Checkpointed,
}

/// Operations over time, summed over the rounds.
#[derive(Default)]
struct Stretch {
    ops: u64,
    time: Duration,
}

impl Stretch {
    fn add(&mut self, ops: u64, begun: Instant) {
        self.ops += ops;
        self.time += begun.elapsed();
    }

    fn ops_per_s(&self) -> f64 {
        self.ops as f64 / self.time.as_secs_f64()
    }
}

impl Rounds {
    /// Rounds that rewrite `change` records each.
    pub(super) fn new(data: Dataset, change: u64) -> Self {
        let (before, during) = (Stretch::default(), Stretch::default());
        Self { data, change, cut_at: 0, cuts: Vec::new(), before, during }
    }

    /// A checkpoint that is not measured: what was written before the first round is not the first
    /// round's.
    pub(super) fn start(&mut self, runner: &mut Runner<'_>, watch: &Watch<'_>) -> Result<()> {
        self.cut(runner, watch)?;
        self.cuts.clear();
        self.during = Stretch::default();
        Ok(())
    }

    /// As many whole rounds as begin within `seconds`.
    pub(super) fn run(
        &mut self,
        runner: &mut Runner<'_>,
        watch: &Watch<'_>,
        seconds: f64,
    ) -> Result<()> {
        let begun = Instant::now();
        while self.cuts.is_empty() || begun.elapsed().as_secs_f64() < seconds {
            let (round, from) = (Instant::now(), runner.completed());
            let change = self.change;
            runner.run_until(watch, &mut |_, completed| Ok(completed - from >= change))?;
            self.before.add(runner.completed() - from, round);
            self.cut(runner, watch)?;
        }
        Ok(())
    }

    /// One checkpoint under load, from the cut to the handle.
    fn cut(&mut self, runner: &mut Runner<'_>, watch: &Watch<'_>) -> Result<()> {
        let (begun, from) = (Instant::now(), runner.completed());
        let cut_at = runner.writes_submitted();
        let held = of(runner.target())?.start().context("the checkpoint does not start")?;
        let mut ended = None;
        runner.run_until(watch, &mut |target, _| {
            ended = of(target)?.finished().context("the checkpoint failed")?;
            Ok(ended.is_some())
        })?;
        let ended = ended.context("the load ended before the checkpoint")?;
        self.during.add(runner.completed() - from, begun);
        let writes = cut_at - std::mem::replace(&mut self.cut_at, cut_at);
        self.cuts.push(Cut { held, took: begun.elapsed(), writes, ended });
        Ok(())
    }

    /// What the rounds were like. Bytes are means over the rounds.
    pub(super) fn report(&self) -> CheckpointReport {
        let count = self.cuts.len() as u64;
        let spread = |of: &dyn Fn(&Cut) -> f64| Spread::of(self.cuts.iter().map(of).collect());
        let writes: u64 = self.cuts.iter().map(|cut| cut.writes).sum();
        let moved: u64 = self.cuts.iter().map(|cut| cut.ended.bytes_moved).sum();
        let handle_bytes = self.cuts.iter().map(|cut| cut.ended.handle_bytes).max();
        CheckpointReport {
            checkpoints: count,
            state_bytes: self.data.data_bytes(),
            new_bytes: writes * self.data.row_bytes() / count.max(1),
            cut_us: spread(&|cut| cut.held.as_secs_f64() * 1e6),
            seconds: spread(&|cut| cut.took.as_secs_f64()),
            bytes_moved: moved / count.max(1),
            handle_bytes: handle_bytes.unwrap_or(0),
            ops_per_s_during: self.during.ops_per_s(),
            ops_per_s_before: self.before.ops_per_s(),
        }
    }
}
