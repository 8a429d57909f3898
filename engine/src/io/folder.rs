//! A DFS that the system mounts, local disks included: objects are files below a folder.
//!
//! A file is written under a temporary name in its folder, synced, renamed without replacing, and
//! the folder is synced: what is visible under a name is whole and durable. A temporary file that
//! a crash leaves behind is never read.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::io::handoff::locked;
use crate::io::objects::Source;
use crate::io::stored::{self, DraftFile, Listed, check_size};
use crate::io::{entropy, sys};
use crate::limits::FOLDER_TRIES_MAX;
use crate::types::{Error, ObjectName, Result};

/// Its root.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    // Folders whose own entry is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    // Set once the file system has refused direct I/O.
    buffered: AtomicBool,
}

impl Folder {
    /// The root at `path`; a folder that does not exist is made.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        make_root(&path)?;
        Ok(Self { path, durable: Mutex::default(), buffered: AtomicBool::new(false) })
    }

    /// The file of an object.
    pub(crate) fn file(&self, name: &ObjectName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Writes a whole object.
    pub(crate) fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        let draft = self.draft(name)?;
        let written = write_synced(&draft.tmp, bytes);
        let put = written.map_err(|e| Error::io(draft.tmp.display(), &e));
        let put = put.and_then(|()| draft.publish());
        if put.is_err() {
            draft.discard();
        }
        put
    }

    /// Writes a whole object under a name that is not taken; false if it is.
    pub(crate) fn create(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool> {
        let draft = self.draft(name)?;
        let written = write_synced(&draft.tmp, bytes);
        let written = written.map_err(|e| Error::io(draft.tmp.display(), &e));
        let created =
            written.and_then(|()| match sys::rename_noreplace(&draft.tmp, &draft.target) {
                Ok(()) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(e) => Err(Error::io(format!("publishing {}", draft.target.display()), &e)),
            });
        if !matches!(created, Ok(true)) {
            draft.discard();
            return created;
        }
        sync_folder(&draft.folder).map_err(|e| Error::io(draft.folder.display(), &e))?;
        Ok(true)
    }

    /// The objects of a store's number.
    pub(crate) fn list(&self, store: u64) -> Result<Vec<Listed>> {
        self.find(store, listed_file)
    }

    /// The files of a store's number that are no objects yet, and never will be if nobody writes
    /// them any more.
    pub(crate) fn drafts(&self, store: u64) -> Result<Vec<DraftFile>> {
        self.find(store, draft_file)
    }

    // What `of` makes, with the root, of the files of a store's number.
    fn find<T>(&self, store: u64, of: impl Fn(&Path, &Path) -> Option<T>) -> Result<Vec<T>> {
        let folder = self.path.join(ObjectName::folder_of(store));
        let failed = |e: io::Error| Error::io(format!("listing {}", folder.display()), &e);
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        let mut found = Vec::new();
        let incarnations = match fs::read_dir(&folder) {
            Err(e) if gone(&e) => return Ok(found),
            entries => entries.map_err(failed)?,
        };
        for incarnation in incarnations {
            let incarnation = incarnation.map_err(failed)?;
            if !incarnation.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            let entries = match fs::read_dir(incarnation.path()) {
                // Of a trial that ended meanwhile.
                Err(e) if gone(&e) => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                found.extend(of(&self.path, &entry.map_err(failed)?.path()));
            }
        }
        Ok(found)
    }

    /// Deletes a file that `drafts` named.
    pub(crate) fn delete_draft(&self, draft: &DraftFile) -> Result<()> {
        let path = self.path.join(&draft.path);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("deleting {}", path.display()), &e))
            }
            _ => Ok(()),
        }
    }

    /// Removes the folders of an object, as far as they are empty.
    pub(crate) fn prune(&self, name: &ObjectName) {
        let file = self.file(name);
        for folder in file.ancestors().skip(1).take_while(|folder| *folder != self.path) {
            // What is not known to be there is made before it is written in.
            locked(&self.durable).remove(folder);
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// Reads a whole object of at most `bytes_max`.
    pub(crate) fn load(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        let path = self.file(name);
        let failed = |e: io::Error| Error::io(format!("reading {}", path.display()), &e);
        check_file(name, &path)?;
        let file = File::open(&path).map_err(failed)?;
        check_size(name, file.metadata().map_err(failed)?.len(), bytes_max)?;
        let mut bytes = Vec::new();
        // One byte more than allowed, in case the file is not what its size said.
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        check_size(name, bytes.len() as u64, bytes_max)?;
        Ok(bytes)
    }

    /// Bytes of an object.
    pub(crate) fn size(&self, name: &ObjectName) -> Result<u64> {
        let path = self.file(name);
        check_file(name, &path)?;
        let found = fs::metadata(&path).map_err(|e| Error::io(path.display(), &e))?;
        Ok(found.len())
    }

    /// Fills `out` from `offset`.
    pub(crate) fn read(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let path = self.file(name);
        check_file(name, &path)?;
        let read = File::open(&path).and_then(|file| file.read_exact_at(out, offset));
        read.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => stored::past_end(*name, offset),
            _ => Error::io(format!("reading {} at byte {offset}", path.display()), &e),
        })
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    pub(crate) fn delete(&self, name: &ObjectName) -> Result<()> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("deleting {}", path.display()), &e))
            }
            _ => Ok(()),
        }
    }

    /// Opens an object for reading.
    pub(crate) fn open_object(&self, name: &ObjectName) -> Result<Source> {
        let path = self.file(name);
        check_file(name, &path)?;
        let mut options = OpenOptions::new();
        options.read(true);
        let opened = self.open_file(options, &path);
        let sized = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        let failed = |e| Error::io(format!("opening {}", path.display()), &e);
        let (bytes, file) = sized.map_err(failed)?;
        Ok(Source::File { file: Arc::new(file), bytes })
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
        if !self.buffered.swap(true, Ordering::Relaxed) {
            log::warn!(
                "{}: this file system refuses direct I/O (O_DIRECT), so its files are read and \
                 written through the page cache, whose memory no budget bounds; put the DFS root \
                 on ext4, xfs, btrfs or nfs",
                self.path.display()
            );
        }
        Ok(file)
    }

    /// False once the file system has refused direct I/O.
    pub(crate) fn takes_direct_io(&self) -> bool {
        !self.buffered.load(Ordering::Relaxed)
    }

    /// Where the object `name` is written until it is published. Makes its
    /// folder.
    pub(crate) fn draft(&self, name: &ObjectName) -> Result<Draft> {
        let (root, durable) = (&self.path, &self.durable);
        let target = root.join(name.to_string());
        let folder = target.parent().expect("an object's name has folders").to_owned();
        if !locked(durable).contains(&folder) {
            make_folder(&folder, root)
                .map_err(|e| Error::io(format!("making {}", folder.display()), &e))?;
            locked(durable).insert(folder.clone());
        }
        let leaf = target.file_name().expect("an object's name has a leaf").to_string_lossy();
        // Random: a retry must not meet the file of an attempt that is still being written.
        let tmp = folder.join(format!("{DRAFT_PREFIX}{leaf}-{:016x}", entropy::seed()?));
        Ok(Draft { tmp, target, folder })
    }
}

