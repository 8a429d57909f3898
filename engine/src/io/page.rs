//! A page: a small file that one process replaces as a whole, again and again, and others read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::io::entropy;
use crate::types::{Error, Result};

/// See the module. It is removed when this is dropped; its folder must exist.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    draft: PathBuf,
}

impl Page {
    /// The page at `path`; nothing is written yet.
    ///
    /// # Errors
    /// `Invalid` for a path that names no file; no random number for the name of its draft.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let Some(leaf) = path.file_name() else {
            return Err(Error::invalid(format!("{} names no file", path.display())));
        };
        let draft = format!(".{}-{:016x}", leaf.to_string_lossy(), entropy::seed()?);
        Ok(Self { path: path.to_owned(), draft: path.with_file_name(draft) })
    }

    /// Replaces the page. Only its owner may read it, and what somebody else put in its place, a
    /// symbolic link say, is replaced and not followed.
    ///
    /// # Errors
    /// The system's refusal; the page is then as it was before.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        let replaced = self.write_draft(bytes).and_then(|()| fs::rename(&self.draft, &self.path));
        replaced.map_err(|e| {
            let _left = fs::remove_file(&self.draft);
            Error::io(
                format!("writing the page {} (does its folder exist?)", self.path.display()),
                &e,
            )
        })
    }

    fn write_draft(&self, bytes: &[u8]) -> io::Result<()> {
        // A new file is none that a link leads to.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.draft)?;
        file.write_all(bytes)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
