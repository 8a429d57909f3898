//! The DFS of a store: immutable objects, put whole, read by ranges, deleted. Names are relative
//! to the root, so a root that was moved is opened under its new url.
//!
//! A file is written under a temporary name in its folder, synced, renamed without replacing, and
//! the folder is synced: what is visible under a name is whole and durable. A temporary file that
//! a crash leaves behind is never read.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::io::faults::Faults;
use crate::io::handoff::locked;
use crate::io::objects::{OpenObject, Source};
use crate::io::url::{self, Place};
use crate::io::{entropy, sys};
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// A DFS root. Cheap to clone; any thread may use it. Its operations block the caller, except
/// for reads through a ring.
#[derive(Clone, Debug)]
pub struct Dfs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Root,
    faults: Option<Arc<Faults>>,
    counters: Counters,
    // Set once the file system has refused direct I/O.
    buffered: AtomicBool,
}

#[derive(Debug)]
enum Root {
    Folder {
        path: PathBuf,
        // Folders whose own entry is known to be durable.
        durable: Mutex<HashSet<PathBuf>>,
    },
    Memory(Arc<Memory>),
}

type Memory = Mutex<HashMap<ObjectName, Arc<Vec<u8>>>>;

#[derive(Debug, Default)]
struct Counters {
    puts: AtomicU64,
    put_bytes: AtomicU64,
    gets: AtomicU64,
    get_bytes: AtomicU64,
    deletes: AtomicU64,
    retries: AtomicU64,
}

/// What a DFS was asked for since it was opened, ring reads apart (the ring counts those).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DfsCounters {
    /// Objects written.
    pub puts: u64,
    /// Bytes of them.
    pub put_bytes: u64,
    /// Loads of whole objects and range reads of jobs.
    pub gets: u64,
    /// Bytes of them.
    pub get_bytes: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Operations tried again after they failed for the moment.
    pub retries: u64,
}

impl Dfs {
    /// Opens the root that `url` names (module `url`); a folder that does not exist is made.
    ///
    /// # Errors
    /// `Invalid` for a url that is not understood, or a place that takes no objects.
    pub fn open(url: &str) -> Result<Self> {
        let parsed = url::parse(url)?;
        let seed = parsed.seed.map_or_else(entropy::seed, Ok)?;
        let faults = Faults::new(parsed.latency, parsed.fail, seed);
        let root = match parsed.place {
            Place::Folder(path) => {
                make_root(&path)?;
                Root::Folder { path, durable: Mutex::default() }
            }
            Place::Memory(name) => Root::Memory(memory_of(name)),
        };
        let faults = (!faults.is_none()).then(|| Arc::new(faults));
        let (counters, buffered) = (Counters::default(), AtomicBool::new(false));
        Ok(Self { shared: Arc::new(Shared { root, faults, counters, buffered }) })
    }

