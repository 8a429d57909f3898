//! One run: opens an engine, loads what is missing, runs the workloads, reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aquifer::limits::MEMORY_MIN_BYTES;

use super::checkpoint::Rounds;
use super::data_dir::DataDir;
use super::dataset::Dataset;
use super::dist::{Dist, Popularity};
use super::environment::Environment;
use super::flight::Ledger;
use super::html;
use super::live::Live;
use super::measure::Measured;
use super::options::LoadArgs;
use super::probe::{Probe, stored_bytes};
use super::profile::Profile;
use super::report::{PhaseReport, RunReport, SCHEMA};
use super::restore::{self, Step};
use super::runner::{Runner, Watch};
use super::source::OpSource;
use super::target::{About, Target};
use super::workload::Workload;
use crate::units::Memory;

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The options of the run.
    pub args: LoadArgs,
    /// The records, and the change of a read-modify-write.
    pub data: Dataset,
    /// The directory for the engine's files; empty unless `loaded`.
    pub dir: PathBuf,
    /// All memory the engine may use.
    pub memory_bytes: u64,
    /// The data set is there, by an earlier run.
    pub loaded: bool,
}

impl Setup {
    /// Which records the reads of this run favour.
    pub fn popularity(&self) -> Popularity {
        let dist = self.args.dist.unwrap_or(Dist::Uniform);
        Popularity::new(dist, self.data.records, self.args.seed)
    }
}

/// Runs the workloads of `args` against the engine that `open` opens, and writes the reports that
/// are asked for. Printing is the caller's.
pub fn run(
    args: &LoadArgs,
    engine: &str,
    round: u32,
    open: &mut dyn FnMut(&Setup) -> Result<Box<dyn Target>>,
) -> Result<RunReport> {
    run_on(args, engine, engine, round, open)
}

/// As `run`, on data that other engines of the name `owner` may have loaded.
pub fn run_on(
    args: &LoadArgs,
    engine: &str,
    owner: &str,
    round: u32,
    open: &mut dyn FnMut(&Setup) -> Result<Box<dyn Target>>,
) -> Result<RunReport> {
    args.check()?;
    let mut dir = DataDir::open(args, owner)?;
    let data = args.dataset(dir.seed());
    let memory_bytes = match args.memory {
        // A share of few records: the same floor for every engine.
        Memory::Percent(_) => args.memory.bytes(data.data_bytes()).max(MEMORY_MIN_BYTES as u64),
        Memory::Bytes(bytes) => bytes,
    };
    ensure!(memory_bytes > 0, "--memory {} of this data is 0 bytes: give more", args.memory);
    let setup = Setup {
        args: args.clone(),
        data,
        dir: dir.path().to_owned(),
        memory_bytes,
        loaded: dir.loaded(),
    };
    let mut target = open(&setup).with_context(|| format!("{engine} does not open"))?;
    let plan = plan(args, dir.loaded());
    admit(&plan, engine, target.as_mut())?;
    let about = target.about();
    let environment = Environment::of(dir.path(), &about);
    let session = Session {
        args,
        engine,
        data,
        dir: &setup.dir,
        probe: Probe::new(dir.path()),
        live: Live::start(args.quiet).context("the watch of memory does not start")?,
    };
    let inserted = dir.inserted();
    let floors = args.verify.then(|| vec![0; (data.records + inserted) as usize]);
    let mut ledger = Ledger { version: 0, inserted, floors };
    let mut phases = Vec::new();
    for (at, &workload) in plan.iter().enumerate() {
        // A workload that is named again is its next round.
        let repeats = plan[..at].iter().filter(|earlier| **earlier == workload).count() as u32;
        let phase = Phase { workload, round: round + repeats, several: plan.len() > 1 };
        let reports = session.phase(target.as_mut(), &phase, &mut ledger);
        phases.extend(reports.with_context(|| format!("workload {workload}"))?);
        if workload == Workload::Load {
            dir.set_loaded()?;
        }
        dir.set_inserted(ledger.inserted)?;
    }
    // Ends the live line before the caller prints, and the engine before its directory goes.
    drop(session);
    drop(target);
    let report = RunReport {
        schema: SCHEMA.to_owned(),
        environment,
        options: args.clone(),
        data_bytes: data.data_bytes(),
        settings: BTreeMap::from([(engine.to_owned(), settings(&about))]),
        phases,
    };
    write(args, &report)?;
    Ok(report)
}

