//! The directory of a run: whose it is, what was loaded into it, and who removes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::options::LoadArgs;
use crate::interrupt;

const MARKER: &str = "aquifer-bench-data.json";

/// What lies in a directory. A directory without it is not ours to empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker {
    engine: String,
    records: u64,
    key_size: u32,
    value_size: u32,
    compressible: Option<f64>,
    shards: u32,
    /// The seed of the values: reads may come with another.
    seed: u64,
    /// Records are entries of maps.
    #[serde(default)]
    maps: bool,
    /// False until the load has ended.
    loaded: bool,
    /// Records that were inserted after the load.
    #[serde(default)]
    inserted: u64,
}

/// A directory for one engine's data. A temporary one is removed on drop.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    temporary: bool,
    marker: Marker,
}

impl DataDir {
    /// Prepares the directory: empty, or with the data of an earlier run if the options ask to
    /// reuse it.
    pub(super) fn open(args: &LoadArgs, engine: &str) -> Result<Self> {
        let wanted = Marker {
            engine: engine.to_owned(),
            records: args.records,
            key_size: args.key_size,
            value_size: args.value_size,
            compressible: args.compressible,
            shards: args.shards,
            seed: args.seed,
            maps: args.maps(),
            loaded: false,
            inserted: 0,
        };
        let path = match &args.dir {
            Some(path) => path.clone(),
            None => temporary_path(),
        };
        if args.dir.is_none() {
            interrupt::remove_at_end(&path);
        }
        fs::create_dir_all(&path)
            .with_context(|| format!("--dir {} cannot be created", path.display()))?;
        let found = read_marker(&path)?;
        let mut dir = Self { path, temporary: args.dir.is_none(), marker: wanted };
        match found {
            Some(found) if args.reuse && found.loaded => dir.adopt(found)?,
            Some(_) => dir.restart()?,
            None => {
                let empty = fs::read_dir(&dir.path)?.next().is_none();
                ensure!(
                    empty,
                    "--dir {} holds files that are not a run's: name an empty directory",
                    dir.path.display()
                );
                dir.write_marker()?;
            }
        }
        Ok(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the data set is there.
    pub(super) fn loaded(&self) -> bool {
        self.marker.loaded
    }

    /// The seed the values were, or will be, made with.
    pub(super) fn seed(&self) -> u64 {
        self.marker.seed
    }

    /// Remembers that the data set is there, for a later run.
    pub(super) fn set_loaded(&mut self) -> Result<()> {
        self.marker.loaded = true;
        self.write_marker()
    }

    /// Records that were inserted after the load.
    pub(super) fn inserted(&self) -> u64 {
        self.marker.inserted
    }

    /// Remembers them, so that a later run inserts others.
    pub(super) fn set_inserted(&mut self, inserted: u64) -> Result<()> {
        if self.marker.inserted != inserted {
            self.marker.inserted = inserted;
            self.write_marker()?;
        }
        Ok(())
    }

    fn adopt(&mut self, found: Marker) -> Result<()> {
        let Marker { seed, inserted, .. } = found;
        let wanted = Marker { seed, inserted, loaded: true, ..self.marker.clone() };
        if found != wanted {
            bail!(
                "--reuse: {} holds {found:?}, the options ask for {wanted:?}: \
                 give the options of the load, or load again without --reuse",
                self.path.display()
            );
        }
        self.marker = found;
        Ok(())
    }

    /// Removes the data of an earlier run; the marker stays, so that a failure half-way can be
    /// repeated.
    fn restart(&mut self) -> Result<()> {
        self.write_marker()?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() == MARKER {
                continue;
            }
            let path = entry.path();
            let removed = if entry.file_type()?.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("old data {} cannot be removed", path.display()))?;
        }
        Ok(())
    }

    fn write_marker(&self) -> Result<()> {
        let path = self.path.join(MARKER);
        let draft = self.path.join(format!("{MARKER}.partial"));
        fs::write(&draft, serde_json::to_vec(&self.marker)?)
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("{} is left behind: {error}", self.path.display());
        }
    }
}

/// A path of its own for every run, of this process and of others.
fn temporary_path() -> PathBuf {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("aquifer-bench-{}-{run}", std::process::id()))
}

fn read_marker(dir: &Path) -> Result<Option<Marker>> {
    let path = dir.join(MARKER);
    match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} is damaged: empty the directory", path.display())),
    }
}

#[cfg(test)]
#[path = "data_dir_tests.rs"]
mod tests;
