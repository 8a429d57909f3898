//! Where a flush or a merge puts its rows: tables of a target size, appended in chunks, sealed when
//! full. Knows the job's outstanding writes.

use std::sync::Arc;

use crate::cache::ssd::Through;
use crate::codec::crc::object_key;
use crate::io::values::{JobDone, JobIo, JobRequest};
use crate::limits::JOB_APPENDS_MAX;
use crate::sst::layout::Extent;
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
    through: Option<Through>,
    // Of the open builder: what was handed over, and what lies behind that.
    handed_over: u64,
    placed: Vec<Extent>,
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
            through: None,
            handed_over: 0,
            placed: Vec::new(),
        }
    }

    /// Its tables are written through to the cache as well.
    pub fn write_through(&mut self, through: Through) {
        self.through = Some(through);
    }

    /// What was written through.
    pub fn take_through(&mut self) -> Option<Through> {
        self.through.take()
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
        while let Some(bytes) = self.builder.as_mut().and_then(TableBuilder::take_chunk) {
            self.hand_over(bytes, io);
        }
    }

    // Has bytes written to the DFS, and what lies in them through to the cache.
    fn hand_over(&mut self, bytes: Vec<u8>, io: &mut JobIo) {
        if let Some(builder) = &mut self.builder {
            self.placed.extend(builder.take_placed());
        }
        let start = self.handed_over;
        self.handed_over += bytes.len() as u64;
        match &mut self.through {
            Some(through) => {
                let key = object_key(&self.object);
                io.requests.extend(through.push(key, start, &bytes, &mut self.placed));
            }
            None => self.placed.clear(),
        }
        self.appends += 1;
        self.bytes += bytes.len() as u64;
        io.requests.push(JobRequest::Append { object: self.object, bytes });
    }

    /// Ends the last table, if one is open.
    ///
    /// # Errors
    /// What building filter or index refused.
    pub fn finish(&mut self, io: &mut JobIo) -> Result<()> {
        self.finish_table(io)?;
        io.requests.extend(self.through.as_mut().and_then(Through::end));
        Ok(())
    }

    fn finish_table(&mut self, io: &mut JobIo) -> Result<()> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        let object = self.object;
        let finished = builder.finish()?;
        self.placed.extend(finished.placed);
        finished.chunks.into_iter().for_each(|bytes| self.hand_over(bytes, io));
        self.placed.clear();
        self.handed_over = 0;
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
            JobDone::Cached { region, buf, result } => {
                if let Some(through) = &mut self.through {
                    through.written(region, buf, result);
                }
                return;
            }
            other => unreachable!("an output only writes: {other:?}"),
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
        let through = self.through.as_ref().is_none_or(Through::is_settled);
        self.appends == 0 && self.seals == 0 && through
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
