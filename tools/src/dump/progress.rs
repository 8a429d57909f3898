//! How far an import is, in a file beside the handle that it is to make: a place in the dump, and
//! the checkpoint of all that stands before it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::format::Place;
use crate::files::{self, beside};
use crate::page::{hex, unhex};

const MAGIC: &str = "aquifer-import 1";

/// Largest file that is read, bytes: it holds a handle and some numbers.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Body {
    dump: Place,
    handle: String,
}

/// The file.
pub(super) struct Progress {
    path: PathBuf,
}

impl Progress {
    /// That of an import which is to make this handle.
    pub(super) fn of(handle: &Path) -> Self {
        Self { path: beside(handle, ".partial") }
    }

    /// How far an import was that was interrupted.
    ///
    /// # Errors
    /// The file is damaged; the system's refusal.
    pub(super) fn read(&self) -> Result<Option<(Place, Vec<u8>)>> {
        let file = self.path.display();
        let bytes = match files::read(&self.path, FILE_BYTES_MAX) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {file}"))?,
        };
        let parse = || -> Result<(Place, Vec<u8>)> {
            let Body { dump, handle } = serde_json::from_str(files::unsealed(MAGIC, &bytes)?)?;
            Ok((dump, unhex(&handle).ok_or_else(|| anyhow!("its handle is no hexadecimal"))?))
        };
        parse().map(Some).with_context(|| {
            format!("{file} is not that of an import that was interrupted; {}", self.remedy())
        })
    }

    /// Keeps how far the import is: from now on it goes on there.
    pub(super) fn write(&self, dump: Place, handle: &[u8]) -> Result<()> {
        let body = serde_json::to_string(&Body { dump, handle: hex(handle) })?;
        let written = files::write_atomically(&self.path, files::sealed(MAGIC, &body).as_bytes());
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    /// The import has ended.
    pub(super) fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// What helps where the import cannot go on.
    pub(super) fn remedy(&self) -> String {
        format!("to import from the beginning remove {}", self.path.display())
    }
}
