//! `aquifer verify`: whether everything a checkpoint needs is there and as it was written.

pub mod checkpoint;

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};

use self::checkpoint::{Checked, Checker, Fault, Kind};
use crate::objects::Root;
use crate::objects::handles;
use crate::page::{Page, Row};

const EXAMPLES: &str = "\
Examples:
  aquifer verify wordcount.job --deep            both checkpoints of a job, every row
  aquifer verify data/aquifer.handle --dfs data/dfs

The manifest and the ends of all tables are read: lengths, footers, indexes and filters. --deep
reads everything: each checksum, the order of keys, whether filters and indexes lead to every row.

It ends with 0 if all is whole, with 1 if something is damaged or missing, each named with its
object and the byte, and with 2 if something could not be read.";

/// Options of `aquifer verify`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file with the handle that the host kept, a job file of the word count, a handle in
    /// hexadecimal, or a root of a store that keeps its checkpoints: its path, or its name below
    /// --dfs.
    #[arg(value_name = "HANDLE")]
    pub handle: String,
    /// The root of the DFS [default: what the job file names, or where the root lies].
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// Read every unit and every value.
    #[arg(long)]
    pub deep: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Checks the checkpoints that `args` name; whether all are whole.
///
/// # Errors
/// What kept it from finding out, unless damage was found all the same.
pub fn verify(args: &Args) -> Result<bool> {
    let given = handles::read(&args.handle, args.dfs.as_deref())?;
    ensure!(!given.handles.is_empty(), "{} names no checkpoint yet", args.handle);
    let dfs = args.dfs.as_ref().or(given.dfs.as_ref());
    let dfs =
        dfs.context("a handle does not say where its objects are: name the root with --dfs")?;
    let mut checker = Checker::new(Root::of_url(dfs)?, args.deep, bar());
    let mut results = Vec::new();
    for (what, bytes) in &given.handles {
        results.push((what, checker.check(bytes)));
    }
    checker.finish();
    Page::print(args.json, |page| {
        page.field("dfs", dfs.clone())?;
        page.field("depth", if args.deep { "every row" } else { "the ends of all objects" })?;
        for (number, (what, checked)) in (1..).zip(&results) {
            page.group(&format!("checkpoint_{number}"), |page| show(page, what, checked))?;
        }
        Ok(())
    })?;
    let faults: Vec<&Fault> = results.iter().flat_map(|(_, checked)| &checked.faults).collect();
    let unread = faults.iter().filter(|fault| fault.kind == Kind::Unreadable).count();
    ensure!(unread == 0 || unread < faults.len(), "{unread} objects could not be read: see above");
    Ok(faults.is_empty())
}

fn show(page: &mut Page<'_>, what: &str, checked: &Checked) -> Result<()> {
    page.field("kept_as", what)?;
    page.field("manifest", checked.manifest.clone())?;
    page.field("tables", checked.tables)?;
    page.field("bytes", checked.bytes)?;
    page.field("rows_read", checked.rows)?;
    let unread = |fault: &Fault| fault.kind == Kind::Unreadable;
    let result = match &checked.faults[..] {
        [] => "whole",
        faults if faults.iter().all(unread) => "could not be read",
        _ => "not whole",
    };
    page.field("result", result)?;
    let row = |fault: &Fault| -> Row {
        vec![
            ("kind", fault.kind.name().into()),
            ("object", fault.object.clone().into()),
            ("offset", fault.offset.into()),
            ("what", fault.what.clone().into()),
        ]
    };
    page.rows("faults", checked.faults.iter().map(row))?;
    Ok(page.field("faults_left_off", checked.left_off)?)
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("verifying [{bar:30}] {bytes}/{total_bytes} eta {eta}");
    ProgressBar::no_length().with_style(style.expect("the template is a constant"))
}