    /// Writes a whole object; when this returns it is durable and visible. Repeating a put that
    /// took effect is success.
    ///
    /// # Errors
    /// `Invalid` if the name holds other bytes; else the file system's refusal. The object may
    /// then exist or not; a repetition settles it.
    pub fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.suffer("put")?;
        self.put_now(name, bytes)
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// `MissingObject`; `TooLarge` beyond `bytes_max`; else the file system's refusal.
    pub fn load(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        self.suffer("load")?;
        self.load_now(name, bytes_max)
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn delete(&self, name: &ObjectName) -> Result<()> {
        self.suffer("delete")?;
        self.delete_now(name)
    }

    /// Opens an object for reading through a ring.
    ///
    /// # Errors
    /// `MissingObject`; else the file system's refusal.
    pub fn open_object(&self, name: &ObjectName) -> Result<OpenObject> {
        self.suffer("open")?;
        self.open_now(name)
    }

    /// Operations so far.
    #[must_use]
    pub fn counters(&self) -> DfsCounters {
        let c = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DfsCounters {
            puts: get(&c.puts),
            put_bytes: get(&c.put_bytes),
            gets: get(&c.gets),
            get_bytes: get(&c.get_bytes),
            deletes: get(&c.deletes),
            retries: get(&c.retries),
        }
    }

    /// What the url injects, for callers that must not block.
    pub(crate) fn faults(&self) -> Option<&Arc<Faults>> {
        self.shared.faults.as_ref()
    }

    fn suffer(&self, operation: &str) -> Result<()> {
        let Some(faults) = &self.shared.faults else { return Ok(()) };
        // These operations block anyway: this is the latency of a DFS, as far as it is simulated.
        std::thread::sleep(Duration::from_nanos(faults.latency()));
        faults.draw(operation)
    }

    pub(crate) fn count_get(&self, bytes: u64) {
        self.shared.counters.gets.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.get_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_put(&self, bytes: u64) {
        self.shared.counters.puts.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.put_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// `put` without injected faults.
    pub(crate) fn put_now(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        match &self.shared.root {
            Root::Memory(memory) => put_memory(memory, name, bytes.to_vec())?,
            Root::Folder { .. } => {
                let draft = self.draft(name)?;
                let written = write_synced(&draft.tmp, bytes);
                let put = written.map_err(|e| Error::io(draft.tmp.display(), &e));
                if let Err(error) = put.and_then(|()| draft.publish()) {
                    draft.discard();
                    return Err(error);
                }
            }
        }
        self.count_put(bytes.len() as u64);
        Ok(())
    }

    /// `load` without injected faults.
    pub(crate) fn load_now(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        let bytes = match &self.shared.root {
            Root::Memory(memory) => {
                let bytes = find(memory, name)?;
                check_size(name, bytes.len() as u64, bytes_max)?;
                bytes.to_vec()
            }
            Root::Folder { path, .. } => {
                let path = path.join(name.to_string());
                let failed = |e: io::Error| Error::io(format!("reading {}", path.display()), &e);
                check_file(name, &path)?;
                let file = File::open(&path).map_err(failed)?;
                check_size(name, file.metadata().map_err(failed)?.len(), bytes_max)?;
                let mut bytes = Vec::new();
                // One byte more than allowed, in case the file is not what its size said.
                file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
                check_size(name, bytes.len() as u64, bytes_max)?;
                bytes
            }
        };
        self.count_get(bytes.len() as u64);
        Ok(bytes)
    }

    /// `delete` without injected faults.
    pub(crate) fn delete_now(&self, name: &ObjectName) -> Result<()> {
        match &self.shared.root {
            Root::Memory(memory) => drop(locked(memory).remove(name)),
            Root::Folder { path, .. } => {
                let path = path.join(name.to_string());
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(Error::io(format!("deleting {}", path.display()), &e));
                    }
                    _ => {}
                }
            }
        }
        self.shared.counters.deletes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// `open_object` without injected faults.
    pub(crate) fn open_now(&self, name: &ObjectName) -> Result<OpenObject> {
        let source = match &self.shared.root {
            Root::Memory(memory) => Source::Memory(find(memory, name)?),
            Root::Folder { path, .. } => {
                let path = path.join(name.to_string());
                check_file(name, &path)?;
                let mut options = OpenOptions::new();
                options.read(true);
                let opened = self.open_file(options, &path);
                let sized = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
                let failed = |e| Error::io(format!("opening {}", path.display()), &e);
                let (bytes, file) = sized.map_err(failed)?;
                Source::File { file: Arc::new(file), bytes }
            }
        };
        Ok(OpenObject { name: *name, source, faults: self.shared.faults.clone() })
    }

    /// Opens a file past the page cache, or through it where the file system has no direct I/O.
    pub(crate) fn open_file(&self, mut options: OpenOptions, path: &Path) -> io::Result<File> {
        if self.takes_direct_io() {
            match options.custom_flags(libc::O_DIRECT).open(path) {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
                opened => return opened,
            }
        }
        let file = options.custom_flags(0).open(path)?;
        if !self.shared.buffered.swap(true, Ordering::Relaxed) {
            let Root::Folder { path: root, .. } = &self.shared.root else { return Ok(file) };
            log::warn!(
                "{}: this file system refuses direct I/O (O_DIRECT), so its files are read and \
                 written through the page cache, whose memory no budget bounds; put the DFS root \
                 on ext4, xfs, btrfs or nfs",
                root.display()
            );
        }
        Ok(file)
    }

    /// False once the file system has refused direct I/O.
    pub(crate) fn takes_direct_io(&self) -> bool {
        !self.shared.buffered.load(Ordering::Relaxed)
    }

    /// Where the object `name` is written until it is published; `Invalid` in memory, where
    /// `put_memory` needs no draft. Makes its folder.
    pub(crate) fn draft(&self, name: &ObjectName) -> Result<Draft> {
        let Root::Folder { path: root, durable } = &self.shared.root else {
            return Err(Error::invalid("objects in memory have no drafts"));
        };
        let target = root.join(name.to_string());
        let folder = target.parent().expect("an object's name has folders").to_owned();
        if !locked(durable).contains(&folder) {
            make_folder(&folder, root)
                .map_err(|e| Error::io(format!("making {}", folder.display()), &e))?;
            locked(durable).insert(folder.clone());
        }
        let leaf = target.file_name().expect("an object's name has a leaf").to_string_lossy();
        // Random: a retry must not meet the file of an attempt that is still being written.
        let tmp = folder.join(format!("tmp-{leaf}-{:016x}", entropy::seed()?));
        Ok(Draft { tmp, target, folder })
    }

    /// True if objects live in memory.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.shared.root, Root::Memory(_))
    }

    /// The file of an object; `None` in memory.
    pub(crate) fn path(&self, name: &ObjectName) -> Option<PathBuf> {
        match &self.shared.root {
            Root::Folder { path, .. } => Some(path.join(name.to_string())),
            Root::Memory(_) => None,
        }
    }

    /// Puts `bytes` under a new name without copying them; only in memory.
    pub(crate) fn adopt(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        let Root::Memory(memory) = &self.shared.root else {
            return Err(Error::invalid("only a DFS in memory adopts bytes"));
        };
        self.count_put(bytes.len() as u64);
        put_memory(memory, name, bytes)
    }
}

/// A file under its temporary name.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The temporary name.
    pub(crate) tmp: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

impl Draft {
    /// Makes the draft, whose bytes are durable, visible under its name, for good. Blocks.
    pub(crate) fn publish(&self) -> Result<()> {
        let failed = |e: io::Error| Error::io(format!("publishing {}", self.target.display()), &e);
        match sys::rename_noreplace(&self.tmp, &self.target) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if !same_bytes(&self.tmp, &self.target).map_err(failed)? {
                    return Err(Error::invalid(format!(
                        "{} exists with other bytes: an object's name was used twice. Names carry \
                         a fresh nonce and a random number; check that this process did not \
                         restore them from a snapshot of itself",
                        self.target.display()
                    )));
                }
                self.discard();
            }
            // Network file systems may repeat a rename whose first answer was lost.
            Err(e)
                if e.kind() == io::ErrorKind::NotFound
                    && self.target.exists()
                    && !self.tmp.exists() => {}
            Err(e) => return Err(failed(e)),
        }
        sync_folder(&self.folder).map_err(failed)
    }

    /// Removes the draft, as far as that is possible: what remains is never read.
    pub(crate) fn discard(&self) {
        let _orphan = fs::remove_file(&self.tmp);
    }
}

