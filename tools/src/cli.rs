//! The command line of `aquifer`: its subcommands, and how an error is shown.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::objects::is_damage;
use crate::{
    compactor, compare, doctor, dump, inspect, interrupt, io, load, manual, probe, run, scrub, top,
    verify,
};

const EXAMPLES: &str = "\
Examples:
  Count word triples of this folder and of the sources in the cargo home, with little memory:
      aquifer run wordcount --ngram 3 --memory 48M
  Kill it half-way, go on from its last checkpoint, and check every count:
      aquifer run wordcount --ngram 3 --crash-at 5M
      aquifer run wordcount --resume
  What does this machine, or this container, let the engine do?
      aquifer doctor --dfs /data/state
  Would the engine carry my job on this machine? Load 10M records, then read and change them:
      aquifer bench load,get,rmw --records 10M --memory 10% --dir /data/bench
  Is the last checkpoint of the job whole, and what is in it?
      aquifer verify wordcount.job --deep
      aquifer inspect wordcount.job
  Take its state out into a file, and to another root:
      aquifer export wordcount.job --to words.dump
      aquifer import words.dump --dfs /data/words --handle words.handle";

const BENCH_EXAMPLES: &str = "\
Examples:
  Random reads and record-by-record changes of 10M records in a tenth of their size of memory:
      aquifer bench load,get,rmw --records 10M --dir /data/bench --json report.json
  The same data again, skewed, every value checked:
      aquifer bench get,ycsb-a --records 10M --dir /data/bench --reuse --dist zipf:0.99 --verify
  Latency at a fixed rate of 50000 operations a second:
      aquifer bench rmw --records 1M --rate 50K
  Checkpoints under load, 1% of the keys rewritten before each, then two restores:
      aquifer bench load,checkpoint,restore,restore --records 10M --change 1%
  Every record read after each of three changes of the parallelism, and what they cost:
      aquifer bench load,rescale --records 10M --to 2,4,1 --verify
  A page with rates, latencies and memory over time:
      aquifer bench load,get,put --records 10M --report report.html
  Where the time goes:
      aquifer bench get --records 1M --flamegraph get.svg";

/// Keyed state on a distributed file system: jobs and tools.
#[derive(Debug, Parser)]
#[command(name = "aquifer", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job whose state lives in a store.
    #[command(subcommand)]
    Run(Job),
    /// Measure the engine on this machine: load records, run workloads, report.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Box<load::LoadArgs>),
    /// Tell what this machine lets the engine do, what it costs where it does not, and the remedy.
    Doctor(doctor::Args),
    /// Tell what a DFS does of what the engine demands.
    Probe(probe::Args),
    /// Watch an engine that runs in another process of yours.
    Top(top::Args),
    /// Show what a checkpoint handle, a manifest, a table or one of its units holds.
    Inspect(inspect::Args),
    /// Check that everything a checkpoint needs is there and as it was written.
    Verify(verify::Args),
    /// Find, and delete if asked to, objects that no checkpoint names.
    Scrub(scrub::Args),
    /// Write what checkpoints hold into a file of its own: a dump, for other programs and versions.
    Export(dump::export::Args),
    /// Make a checkpoint of a dump.
    Import(dump::import::Args),
    /// Merge tables for engines in other processes or on other machines.
    Compactor(compactor::Args),
    /// Compare two reports of bench or versus: is the second one slower?
    Compare(compare::Args),
    /// Write a manual page for each command into a folder.
    Man(manual::ManArgs),
    /// Print what a shell sources to complete these commands.
    Completions(manual::CompletionArgs),
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Count the words of files, and check the counts.
    Wordcount(run::Args),
}

/// Runs the command that the process was started with; an error goes to standard error with its
/// cause.
#[must_use]
pub fn main() -> ExitCode {
    io::show_log();
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Run(Job::Wordcount(args)) => done(wordcount(&args)),
        Command::Bench(args) => bench(&args),
        Command::Doctor(args) => doctor(&args),
        Command::Probe(args) => answered(probe::probe(&args)),
        Command::Top(args) => done(top::top(&args)),
        Command::Inspect(args) => answered(inspect::inspect(&args)),
        Command::Verify(args) => answered(verify::verify(&args)),
        Command::Scrub(args) => answered(scrub::scrub(&args)),
        Command::Export(args) => answered(dump::export::export(&args)),
        Command::Import(args) => answered(dump::import::import(&args)),
        Command::Compactor(args) => done(compactor::compactor(&args)),
        Command::Compare(args) => answered(compare::compare(&args)),
        Command::Man(args) => done(manual::man(command(), &args)),
        Command::Completions(args) => done(manual::completions(&mut command(), &args)),
    }
}

fn done(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How a command ends whose options are wrong: as for those that the parser refuses.
const WRONG_USAGE: u8 = 2;

/// The end of a command that answers a question: 0 yes, 1 no, 2 it could not find out.
fn answered(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            let cause = error.chain().find_map(|cause| cause.downcast_ref());
            if cause.is_some_and(is_damage) { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}

/// The whole command line.
fn command() -> Clap {
    explain_minus(Cli::command())
}

/// What numbers are called in the usage.
const NUMBERS: [&str; 6] = ["N", "R", "S", "SIZE", "P%", "SIZE|P%"];

/// A number that begins with a minus is a wrong number, which its own parser explains, and no
/// option that nobody knows.
fn explain_minus(command: Clap) -> Clap {
    let is_number =
        |arg: &Arg| arg.get_value_names().is_some_and(|names| NUMBERS.contains(&names[0].as_str()));
    command
        .mut_args(|arg| if is_number(&arg) { arg.allow_hyphen_values(true) } else { arg })
        .mut_subcommands(explain_minus)
}

fn doctor(args: &doctor::Args) -> ExitCode {
    match doctor::doctor(args) {
        Ok(verdict) => ExitCode::from(verdict as u8),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(doctor::Verdict::Not as u8)
        }
    }
}

fn wordcount(args: &run::Args) -> Result<()> {
    interrupt::watch()?;
    run::wordcount(args)
}

fn bench(args: &load::LoadArgs) -> ExitCode {
    if let Err(error) = args.check() {
        eprintln!("error: {error:#}");
        return ExitCode::from(WRONG_USAGE);
    }
    let run = || load::run(args, "aquifer", 1, &mut load::aquifer::open);
    done(interrupt::watch().and_then(|()| run()).map(|report| report.print()))
}
