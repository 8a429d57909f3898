//! The files a job counts: found once, in a stable order, and kept in the job file with their
//! sizes.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The name of standard input.
pub const STDIN: &str = "-";

/// A file to count, as far as it reached when the job began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Absolute path, or `-`.
    pub path: String,
    /// Its size; 0 for standard input, which is read to its end.
    pub bytes: u64,
}

/// The files of a job, in order.
#[derive(Debug)]
pub struct Inputs {
    files: Vec<InputFile>,
    // What was read from standard input, for the second reading; without a name, so that it goes
    // with the process.
    copy: Option<File>,
}

/// Which reading of the input it is: standard input can be read only once, and is copied for the
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The one that counts into the store.
    First,
    /// The one that checks.
    Second,
}

/// An input that is open for reading.
#[derive(Debug)]
pub enum Source {
    /// A file, as far as it reached when the job began.
    File(io::Take<File>),
    /// Standard input, copied as it is read.
    Stdin {
        /// Where the copy goes.
        copy: File,
    },
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stdin { copy } => {
                let n = io::stdin().read(buffer)?;
                copy.write_all(&buffer[..n])?;
                Ok(n)
            }
        }
    }
}

impl Inputs {
    /// The files of a job.
    ///
    /// # Errors
    /// The temporary folder takes no copy of standard input.
    pub fn new(files: Vec<InputFile>) -> Result<Self> {
        let stdin = files.iter().any(|f| f.path == STDIN);
        let copy = stdin.then(tempfile::tempfile).transpose();
        let copy = copy.context("making a temporary file for a copy of standard input")?;
        Ok(Self { files, copy })
    }

    /// The files, in order.
    #[must_use]
    pub fn files(&self) -> &[InputFile] {
        &self.files
    }

    /// Their size, as far as it is known.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// Checks that every file still has its size.
    ///
    /// # Errors
    /// Names the first file that is gone or has changed.
    pub fn check_unchanged(&self) -> Result<()> {
        for file in &self.files {
            if file.path == STDIN {
                bail!("standard input cannot be read again: a job on `-` cannot be resumed");
            }
            let meta = fs::metadata(&file.path)
                .with_context(|| format!("{} is an input of the job", file.path))?;
            check_regular(Path::new(&file.path), &meta)?;
            let now = meta.len();
            if now != file.bytes {
                bail!(
                    "{} has changed since the job began ({now} bytes instead of {}); restore it, \
                     or start over without --resume",
                    file.path,
                    file.bytes
                );
            }
        }
        Ok(())
    }

    /// Opens the file `index` at a byte.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn open(&self, index: usize, offset: u64, pass: Pass) -> Result<Source> {
        let InputFile { path, bytes } = &self.files[index];
        let failed = || format!("reading {path}");
        let (mut file, bytes) = match (&self.copy, path.as_str(), pass) {
            (Some(copy), STDIN, Pass::First) => {
                return Ok(Source::Stdin { copy: copy.try_clone().with_context(failed)? });
            }
            // One reader at a time has the place in it.
            (Some(copy), STDIN, Pass::Second) => (copy.try_clone().with_context(failed)?, u64::MAX),
            _ => (File::open(path).with_context(failed)?, *bytes),
        };
        file.seek(SeekFrom::Start(offset)).with_context(failed)?;
        Ok(Source::File(file.take(bytes.saturating_sub(offset))))
    }
}

/// What stands in the way of a complete list, for people.
pub type Notices = Vec<String>;

/// The files under `roots`, each root's in the order of their paths, without those that the job
/// itself writes.
///
/// # Errors
/// A root that is not there or may not be read.
pub fn list(roots: &[PathBuf], own: &HashSet<PathBuf>) -> Result<(Vec<InputFile>, Notices)> {
    let (mut files, mut notices) = (Vec::new(), Vec::new());
    for root in roots {
        if root.as_os_str() == STDIN {
            if files.iter().any(|f: &InputFile| f.path == STDIN) {
                bail!("standard input is given twice; it can be read once");
            }
            files.push(InputFile { path: STDIN.to_owned(), bytes: 0 });
            continue;
        }
        let meta = fs::metadata(root).with_context(|| format!("input {}", root.display()))?;
        if meta.is_dir() {
            walk(root, own, &mut files, &mut notices)?;
        } else {
            check_regular(root, &meta)?;
            File::open(root).with_context(|| format!("input {}", root.display()))?;
            add(root, meta.len(), &mut files, &mut notices);
        }
    }
    Ok((files, notices))
}

// Anything else has no size to go by, and cannot be read a second time.
fn check_regular(path: &Path, meta: &Metadata) -> Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let path = path.display();
    bail!("{path} is neither a file nor a folder; give a pipe as standard input: - < {path}")
}

fn walk(
    folder: &Path,
    own: &HashSet<PathBuf>,
    files: &mut Vec<InputFile>,
    notices: &mut Notices,
) -> Result<()> {
    let listed = fs::read_dir(folder).and_then(Iterator::collect);
    let mut entries: Vec<DirEntry> =
        listed.with_context(|| format!("listing {}", folder.display()))?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links are not followed: the file they name is counted where it is, and rings end here.
        let kind = entry.file_type().with_context(|| format!("input {}", path.display()))?;
        if own.contains(&path) {
            continue;
        }
        if kind.is_dir() {
            if is_skipped(&path) {
                continue;
            }
            match fs::read_dir(&path) {
                Ok(_) => walk(&path, own, files, notices)?,
                Err(e) => leave_out(&path, &e, notices),
            }
        } else if kind.is_file() {
            if let Err(e) = File::open(&path) {
                leave_out(&path, &e, notices);
                continue;
            }
            let meta = entry.metadata().with_context(|| format!("input {}", path.display()))?;
            add(&path, meta.len(), files, notices);
        }
    }
    Ok(())
}

// What may not be read below a root must not end the job when it gets there.
fn leave_out(path: &Path, why: &io::Error, notices: &mut Notices) {
    notices.push(format!("{} is left out: {why}", path.display()));
}

/// Build output and the history of sources are no text to count.
fn is_skipped(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    name == ".git" || (name == "target" && folder.join("CACHEDIR.TAG").exists())
}

fn add(path: &Path, bytes: u64, files: &mut Vec<InputFile>, notices: &mut Notices) {
    match path.to_str() {
        Some(path) => files.push(InputFile { path: path.to_owned(), bytes }),
        // The job file is text.
        None => notices.push(format!("{} is left out: its name is not UTF-8", path.display())),
    }
}

/// The default input: the current folder, and the sources that cargo unpacked.
///
/// # Errors
/// The current folder is gone.
pub fn default_roots() -> Result<(Vec<PathBuf>, Notices)> {
    let mut roots = vec![std::env::current_dir().context("the current folder")?];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut notices = Vec::new();
    match home.map(|home| home.join("registry").join("src")) {
        Some(sources) if sources.is_dir() => roots.push(std::path::absolute(sources)?),
        Some(sources) => notices.push(format!(
            "no sources of dependencies at {}; counting the current folder alone (set CARGO_HOME, \
             or run cargo fetch)",
            sources.display()
        )),
        None => notices.push(
            "no cargo home; counting the current folder alone (set CARGO_HOME to add the sources \
             of dependencies)"
                .to_owned(),
        ),
    }
    Ok((roots, notices))
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