fn memory_of(name: String) -> Arc<Memory> {
    static ROOTS: OnceLock<Mutex<HashMap<String, Arc<Memory>>>> = OnceLock::new();
    locked(ROOTS.get_or_init(Mutex::default)).entry(name).or_default().clone()
}

fn find(memory: &Memory, name: &ObjectName) -> Result<Arc<Vec<u8>>> {
    locked(memory).get(name).cloned().ok_or_else(|| {
        Error::new(ErrorKind::MissingObject, format!("{name} is not in the memory of this process"))
    })
}

fn put_memory(memory: &Memory, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
    let mut objects = locked(memory);
    match objects.get(name) {
        Some(there) if **there != bytes => Err(Error::invalid(format!(
            "{name} exists with other bytes: an object's name was used twice"
        ))),
        Some(_) => Ok(()),
        None => {
            objects.insert(*name, Arc::new(bytes));
            Ok(())
        }
    }
}

fn check_size(name: &ObjectName, bytes: u64, bytes_max: u64) -> Result<()> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        format!("{name} has {bytes} bytes or more, {bytes_max} were expected at most"),
    ))
}

/// Something else in place of an object is damage; to open a pipe would wait for a writer.
pub(crate) fn check_file(name: &ObjectName, path: &Path) -> Result<()> {
    let found = fs::metadata(path);
    let found = found.map_err(|e| Error::io(format!("opening {}", path.display()), &e))?;
    let what = if found.is_dir() { "a folder" } else { "no file" };
    if found.is_file() { Ok(()) } else { Err(Error::damaged(name, format!("it is {what}"))) }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the root: a place that takes no objects is refused when it is opened, not when the first
/// flush fails.
fn make_root(root: &Path) -> Result<()> {
    make_folder(root, root).map_err(|cause| {
        let what = format!(
            "{} cannot be the root of a DFS: {cause}; name a folder that may be written",
            root.display()
        );
        Error::invalid(what)
    })
}

/// Makes `folder` below `root` (and the root), each level durable in the one above. A folder that
/// exists is synced too: who made it may not have done so yet.
fn make_folder(folder: &Path, root: &Path) -> io::Result<()> {
    let parent = folder.parent();
    if folder == root {
        fs::create_dir_all(folder)?;
    } else {
        make_folder(parent.expect("it is below the root"), root)?;
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    parent.map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut piece_a, mut piece_b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let n = a.read(&mut piece_a)?;
        if n == 0 {
            return Ok(true);
        }
        b.read_exact(&mut piece_b[..n])?;
        if piece_a[..n] != piece_b[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
#[path = "dfs_tests.rs"]
mod tests;
