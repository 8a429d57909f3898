//! The open job: the resident parts of tables that a manifest names, read in parallel, one ranged
//! read a table. It goes on to the end of the object: one that lost its end is seen here. Each
//! table fails by itself.

use std::sync::Arc;

use crate::io::values::{JobDone, JobIo, JobRequest, JobState};
use crate::limits::{OPEN_READS_MAX, PAGE_BYTES};
use crate::mem::pool::Buf;
use crate::sst::meta::TableRef;
use crate::sst::table::Table;
use crate::types::{Error, ObjectName, Result};

#[derive(Debug)]
struct Opening {
    table_ref: TableRef,
    table: Option<Arc<Table>>,
    failure: Option<Error>,
}

/// Makes tables resident and has their objects opened for reading.
#[derive(Debug)]
pub struct OpenJob {
    tables: Vec<Opening>,
    asked: usize,
    reads: usize,
    opens: usize,
}

impl OpenJob {
    /// Opens these tables, each named once.
    #[must_use]
    pub fn new(refs: Vec<TableRef>) -> Self {
        let opening = |table_ref| Opening { table_ref, table: None, failure: None };
        Self { tables: refs.into_iter().map(opening).collect(), asked: 0, reads: 0, opens: 0 }
    }

    /// Memory that it reads, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|opening| opening.table_ref.meta_len as usize).sum()
    }

    /// The tables, in the order of the references; the job has finished.
    #[must_use]
    pub fn into_tables(self) -> Vec<(ObjectName, Result<Arc<Table>>)> {
        let ended = |opening: Opening| {
            let result = match (opening.failure, opening.table) {
                (Some(error), _) => Err(error),
                (None, table) => Ok(table.expect("without a failure it was read")),
            };
            (opening.table_ref.name, result)
        };
        self.tables.into_iter().map(ended).collect()
    }

    /// A bounded piece of work.
    pub fn step(&mut self, io: &mut JobIo) -> JobState {
        for done in std::mem::take(&mut io.done) {
            match done {
                JobDone::Read { tag, result } => {
                    self.reads -= 1;
                    self.tables[tag as usize].read(result);
                }
                JobDone::Opened { object, result } => {
                    self.opens -= 1;
                    let mut tables = self.tables.iter_mut();
                    let opening = tables.find(|opening| opening.table_ref.name == object);
                    opening.expect("it was asked for").note(result);
                }
                other => unreachable!("an open job writes nothing: {other:?}"),
            }
        }
        while self.asked < self.tables.len() && self.reads < OPEN_READS_MAX {
            self.ask(io);
        }
        let idle = self.asked == self.tables.len() && self.reads == 0 && self.opens == 0;
        if idle { JobState::Finished } else { JobState::Waiting }
    }

    fn ask(&mut self, io: &mut JobIo) {
        let tag = self.asked as u32;
        let opening = &mut self.tables[self.asked];
        self.asked += 1;
        let meta = opening.table_ref.meta();
        let object = opening.table_ref.name;
        let bytes = opening.table_ref.file_bytes;
        let len = meta.len as usize + PAGE_BYTES;
        match Buf::map(len) {
            Ok(buf) => {
                io.requests.push(JobRequest::Open { object, bytes });
                io.requests.push(JobRequest::Read { tag, object, offset: meta.offset, len, buf });
                self.reads += 1;
                self.opens += 1;
            }
            Err(error) => opening.note(Err(error)),
        }
    }
}

impl Opening {
    fn note(&mut self, result: Result<()>) {
        self.failure = self.failure.take().or(result.err());
    }

    fn read(&mut self, result: Result<Buf>) {
        let decode = |buf: Buf| {
            let meta = buf.unverified().part(..self.table_ref.meta_len as usize);
            Table::decode(self.table_ref, meta)
        };
        let table = result.and_then(decode);
        self.note(table.as_ref().map(|_| ()).map_err(Clone::clone));
        self.table = table.ok().map(Arc::new);
    }
}
