//! Objects of a DFS that are read and never written, without an engine: what `inspect` and
//! `verify` stand on.

pub mod handles;
pub mod walk;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use aquifer::checkpoint::handle::Handle;
use aquifer::io::dfs::Dfs;
use aquifer::io::url::{self, Place};
use aquifer::limits::{MANIFEST_BYTES_MAX, PAGE_BYTES};
use aquifer::lsm::manifest::Manifest;
use aquifer::sst::{Extent, Table, TableRef};
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, ObjectName, Result};

/// Bytes read ahead of a walk through an object.
const PIECE_BYTES: usize = 1 << 20;

/// The root of a DFS.
#[derive(Clone, Debug)]
pub enum Root {
    /// A folder.
    Folder(PathBuf),
    /// A store that is reached by HTTP.
    Remote(Dfs),
}

impl Root {
    /// The root that a DFS url names. A folder is not made.
    ///
    /// # Errors
    /// The url is not understood, or names no folder that is there.
    pub fn of_url(url: &str) -> anyhow::Result<Self> {
        let path = match url::parse(url)?.place {
            Place::Folder(path) => path,
            Place::Memory(_) => bail!("{url}: objects in memory are gone with their process"),
            Place::Remote(_) => return Ok(Self::Remote(Dfs::open(url)?)),
        };
        let there = path.is_dir();
        ensure!(there, "{} is not a folder: name the root of the DFS with --dfs", path.display());
        Ok(Self::Folder(path))
    }

    /// Opens an object.
    ///
    /// # Errors
    /// `MissingObject`, `Corrupt` for what is no file, else the file system's refusal.
    pub fn open(&self, name: &ObjectName) -> Result<Object> {
        match self {
            Self::Folder(path) => Object::open(&path.join(name.to_string()), Some(*name)),
            Self::Remote(dfs) => {
                let bytes = dfs.size(name)?;
                let source = Source::Remote(dfs.clone(), *name);
                Ok(Object { name: Some(*name), source, bytes })
            }
        }
    }

    /// Reads the manifest that a handle names.
    ///
    /// # Errors
    /// As of [`open`](Self::open); `Corrupt` for another one, or one that is damaged.
    pub fn manifest(&self, handle: &Handle) -> Result<Manifest> {
        let object = self.open(&handle.manifest)?;
        let len = object.bytes();
        handle.verify_length(len)?;
        if len > MANIFEST_BYTES_MAX {
            let what = format!("{len} bytes are more than a manifest may have");
            return Err(Error::damaged(&handle.manifest, what));
        }
        let bytes = object.read(0, len as usize)?;
        handle.verify(&bytes)?;
        Manifest::decode(&handle.manifest, &bytes)
    }
}

/// An object that is open.
#[derive(Debug)]
pub struct Object {
    name: Option<ObjectName>,
    source: Source,
    bytes: u64,
}

#[derive(Debug)]
enum Source {
    File(PathBuf, File),
    Remote(Dfs, ObjectName),
}

impl Object {
    /// Opens a file. Its name is `name`, or else what its path ends in.
    ///
    /// # Errors
    /// As of [`Root::open`].
    pub fn open(path: &Path, name: Option<ObjectName>) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io(format!("opening {}", path.display()), &e);
        // To open a pipe would wait for a writer.
        let found = fs::metadata(path).map_err(failed)?;
        if !found.is_file() {
            let what = if found.is_dir() { "a folder" } else { "no file" };
            return Err(Error::corrupt(format!("{} is {what}", path.display())));
        }
        let file = File::open(path).map_err(failed)?;
        let name = name.or_else(|| name_of(path));
        Ok(Self { name, source: Source::File(path.to_owned(), file), bytes: found.len() })
    }

    /// Bytes of the object.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What its checksums are keyed with.
    ///
    /// # Errors
    /// Its path does not end in the name of an object.
    pub fn name(&self) -> anyhow::Result<ObjectName> {
        self.name.with_context(|| {
            format!(
                "{}: checksums are keyed with the name of the object, which this path does not end \
                 in; give it with --name STORE/EPOCH-NONCE/KIND-NUMBER-RANDOM",
                self.source.label()
            )
        })
    }

    /// The kind its name says, if it has one.
    #[must_use]
    pub fn kind(&self) -> Option<aquifer::types::ObjectKind> {
        self.name.map(|name| name.kind)
    }

    /// `len` bytes from `offset`.
    ///
    /// # Errors
    /// `Corrupt` if the object ends before, else the file system's refusal.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.bytes);
        if end.is_none() {
            return Err(Error::corrupt(format!(
                "{len} bytes from byte {offset} are not there: it has {} bytes",
                self.bytes
            )));
        }
        match &self.source {
            Source::Remote(dfs, name) => dfs.read(name, offset, len),
            Source::File(path, file) => {
                let mut out = Vec::new();
                let short = |_| Error::invalid(format!("memory is too short for {len} bytes"));
                out.try_reserve_exact(len).map_err(short)?;
                out.resize(len, 0);
                let read = file.read_exact_at(&mut out, offset);
                read.map_err(|e| {
                    Error::io(format!("reading {} at byte {offset}", path.display()), &e)
                })?;
                Ok(out)
            }
        }
    }

    /// The last page: the footer of a table.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn last_page(&self) -> Result<Box<[u8; PAGE_BYTES]>> {
        let Some(offset) = self.bytes.checked_sub(PAGE_BYTES as u64) else {
            let what = format!("{} bytes are less than the footer of a table", self.bytes);
            return Err(Error::corrupt(what));
        };
        let page = self.read(offset, PAGE_BYTES)?.into_boxed_slice();
        Ok(page.try_into().expect("a page was read"))
    }

    /// The resident part of the table that this object is.
    ///
    /// # Errors
    /// As of [`read`](Self::read), and of [`Table::decode`].
    pub fn table(&self, table_ref: TableRef) -> Result<Table> {
        let meta = table_ref.meta();
        Table::decode(table_ref, &self.read(meta.offset, meta.len as usize)?)
    }
}

impl Source {
    fn label(&self) -> String {
        match self {
            Self::File(path, _) => path.display().to_string(),
            Self::Remote(_, name) => name.to_string(),
        }
    }
}

/// The name that a path ends in.
fn name_of(path: &Path) -> Option<ObjectName> {
    let path = std::path::absolute(path).ok()?;
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    parts.last_chunk::<3>()?.join("/").parse().ok()
}

/// Whether bytes are wrong or gone, which another reading would not change.
#[must_use]
pub fn is_damage(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Corrupt | ErrorKind::MissingObject)
}

/// Reads an object from front to back in large pieces.
struct Ahead<'a> {
    object: &'a Object,
    piece: Vec<u8>,
    at: u64,
}

impl<'a> Ahead<'a> {
    fn new(object: &'a Object) -> Self {
        Self { object, piece: Vec::new(), at: 0 }
    }

    fn read(&mut self, extent: Extent) -> Result<&[u8]> {
        let len = extent.len as usize;
        let within = |at: u64, piece: &[u8]| {
            let start = usize::try_from(extent.offset.checked_sub(at)?).ok()?;
            (start + len <= piece.len()).then_some(start)
        };
        let start = match within(self.at, &self.piece) {
            Some(start) => start,
            None => {
                let left = self.object.bytes.saturating_sub(extent.offset);
                let ahead = left.min(PIECE_BYTES as u64) as usize;
                self.piece = self.object.read(extent.offset, ahead.max(len))?;
                self.at = extent.offset;
                0
            }
        };
        Ok(&self.piece[start..start + len])
    }
}

#[cfg(test)]
pub(crate) mod testing;