/// Writes the reports that are asked for.
fn write(args: &LoadArgs, report: &RunReport) -> Result<()> {
    args.json.as_ref().map_or(Ok(()), |path| report.write(path))?;
    args.report.as_ref().map_or(Ok(()), |path| html::write(report, path))
}

fn settings(about: &About) -> BTreeMap<String, String> {
    let named = about.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    named.collect()
}

/// The phases to run: nothing reads before the data is there, and data that is there is not loaded
/// again.
fn plan(args: &LoadArgs, loaded: bool) -> Vec<Workload> {
    let rest = args.workloads.iter().copied().filter(|workload| *workload != Workload::Load);
    let load = (!loaded).then_some(Workload::Load);
    load.into_iter().chain(rest).collect()
}

/// Refuses workloads that the engine cannot run, before anything is loaded.
fn admit(plan: &[Workload], engine: &str, target: &mut dyn Target) -> Result<()> {
    if let Some(workload) = plan.iter().find(|workload| workload.checkpoints()) {
        let has = target.checkpoints().is_some();
        ensure!(has, "workload {workload}: the engine {engine} has no checkpoints to measure");
    }
    Ok(())
}

/// One workload of the plan.
#[derive(Clone, Copy, Debug)]
struct Phase {
    workload: Workload,
    round: u32,
    /// Whether it is not the only one.
    several: bool,
}

struct Session<'a> {
    args: &'a LoadArgs,
    engine: &'a str,
    data: Dataset,
    dir: &'a Path,
    probe: Probe,
    live: Live,
}

