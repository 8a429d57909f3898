//! Files that a user names: never more is read than such a file can have.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

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

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
