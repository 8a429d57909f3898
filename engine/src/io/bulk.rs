//! Bulk transfers of background jobs: whole page runs in, objects out piece by piece. In tasks of
//! a background executor only.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::io::dfs::{Dfs, Draft, check_file};
use crate::io::direct::DirectFile;
use crate::io::objects::Source;
use crate::io::{read_op, task};
use crate::limits::{PAGE_BYTES, WRITE_BYTES_MAX};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// Reads ranges of an object.
pub(crate) enum ObjectReader {
    File { file: DirectFile, name: ObjectName, dfs: Dfs },
    Memory { bytes: Arc<Vec<u8>>, name: ObjectName, dfs: Dfs },
}

impl ObjectReader {
    /// Opens `name`.
    pub(crate) async fn open(dfs: &Dfs, name: ObjectName) -> Result<Self> {
        let dfs = dfs.clone();
        match dfs.path(&name) {
            Some(path) => {
                check_file(&name, &path)?;
                let opened = DirectFile::open(&dfs, &path).await;
                let file = opened.map_err(|e| failed("opening", &path, &e))?;
                Ok(Self::File { file, name, dfs })
            }
            None => match dfs.open_now(&name)?.source {
                Source::Memory(bytes) => Ok(Self::Memory { bytes, name, dfs }),
                Source::File { .. } => Err(Error::invalid("a DFS in memory has no files")),
            },
        }
    }

    /// Fills `out` from `offset`, both multiples of the page size.
    pub(crate) async fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let len = out.len();
        let dfs = match self {
            Self::File { file, name, dfs } => {
                let read = file.read(offset, out).await.map_err(|e| {
                    Error::io(format!("reading {len} bytes at {offset} of {name}"), &e)
                })?;
                if read < len {
                    return Err(read_op::past_end(*name, offset + read as u64));
                }
                dfs
            }
            Self::Memory { bytes, name, dfs } => {
                read_op::copy(*name, bytes, offset, out)?;
                dfs
            }
        };
        dfs.count_get(len as u64);
        Ok(())
    }

    /// Closes the object. Nothing can fail that matters to a reader.
    pub(crate) async fn close(self) {
        if let Self::File { file, .. } = self {
            let _closed = file.close().await;
        }
    }
}

/// Writes an object; several appends may be under way at once.
pub(crate) struct ObjectWriter {
    dfs: Dfs,
    name: ObjectName,
    sink: Sink,
}

#[expect(clippy::large_enum_variant, reason = "a job has a few of them, each in an Rc")]
enum Sink {
    File(FileSink),
    Memory(RefCell<Vec<u8>>),
}

struct FileSink {
    file: DirectFile,
    draft: Draft,
    bytes: Cell<u64>,
}

impl FileSink {
    async fn write(&self, offset: u64, part: &[u8]) -> Result<()> {
        let written = self.file.write(offset, part).await;
        let written = written.map_err(|e| failed("writing", &self.draft.tmp, &e))?;
        if written < part.len() {
            let (tmp, len) = (self.draft.tmp.display(), part.len());
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!("{tmp}: {written} of {len} bytes written; is the DFS full?"),
            ));
        }
        self.bytes.set(self.bytes.get() + part.len() as u64);
        Ok(())
    }
}

impl ObjectWriter {
    /// Starts to write `name` under a temporary name.
    pub(crate) async fn create(dfs: &Dfs, name: ObjectName) -> Result<Self> {
        let dfs = dfs.clone();
        if dfs.in_memory() {
            return Ok(Self { dfs, name, sink: Sink::Memory(RefCell::default()) });
        }
        let drafter = dfs.clone();
        let draft = task::blocking(move || drafter.draft(&name)).await?;
        match DirectFile::create(&dfs, &draft.tmp).await {
            Ok(file) => {
                let sink = FileSink { file, draft, bytes: Cell::new(0) };
                Ok(Self { dfs, name, sink: Sink::File(sink) })
            }
            Err(error) => {
                let error = failed("creating", &draft.tmp, &error);
                // It may exist all the same.
                task::blocking(move || draft.discard()).await;
                Err(error)
            }
        }
    }

    /// Writes whole pages at an offset. The pieces of an object leave no gap and do not overlap.
    pub(crate) async fn write(&self, mut offset: u64, piece: &[u8]) -> Result<()> {
        if !piece.len().is_multiple_of(PAGE_BYTES) {
            return Err(Error::invalid("objects are written in whole pages"));
        }
        match &self.sink {
            Sink::Memory(bytes) => {
                let (mut bytes, offset) = (bytes.borrow_mut(), offset as usize);
                let end = bytes.len().max(offset + piece.len());
                bytes.resize(end, 0);
                bytes[offset..offset + piece.len()].copy_from_slice(piece);
            }
            Sink::File(sink) => {
                for part in piece.chunks(WRITE_BYTES_MAX) {
                    sink.write(offset, part).await?;
                    offset += part.len() as u64;
                }
            }
        }
        Ok(())
    }

    /// Makes the object durable and visible. After an error it may exist or not, as after
    /// `Dfs::put`.
    pub(crate) async fn seal(self) -> Result<()> {
        let Self { dfs, name, sink } = self;
        match sink {
            Sink::Memory(bytes) => dfs.adopt(&name, bytes.into_inner())?,
            Sink::File(FileSink { file, draft, bytes }) => {
                let synced = file.sync().await;
                let closed = file.close().await;
                let settled = synced.and(closed).map_err(|e| failed("syncing", &draft.tmp, &e));
                let publish = move || {
                    let published = settled.and_then(|()| draft.publish());
                    if published.is_err() {
                        draft.discard();
                    }
                    published
                };
                task::blocking(publish).await?;
                dfs.count_put(bytes.get());
            }
        }
        Ok(())
    }

    /// Gives the object up.
    pub(crate) async fn discard(self) {
        if let Sink::File(FileSink { file, draft, .. }) = self.sink {
            let _closed = file.close().await;
            task::blocking(move || draft.discard()).await;
        }
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::io(format!("{what} {}", path.display()), error)
}
