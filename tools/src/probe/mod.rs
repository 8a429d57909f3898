//! `aquifer probe`: what a DFS does of what the engine demands, and of what it could use. A probe
//! can find that something does not hold; that it always holds no probe can show.

mod trials;

use std::fmt;
use std::io::Write;

use anyhow::{Context, Result};
use aquifer::io::trials::Outcome;
use clap::Args as ClapArgs;
use serde::Serialize;

/// Version of the JSON report.
const SCHEMA: &str = "aquifer-probe/1";

const EXIT_CODES: &str = "\
Exit codes:
  0  the DFS does what the engine demands of it
  1  it does not: the table says what
  2  it could not be asked, or the command line is wrong";

/// Options of the probe.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The DFS: a folder, or a url such as s3://BUCKET/PREFIX. Objects of a few MiB are written
    /// there, below a store number that no host has, and deleted.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Print the table as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
struct Capability {
    what: &'static str,
    outcome: Outcome,
    /// The engine demands it.
    demanded: bool,
    /// What was seen.
    seen: String,
}

#[derive(Clone, Debug, Serialize)]
struct Report {
    schema: &'static str,
    url: String,
    /// All that is demanded holds.
    fit: bool,
    /// A store could commit here without a coordinator.
    decides_races: bool,
    capabilities: Vec<Capability>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Capability { what, outcome, demanded, seen } in &self.capabilities {
            let mark = match (outcome, demanded) {
                (Outcome::Holds, _) => "holds  ",
                (_, true) => "FAILS  ",
                (Outcome::Refuted, false) => "refuted",
                (Outcome::Lacks, false) => "lacks  ",
            };
            writeln!(f, "{mark}  {what}: {seen}")?;
        }
        writeln!(
            f,
            "{}",
            if self.fit {
                "It does what the engine demands."
            } else {
                "It does NOT do what the engine demands: state here would be lost."
            }
        )?;
        f.write_str(if self.decides_races {
            "Of writers that race for a name exactly one won, each time."
        } else {
            "Writers that race for a name are not told apart: commit through the host alone."
        })
    }
}

/// Probes; true if all that is demanded holds.
///
/// # Errors
/// The DFS cannot be opened or takes no object at all; the report cannot be written.
pub fn probe(args: &Args) -> Result<bool> {
    let capabilities = trials::run(&args.url)?;
    let holds = |c: &Capability| c.outcome == Outcome::Holds;
    let fit = capabilities.iter().filter(|c| c.demanded).all(holds);
    let races = |c: &&Capability| [trials::CREATE, trials::RACE].contains(&c.what);
    let decides_races = capabilities.iter().filter(races).all(holds);
    let url = args.url.clone();
    let report = Report { schema: SCHEMA, url, fit, decides_races, capabilities };
    let text = if args.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}").context("writing the table")?;
    Ok(fit)
}
