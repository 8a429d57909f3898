//! `aquifer doctor`: what this machine lets the engine do, what it costs where it does not, and how
//! to mend that.

mod disk;
mod machine;

use std::fmt;
use std::io::Write;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::io::Io;

/// Version of the JSON report.
const SCHEMA: &str = "aquifer-doctor/1";

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  the engine runs, but badly: the report names what, what it costs, and the remedy
  2  the engine will not run, or the command line is wrong";

/// Options of the doctor.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Look at this DFS too: a folder that is there, file:///path or memory://name. A small object
    /// is written, read and deleted; nothing stays.
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// The way to the disk that engines are to take.
    #[arg(long, value_enum, default_value_t = Io::Auto, env = "AQUIFER_IO")]
    pub io: Io,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How well something is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Well,
    /// The engine runs, but badly.
    Badly,
    /// The engine does not run.
    Not,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// What was looked at.
    what: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What it costs and how to mend it; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

#[derive(Clone, Debug, Serialize)]
struct Report {
    schema: &'static str,
    version: &'static str,
    verdict: Verdict,
    findings: Vec<Finding>,
}

impl Finding {
    fn well(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Well, found: found.into(), advice: String::new() }
    }

    fn badly(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Badly, advice: advice.into(), ..Self::well(what, found) }
    }

    fn not(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Not, ..Self::badly(what, found, advice) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { what, verdict, found, advice } in &self.findings {
            let mark = match verdict {
                Verdict::Well => "well ",
                Verdict::Badly => "badly",
                Verdict::Not => "NOT  ",
            };
            writeln!(f, "{mark}  {what}: {found}")?;
            if !advice.is_empty() {
                writeln!(f, "       {advice}")?;
            }
        }
        let count = self.findings.iter().filter(|finding| finding.verdict != Verdict::Well).count();
        f.write_str(match self.verdict {
            Verdict::Well => "All is well.",
            Verdict::Badly => "The engine runs here, but badly: ",
            Verdict::Not => "The engine does not run here: ",
        })?;
        if count > 0 { write!(f, "{count} to mend.") } else { Ok(()) }
    }
}

/// Looks, reports, and gives the worst of what was found.
///
/// # Errors
/// The report cannot be written.
pub fn doctor(args: &Args) -> Result<Verdict> {
    let mut findings = machine::findings(args.io);
    findings.extend(args.dfs.iter().flat_map(|url| disk::findings(url)));
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Well);
    let report = Report { schema: SCHEMA, version: env!("CARGO_PKG_VERSION"), verdict, findings };
    let text = if args.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}").context("writing the report")?;
    Ok(verdict)
}

fn human(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}
