//! Bulk transfers of background jobs: whole page runs in, objects out piece by piece. In tasks of
//! a background executor only.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::io::dfs::{Dfs, Root};
use crate::io::direct::DirectFile;
use crate::io::folder::{Draft, Folder, check_file};
use crate::io::memory::Memory;
use crate::io::objects::OpenObject;
use crate::io::remote::{Remote, RemoteWriter};
use crate::io::{read_op, stored, task};
use crate::limits::{PAGE_BYTES, WRITE_BYTES_MAX};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// Reads ranges of an object.
pub(crate) enum ObjectReader {
    File { file: DirectFile, name: ObjectName, dfs: Dfs },
    Memory { bytes: Arc<Vec<u8>>, name: ObjectName, dfs: Dfs },
    Remote { remote: Remote, name: ObjectName, dfs: Dfs },
}

/// Writes a whole object; see `Dfs::put`.
pub(crate) async fn put(dfs: &Dfs, name: ObjectName, bytes: Bytes) -> Result<()> {
    if let Root::Remote(remote) = dfs.root() {
        let count = bytes.len() as u64;
        remote.run(remote.put(name, bytes)).await?;
        dfs.count_put(count);
        return Ok(());
    }
    let dfs = dfs.clone();
    task::blocking(move || dfs.put_now(&name, &bytes)).await
}

/// Writes a whole object unless its name is taken; see `Dfs::create`.
pub(crate) async fn create(dfs: &Dfs, name: ObjectName, bytes: Bytes) -> Result<()> {
    if let Root::Remote(remote) = dfs.root() {
        let count = bytes.len() as u64;
        if remote.run(remote.create(name, bytes)).await? {
            dfs.count_put(count);
        }
        return Ok(());
    }
    let dfs = dfs.clone();
    task::blocking(move || dfs.create_now(&name, &bytes).map(drop)).await
}

/// Reads a whole object; see `Dfs::load`.
pub(crate) async fn load(dfs: &Dfs, name: ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
    if let Root::Remote(remote) = dfs.root() {
        let bytes = remote.run(remote.load(name, bytes_max)).await?;
        dfs.count_get(bytes.len() as u64);
        return Ok(bytes);
    }
    let dfs = dfs.clone();
    task::blocking(move || dfs.load_now(&name, bytes_max)).await
}

/// Deletes an object; see `Dfs::delete`.
pub(crate) async fn delete(dfs: &Dfs, name: ObjectName) -> Result<()> {
    if let Root::Remote(remote) = dfs.root() {
        remote.run(remote.delete(name)).await?;
        dfs.count_delete();
        return Ok(());
    }
    let dfs = dfs.clone();
    task::blocking(move || dfs.delete_now(&name)).await
}

/// Opens an object for the reads of a shard; see `Dfs::open_object`.
pub(crate) async fn open(dfs: &Dfs, name: ObjectName, bytes: u64) -> Result<OpenObject> {
    let dfs = dfs.clone();
    match dfs.root() {
        Root::Folder(_) => task::blocking(move || dfs.open_now(&name, bytes)).await,
        // Neither asks anybody.
        Root::Memory(_) | Root::Remote(_) => dfs.open_now(&name, bytes),
    }
}

impl ObjectReader {
    /// Opens `name`.
    pub(crate) async fn open(dfs: &Dfs, name: ObjectName) -> Result<Self> {
        let dfs = dfs.clone();
        match dfs.root() {
            Root::Folder(folder) => {
                let path = folder.file(&name);
                check_file(&name, &path)?;
                let opened = DirectFile::open(folder, &path).await;
                let file = opened.map_err(|e| failed("opening", &path, &e))?;
                Ok(Self::File { file, name, dfs })
            }
            Root::Memory(memory) => Ok(Self::Memory { bytes: memory.find(&name)?, name, dfs }),
            Root::Remote(remote) => Ok(Self::Remote { remote: remote.clone(), name, dfs }),
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
                    return Err(stored::past_end(*name, offset + read as u64));
                }
                dfs
            }
            Self::Memory { bytes, name, dfs } => {
                read_op::copy(*name, bytes, offset, out)?;
                dfs
            }
            Self::Remote { remote, name, dfs } => {
                let bytes = remote.run(remote.read(*name, offset, len)).await?;
                read_op::fill(out, bytes);
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

enum Sink {
    File(FileSink),
    Memory(Arc<Memory>, RefCell<Vec<u8>>),
    Remote(RemoteWriter),
}

struct FileSink {
    file: DirectFile,
    draft: Draft,
    bytes: Cell<u64>,
}

impl FileSink {
    async fn create(folder: &Arc<Folder>, name: ObjectName) -> Result<Self> {
        let drafter = folder.clone();
        let draft = task::blocking(move || drafter.draft(&name)).await?;
        match DirectFile::create(folder, &draft.tmp).await {
            Ok(file) => Ok(Self { file, draft, bytes: Cell::new(0) }),
            Err(error) => {
                let error = failed("creating", &draft.tmp, &error);
                // It may exist all the same.
                task::blocking(move || draft.discard()).await;
                Err(error)
            }
        }
    }

    // Gives the bytes.
    async fn seal(self) -> Result<u64> {
        let Self { file, draft, bytes } = self;
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
        Ok(bytes.get())
    }

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
        let sink = match dfs.root() {
            Root::Folder(folder) => Sink::File(FileSink::create(folder, name).await?),
            Root::Memory(memory) => Sink::Memory(memory.clone(), RefCell::default()),
            Root::Remote(remote) => Sink::Remote(remote.writer(name)),
        };
        Ok(Self { dfs: dfs.clone(), name, sink })
    }

    /// Writes whole pages at an offset. The pieces of an object leave no gap and do not overlap.
    pub(crate) async fn write(&self, mut offset: u64, piece: &[u8]) -> Result<()> {
        if !piece.len().is_multiple_of(PAGE_BYTES) {
            return Err(Error::invalid("objects are written in whole pages"));
        }
        match &self.sink {
            Sink::Memory(_, bytes) => {
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
            Sink::Remote(writer) => writer.write(offset, piece).await?,
        }
        Ok(())
    }

    /// Makes the object durable and visible, and gives its bytes. After an error it may exist or
    /// not, as after `Dfs::put`.
    pub(crate) async fn seal(self) -> Result<u64> {
        let Self { dfs, name, sink } = self;
        let bytes = match sink {
            Sink::Memory(memory, bytes) => {
                let bytes = bytes.into_inner();
                let count = bytes.len() as u64;
                memory.put(&name, bytes)?;
                count
            }
            Sink::File(sink) => sink.seal().await?,
            Sink::Remote(writer) => writer.seal().await?,
        };
        dfs.count_put(bytes);
        Ok(bytes)
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
