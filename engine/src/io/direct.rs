//! A file that a background job reads or writes past the page cache, which belongs to the host:
//! through the ring of a glommio executor, or by calls that block, on other threads. On file
//! systems without direct I/O by such calls, through the page cache.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use glommio::io::{DmaBuffer, DmaFile};

use crate::io::folder::Folder;
use crate::io::task;
use crate::mem::pool::Buf;

/// See the module.
pub(crate) enum DirectFile {
    Ring(RingFile),
    Threads(ThreadsFile),
}

/// Read and written by a ring.
pub(crate) struct RingFile {
    file: DmaFile,
    spare: Spare<Rc<DmaBuffer>>,
}

/// Read and written by threads.
pub(crate) struct ThreadsFile {
    file: Arc<File>,
    spare: Spare<Buf>,
}

/// Aligned memory, which direct writes need. Kept from one write to the next: mapping and faulting
/// a fresh megabyte costs more than writing it (0.8 ms of CPU against 0.14).
type Spare<T> = RefCell<Vec<T>>;

impl DirectFile {
    /// Opens a file for reading.
    pub(crate) async fn open(folder: &Arc<Folder>, path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        let ring = glommio::io::OpenOptions::new().read(true).clone();
        Self::with(folder, path, options, ring).await
    }

    /// Creates a file for writing.
    pub(crate) async fn create(folder: &Arc<Folder>, path: &Path) -> io::Result<Self> {
        // Its name is random. It may exist: a file system that refuses direct I/O does so after
        // it created the file.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let ring = glommio::io::OpenOptions::new().write(true).create_new(true).clone();
        Self::with(folder, path, options, ring).await
    }

    async fn with(
        folder: &Arc<Folder>,
        path: &Path,
        options: OpenOptions,
        ring: glommio::io::OpenOptions,
    ) -> io::Result<Self> {
        if task::on_ring() && folder.takes_direct_io() {
            match open_dma(ring.dma_open(path)).await {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
                opened => {
                    let spare = Spare::default();
                    return Ok(Self::Ring(RingFile { file: opened?, spare }));
                }
            }
        }
        let (folder, path) = (folder.clone(), path.to_owned());
        let file = task::blocking(move || folder.open_file(options, &path)).await?;
        Ok(Self::Threads(ThreadsFile { file: Arc::new(file), spare: Spare::default() }))
    }

    /// Fills `out`, whole pages, from `offset`; the bytes that were there.
    pub(crate) async fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len();
        match self {
            Self::Ring(RingFile { file, .. }) => {
                let read = file.read_at_aligned(offset, len).await.map_err(task::of_glommio)?;
                out[..read.len()].copy_from_slice(&read);
                Ok(read.len())
            }
            Self::Threads(ThreadsFile { file, .. }) => {
                let file = file.clone();
                let read = move || -> io::Result<(Buf, usize)> {
                    let mut buf = aligned(len)?;
                    let read = read_full(&file, &mut buf.bytes_mut()[..len], offset)?;
                    Ok((buf, read))
                };
                let (buf, read) = task::blocking(read).await?;
                out[..read].copy_from_slice(&buf.bytes()[..read]);
                Ok(read)
            }
        }
    }

    /// Writes whole pages at `offset`; the bytes that were written.
    pub(crate) async fn write(&self, offset: u64, part: &[u8]) -> io::Result<usize> {
        match self {
            Self::Ring(RingFile { file, spare }) => {
                let kept = take(spare, |kept: &Rc<DmaBuffer>| kept.len() == part.len());
                let mut aligned =
                    kept.unwrap_or_else(|| Rc::new(file.alloc_dma_buffer(part.len())));
                let buffer = Rc::get_mut(&mut aligned).expect("nobody shares it");
                buffer.as_bytes_mut().copy_from_slice(part);
                let written = file.write_rc_at(aligned.clone(), offset).await;
                let written = written.map_err(task::of_glommio)?;
                if Rc::strong_count(&aligned) == 1 {
                    spare.borrow_mut().push(aligned);
                }
                Ok(written)
            }
            Self::Threads(ThreadsFile { file, spare }) => {
                let (file, len) = (file.clone(), part.len());
                let kept = take(spare, |kept: &Buf| kept.bytes().len() == len);
                let mut buf = kept.map_or_else(|| aligned(len), Ok)?;
                buf.bytes_mut().copy_from_slice(part);
                let write = move || (file.write_all_at(buf.bytes(), offset), buf);
                let (written, buf) = task::blocking(write).await;
                spare.borrow_mut().push(buf);
                written.map(|()| len)
            }
        }
    }

    /// Makes what was written durable.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        match self {
            Self::Ring(RingFile { file, .. }) => file.fdatasync().await.map_err(task::of_glommio),
            Self::Threads(ThreadsFile { file, .. }) => {
                let file = file.clone();
                task::blocking(move || file.sync_data()).await
            }
        }
    }

    /// Closes the file.
    pub(crate) async fn close(self) -> io::Result<()> {
        match self {
            Self::Ring(RingFile { file, .. }) => file.close().await.map_err(task::of_glommio),
            // The last reference goes where a close that waits for a server does not matter.
            Self::Threads(ThreadsFile { file, .. }) => {
                task::blocking(move || drop(file)).await;
                Ok(())
            }
        }
    }
}

fn take<T>(spare: &Spare<T>, fits: impl Fn(&T) -> bool) -> Option<T> {
    spare.borrow_mut().pop().filter(fits)
}

fn aligned(bytes: usize) -> io::Result<Buf> {
    Buf::map(bytes).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))
}

fn read_full(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Glommio asks for the file system of the path that it just opened, and panics if that is gone:
/// an object that somebody deletes must not end the executor.
async fn open_dma(
    opening: impl Future<Output = glommio::Result<DmaFile, ()>>,
) -> io::Result<DmaFile> {
    let mut opening = pin!(opening);
    let opened = poll_fn(|context| {
        let poll = AssertUnwindSafe(|| opening.as_mut().poll(context));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match opened.await {
        Ok(opened) => opened.map_err(task::of_glommio),
        Err(_panic) => Err(io::Error::from_raw_os_error(libc::ENOENT)),
    }
}
