//! A page: a small file that one process replaces as a whole, again and again, and others read.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::io::entropy;
use crate::io::handoff::locked;
use crate::limits::{PAGE_HEAD_BYTES, PAGE_STALE_MS};
use crate::types::{Error, Result};

// The pages that this process keeps.
static KEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// See the module. What is at its place when this is dropped is removed if it is this page.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    draft: PathBuf,
    // Device and inode of what may be replaced: the page as it was written last.
    own: Option<(u64, u64)>,
}

impl Page {
    /// The page at `path`; nothing is written yet. An old page there will be replaced: `writer_of`
    /// finds the process that wrote it in its first bytes, and knows it from other files.
    ///
    /// # Errors
    /// `Invalid` for a path that names no file, or whose folder is not there; for something else
    /// than a page at its place; for the page of an engine that runs.
    pub(crate) fn new(path: &Path, writer_of: impl Fn(&[u8]) -> Option<u32>) -> Result<Self> {
        let Some(leaf) = path.file_name() else {
            return Err(Error::invalid(format!("{} names no file", path.display())));
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|e| {
            Error::invalid(format!(
                "the folder {} of the page {} cannot be used: {e}; make it first",
                folder.display(),
                leaf.display()
            ))
        })?;
        let path = folder.join(leaf);
        let draft = format!(".{}-{:016x}", leaf.to_string_lossy(), entropy::seed()?);
        let draft = path.with_file_name(draft);
        let refused = |what: &str| {
            let path = path.display();
            Error::invalid(format!("{path} {what}; name another file for the page"))
        };
        if !locked(&KEPT).insert(path.clone()) {
            return Err(refused("is the page of another engine of this process"));
        }
        // From here on it is given up when dropped.
        let mut page = Self { path: path.clone(), draft, own: None };
        match head(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(refused(&format!("cannot be read ({e})"))),
            Ok(None) => return Err(refused("is not a file")),
            Ok(Some((file, head, age))) => {
                let Some(writer) = writer_of(&head) else {
                    return Err(refused("is a file, and not a page"));
                };
                // Whoever keeps a page replaces it all the time. A page of this process that it
                // does not know of is of one before it, which had the same number.
                let runs = writer != std::process::id()
                    && Path::new(&format!("/proc/{writer}")).exists()
                    && age < Duration::from_millis(PAGE_STALE_MS);
                if runs {
                    return Err(refused(&format!("is the page of process {writer}, which runs")));
                }
                page.own = Some(file);
            }
        }
        Ok(page)
    }

    /// Replaces the page. Only its owner may read it. What somebody else put in its place since, a
    /// symbolic link say, is left alone.
    ///
    /// # Errors
    /// The system's refusal; the page is then as it was before.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let replaced = self.replace(bytes);
        replaced.map_err(|e| {
            let _left = fs::remove_file(&self.draft);
            Error::io(format!("writing the page {}", self.path.display()), &e)
        })
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !matches!(self.now(), None | Some(true)) {
            return Err(io::Error::other("something else is at its place now"));
        }
        // A new file is none that a link leads to.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.draft)?;
        file.write_all(bytes)?;
        let own = identity(&file.metadata()?);
        fs::rename(&self.draft, &self.path)?;
        self.own = Some(own);
        Ok(())
    }

    // Whether what is at its place is this page; `None` if nothing is.
    fn now(&self) -> Option<bool> {
        let found = fs::symlink_metadata(&self.path).ok()?;
        Some(self.own == Some(identity(&found)))
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Identity, first bytes and age of a file; `None` for something else than a file.
type Head = ((u64, u64), Vec<u8>, Duration);

fn head(path: &Path) -> io::Result<Option<Head>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    let found = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(PAGE_HEAD_BYTES).read_to_end(&mut bytes)?;
    // What was written in the future is new.
    let age = SystemTime::now().duration_since(found.modified()?).unwrap_or_default();
    Ok(Some((identity(&found), bytes, age)))
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.now() == Some(true) {
            let _gone = fs::remove_file(&self.path);
        }
        locked(&KEPT).remove(&self.path);
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
