//! The main job: `aquifer run wordcount` counts the words of files into a store, checkpoints on
//! the way, resumes after a crash, and checks what the store holds.
//!
//! The job is a host like any other: it keeps checkpoint handles itself, together with the
//! position of its input, in the job file. Reading order: `plan` (options to a job), `count` (the
//! loop), `input` (words with positions), `job_file`, `verify`.

mod cli;
mod count;
mod input;
mod inputs;
pub mod job_file;
mod merge;
mod plan;
mod progress;
mod report;
mod tally;
mod verify;

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::state::request::StoreId;
use aquifer::state::{StateKind, StateTable};
use aquifer::types::Error;
use aquifer::types::error::ErrorKind;

pub use cli::Args;

use crate::load::{check_memory, resident_bytes};
use crate::run::count::{Parts, Plan, count};
use crate::run::input::Reader;
use crate::run::inputs::{Inputs, Pass};
use crate::run::job_file::Job;
use crate::run::progress::Progress;
use crate::run::report::{Facts, Report};
use crate::run::verify::ReadBack;
use crate::statistics::Watch;

/// Parallelism the store could be cut into.
const KEY_GROUPS: u32 = 128;
const STORE: u64 = 1;
const STATE: &str = "count";

/// Runs the word count.
///
/// # Errors
/// With cause and remedy; counts that differ are an error too.
pub fn wordcount(args: &Args) -> Result<()> {
    check_memory(args.memory).context("--memory")?;
    let plan::Planned { mut job, inputs, claim: _claim } = plan::plan(args)?;
    let words = run(args, &mut job, &inputs).map_err(|error| with_remedy(error, &job))?;
    match args.crash_at {
        Some(crash_at) => bail!(
            "the input ended after {words} words, before --crash-at {crash_at}: nothing was crashed"
        ),
        None => Ok(()),
    }
}

fn with_remedy(error: anyhow::Error, job: &Job) -> anyhow::Error {
    let kind = error.chain().find_map(|cause| Some(cause.downcast_ref::<Error>()?.kind));
    match kind {
        Some(ErrorKind::Corrupt | ErrorKind::MissingObject) => {
            anyhow!("{error:#}; {}", job.remedy())
        }
        _ => error,
    }
}

// What earlier runs of the job wrote goes as its checkpoints do.
fn claim(session: &mut Session, store: StoreId, job: &Job) {
    let kept = job.checkpoints.iter().map(|kept| kept.handle.clone()).collect();
    if let Err(error) = session.run_control(ControlOp::Claim(store, kept)) {
        log::warn!("the objects of earlier runs of this job stay: {}", error.text);
    }
}

// The words that the whole job has counted.
fn run(args: &Args, job: &mut Job, inputs: &Inputs) -> Result<u64> {
    let rss_start = resident_bytes();
    let opening = || format!("opening the engine on {}", job.dfs);
    let watch = Watch::start(args.metrics_addr)?;
    let opens = Instant::now();
    let engine = Engine::open(engine_config(args, job, &watch)).with_context(opening)?;
    let opened = opens.elapsed();
    watch.follow(&engine);
    let mut session = engine.session(0).with_context(opening)?;
    let (store, states) = session.open_store(store_config(job)?).with_context(opening)?;
    let state = states.value(store, STATE)?;
    claim(&mut session, store, job);

    let start = job.last().position;
    let ngram = job.ngram as usize;
    let reader = Reader::new(inputs, ngram, &start, Pass::First)?;
    let before = (reader.records(), reader.bytes());
    let counting = Plan {
        in_flight: args.in_flight,
        key_groups: KEY_GROUPS,
        checkpoint_every: args.checkpoint_every,
        limit: job.limit.unwrap_or(u64::MAX),
        crash_at: args.crash_at.unwrap_or(u64::MAX),
    };
    let mut progress = Progress::new("counting", inputs.bytes());
    let began = Instant::now();
    let parts = Parts {
        session: &mut session,
        store,
        state,
        reader,
        job,
        job_path: &args.job,
        progress: &mut progress,
    };
    let counted = count(parts, counting)?;
    let elapsed = began.elapsed();
    let mut report = Report::new(&Facts {
        ngram: job.ngram,
        counted: &counted,
        before,
        elapsed,
        io: engine.io(),
        opened,
        shard: session.statistics()?.counters,
        compactors: engine.statistics().compactors,
        memory_bytes: args.memory,
        rss_above_start_bytes: progress.rss_peak().max(resident_bytes()).saturating_sub(rss_start),
    });
    drop(progress);
    if !args.no_verify || args.counts.is_some() {
        let read_back = ReadBack {
            inputs,
            ngram,
            key_groups: KEY_GROUPS,
            counted: &counted,
            session: &mut session,
            state,
            verify: !args.no_verify,
            counts: args.counts.as_deref(),
        };
        report.add(read_back.run()?, !args.no_verify);
    }
    show(&report, args)?;
    Ok(report.words)
}

fn show(report: &Report, args: &Args) -> Result<()> {
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(report).context("encoding the report")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    match writeln!(std::io::stdout(), "{report}") {
        // Whoever read the report has seen enough of it.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing the report"),
    }
}

fn engine_config(args: &Args, job: &Job, watch: &Watch) -> Config {
    Config {
        memory_bytes: args.memory as usize,
        thread: ShardThread::Inline,
        io: args.io.into(),
        statistics_page: watch.page(),
        compactors: args.compactors.compactors.clone(),
        compactor_secret_file: args.compactors.secret_file.clone(),
        ..Config::new(&job.dfs)
    }
}

fn store_config(job: &Job) -> Result<StoreConfig> {
    let mut states = StateTable::default();
    states.declare(STATE, StateKind::Value)?;
    let handle = job.last().handle;
    Ok(StoreConfig {
        host_epoch: job.attempt,
        states,
        handles: (!handle.is_empty()).then_some(handle).into_iter().collect(),
        ..StoreConfig::new(STORE, KEY_GROUPS)
    })
}
