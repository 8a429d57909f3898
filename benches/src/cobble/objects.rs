//! Where Cobble keeps its objects: a folder that is as far away as the store of the run. What it
//! reads takes the injected latency longer, or comes from a server by Cobble's own client of S3;
//! what it writes goes into the folder, which that server serves.
//!
//! A request is a read of a range, the end of a written file, a look or a delete. To open a file
//! costs no request. Reads of the folder are direct, as those of the other engines.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aquifer::io::url::{self, Place};
use aquifer_tools::load::{DfsCounts, Setup};
use bytes::Bytes;
use cobble::{
    Error, File, FileSystem, FileSystemRegistry, ProcessFileSystemRegistry,
    ProcessFileSystemRequest, RandomAccessFile, SequentialWriteFile, Url,
    register_process_custom_file_system_registry,
};

/// The volume of the objects: a scheme that Cobble asks its host about.
pub(super) const VOLUME: &str = "versus://objects";
/// Below the directory of the run.
const FOLDER: &str = "dfs";
/// Offset, length and memory of a direct read are multiples of it.
const DIRECT_BYTES: usize = 4096;

type Answer<T> = std::result::Result<T, Error>;

/// Requests so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    gets: AtomicU64,
    get_bytes: AtomicU64,
    puts: AtomicU64,
    put_bytes: AtomicU64,
    deletes: AtomicU64,
    lists: AtomicU64,
}

impl Counts {
    pub(super) fn read(&self) -> DfsCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DfsCounts {
            gets: get(&self.gets),
            get_bytes: get(&self.get_bytes),
            puts: get(&self.puts),
            put_bytes: get(&self.put_bytes),
            deletes: get(&self.deletes),
            lists: get(&self.lists),
            ..DfsCounts::default()
        }
    }
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// The file system that Cobble is lent.
pub(super) struct Objects {
    folder: PathBuf,
    /// Cobble's own file system of the folder.
    near: Arc<dyn FileSystem>,
    /// Cobble's own client of the server, if there is one.
    server: Option<Arc<dyn FileSystem>>,
    latency: Duration,
    counts: Arc<Counts>,
}

impl Objects {
    /// Lends Cobble the objects of this run under the name `VOLUME`, in this process; what they are
    /// read by, for the report, and their counts. `--dfs` tells how far they are: `latency` of a
    /// `file:` url, or the `endpoint` of an `s3:` url, which serves the folder above the
    /// directory of the run.
    pub(super) fn lend(setup: &Setup) -> Result<(String, Arc<Counts>)> {
        let folder = std::path::absolute(&setup.dir).context("--dir")?.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let parsed = setup.args.dfs.as_deref().map(url::parse).transpose().context("--dfs")?;
        let (latency_ns, place) = parsed.map_or((0, None), |dfs| (dfs.latency, Some(dfs.place)));
        let mut about = folder.display().to_string();
        let files = FileSystemRegistry::new();
        let near = files.get_or_register(&about)?;
        let server = match place {
            None | Some(Place::Folder(_)) => None,
            Some(Place::Remote(place)) if place.endpoint.is_some() => {
                about = server_url(&setup.dir, &place.endpoint.unwrap_or_default())?;
                Some(files.get_or_register(&about)?)
            }
            Some(_) => bail!("--dfs: Cobble is compared on file:// and on s3:// with an endpoint"),
        };
        let latency = Duration::from_nanos(latency_ns);
        let counts = Arc::new(Counts::default());
        let objects = Self { folder, near, server, latency, counts: counts.clone() };
        register_process_custom_file_system_registry(Arc::new(Registry(Arc::new(objects))));
        Ok((format!("{about}, {latency:?} a request"), counts))
    }

    /// What every request takes longer.
    fn wait(&self) {
        std::thread::sleep(self.latency);
    }
}

/// The folder of a run, as the server of the folder above it has it.
fn server_url(dir: &Path, endpoint: &str) -> Result<String> {
    let bucket = dir.file_name().and_then(|name| name.to_str()).context("--dir has no name")?;
    Ok(format!("s3://{bucket}/{FOLDER}?endpoint={endpoint}&region=us-east-1"))
}

/// Answers Cobble's question about the volume.
struct Registry(Arc<Objects>);

impl ProcessFileSystemRegistry for Registry {
    fn try_init(&self, request: &ProcessFileSystemRequest) -> Answer<Option<Arc<dyn FileSystem>>> {
        Ok((request.base_dir == VOLUME).then(|| self.0.clone() as Arc<dyn FileSystem>))
    }
}

