//! Handles of checkpoints as people have them: a file of the bytes that a host kept, of one handle
//! or of several behind each other, hexadecimal digits, or the job file of the word count.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use aquifer::checkpoint::handle::{HANDLE_BYTES, split};
use aquifer::types::Error;

use super::Object;
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
    /// The DFS, as far as a job file names it.
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

/// The handles that `given` names, a path or digits.
///
/// # Errors
/// It is neither; a job file that is not whole is `Corrupt`.
pub fn read(given: &str) -> Result<Handles> {
    let path = Path::new(given);
    if !path.exists() {
        let digits = unhex(given).filter(|bytes| !bytes.is_empty());
        return digits.as_deref().map(Handles::of).with_context(|| {
            format!("{given} is neither a file that is there nor a handle in hexadecimal")
        });
    }
    // Nothing to look at, which is not the damage that it would be in place of an object.
    files::check(path).with_context(|| given.to_owned())?;
    let file = Object::open(path, None)?;
    if file.bytes() > FILE_BYTES_MAX {
        bail!("{given} has {} bytes: no handle and no job file is as large", file.bytes());
    }
    of_bytes(path, file.read(0, file.bytes() as usize)?)
}

/// The handles in the bytes of a file.
///
/// # Errors
/// Neither a handle nor a job file; a job file that is not whole is `Corrupt`.
pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Handles> {
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