impl Session<'_> {
    /// Warm-up, the measured part, and the background work it left behind.
    fn phase(
        &self,
        target: &mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Result<Vec<PhaseReport>> {
        match phase.workload {
            Workload::Load => self.load(target, phase, ledger),
            Workload::Checkpoint => self.checkpoint(target, phase, ledger),
            Workload::Restore => self.restore(target, phase, ledger),
            Workload::Rescale => self.rescale(target, phase, ledger),
            _ => self.steady(target, phase, ledger),
        }
    }

    fn load(
        &self,
        target: &mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Result<Vec<PhaseReport>> {
        let mut runner = self.runner(target, phase, ledger);
        let mut measured =
            self.measure(&mut runner, phase, &mut |runner, watch| runner.run_for(None, watch))?;
        measured.drain_ms = self.settle(&mut runner, phase)?;
        let loaded = self.report(&measured, phase);
        let drained = Measured {
            name: "load-drained",
            end: self.probe.snapshot(runner.target()),
            rss_bytes_max: self.live.rss_bytes_max(),
            stored_bytes: stored_bytes(self.dir),
            ..measured
        };
        *ledger = runner.into_ledger();
        Ok(vec![loaded, self.report(&drained, phase)])
    }

    fn steady(
        &self,
        target: &mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Result<Vec<PhaseReport>> {
        let mut runner = self.runner(target, phase, ledger);
        self.warm_up(&mut runner, phase)?;
        let seconds = Some(self.args.seconds);
        let mut measured =
            self.measure(&mut runner, phase, &mut |runner, watch| runner.run_for(seconds, watch))?;
        measured.drain_ms = self.settle(&mut runner, phase)?;
        *ledger = runner.into_ledger();
        Ok(vec![self.report(&measured, phase)])
    }

    fn checkpoint(
        &self,
        target: &mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Result<Vec<PhaseReport>> {
        let mut runner = self.runner(target, phase, ledger);
        self.warm_up(&mut runner, phase)?;
        let mut rounds = Rounds::new(self.data, self.args.change.of(self.data.records));
        rounds.start(&mut runner, &self.watch(phase))?;
        let mut measured = self.measure(&mut runner, phase, &mut |runner, watch| {
            rounds.run(runner, watch, self.args.seconds)
        })?;
        measured.drain_ms = self.settle(&mut runner, phase)?;
        *ledger = runner.into_ledger();
        let checkpoint = Some(rounds.report());
        Ok(vec![PhaseReport { checkpoint, ..self.report(&measured, phase) }])
    }

    /// Without a warm-up: how it begins is what is measured.
    fn restore(
        &self,
        target: &mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Result<Vec<PhaseReport>> {
        let opened = restore::open(target, 1, &mut |target| self.read_one(target, phase, ledger))?;
        let mut runner = self.runner(target, phase, ledger);
        let mut curve = Vec::new();
        let measured = self.measure(&mut runner, phase, &mut |runner, watch| {
            curve = restore::read(runner, watch, self.args.seconds)?;
            Ok(())
        })?;
        self.settle(&mut runner, phase)?;
        *ledger = runner.into_ledger();
        let restore = Some(opened.report(self.data.data_bytes(), curve));
        Ok(vec![PhaseReport { restore, ..self.report(&measured, phase) }])
    }

    /// A phase for each number of stores, in which all records are read.
    fn rescale(
        &self,
        target: &mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Result<Vec<PhaseReport>> {
        let mut reports = Vec::new();
        let numbers = [&[1][..], &self.args.to].concat();
        for pair in numbers.windows(2) {
            let mut read_one = |target: &mut dyn Target| self.read_one(target, phase, ledger);
            let step = Step::begin(target, (pair[0], pair[1]), &mut read_one)?;
            let mut runner = self.runner(target, phase, ledger);
            let measured =
                self.measure(&mut runner, phase, &mut |runner, watch| runner.run_for(None, watch))?;
            *ledger = runner.into_ledger();
            let rescale = Some(step.end(target)?);
            reports.push(PhaseReport { rescale, ..self.report(&measured, phase) });
        }
        // What follows finds the engine as it was.
        restore::join(target)?;
        Ok(reports)
    }

    fn read_one(&self, target: &mut dyn Target, phase: &Phase, ledger: &mut Ledger) -> Result<()> {
        let mut runner = self.runner_of(target, phase, ledger, Some(1));
        runner.run_for(None, &self.watch(phase))?;
        *ledger = runner.into_ledger();
        Ok(())
    }

    fn runner<'t>(
        &self,
        target: &'t mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
    ) -> Runner<'t> {
        self.runner_of(target, phase, ledger, None)
    }

    /// A runner of the workload's operations, or of the first `ops` of them.
    fn runner_of<'t>(
        &self,
        target: &'t mut dyn Target,
        phase: &Phase,
        ledger: &mut Ledger,
        ops: Option<u64>,
    ) -> Runner<'t> {
        let Ledger { version, inserted, floors } = std::mem::take(ledger);
        let dist = phase.workload.dist(self.args.dist);
        let given = (version, inserted);
        let source = OpSource::new(phase.workload, dist, &self.data, self.args.seed, given);
        let source = match ops {
            Some(ops) => source.limited_to(ops),
            None => source,
        };
        Runner::new(target, self.args, self.data, source, floors)
    }

    fn watch(&self, phase: &Phase) -> Watch<'_> {
        Watch { live: &self.live, name: phase.workload.name() }
    }

    fn warm_up(&self, runner: &mut Runner<'_>, phase: &Phase) -> Result<()> {
        if self.args.warmup > 0.0 {
            runner.run_for(Some(self.args.warmup), &self.watch(phase))?;
        }
        Ok(())
    }

    /// The measured part: what `run` does with the runner.
    fn measure(
        &self,
        runner: &mut Runner<'_>,
        phase: &Phase,
        run: &mut dyn FnMut(&mut Runner<'_>, &Watch<'_>) -> Result<()>,
    ) -> Result<Measured> {
        let name = phase.workload.name();
        let profile = self.args.flamegraph.as_deref();
        let label = match phase.round {
            1 => name.to_owned(),
            round => format!("{name}-{round}"),
        };
        let profile =
            profile.map(|file| Profile::start(file, &label, phase.several)).transpose()?;
        self.live.reset_rss();
        let begin = self.probe.snapshot(runner.target());
        runner.open_window();
        run(runner, &self.watch(phase))?;
        let window = runner.close_window();
        let end = self.probe.snapshot(runner.target());
        let measured = Measured {
            name,
            dist: phase.workload.dist(self.args.dist),
            window,
            begin,
            end,
            rss_bytes_max: self.live.rss_bytes_max(),
            stored_bytes: stored_bytes(self.dir),
            drain_ms: None,
        };
        profile.map_or(Ok(()), Profile::write)?;
        Ok(measured)
    }

    /// Completes what is in flight and lets the engine finish what it does in the background; how
    /// long that took, of a workload that writes.
    fn settle(&self, runner: &mut Runner<'_>, phase: &Phase) -> Result<Option<f64>> {
        runner.finish(&self.watch(phase))?;
        if !phase.workload.writes() {
            return Ok(None);
        }
        self.live.show(format!("{:<10} background work", phase.workload.name()));
        let started = Instant::now();
        runner.target().drain_background().context("the engine failed in background work")?;
        Ok(Some(started.elapsed().as_secs_f64() * 1e3))
    }

    fn report(&self, measured: &Measured, phase: &Phase) -> PhaseReport {
        measured.report(self.args, self.engine, phase.round, &self.data)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
