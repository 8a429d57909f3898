//! The merge job of a store: a compactor is asked for it first, if there are any; the store does it
//! itself if none takes it, if the one that took it is lost, or if what it reports does not hold.
//!
//! What a compactor writes has names of its own. They are used if its report is accepted and never
//! again, so one that was given up may write for as long as it likes: its objects are orphans.

use std::sync::Arc;

use crate::io::values::{JobDone, JobIo, JobRequest, JobState};
use crate::limits::{ERRAND_META_BYTES, FRAME_BYTES_MAX};
use crate::lsm::compact::CompactJob;
use crate::lsm::errand::{Errand, Report};
use crate::lsm::merged::MergeOrder;
use crate::lsm::open::OpenJob;
use crate::lsm::output::Output;
use crate::sst::meta::TableRef;
use crate::sst::table::Table;
use crate::types::{Error, ObjectName, Result};

/// See the module.
#[derive(Debug)]
pub struct MergeJob {
    here: CompactJob,
    stage: Stage,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Stage {
    /// Compactors are to be asked for this.
    Offered(Box<Errand>),
    /// They were.
    Asked(Box<Errand>),
    /// One says that it did it: its tables are opened.
    Opening(usize, OpenJob),
    /// Its tables hold.
    Done(Vec<Arc<Table>>),
    /// The store does it itself.
    Here,
}

/// What a store makes of a compactor's report.
#[derive(Debug)]
pub enum Verdict {
    /// This compactor did the merge, and wrote so many bytes.
    Accepted(usize, u64),
    /// This one reported what does not hold.
    Rejected(usize, Error),
}

impl MergeJob {
    /// A merge that the store does itself.
    #[must_use]
    pub fn here(here: CompactJob) -> Self {
        Self { here, stage: Stage::Here, verdict: None }
    }

    /// A merge that compactors are asked for; it is the one that `here` does, under other names.
    #[must_use]
    pub fn offered(here: CompactJob, errand: Errand) -> Self {
        Self { here, stage: Stage::Offered(Box::new(errand)), verdict: None }
    }

    /// Low key of its tablet and the tables it merges.
    #[must_use]
    pub fn inputs(&self) -> (Box<[u8]>, Vec<ObjectName>) {
        self.here.inputs()
    }

    /// Bytes of its inputs, those in other tablets among them.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.here.input_bytes()
    }

    /// Memory its inputs are read through, bytes.
    #[must_use]
    pub fn read_buffer_bytes(&self) -> usize {
        self.here.read_buffer_bytes()
    }

    /// What it writes itself.
    pub fn output(&mut self) -> &mut Output {
        self.here.output()
    }

    /// What became of the report of a compactor, once.
    pub fn verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// The merged tables of a finished job, in key order, and their bytes.
    #[must_use]
    pub fn into_tables(self) -> (Vec<Arc<Table>>, u64) {
        match self.stage {
            Stage::Done(tables) => {
                let bytes = sum(&tables, |table| table.file_bytes());
                (tables, bytes)
            }
            _ => self.here.into_output().into_tables(),
        }
    }

    /// A bounded piece of work.
    ///
    /// # Errors
    /// Damage or a failed read; the job must end.
    pub fn step(&mut self, io: &mut JobIo) -> Result<JobState> {
        match std::mem::replace(&mut self.stage, Stage::Here) {
            Stage::Here => self.here.step(io),
            Stage::Offered(errand) => self.ask(errand, io),
            Stage::Asked(errand) => self.reported(&errand, io),
            Stage::Opening(by, opening) => self.open(by, opening, io),
            Stage::Done(tables) => {
                self.stage = Stage::Done(tables);
                Ok(JobState::Finished)
            }
        }
    }

    fn ask(&mut self, errand: Box<Errand>, io: &mut JobIo) -> Result<JobState> {
        let encoded = errand.encode();
        // Thousands of runs or tables fit no frame, nor would the report.
        if encoded.len() > FRAME_BYTES_MAX / 2 {
            return self.here.step(io);
        }
        let MergeOrder { low, high, inputs, .. } = self.here.order();
        let bytes = sum(inputs, |table| table.bytes_between(low, high.as_deref()));
        io.requests.push(JobRequest::Errand { errand: encoded, bytes });
        self.stage = Stage::Asked(errand);
        Ok(JobState::Waiting)
    }

    fn reported(&mut self, errand: &Errand, io: &mut JobIo) -> Result<JobState> {
        let Some(JobDone::Errand { result }) = io.done.pop() else {
            unreachable!("nothing else was asked for")
        };
        // Why none has done it was told where that was found out.
        let Ok((by, report)) = result else { return self.here.step(io) };
        match tables_of(&report, errand, self.here.order()) {
            Ok(tables) => self.open(by, OpenJob::new(tables), io),
            Err(error) => self.reject(by, error, io),
        }
    }

