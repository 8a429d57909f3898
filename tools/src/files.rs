//! Files that a user names: never more is read than such a file can have, and one that is written
//! is the old or the new one.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use aquifer::codec::hash::hash64;

/// Refuses what is no file. To open a pipe would wait for a writer.
///
/// # Errors
/// It is something else, or not there.
pub fn check(path: &Path) -> Result<()> {
    let found = fs::metadata(path)?;
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_dir() { "it is a folder" } else { "it is no file" };
    Err(Error::new(ErrorKind::InvalidInput, what))
}

/// Reads a file, or a pipe to its end; devices may have none.
///
/// # Errors
/// It is something else, has more than `bytes_max`, or the system refuses.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        check(path)?;
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it has more than {bytes_max} bytes");
        return Err(Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Replaces a file: under a name of its own, synced, renamed, and the folder synced.
///
/// # Errors
/// The system's refusal. The file is then the old or the new one.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = draft_of(path);
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder_of(path)
}

/// Makes it durable that a file has its name.
///
/// # Errors
/// The system's refusal.
pub fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The name a file has while it is written.
#[must_use]
pub fn draft_of(path: &Path) -> PathBuf {
    beside(path, ".tmp")
}

/// The path with something behind it.
#[must_use]
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(extension);
    name.into()
}

/// Text under a first line that names its kind and version, `magic`, and its checksum.
#[must_use]
pub fn sealed(magic: &str, body: &str) -> String {
    format!("{magic} {:016x}\n{body}\n", hash64(body.as_bytes()))
}

/// The text that [`sealed`] was given.
///
/// # Errors
/// What is not of such a text.
pub fn unsealed<'a>(magic: &str, bytes: &'a [u8]) -> anyhow::Result<&'a str> {
    let text = str::from_utf8(bytes).map_err(|_| anyhow!("it is not text"))?;
    let (head, body) = text.split_once('\n').ok_or_else(|| anyhow!("it has no first line"))?;
    let check = head
        .strip_prefix(magic)
        .and_then(|rest| rest.strip_prefix(' '))
        .ok_or_else(|| anyhow!("its first line is not `{magic}` and a checksum"))?;
    let body = body.strip_suffix('\n').ok_or_else(|| anyhow!("its end is missing"))?;
    if check != format!("{:016x}", hash64(body.as_bytes())) {
        bail!("its checksum is wrong, so it is damaged or was edited");
    }
    Ok(body)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
