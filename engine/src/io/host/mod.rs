//! A DFS that the host of the engine lends: `host://name/path` is below the file system that this
//! process registered under the name. It is a store like those that are reached by HTTP, with the
//! same patience, and its calls block: threads of the process make them.

pub(crate) mod calls;
pub mod credentials;
pub mod lent;
mod root;

pub(crate) use root::{Host, Upload};

use crate::io::host::credentials::Secret;
use crate::io::host::lent::Lent;
use crate::types::Result;

/// A file system of the host. Several threads call it at once, none of them a shard's, and its
/// calls may block. A path begins with a slash: what stands behind `host://name` in the url, and
/// below it the name of an object.
///
/// Errors of `Io` are tried again, as those of other stores, and so is `MissingObject` of an object
/// that something names; all others stand. What a call answers is checked as far as that is
/// possible without trusting it: rows carry checksums.
pub trait FileSystem: Send + Sync {
    /// Takes a piece of an object. Those of one object come in order, one call at a time; the
    /// object is durable and visible when the last was taken, whole or not at all, and stays as it
    /// is. False if it was to be new and is there already. After an error, and for one that is
    /// given up, the last call has `End::GivenUp`.
    ///
    /// # Errors
    /// `Unsupported` where `only_new` cannot be kept; else the refusal.
    fn put(&self, piece: Piece<'_>) -> Result<bool>;

    /// Fills `into` from `offset` on, and gives the bytes that it filled: fewer than all of them if
    /// it likes, none if the object ends there.
    ///
    /// # Errors
    /// `MissingObject`; else the refusal.
    fn read(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize>;

    /// Bytes of an object.
    ///
    /// # Errors
    /// `MissingObject`; else the refusal.
    fn size(&self, path: &str) -> Result<u64>;

    /// Calls `add` for each object whose path begins with `prefix`, which ends with a slash, until
    /// that says false.
    ///
    /// # Errors
    /// The refusal. A folder that is not there has no objects.
    fn list(&self, prefix: &str, add: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()>;

    /// Deletes an object; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// The refusal.
    fn delete(&self, path: &str) -> Result<()>;

    /// A url that carries its own permission to get an object, such as a presigned one; `None` if
    /// there is none. A shard on io_uring reads the object there by itself, by GETs of ranges over
    /// HTTP/1.1, and what they do not bring by `read`. Asked for behind the first read of an object
    /// that was opened, when the last url has ended, and when it is refused that served before. An
    /// object whose server cannot be reached, fails or brings wrong bytes is read by `read` as long
    /// as it is open.
    ///
    /// # Errors
    /// The refusal, which is logged; `read` is called then, as long as the object is open.
    fn url(&self, _path: &str) -> Result<Option<SignedUrl>> {
        Ok(None)
    }
}

/// A url that carries its own permission.
#[derive(Clone, Debug)]
pub struct SignedUrl {
    /// The url: absolute, of https, or of http where that stays on this machine or the DFS url says
    /// `plaintext=allowed`; without user name and fragment. It is never shown.
    pub url: Secret,
    /// When it ends, seconds since 1970; `None` if it does not, or if that is not known.
    pub expires_s: Option<i64>,
}

/// A piece of an object that is being written.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The object.
    pub path: &'a str,
    /// Where the piece begins; 0 for the first.
    pub offset: u64,
    /// Its bytes, lent for the call. The last piece may have none.
    pub bytes: &'a [u8],
    /// What comes behind it.
    pub end: End,
    /// The object must not be there yet. Such an object comes in one piece.
    pub only_new: bool,
    /// A word that the file system keeps for the object while it is written: 0 at the first piece.
    pub word: &'a mut usize,
}

/// What comes behind a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Others, or `GivenUp`.
    More,
    /// Nothing: it is the last.
    Last,
    /// Nothing, and the object shall not be there. Has no bytes; its answer is not heard.
    GivenUp,
}

/// An object that a list names.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its bytes.
    pub bytes: u64,
    /// When it was written, seconds since 1970, if that is known.
    pub modified_s: Option<i64>,
}

/// File systems that the host lends to the engines of this process, under names for their urls.
pub static FILE_SYSTEMS: Lent<dyn FileSystem> = Lent::new("file system");

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
#[cfg(test)]
#[path = "urls_tests.rs"]
mod urls_tests;
