//! The comparison: engines take turns, each run in its own process, so that neither caches nor a
//! drifting disk favour one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use aquifer_tools::interrupt;
use aquifer_tools::load::{self, LoadArgs, PhaseReport, RunReport, Workload, html, table_head};
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::engines::{ENGINES_DEFAULT, Engine, EngineArgs, target};
use crate::ratios::{self, Ratio, ratios};

/// The hidden first argument of a process that runs one engine.
const RUN_ENGINE: &str = "run-engine";

/// Compares engines: the same keys, memory and seconds, in turns
#[derive(Parser, Debug)]
#[command(name = "versus", version)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,

    #[command(flatten)]
    own: EngineArgs,

    /// Engines to compare; ratios are those of the first one to the others
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = ENGINES_DEFAULT)]
    engines: Vec<Engine>,

    /// Rounds; every one with fresh seeds
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
}

/// What the process of one engine is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    engine: Engine,
    own: EngineArgs,
    round: u32,
    load: LoadArgs,
}

/// The report of a comparison: that of a run, and the ratios.
#[derive(Serialize)]
struct VersusReport<'a> {
    #[serde(flatten)]
    run: &'a RunReport,
    engines: &'a [Engine],
    rounds: u32,
    ratios: &'a [Ratio],
}

/// The whole of `versus`.
pub fn main() -> Result<()> {
    aquifer_tools::io::show_log();
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(RUN_ENGINE) {
        let order = arguments.next().context("run-engine is called by versus itself")?;
        return run_engine(&serde_json::from_str(&order)?);
    }
    let cli = Cli::parse();
    cli.load.check()?;
    ensure!(cli.rounds > 0, "--rounds is at least 1");
    interrupt::watch()?;
    let base = Base::new(cli.load.dir.as_deref())?;
    Comparison { cli: &cli, base: base.path(), merged: None }.run()
}

fn run_engine(order: &Order) -> Result<()> {
    let name = order.engine.to_string();
    let mut open = |setup: &load::Setup| target(order.engine, order.own, setup);
    load::run_on(&order.load, &name, order.engine.directory(), order.round, &mut open).map(drop)
}

struct Comparison<'a> {
    cli: &'a Cli,
    base: &'a Path,
    merged: Option<RunReport>,
}

impl Comparison<'_> {
    fn run(mut self) -> Result<()> {
        println!("{}", table_head());
        let measured = |workload: &Workload| *workload != Workload::Load;
        let workloads: Vec<Workload> =
            self.cli.load.workloads.iter().copied().filter(measured).collect();
        let mut seed = self.cli.load.seed;
        // Where the load is all there is to compare, it has rounds like any workload.
        let loads = if workloads.is_empty() { self.cli.rounds } else { 1 };
        for round in 1..=loads {
            for (at, &engine) in self.cli.engines.iter().enumerate() {
                let earlier = &self.cli.engines[..at];
                // Its data are there: those of the same engine with another batch or more threads.
                let shared = earlier.iter().any(|other| other.directory() == engine.directory());
                if !shared || workloads.is_empty() {
                    self.turn(engine, Workload::Load, round, seed)?;
                }
            }
            seed += 1;
        }
        for round in 1..=self.cli.rounds {
            for &workload in &workloads {
                seed += 1;
                for &engine in &self.cli.engines {
                    self.turn(engine, workload, round, seed)?;
                }
            }
        }
        self.finish()
    }

    /// One engine runs one workload, or loads.
    fn turn(&mut self, engine: Engine, workload: Workload, round: u32, seed: u64) -> Result<()> {
        if let Err(reason) = engine.supports(workload) {
            println!("{:<14} {:<13} {round:>5} skipped: {reason}", engine.to_string(), workload);
            return Ok(());
        }
        let json = self.base.join(format!("{engine}.json"));
        let mut load = self.cli.load.clone();
        if let Some((in_flight, batch)) = engine.flight() {
            load.in_flight = in_flight;
            load.batch = batch;
        }
        load.workloads = vec![workload];
        load.dir = Some(self.base.join(engine.directory()));
        load.reuse = self.cli.load.reuse || workload != Workload::Load;
        load.seed = seed;
        load.json = Some(json.clone());
        load.report = None;
        load.flamegraph = load.flamegraph.map(|file| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            file.with_file_name(format!("{stem}-{engine}-{workload}-{round}.svg"))
        });
        run_process(&Order { engine, own: self.cli.own, round, load })?;
        let report = RunReport::read(&json)?;
        fs::remove_file(&json)?;
        for phase in &report.phases {
            println!("{}", phase.row());
        }
        self.merge(report);
        Ok(())
    }

    fn merge(&mut self, report: RunReport) {
        match &mut self.merged {
            Some(merged) => {
                merged.phases.extend(report.phases);
                merged.settings.extend(report.settings);
            }
            None => self.merged = Some(RunReport { options: self.cli.load.clone(), ..report }),
        }
    }

    fn finish(self) -> Result<()> {
        let Some(run) = self.merged else { bail!("--engines names no engine") };
        let first = self.cli.engines[0].to_string();
        let rounds: Vec<PhaseReport> = run.phases.clone();
        let ratios = ratios(&first, &rounds);
        print_settings(&run.settings);
        ratios::print(&ratios);
        if let Some(path) = &self.cli.load.report {
            html::write(&run, path)?;
        }
        let Some(path) = &self.cli.load.json else { return Ok(()) };
        let engines = &self.cli.engines;
        let report = VersusReport { run: &run, engines, rounds: self.cli.rounds, ratios: &ratios };
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("the report {} cannot be written", path.display()))
    }
}

fn print_settings(settings: &BTreeMap<String, BTreeMap<String, String>>) {
    for (engine, settings) in settings {
        let pairs: Vec<String> = settings.iter().map(|(name, v)| format!("{name}={v}")).collect();
        println!("\n{engine}: {}", pairs.join(" "));
    }
}

/// Runs this program again for one engine.
fn run_process(order: &Order) -> Result<()> {
    let program = std::env::current_exe().context("this program does not find itself")?;
    let status = Command::new(program)
        .arg(RUN_ENGINE)
        .arg(serde_json::to_string(order)?)
        .stdin(Stdio::null())
        .status()
        .context("the process of an engine does not start")?;
    ensure!(
        status.success(),
        "{} failed at {} ({status}); its error is printed above",
        order.engine,
        order.load.workloads[0]
    );
    Ok(())
}

/// The directory above those of the engines. A temporary one is removed on drop.
struct Base {
    path: PathBuf,
    temporary: bool,
}

impl Base {
    fn new(asked: Option<&Path>) -> Result<Self> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("aquifer-versus-{}", std::process::id())),
        };
        if asked.is_none() {
            interrupt::remove_at_end(&path);
        }
        fs::create_dir_all(&path)
            .with_context(|| format!("--dir {} cannot be created", path.display()))?;
        Ok(Self { path, temporary: asked.is_none() })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("{} is left behind: {error}", self.path.display());
        }
    }
}
