//! The file of a shard's cache on the local SSD.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::io::objects::{OpenObject, Source};
use crate::io::sys;
use crate::limits::{SSD_BYTES_MAX, SSD_BYTES_MIN, SSD_REGION_BYTES, SSD_SPARE_BYTES};
use crate::types::error::ErrorKind;
use crate::types::{Error, Incarnation, ObjectKind, ObjectName, Result};

/// A cache on the local SSD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsdConfig {
    /// Its folder, which is made if it is not there. It holds a file for each shard and may be
    /// removed whenever no engine uses it.
    pub folder: PathBuf,
    /// Bytes of its files, shared evenly by the shards.
    pub bytes: u64,
    /// The cache does not grow while its file system has less free than this, bytes.
    pub spare_bytes: u64,
}

impl SsdConfig {
    /// A cache of `bytes` in `folder` that leaves `SSD_SPARE_BYTES` free.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { folder: folder.into(), bytes, spare_bytes: SSD_SPARE_BYTES }
    }

    /// What each of so many shards may have.
    ///
    /// # Errors
    /// `Invalid` if that is too little or too much.
    pub fn shard_bytes(&self, shards: usize) -> Result<u64> {
        let bytes = self.bytes / shards as u64;
        if (SSD_BYTES_MIN..=SSD_BYTES_MAX).contains(&bytes) {
            return Ok(bytes);
        }
        Err(Error::invalid(format!(
            "a cache on the SSD of {bytes} bytes a shard: give each shard {SSD_BYTES_MIN} to \
             {SSD_BYTES_MAX} bytes"
        )))
    }
}

/// A file that was opened for the cache of a shard.
#[derive(Debug)]
pub struct OpenSsd {
    /// For the driver of the shard.
    pub object: OpenObject,
    /// For its jobs.
    pub writer: SsdWriter,
    /// What it has from before, bytes.
    pub stored_bytes: u64,
    /// What its file system has free, bytes.
    pub free_bytes: u64,
}

/// Writes to the file of a cache as long as the driver of its shard has it open: a job that
/// outlives that driver does not hold the file's lock.
#[derive(Clone, Debug)]
pub struct SsdWriter(Weak<File>);

impl SsdWriter {
    /// Writes, on the calling thread; what the file system has free since, bytes.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<u64> {
        let file = self.file()?;
        let written = file.write_all_at(bytes, offset).and_then(|()| sys::free_bytes(&file));
        written.map_err(|e| Error::io("writing to the cache on the SSD", &e))
    }

    /// Shortens the file so that it ends at `end`; what the file system has free then, bytes.
    pub(crate) fn room(&self, end: Option<u64>) -> Result<u64> {
        let file = self.file()?;
        let shortened = end.map_or(Ok(()), |end| file.set_len(end));
        let free = shortened.and_then(|()| sys::free_bytes(&file));
        free.map_err(|e| Error::io("shortening the cache on the SSD", &e))
    }

    fn file(&self) -> Result<Arc<File>> {
        let closed = "the shard of the cache on the SSD was closed";
        self.0.upgrade().ok_or_else(|| Error::new(ErrorKind::Closed, closed))
    }
}

/// Opens the file of shard `index`, of `bytes` at most, and locks it: another engine has another
/// folder.
///
/// # Errors
/// `Io`, such as for a file that another engine uses.
pub fn open(config: &SsdConfig, index: usize, bytes: u64) -> Result<OpenSsd> {
    let path = config.folder.join(format!("shard-{index}.cache"));
    let failed = |what: &str, e: &io::Error| Error::io(format!("{what} {}", path.display()), e);
    let mut folders = DirBuilder::new();
    folders
        .recursive(true)
        .mode(0o700)
        .create(&config.folder)
        .map_err(|e| failed("making the folder of", &e))?;
    let file = open_direct(&path).map_err(|e| failed("opening", &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "{} is the cache of an engine that runs: give each engine a folder of its own",
                    path.display()
                ),
            ));
        }
        Err(TryLockError::Error(e)) => return Err(failed("locking", &e)),
    }
    let mut stored_bytes = file.metadata().map_err(|e| failed("looking at", &e))?.len();
    if stored_bytes > bytes {
        file.set_len(bytes).map_err(|e| failed("shortening", &e))?;
        stored_bytes = bytes;
    }
    let free_bytes =
        sys::free_bytes(&file).map_err(|e| failed("asking for the free space of", &e))?;
    if stored_bytes + free_bytes.saturating_sub(config.spare_bytes) < SSD_REGION_BYTES as u64 {
        log::warn!(
            "the cache on the SSD finds no room, the DFS serves: of {free_bytes} bytes that are \
             free in {} {} are left to others; free more, or leave less",
            config.folder.display(),
            config.spare_bytes
        );
    }
    let file = Arc::new(file);
    let writer = SsdWriter(Arc::downgrade(&file));
    let source = Source::Cache { file, bytes };
    let object = OpenObject { name: no_name(index), source, faults: None };
    Ok(OpenSsd { object, writer, stored_bytes, free_bytes })
}

// Past the page cache, whose memory no budget bounds, where the file system allows it.
fn open_direct(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    match options.custom_flags(libc::O_DIRECT).open(path) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => options.custom_flags(0).open(path),
        opened => opened,
    }
}

// It is no object of a DFS, and nobody is told this.
fn no_name(index: usize) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 0, nonce: 0 };
    ObjectName { store: 0, incarnation, kind: ObjectKind::Sst, seq: index as u64, rand: 0 }
}

#[cfg(test)]
#[path = "ssd_file_tests.rs"]
mod tests;
