//! Bulk transfers of background jobs: whole page runs in, objects out piece by piece. On a
//! glommio executor's thread only, past the page cache, which belongs to the host.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use glommio::GlommioError;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};

use crate::io::dfs::{Dfs, Draft, check_file};
use crate::io::objects::Source;
use crate::io::read_op;
use crate::limits::{PAGE_BYTES, WRITE_BYTES_MAX};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// Reads ranges of an object.
pub(crate) enum ObjectReader {
    File { file: DmaFile, name: ObjectName, dfs: Dfs },
    Memory { bytes: Arc<Vec<u8>>, name: ObjectName, dfs: Dfs },
}

impl ObjectReader {
    /// Opens `name`.
    pub(crate) async fn open(dfs: &Dfs, name: ObjectName) -> Result<Self> {
        let dfs = dfs.clone();
        match dfs.path(&name) {
            Some(path) => {
                check_file(&name, &path)?;
                let file = open("opening", &path, DmaFile::open(&path)).await?;
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
                let read = file.read_at_aligned(offset, len).await.map_err(|e| {
                    failure(format!("reading {len} bytes at {offset} of {name}"), e)
                })?;
                if read.len() < len {
                    return Err(read_op::past_end(*name, offset + read.len() as u64));
                }
                out.copy_from_slice(&read);
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
    file: DmaFile,
    draft: Draft,
    bytes: Cell<u64>,
    // Direct writes need aligned memory. Kept from one write to the next: mapping and faulting a
    // fresh megabyte costs more than writing it (0.8 ms of CPU against 0.14).
    aligned: RefCell<Vec<Rc<DmaBuffer>>>,
}

impl FileSink {
    async fn write(&self, offset: u64, part: &[u8]) -> Result<()> {
        let kept = self.aligned.borrow_mut().pop().filter(|kept| kept.len() == part.len());
        let mut aligned = kept.unwrap_or_else(|| Rc::new(self.file.alloc_dma_buffer(part.len())));
        let buffer = Rc::get_mut(&mut aligned).expect("nobody shares it");
        buffer.as_bytes_mut().copy_from_slice(part);
        let written = self.file.write_rc_at(aligned.clone(), offset).await;
        let written = written.map_err(|e| failed("writing", &self.draft.tmp, e))?;
        if written < part.len() {
            let (tmp, len) = (self.draft.tmp.display(), part.len());
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!("{tmp}: {written} of {len} bytes written; is the DFS full?"),
            ));
        }
        self.bytes.set(self.bytes.get() + part.len() as u64);
        if Rc::strong_count(&aligned) == 1 {
            self.aligned.borrow_mut().push(aligned);
        }
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
        let draft = glommio::executor().spawn_blocking(move || drafter.draft(&name)).await?;
        let options = OpenOptions::new().write(true).create_new(true).clone();
        match open("creating", &draft.tmp, options.dma_open(&draft.tmp)).await {
            Ok(file) => {
                let (bytes, aligned) = (Cell::new(0), RefCell::default());
                let sink = FileSink { file, draft, bytes, aligned };
                Ok(Self { dfs, name, sink: Sink::File(sink) })
            }
            Err(error) => {
                // It may exist: that the file system refuses direct I/O shows after creation.
                glommio::executor().spawn_blocking(move || draft.discard()).await;
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
            Sink::File(FileSink { file, draft, bytes, .. }) => {
                let synced = file.fdatasync().await;
                let closed = file.close().await;
                let settled = synced.and(closed).map_err(|e| failed("syncing", &draft.tmp, e));
                let publish = move || {
                    let published = settled.and_then(|()| draft.publish());
                    if published.is_err() {
                        draft.discard();
                    }
                    published
                };
                glommio::executor().spawn_blocking(publish).await?;
                dfs.count_put(bytes.get());
            }
        }
        Ok(())
    }

    /// Gives the object up.
    pub(crate) async fn discard(self) {
        if let Sink::File(FileSink { file, draft, .. }) = self.sink {
            let _closed = file.close().await;
            glommio::executor().spawn_blocking(move || draft.discard()).await;
        }
    }
}

/// Glommio asks for the file system of the path that it just opened, and panics if that is gone:
/// an object that somebody deletes must not end the executor.
async fn open(
    what: &str,
    path: &Path,
    opening: impl Future<Output = glommio::Result<DmaFile, ()>>,
) -> Result<DmaFile> {
    let mut opening = pin!(opening);
    let opened = poll_fn(|context| {
        let poll = AssertUnwindSafe(|| opening.as_mut().poll(context));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match opened.await {
        Ok(opened) => opened.map_err(|error| failed(what, path, error)),
        Err(_panic) => Err(Error::new(
            ErrorKind::MissingObject,
            format!("{what} {}: it was deleted meanwhile", path.display()),
        )),
    }
}

fn failed(what: &str, path: &Path, error: GlommioError<()>) -> Error {
    failure(format!("{what} {}", path.display()), error)
}

/// Glommio wraps the system's errors; the class of ours comes from their number.
fn failure(what: String, error: GlommioError<()>) -> Error {
    match error {
        GlommioError::IoError(e) | GlommioError::EnhancedIoError { source: e, .. } => {
            Error::io(what, &e)
        }
        other => Error::new(ErrorKind::Io, format!("{what}: {other}")),
    }
}
