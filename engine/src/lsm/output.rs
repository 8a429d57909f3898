//! Where a flush or a merge puts its rows: tables of a target size, appended in chunks, sealed when
//! full. Knows the job's outstanding writes.

use std::sync::Arc;

use crate::io::values::{JobDone, JobIo, JobRequest};
use crate::limits::JOB_APPENDS_MAX;
use crate::sst::table::Table;
use crate::sst::table_builder::TableBuilder;
use crate::types::{Error, ObjectName, Result, RowRef};

/// Rows in, tables out.
#[derive(Debug)]
pub struct Output {
    names: std::vec::IntoIter<ObjectName>,
    filter_bits: usize,
    target_bytes: u64,
    builder: Option<TableBuilder>,
    // Of the open builder.
    object: ObjectName,
    tables: Vec<Arc<Table>>,
    appends: usize,
    seals: usize,
    failure: Option<Error>,
    bytes: u64,
}

impl Output {
    /// Tables of about `target_bytes` under these names, at least one, their filters with
    /// `filter_bits` for each hash. The last takes all that is
    /// left: how many are enough is an estimate.
    #[must_use]
    pub fn new(names: Vec<ObjectName>, filter_bits: usize, target_bytes: u64) -> Self {
        Self {
            object: names[0],
            names: names.into_iter(),
            filter_bits,
            target_bytes,
            builder: None,
            tables: Vec::new(),
            appends: 0,
            seals: 0,
            failure: None,
            bytes: 0,
        }
    }

    fn builder(&mut self) -> Result<&mut TableBuilder> {
        if self.builder.is_none() {
            let name = self.names.next().ok_or_else(|| {
                Error::new(crate::types::error::ErrorKind::Poisoned, "a job ran out of names")
            })?;
            self.object = name;
            self.builder = Some(TableBuilder::new(name, self.filter_bits));
        }
        Ok(self.builder.as_mut().expect("just made"))
    }

    /// Adds a row; keys ascend.
    ///
    /// # Errors
    /// A broken invariant; the job must end.
    #[inline]
    pub fn add(&mut self, hash: u64, row: RowRef<'_>, io: &mut JobIo) -> Result<()> {
        let target = self.target_bytes;
        let builder = self.builder()?;
        builder.add(hash, row);
        let full = builder.data_bytes() >= target && self.names.len() > 0;
        self.append(io);
        if full { self.finish_table(io) } else { Ok(()) }
    }

    /// Adds a clear: rows of the map in older runs are masked by this table.
    ///
    /// # Errors
    /// A broken invariant; the job must end.
    pub fn add_clear(&mut self, prefix: &[u8]) -> Result<()> {
        self.builder()?.add_clear(prefix);
        Ok(())
    }

    fn append(&mut self, io: &mut JobIo) {
        let Some(builder) = self.builder.as_mut() else { return };
        while let Some(bytes) = builder.take_chunk() {
            self.appends += 1;
            self.bytes += bytes.len() as u64;
            io.requests.push(JobRequest::Append { object: self.object, bytes });
        }
    }

    /// Ends the last table, if one is open.
    ///
    /// # Errors
    /// What building filter or index refused.
    pub fn finish_table(&mut self, io: &mut JobIo) -> Result<()> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        let object = self.object;
        let finished = builder.finish()?;
        for bytes in finished.chunks {
            self.appends += 1;
            self.bytes += bytes.len() as u64;
            io.requests.push(JobRequest::Append { object, bytes });
        }
        self.seals += 1;
        io.requests.push(JobRequest::Seal { object });
        self.tables.push(Arc::new(finished.table));
        Ok(())
    }

    /// Takes the answer to one of this output's requests.
    pub fn answer(&mut self, done: JobDone) {
        let result = match done {
            JobDone::Appended { bytes, result } => {
                self.appends -= 1;
                if let Some(builder) = &mut self.builder {
                    builder.give_back(bytes);
                }
                result
            }
            JobDone::Sealed { result, .. } => {
                self.seals -= 1;
                result
            }
            other => unreachable!("an output only appends and seals: {other:?}"),
        };
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    /// True if the job should wait for its writes before it makes more rows.
    #[must_use]
    pub fn congested(&self) -> bool {
        self.appends >= JOB_APPENDS_MAX
    }

    /// True if no write is outstanding.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.appends == 0 && self.seals == 0
    }

    /// The first failure of a write.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Bytes that it had written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The finished tables, in key order, and the bytes written.
    #[must_use]
    pub fn into_tables(self) -> (Vec<Arc<Table>>, u64) {
        (self.tables, self.bytes)
    }
}
