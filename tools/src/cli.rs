//! The command line of `aquifer`: its subcommands, and how an error is shown.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::run;

const EXAMPLES: &str = "\
Examples:
  Count word triples of this folder and of the sources in the cargo home, with little memory:
      aquifer run wordcount --ngram 3 --memory 48M
  Kill it half-way, go on from its last checkpoint, and check every count:
      aquifer run wordcount --ngram 3 --crash-at 5M
      aquifer run wordcount --resume";

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
    let result = match Cli::parse().command {
        Command::Run(Job::Wordcount(args)) => run::wordcount(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
