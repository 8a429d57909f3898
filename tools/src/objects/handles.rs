//! Handles of checkpoints as people have them: a file of the bytes that a host kept, of one handle
//! or of several behind each other, hexadecimal digits, the job file of the word count, or the root
//! of a store that keeps its checkpoints itself.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use aquifer::checkpoint::handle::{HANDLE_BYTES, Handle, split};
use aquifer::checkpoint::root::{ROOT_BYTES_MAX, Root as StoreRoot};
use aquifer::types::{Error, ObjectKind, ObjectName};

use super::{Object, Root};
use crate::files;
use crate::page::unhex;
use crate::run::job_file::{self, Job};

/// Largest file that is read for handles, bytes: a job file names each input of its job.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Handles, and where their objects are.
#[derive(Debug, Default)]
pub struct Handles {
    /// What each is, and its bytes.
    pub handles: Vec<(String, Vec<u8>)>,
    /// The DFS, as far as a job file or a root names it.
    pub dfs: Option<String>,
}

impl Handles {
    /// Handles that stand one behind the other, as of the stores of a job.
    fn of(bytes: &[u8]) -> Self {
        let named = |(number, handle): (u32, &[u8])| match number {
            1 => ("handle".to_owned(), handle.to_vec()),
            _ => (format!("handle {number}"), handle.to_vec()),
        };
        Self { handles: (1..).zip(split(bytes)).map(named).collect(), dfs: None }
    }
}

/// The handles that `given` names, a path, digits, or the name of a root below `dfs`. The newest of
/// a job file or a root is the last.
///
/// # Errors
/// It is none of them; a job file or a root that is not whole is `Corrupt`.
pub fn read(given: &str, dfs: Option<&str>) -> Result<Handles> {
    let name = given.parse::<ObjectName>().ok().filter(|name| name.kind == ObjectKind::Root);
    if let (Some(dfs), Some(name)) = (dfs, name) {
        let object = Root::of_url(dfs)?.open(&name)?;
        return of_root(&object, dfs.to_owned());
    }
    let path = Path::new(given);
    if !path.exists() {
        let digits = unhex(given).filter(|bytes| !bytes.is_empty());
        return digits.as_deref().map(Handles::of).with_context(|| {
            format!(
                "{given} is neither a file that is there nor a handle in hexadecimal, nor the name \
                 of a root below --dfs"
            )
        });
    }
    // Nothing to look at, which is not the damage that it would be in place of an object.
    files::check(path).with_context(|| given.to_owned())?;
    let file = Object::open(path, None)?;
    if file.bytes() > FILE_BYTES_MAX {
        bail!("{given} has {} bytes: no handle and no job file is as large", file.bytes());
    }
    if file.kind() == Some(ObjectKind::Root) {
        // Its name has two folders, and they lie in that of the DFS.
        let path = std::path::absolute(path)?;
        let dfs = path.ancestors().nth(3).context("a root lies below a DFS")?;
        return of_root(&file, dfs.display().to_string());
    }
    of_bytes(path, file.read(0, file.bytes() as usize)?)
}

/// What a root keeps.
fn of_root(object: &Object, dfs: String) -> Result<Handles> {
    let (name, len) = (object.name()?, object.bytes());
    ensure!(len <= ROOT_BYTES_MAX as u64, "{name} has {len} bytes: no root is as large");
    let root = StoreRoot::decode(&name, &object.read(0, len as usize)?)?;
    let named = |(age, handle): (usize, &Handle)| match age {
        0 => (format!("the newest that {name} keeps"), handle.encode()),
        _ => (format!("the one {age} before it"), handle.encode()),
    };
    Ok(Handles { handles: root.kept.iter().enumerate().map(named).rev().collect(), dfs: Some(dfs) })
}

/// The handles in the bytes of a file.
///
/// # Errors
/// Neither a handle nor a job file; a job file that is not whole is `Corrupt`.
fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Handles> {
    if bytes.starts_with(job_file::KIND.as_bytes()) {
        let job = Job::load(path).map_err(|error| Error::corrupt(format!("{error:#}")))?;
        return Ok(of_job(job));
    }
    let text = str::from_utf8(&bytes).ok().map(str::trim).filter(|text| !text.is_empty());
    let bytes = text.and_then(unhex).unwrap_or(bytes);
    // Damage may have taken the length, or what it starts with.
    let known = bytes.len() == HANDLE_BYTES || bytes.starts_with(b"AQUH");
    ensure!(known, "{} is no handle and no job file, or nothing of it is left", path.display());
    Ok(Handles::of(&bytes))
}

fn of_job(job: Job) -> Handles {
    let named = |checkpoint: job_file::Checkpoint| {
        (format!("checkpoint at word {}", checkpoint.position.records), checkpoint.handle)
    };
    Handles { handles: job.checkpoints.into_iter().map(named).collect(), dfs: Some(job.dfs) }
}

#[cfg(test)]
#[path = "handles_tests.rs"]
mod tests;
