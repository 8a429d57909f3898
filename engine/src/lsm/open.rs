//! The open job: the resident parts of the tables that a manifest names, read in parallel, one
//! ranged read a table. It goes on to the end of the object: one that lost its end is seen here.

use std::sync::Arc;

use crate::io::values::{JobDone, JobIo, JobRequest, JobState};
use crate::limits::{OPEN_READS_MAX, PAGE_BYTES};
use crate::mem::pool::Buf;
use crate::sst::meta::TableRef;
use crate::sst::table::Table;
use crate::types::Result;

/// Makes tables resident and has their objects opened for reading.
#[derive(Debug)]
pub struct OpenJob {
    refs: Vec<TableRef>,
    tables: Vec<Option<Arc<Table>>>,
    asked: usize,
    reads: usize,
    opens: usize,
}

impl OpenJob {
    /// Opens these tables.
    #[must_use]
    pub fn new(refs: Vec<TableRef>) -> Self {
        Self { tables: vec![None; refs.len()], refs, asked: 0, reads: 0, opens: 0 }
    }

    /// The tables, in the order of the references; the job has finished.
    #[must_use]
    pub fn into_tables(self) -> Vec<Arc<Table>> {
        self.tables.into_iter().flatten().collect()
    }

    /// A bounded piece of work.
    ///
    /// # Errors
    /// A table that cannot be read or is damaged.
    pub fn step(&mut self, io: &mut JobIo) -> Result<JobState> {
        for done in std::mem::take(&mut io.done) {
            match done {
                JobDone::Read { tag, result } => {
                    self.reads -= 1;
                    let table_ref = self.refs[tag as usize];
                    let buf = result?;
                    let meta = &buf.bytes()[..table_ref.meta_len as usize];
                    self.tables[tag as usize] = Some(Arc::new(Table::decode(table_ref, meta)?));
                }
                JobDone::Opened { result, .. } => {
                    self.opens -= 1;
                    result?;
                }
                other => unreachable!("an open job writes nothing: {other:?}"),
            }
        }
        while self.asked < self.refs.len() && self.reads < OPEN_READS_MAX {
            let table_ref = &self.refs[self.asked];
            let meta = table_ref.meta();
            let len = meta.len as usize + PAGE_BYTES;
            io.requests.push(JobRequest::Open { object: table_ref.name });
            io.requests.push(JobRequest::Read {
                tag: self.asked as u32,
                object: table_ref.name,
                offset: meta.offset,
                len,
                buf: Buf::map(len)?,
            });
            self.asked += 1;
            self.reads += 1;
            self.opens += 1;
        }
        let idle = self.asked == self.refs.len() && self.reads == 0 && self.opens == 0;
        Ok(if idle { JobState::Finished } else { JobState::Waiting })
    }
}
