//! What those who keep objects tell of them, and what is wrong with it.

use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// An object that a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: ObjectName,
    /// Its bytes.
    pub bytes: u64,
    /// When it was written, seconds since 1970 on the clock of who keeps it, who may not tell.
    pub modified_s: Option<i64>,
}

/// A file that is being written, or was by a process that ended: no object, and never read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFile {
    /// Its path below the root.
    pub path: String,
    /// Its bytes by now.
    pub bytes: u64,
    /// When it was written last, seconds since 1970 on the clock of the file system.
    pub modified_s: i64,
}

/// Refuses an object that has more bytes than were expected.
pub(crate) fn check_size(name: &ObjectName, bytes: u64, bytes_max: u64) -> Result<()> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        format!("{name} has {bytes} bytes or more, {bytes_max} were expected at most"),
    ))
}

/// The error for an object that ends at `offset`, where a read goes on.
pub(crate) fn past_end(name: ObjectName, offset: u64) -> Error {
    let what = format!("it ends at or before byte {offset}, inside a read: it was truncated");
    Error::damaged(&name, what)
}
