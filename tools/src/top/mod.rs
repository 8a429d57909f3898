//! `aquifer top`: what an engine in another process does, from its statistics page.

mod screen;
mod view;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aquifer::shard::statistics::Statistics;
use clap::Args as ClapArgs;

use crate::statistics::pages;
use crate::top::view::View;

const EXAMPLES: &str = "\
Examples:
  aquifer top                the one engine that runs; of several, they are listed
  aquifer top 4711           the engine of this process
  aquifer top --once         one view as plain text
  aquifer top --json         the statistics themselves

`aquifer bench` and `aquifer run` keep a statistics page; so does every host that names one when it
opens its engine. In the live view q ends.";

/// Between the samples that rates are made of.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at a page that is to be replaced.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A page may be away for so long: an engine that is opened again makes a new one.
const AWAY_MAX: Duration = Duration::from_secs(3);

/// Options of `aquifer top`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Number of the process, or path of the statistics page [default: the engine that runs]
    #[arg(value_name = "PID|PATH")]
    pub which: Option<String>,
    /// Print one view and exit
    #[arg(long)]
    pub once: bool,
    /// Print the statistics as JSON and exit
    #[arg(long)]
    pub json: bool,
}

/// Shows the statistics of an engine.
///
/// # Errors
/// With cause and remedy: no engine, several, a page of a process that is gone.
pub fn top(args: &Args) -> Result<()> {
    let page = pages::find(args.which.as_deref())?;
    if args.json {
        let statistics = pages::read(&page)?;
        return print(&serde_json::to_string_pretty(&statistics).context("encoding statistics")?);
    }
    if args.once {
        let before = pages::read(&page)?;
        let now = next_sample(&page, &before)?;
        return print(&View::of(&before, &now, pages::stale(&page)).to_string());
    }
    screen::live(&page)
}

fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // Whoever read it has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing the view"),
    }
}

/// The page once it is a second newer than `before`, or as it is when nothing replaces it.
fn next_sample(page: &Path, before: &Statistics) -> Result<Statistics> {
    let started = Instant::now();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let now = read_again(page)?;
        let apart = now.uptime_ns.abs_diff(before.uptime_ns);
        if u128::from(apart) >= SAMPLE_EVERY.as_nanos() || started.elapsed() > AWAY_MAX {
            return Ok(now);
        }
    }
}

/// Reads a page that was there before.
fn read_again(page: &Path) -> Result<Statistics> {
    let started = Instant::now();
    loop {
        match pages::read(page) {
            Err(_) if !page.exists() && started.elapsed() < AWAY_MAX => {
                std::thread::sleep(LOOK_EVERY);
            }
            read => return read,
        }
    }
}
