//! `aquifer compare`: whether one report of `bench` or `versus` is slower than another.

mod judge;

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use serde_json::json;

use self::judge::{Judged, Verdict};
use crate::load::RunReport;
use crate::units::Share;

const EXAMPLES: &str = "\
Examples:
  aquifer bench get,get,get --records 1M --json old.json    three rounds, before a change ...
  aquifer bench get,get,get --records 1M --json new.json    ... and after it
  aquifer compare old.json new.json --threshold 5%

A ratio is B over A. Its median is that of the medians; it spans what any round of B over any round
of A gives. A figure is worse if its median is worse by more than the threshold and no two rounds
say otherwise: with one round each, noise counts as change.

It ends with 0 if nothing is worse, with 1 if something is, and with 2 if the reports do not
compare.";

/// Options of `aquifer compare`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The report to compare with.
    #[arg(value_name = "A.json")]
    pub a: PathBuf,
    /// The report in question.
    #[arg(value_name = "B.json")]
    pub b: PathBuf,
    /// By how much a figure may be worse.
    #[arg(long, value_name = "P%", default_value = "5%")]
    pub threshold: Share,
    /// Compare what was measured on other machines or with other options.
    #[arg(long)]
    pub force: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Compares two reports; whether nothing is worse.
///
/// # Errors
/// A report cannot be read, or the two do not compare.
pub fn compare(args: &Args) -> Result<bool> {
    let (a, b) = (RunReport::read(&args.a)?, RunReport::read(&args.b)?);
    let differences = judge::differences(&a, &b);
    if !differences.is_empty() && !args.force {
        bail!(
            "the reports do not compare: {}; measure both alike, or give --force",
            differences.join("; ")
        );
    }
    let phases = judge::phases(&a, &b, args.threshold.fraction());
    if phases.is_empty() {
        bail!("the reports have no phase in common");
    }
    let alone = [judge::alone(&a, &b), judge::alone(&b, &a)];
    let worse = phases.iter().flat_map(|phase| &phase.figures);
    let worse = worse.filter(|figure| figure.verdict == Verdict::Worse).count();
    if args.json {
        let answer = json!({
            "schema": "aquifer-compare/1",
            "commits": [a.environment.commit, b.environment.commit],
            "threshold": args.threshold.fraction(),
            "differences": differences,
            "phases": phases,
            "only_in_a": alone[0],
            "only_in_b": alone[1],
            "worse": worse,
        });
        anstream::println!("{answer:#}");
    } else {
        print(&a, &b, &phases);
        for (which, alone) in ["A", "B"].iter().zip(&alone) {
            if !alone.is_empty() {
                anstream::println!("only in {which}: {}", alone.join(", "));
            }
        }
        differences.iter().for_each(|difference| anstream::println!("differs: {difference}"));
    }
    Ok(worse == 0)
}

fn print(a: &RunReport, b: &RunReport, phases: &[Judged]) {
    let about =
        |run: &RunReport| format!("{} of {}", run.environment.commit, run.environment.started_at);
    anstream::println!("A: {}\nB: {}", about(a), about(b));
    anstream::println!(
        "{:<13} {:<14} {:>7} {:<12} {:>12} {:>12}  {:<22}",
        "phase",
        "engine",
        "rounds",
        "figure",
        "A",
        "B",
        "B / A"
    );
    for phase in phases {
        let rounds = format!("{}:{}", phase.rounds.0, phase.rounds.1);
        for figure in &phase.figures {
            let style = style(figure.verdict);
            anstream::println!(
                "{:<13} {:<14} {:>7} {:<12} {:>12.2} {:>12.2}  {:<22} {style}{}{style:#}",
                phase.name,
                phase.engine,
                rounds,
                figure.name,
                figure.a.median,
                figure.b.median,
                figure.ratio.to_string(),
                figure.verdict.name(),
            );
        }
    }
    anstream::println!("(medians; min / median / max of the ratio)");
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Worse => AnsiColor::Red.on_default().bold(),
        Verdict::Better => AnsiColor::Green.on_default(),
        Verdict::Same => Style::new(),
    }
}
