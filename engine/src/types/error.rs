//! The one error type of the engine: a stable class to branch on, a text that names cause and
//! remedy.

use std::fmt;

use crate::types::ObjectName;

/// Result with the engine's error.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a class a host can branch on. Numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    /// The caller passed something the call cannot take.
    Invalid = 1,
    /// A key, value or batch exceeds its limit.
    TooLarge = 2,
    /// Bytes that were read do not carry their checksum or are not of the format.
    Corrupt = 3,
    /// The disk or DFS refused an operation.
    Io = 4,
    /// An object that a committed manifest names is not on the DFS.
    MissingObject = 5,
    /// No space left on the DFS or disk.
    NoSpace = 6,
    /// The kernel or container does not allow what the driver needs.
    Unsupported = 7,
    /// The store or engine was closed.
    Closed = 8,
    /// The store met a broken invariant and answers nothing any more; restore from a checkpoint.
    Poisoned = 9,
    /// The memory budget is too small for the demand.
    NoMemory = 10,
    /// Another opening took the store over: this one commits and deletes nothing any more.
    Fenced = 11,
    /// A commit may have been made or not, and this opening cannot find out: the next one will.
    UnknownCommit = 12,
}

/// A failure: its class and a text for people. Cheap to clone, since one damaged block may
/// answer many requests.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}: {text}")]
pub struct Error {
    /// The class to branch on.
    pub kind: ErrorKind,
    /// Cause and remedy, for people.
    pub text: std::sync::Arc<str>,
}

impl Error {
    /// A failure of `kind` described by `text`.
    #[must_use]
    pub fn new(kind: ErrorKind, text: impl AsRef<str>) -> Self {
        Self { kind, text: text.as_ref().into() }
    }

    /// Bytes that fail their check: `what` names place and check.
    #[must_use]
    pub fn corrupt(what: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Corrupt, what)
    }

    /// Bytes of an object that fail their check: `what` names offset and check.
    #[cold]
    #[must_use]
    pub fn damaged(object: &ObjectName, what: impl fmt::Display) -> Self {
        Self::corrupt(format!(
            "{object} below the DFS root: {what}; restore from an older checkpoint, or put the \
             object back from a replica of the root"
        ))
    }

    /// An object that is not where it was looked for: `what` names object and place. Whether that
    /// is bad is for who asked to know.
    #[must_use]
    pub fn missing(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::MissingObject, format!("{what}; {DELETED}"))
    }

    /// Damage that was found without knowing the object, in the object.
    #[cold]
    #[must_use]
    pub fn in_object(self, object: &ObjectName) -> Self {
        Self::damaged(object, self.text)
    }

    /// A call the caller must mend.
    #[must_use]
    pub fn invalid(what: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Invalid, what)
    }

    /// A failed operation of the operating system: `what` names the operation and its object.
    #[must_use]
    pub fn io(what: impl fmt::Display, cause: &std::io::Error) -> Self {
        let kind = match cause.raw_os_error() {
            Some(ENOSPC | EDQUOT) => ErrorKind::NoSpace,
            Some(ENOENT) => ErrorKind::MissingObject,
            // Of this process, for what it was to take.
            None if cause.kind() == std::io::ErrorKind::OutOfMemory => ErrorKind::NoMemory,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("{what}: {cause}"))
    }
}

/// What is to be done about an object that is missing where something names it.
pub(crate) const DELETED: &str = "either this is not the root that it was written to, or something \
                                  else deleted it: see what does (a rule of the bucket, another \
                                  job), then restore from a checkpoint that is whole";

// Linux errno values (asm-generic/errno-base.h, errno.h): floor 0 names only std.
const ENOENT: i32 = 2;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too large",
            Self::Corrupt => "corrupt",
            Self::Io => "i/o",
            Self::MissingObject => "missing object",
            Self::NoSpace => "no space",
            Self::Unsupported => "unsupported",
            Self::Closed => "closed",
            Self::Poisoned => "poisoned",
            Self::NoMemory => "no memory",
            Self::Fenced => "fenced",
            Self::UnknownCommit => "unknown commit",
        })
    }
}