    fn open(&mut self, by: usize, mut opening: OpenJob, io: &mut JobIo) -> Result<JobState> {
        if opening.step(io) != JobState::Finished {
            self.stage = Stage::Opening(by, opening);
            return Ok(JobState::Waiting);
        }
        let tables = opening.into_tables().into_iter().map(|(_, table)| table);
        let tables = tables.collect::<Result<Vec<_>>>().and_then(|tables| {
            check(&tables, self.here.order())?;
            Ok(tables)
        });
        match tables {
            Ok(tables) => {
                let bytes = sum(&tables, |table| table.file_bytes());
                self.verdict = Some(Verdict::Accepted(by, bytes));
                self.stage = Stage::Done(tables);
                Ok(JobState::Finished)
            }
            Err(error) => self.reject(by, error, io),
        }
    }

    fn reject(&mut self, by: usize, error: Error, io: &mut JobIo) -> Result<JobState> {
        self.verdict = Some(Verdict::Rejected(by, error));
        self.here.step(io)
    }
}

// Tables say themselves what they have, and may say anything.
fn sum(tables: &[Arc<Table>], of: impl Fn(&Table) -> u64) -> u64 {
    tables.iter().fold(0, |sum, table| sum.saturating_add(of(table)))
}

fn wrong(what: &str) -> Error {
    Error::corrupt(format!(
        "what it reports does not hold: {what}; see that it is of this release, on a sound machine"
    ))
}

/// The tables that a report names, as far as it can be judged without them.
fn tables_of(report: &[u8], errand: &Errand, order: &MergeOrder) -> Result<Vec<TableRef>> {
    let Report::Done(tables) = Report::decode(report)? else {
        return Err(wrong("it has not ended"));
    };
    let names = tables.iter().map(|table| &table.name);
    if tables.len() > errand.names.len() || !names.eq(&errand.names[..tables.len()]) {
        return Err(wrong("it names tables that it was not to write"));
    }
    // Filters and fences take less than the rows they lead to; clears come from the inputs.
    let rows = sum(&order.inputs, Table::user_bytes);
    let held = sum(&order.inputs, |input| input.table_ref().meta_len.into());
    let room = rows.saturating_add(held + ERRAND_META_BYTES * tables.len() as u64);
    if tables.iter().map(|table| u64::from(table.meta_len)).sum::<u64>() > room {
        return Err(wrong("its tables have more to keep in memory than their rows need"));
    }
    Ok(tables)
}

/// Whether tables can be what a merge of the order's inputs makes.
fn check(tables: &[Arc<Table>], order: &MergeOrder) -> Result<()> {
    let MergeOrder { low, high, inputs, .. } = order;
    let with_rows = || inputs.iter().filter(|input| input.rows() > 0);
    let smallest = with_rows().map(|input| input.smallest()).min().unwrap_or_default();
    let largest = with_rows().map(|input| input.largest()).max().unwrap_or_default();
    let mut end: Option<&[u8]> = None;
    for table in tables.iter().filter(|table| table.rows() > 0) {
        let (from, to) = (table.smallest(), table.largest());
        if from < &low[..] || high.as_deref().is_some_and(|high| to >= high) {
            return Err(wrong("a table reaches out of the tablet"));
        }
        if from < smallest || to > largest {
            return Err(wrong("a table has keys that no input has"));
        }
        if end.replace(to).is_some_and(|end| end >= from) {
            return Err(wrong("tables overlap"));
        }
    }
    if loses_newest(tables, order) {
        return Err(wrong("keys of the newest run are gone"));
    }
    for of in [Table::rows, Table::user_bytes] {
        if sum(tables, of) > sum(inputs, of) {
            return Err(wrong("there are more rows than the inputs have"));
        }
    }
    let kept = order.kept_clears();
    let clears = tables.iter().map(|table| table.clear_prefixes());
    let held = tables.iter().all(|table| table.rows() > 0 || !table.clear_prefixes().is_empty());
    let same = if kept.is_empty() {
        clears.into_iter().all(|clears| clears.is_empty())
    } else {
        clears.eq([&kept])
    };
    if !held || !same {
        return Err(wrong("maps that were cleared would come back"));
    }
    Ok(())
}

/// Whether tables lack keys of the newest input: above older runs a merge keeps all, deletions too.
fn loses_newest(tables: &[Arc<Table>], order: &MergeOrder) -> bool {
    let newest = &order.inputs[0];
    if order.bottom || newest.rows() == 0 {
        return false;
    }
    let mut with_rows = tables.iter().filter(|table| table.rows() > 0);
    let first = with_rows.next();
    let last = with_rows.next_back().or(first);
    // A run may lie beside the tablet altogether: it is an input for what it clears.
    let here =
        |key: &[u8]| key >= &order.low[..] && order.high.as_deref().is_none_or(|high| key < high);
    let (from_low, to_high) = (here(newest.smallest()), here(newest.largest()));
    (from_low && first.is_none_or(|table| table.smallest() > newest.smallest()))
        || (to_high && last.is_none_or(|table| table.largest() < newest.largest()))
        || (from_low && to_high && sum(tables, Table::rows) < newest.rows())
}

#[cfg(test)]
#[path = "away_tests.rs"]
mod tests;