/// What temporary names begin with.
const DRAFT_PREFIX: &str = "tmp-";

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

/// Something else in place of an object is damage; to open a pipe would wait for a writer.
pub(crate) fn check_file(name: &ObjectName, path: &Path) -> Result<()> {
    let found = fs::metadata(path);
    let found = found.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::missing(format!("{} is not there", path.display())),
        _ => Error::io(format!("opening {}", path.display()), &e),
    })?;
    let what = if found.is_dir() { "a folder" } else { "no file" };
    if found.is_file() { Ok(()) } else { Err(Error::damaged(name, format!("it is {what}"))) }
}

/// An object's file; what is none, or is gone by now, is left out.
fn listed_file(root: &Path, path: &Path) -> Option<Listed> {
    let name = path.strip_prefix(root).ok()?.to_str()?.parse().ok()?;
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Listed { name, bytes: found.len(), modified_s: Some(found.mtime()) })
}

/// A file under a temporary name.
fn draft_file(root: &Path, path: &Path) -> Option<DraftFile> {
    path.file_name()?.to_str().filter(|name| name.starts_with(DRAFT_PREFIX))?;
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let path = path.strip_prefix(root).ok()?.to_str()?.to_owned();
    Some(DraftFile { path, bytes: found.len(), modified_s: found.mtime() })
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
        return parent.map_or(Ok(()), sync_folder);
    }
    let parent = parent.expect("it is below the root");
    let mut tries = 0;
    loop {
        tries += 1;
        make_folder(parent, root)?;
        match fs::create_dir(folder) {
            // It was empty, and somebody pruned it.
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < FOLDER_TRIES_MAX => {}
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => return sync_folder(parent),
        }
    }
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
