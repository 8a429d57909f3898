//! One run: opens an engine, loads what is missing, runs the workloads, reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::data_dir::DataDir;
use super::dataset::Dataset;
use super::dist::{Dist, Popularity};
use super::environment::Environment;
use super::flight::Ledger;
use super::live::Live;
use super::measure::Measured;
use super::options::LoadArgs;
use super::probe::{Probe, stored_bytes};
use super::profile::Profile;
use super::report::{PhaseReport, RunReport, SCHEMA};
use super::runner::{Runner, Watch};
use super::source::OpSource;
use super::target::{About, Target};
use super::workload::Workload;

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

/// Runs the workloads of `args` against the engine that `open` opens, and writes the JSON report
/// if one is asked for. Printing it is the caller's.
pub fn run(
    args: &LoadArgs,
    engine: &str,
    round: u32,
    open: &mut dyn FnMut(&Setup) -> Result<Box<dyn Target>>,
) -> Result<RunReport> {
    args.check()?;
    let mut dir = DataDir::open(args, engine)?;
    let data = args.dataset(dir.seed());
    let memory_bytes = args.memory.bytes(data.data_bytes());
    ensure!(memory_bytes > 0, "--memory {} of this data is 0 bytes: give more", args.memory);
    let setup = Setup {
        args: args.clone(),
        data,
        dir: dir.path().to_owned(),
        memory_bytes,
        loaded: dir.loaded(),
    };
    let mut target = open(&setup).with_context(|| format!("{engine} does not open"))?;
    let about = target.about();
    let environment = Environment::of(dir.path(), &about);
    let session = Session {
        args,
        engine,
        round,
        data,
        dir: &setup.dir,
        probe: Probe::new(dir.path()),
        live: Live::start(args.quiet).context("the watch of memory does not start")?,
    };
    let floors = args.verify.then(|| vec![0; data.records as usize]);
    let mut ledger = Ledger { version: 0, floors };
    let mut phases = Vec::new();
    let plan = plan(args, dir.loaded());
    for &workload in &plan {
        let several = plan.len() > 1;
        let reports = session.phase(target.as_mut(), workload, &mut ledger, several);
        phases.extend(reports.with_context(|| format!("workload {workload}"))?);
        if workload == Workload::Load {
            dir.set_loaded()?;
        }
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
    match &args.json {
        Some(path) => report.write(path).map(|()| report),
        None => Ok(report),
    }
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

struct Session<'a> {
    args: &'a LoadArgs,
    engine: &'a str,
    round: u32,
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
        workload: Workload,
        ledger: &mut Ledger,
        several: bool,
    ) -> Result<Vec<PhaseReport>> {
        let load = workload == Workload::Load;
        let dist = workload.dist(self.args.dist);
        let Ledger { version, floors } = std::mem::take(ledger);
        let source = OpSource::new(workload, dist, &self.data, self.args.seed, version);
        let mut runner = Runner::new(target, self.args, self.data, source, floors);
        let watch = Watch { live: &self.live, name: workload.name() };
        if !load && self.args.warmup > 0.0 {
            runner.run_for(Some(self.args.warmup), &watch)?;
        }
        let profile = self.args.flamegraph.as_deref();
        let profile = profile.map(|file| Profile::start(file, workload.name(), several));
        let profile = profile.transpose()?;
        self.live.reset_rss();
        let begin = self.probe.snapshot(runner.target());
        runner.open_window();
        runner.run_for((!load).then_some(self.args.seconds), &watch)?;
        let window = runner.close_window();
        let end = self.probe.snapshot(runner.target());
        let mut measured = Measured {
            name: workload.name(),
            dist,
            window,
            begin,
            end,
            rss_bytes_max: self.live.rss_bytes_max(),
            stored_bytes: stored_bytes(self.dir),
            drain_ms: None,
        };
        profile.map_or(Ok(()), Profile::write)?;
        runner.finish(&watch)?;
        if workload.writes() {
            measured.drain_ms = Some(self.drain(&mut runner, workload)?);
        }
        let mut reports = vec![self.report(&measured)];
        if load {
            let drained = Measured {
                name: "load-drained",
                end: self.probe.snapshot(runner.target()),
                rss_bytes_max: self.live.rss_bytes_max(),
                stored_bytes: stored_bytes(self.dir),
                ..measured
            };
            reports.push(self.report(&drained));
        }
        *ledger = runner.into_ledger();
        Ok(reports)
    }

    /// Lets the engine finish what it does in the background; how long that took.
    fn drain(&self, runner: &mut Runner<'_>, workload: Workload) -> Result<f64> {
        self.live.show(format!("{:<10} background work", workload.name()));
        let started = Instant::now();
        runner.target().drain_background().context("the engine failed in background work")?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    fn report(&self, measured: &Measured) -> PhaseReport {
        measured.report(self.args, self.engine, self.round, &self.data)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
