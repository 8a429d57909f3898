//! The job file: what the job is, and the handles of its last checkpoints with their positions.
//! Its writing is the commit of a checkpoint: it is replaced whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::run::input::Position;
use crate::run::inputs::InputFile;
use crate::run::tally::Tally;

/// Checkpoints a job keeps: the last one, and the one before in case the last is damaged.
pub const CHECKPOINTS_KEPT: usize = 2;

/// What every version of a job file starts with.
pub const KIND: &str = "aquifer-wordcount-job";

const MAGIC: &str = "aquifer-wordcount-job 1";

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Words of a run.
    pub ngram: u64,
    /// Records after which it ends.
    pub limit: Option<u64>,
    /// Home of the store.
    pub dfs: String,
    /// What the inputs were found under.
    pub roots: Vec<PathBuf>,
    /// Times it was started or resumed.
    pub attempt: u64,
    /// Its inputs in order.
    pub inputs: Vec<InputFile>,
    /// Its last checkpoints, the newest last.
    pub checkpoints: Vec<Checkpoint>,
}

/// A completed checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What opens the store again, in hexadecimal; none for the empty store.
    #[serde(with = "hex")]
    pub handle: Vec<u8>,
    /// The input up to here is in it.
    pub position: Position,
    /// What was counted on the side.
    pub tally: Tally,
}

impl Job {
    /// Writes the job file: under a name of its own, synced, renamed, and the folder synced.
    ///
    /// # Errors
    /// The file system's refusal. The file is then the old or the new one.
    pub fn save(&self, path: &Path) -> Result<()> {
        let body = serde_json::to_string(self).context("encoding the job")?;
        files::write_atomically(path, sealed(&body).as_bytes())
            .with_context(|| format!("writing the job file {}", path.display()))
    }

    /// Reads a job file.
    ///
    /// # Errors
    /// It is not there, or not whole.
    pub fn load(path: &Path) -> Result<Self> {
        let file = path.display();
        let bytes = fs::read(path).map_err(|e| {
            anyhow!(
                "reading the job file {file}: {e}; name it with --job, or start without --resume"
            )
        })?;
        Self::parse(&bytes).map_err(|why| {
            anyhow!(
                "{file} is not a whole job file of this version: {why:#}; restore the file, or \
                 start without --resume"
            )
        })
    }

    /// A fresh job takes the place of an older one, not of any file that is there.
    ///
    /// # Errors
    /// The file is no job file; the file system's refusal.
    pub fn refuse_other_files(path: &Path) -> Result<()> {
        let file = path.display();
        let looked = || format!("looking at {file}, which the job file would replace");
        match fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e).with_context(looked),
            // To look into a pipe would wait for a writer.
            Ok(found) if !found.is_file() => {
                bail!("{file} is not a file; name another job file with --job")
            }
            Ok(_) => {}
        }
        let mut head = Vec::new();
        File::open(path)
            .and_then(|opened| opened.take(KIND.len() as u64).read_to_end(&mut head))
            .with_context(looked)?;
        if !head.is_empty() && head != KIND.as_bytes() {
            bail!("{file} is there and is not a job file; name another file with --job");
        }
        Ok(())
    }

    /// Keeps other processes off the job until the result is dropped or the process dies,
    /// however that comes about.
    ///
    /// # Errors
    /// Another process has the job; the file system's refusal.
    pub fn claim(path: &Path) -> Result<File> {
        let lock = lock_of(path);
        // A file of its own: the job file is another one with every checkpoint.
        let opened = File::options().append(true).create(true).open(&lock);
        let file = opened.with_context(|| format!("opening {}", lock.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "another process runs the job {}; wait until it has ended, or name another job \
                 file with --job",
                path.display()
            ),
            Err(TryLockError::Error(e)) => {
                Err(e).with_context(|| format!("locking {}", lock.display()))
            }
        }
    }

    /// Reads the bytes of a job file, whatever they are.
    ///
    /// # Errors
    /// What is not of a job file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let body = files::unsealed(MAGIC, bytes)?;
        serde_json::from_str(body).context("its text is not a job")
    }

    /// Where the job goes on: its last checkpoint, or the beginning.
    #[must_use]
    pub fn last(&self) -> Checkpoint {
        self.checkpoints.last().cloned().unwrap_or_default()
    }

    /// Goes back to the checkpoint before the last, which takes its place: if it does not open
    /// either, neither is lost.
    ///
    /// # Errors
    /// There is none.
    pub fn go_back(&mut self) -> Result<()> {
        if self.checkpoints.len() < 2 {
            bail!("start without --resume to count anew");
        }
        let last = self.checkpoints.len() - 1;
        self.checkpoints.swap(last - 1, last);
        Ok(())
    }

    /// What helps when the state that the last checkpoint names is damaged.
    #[must_use]
    pub fn remedy(&self) -> String {
        let anew = "start without --resume to count anew";
        match &self.checkpoints[..] {
            [.., older, _] => format!(
                "go on from the checkpoint at word {} with --resume --older, or {anew}",
                older.position.records
            ),
            _ => anew.to_owned(),
        }
    }

    /// Adds a checkpoint and returns the ones that are no longer kept. Release them once the job
    /// is saved, not before: until then the file names them.
    pub fn add(&mut self, checkpoint: Checkpoint) -> Vec<Checkpoint> {
        self.checkpoints.push(checkpoint);
        let excess = self.checkpoints.len().saturating_sub(CHECKPOINTS_KEPT);
        self.checkpoints.drain(..excess).collect()
    }
}

/// The text of a job file under its first line, which names its kind, version and checksum.
#[must_use]
pub fn sealed(body: &str) -> String {
    files::sealed(MAGIC, body)
}

/// The file whose lock is the job's. It stays: who removes it could remove another's.
#[must_use]
pub fn lock_of(path: &Path) -> PathBuf {
    files::beside(path, ".lock")
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        out.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let pair = |i: usize| text.get(i..i + 2).and_then(|p| u8::from_str_radix(p, 16).ok());
        (0..text.len())
            .step_by(2)
            .map(|i| pair(i).ok_or_else(|| de::Error::custom("not hexadecimal")))
            .collect()
    }
}

#[cfg(test)]
#[path = "job_file_tests.rs"]
mod tests;