impl FileSystem for Objects {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn init(
        url: &Url,
        _: Option<String>,
        _: Option<String>,
        _: Option<HashMap<String, String>>,
    ) -> Answer<Self> {
        Err(Error::ConfigError(format!("{url} is lent, not made")))
    }

    fn create_dir(&self, path: &str) -> Answer<()> {
        self.near.create_dir(path)
    }

    fn exists(&self, path: &str) -> Answer<bool> {
        self.wait();
        self.near.exists(path)
    }

    fn delete(&self, path: &str) -> Answer<()> {
        self.wait();
        count(&self.counts.deletes, 1);
        self.near.delete(path)
    }

    fn delete_async(&self, path: &str) -> Answer<()> {
        count(&self.counts.deletes, 1);
        self.near.delete_async(path)
    }

    fn rename(&self, from: &str, to: &str) -> Answer<()> {
        self.wait();
        self.near.rename(from, to)
    }

    fn list(&self, path: &str) -> Answer<Vec<String>> {
        self.wait();
        count(&self.counts.lists, 1);
        self.near.list(path)
    }

    fn open_read(&self, path: &str) -> Answer<Box<dyn RandomAccessFile>> {
        let place = match &self.server {
            Some(server) => Source::Server(server.open_read(path)?),
            None => {
                let place = self.folder.join(path.trim_start_matches('/'));
                Source::Folder(open_direct(&place).map_err(|error| failed(path, &error))?)
            }
        };
        let (latency, counts) = (self.latency, self.counts.clone());
        Ok(Box::new(Object { path: path.to_owned(), place, latency, counts }))
    }

    fn open_write(&self, path: &str) -> Answer<Box<dyn SequentialWriteFile>> {
        let (latency, counts) = (self.latency, self.counts.clone());
        Ok(Box::new(Draft { file: self.near.open_write(path)?, latency, counts }))
    }

    fn last_modified(&self, path: &str) -> Answer<Option<u64>> {
        self.wait();
        self.near.last_modified(path)
    }
}

enum Source {
    /// A file for direct reads, and its bytes.
    Folder((fs::File, usize)),
    Server(Box<dyn RandomAccessFile>),
}

/// An object that is read.
struct Object {
    path: String,
    place: Source,
    latency: Duration,
    counts: Arc<Counts>,
}

impl File for Object {
    fn close(&mut self) -> Answer<()> {
        Ok(())
    }

    fn size(&self) -> usize {
        match &self.place {
            Source::Folder((_, bytes)) => *bytes,
            Source::Server(file) => file.size(),
        }
    }
}

impl RandomAccessFile for Object {
    fn prefers_read_ahead(&self) -> bool {
        true
    }

    fn read_at(&self, offset: usize, size: usize) -> Answer<Bytes> {
        std::thread::sleep(self.latency);
        count(&self.counts.gets, 1);
        count(&self.counts.get_bytes, size);
        match &self.place {
            Source::Folder((file, _)) => {
                read_direct(file, offset, size).map_err(|error| failed(&self.path, &error))
            }
            Source::Server(file) => file.read_at(offset, size),
        }
    }
}

/// An object that is being written.
struct Draft {
    file: Box<dyn SequentialWriteFile>,
    latency: Duration,
    counts: Arc<Counts>,
}

impl File for Draft {
    fn close(&mut self) -> Answer<()> {
        std::thread::sleep(self.latency);
        count(&self.counts.puts, 1);
        self.file.close()
    }

    fn size(&self) -> usize {
        self.file.size()
    }
}

impl SequentialWriteFile for Draft {
    fn write(&mut self, data: &[u8]) -> Answer<usize> {
        let written = self.file.write(data)?;
        count(&self.counts.put_bytes, written);
        Ok(written)
    }
}

fn failed(path: &str, error: &io::Error) -> Error {
    Error::IoError(format!("{path}: {error}"))
}

fn open_direct(path: &Path) -> io::Result<(fs::File, usize)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    Ok((file, bytes))
}

/// Reads the blocks around a range, and copies the range out of them.
fn read_direct(file: &fs::File, offset: usize, size: usize) -> io::Result<Bytes> {
    let before = offset % DIRECT_BYTES;
    let blocks = (before + size).next_multiple_of(DIRECT_BYTES);
    let mut room = vec![0; blocks + DIRECT_BYTES];
    let start = room.as_ptr().align_offset(DIRECT_BYTES);
    let mut got = 0;
    while got < before + size {
        let rest = &mut room[start + got..start + blocks];
        match file.read_at(rest, (offset - before + got) as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => got += read,
        }
    }
    Ok(Bytes::copy_from_slice(&room[start + before..start + before + size]))
}
