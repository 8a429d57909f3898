//! Where the engines of this user keep their statistics pages: a folder that only this user may
//! enter, with one file a process.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aquifer::shard::statistics::{SCHEMA, Statistics};

use crate::files;

/// A page that was not replaced for so long is old: an engine replaces it twice a second.
const STALE_SECONDS: u64 = 5;

/// Largest page, bytes: a shard takes some KiB and 1 KiB for each state, so these are thousands.
const PAGE_BYTES_MAX: u64 = 64 << 20;

/// The folder of the pages: below `$XDG_RUNTIME_DIR`, or of this user's own in `/tmp`, whatever
/// `$TMPDIR` says: who writes a page and who reads it may have different ones.
fn folder() -> Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(runtime) = runtime.filter(|path| path.is_absolute() && path.is_dir()) {
        return Ok(runtime.join("aquifer"));
    }
    Ok(Path::new("/tmp").join(format!("aquifer-{}", user()?)))
}

fn user() -> Result<u32> {
    Ok(fs::metadata("/proc/self").context("/proc/self")?.uid())
}

/// The folder belongs to this user and lets nobody else in, and is no link to another place.
fn check(folder: &Path) -> Result<()> {
    let found = fs::symlink_metadata(folder).with_context(|| folder.display().to_string())?;
    let private = found.is_dir() && found.uid() == user()?;
    ensure!(
        private && found.permissions().mode() & 0o077 == 0,
        "{} is not a folder that only this user may enter; remove it, or set XDG_RUNTIME_DIR",
        folder.display()
    );
    Ok(())
}

/// The page of this process. Makes the folder, and removes what dead processes left in it.
pub(super) fn own_path() -> Result<PathBuf> {
    let folder = folder()?;
    let made = DirBuilder::new().mode(0o700).create(&folder);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("making {}", folder.display()));
    }
    check(&folder)?;
    for path in list(&folder) {
        if process_of(&path).is_some_and(|process| !runs(process)) {
            // Somebody else may have removed it.
            let _gone = fs::remove_file(path);
        }
    }
    Ok(folder.join(format!("{}.json", std::process::id())))
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut pages: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| process_of(path).is_some()).collect();
    pages.sort();
    pages
}

fn process_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

fn runs(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// The page that a user means: of a process, of a file, or of the one engine that runs.
///
/// # Errors
/// None runs, or several; they are listed.
pub fn find(which: Option<&str>) -> Result<PathBuf> {
    let folder = folder()?;
    match which {
        Some(process) if process.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(folder.join(format!("{process}.json")))
        }
        Some(path) => Ok(PathBuf::from(path)),
        None => {
            let all =
                if folder.exists() { check(&folder).map(|()| list(&folder))? } else { vec![] };
            let running: Vec<u32> =
                all.iter().filter_map(|p| process_of(p)).filter(|&p| runs(p)).collect();
            match &running[..] {
                [] => bail!(
                    "no engine runs whose page lies in {}; start one with `aquifer bench` or \
                     `aquifer run`, or name the page of another",
                    folder.display()
                ),
                [process] => Ok(folder.join(format!("{process}.json"))),
                several => {
                    let lines = several.iter().map(|p| format!("\n  {p}  {}", command(*p)));
                    bail!("several engines run, name one:{}", lines.collect::<String>())
                }
            }
        }
    }
}

// The command line of a process, for people.
fn command(process: u32) -> String {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").chars().take(100).collect()
}

/// Reads a page.
///
/// # Errors
/// No page, none of this schema, or one whose process is gone.
pub fn read(path: &Path) -> Result<Statistics> {
    let named = || path.display().to_string();
    let read = files::check(path).and_then(|()| files::read(path, PAGE_BYTES_MAX));
    let text = read.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow!("{} is not there: the engine was closed, or keeps no statistics page", named())
        }
        _ => anyhow!(error).context(named()),
    })?;
    let statistics: Statistics = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no statistics page", named()))?;
    ensure!(
        statistics.schema == SCHEMA,
        "{} has schema {:?}, this program reads {SCHEMA:?}",
        named(),
        statistics.schema
    );
    ensure!(
        runs(statistics.process_id),
        "process {} is gone and left its page behind: remove {}",
        statistics.process_id,
        named()
    );
    Ok(statistics)
}

/// Why a page should not be taken for the state of now, if so.
#[must_use]
pub fn stale(path: &Path) -> Option<String> {
    let written = fs::metadata(path).and_then(|found| found.modified()).ok()?;
    let seconds = SystemTime::now().duration_since(written).ok()?.as_secs();
    (seconds >= STALE_SECONDS)
        .then(|| format!("the page was not replaced for {seconds} s: its process is stopped"))
}
