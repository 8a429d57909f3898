//! How a root is committed: put if absent, looked at, and looked for above. Decisions alone: who
//! asks carries them out and tells how it went.
//!
//! What the put said does not count: its reply may be lost, and one that failed may be applied
//! later. What lies under the name counts: a root of this opening, of another, or none yet. That a
//! name is taken once says nothing if it was deleted in between, so a boundary is looked for: a
//! root that is never deleted, and was there before any root below it was deleted.

use crate::checkpoint::root::{Found, Root, boundary};
use crate::limits::ROOT_TRIES_MAX;
use crate::types::Error;
use crate::types::error::ErrorKind;

/// A root that is being committed.
#[derive(Debug)]
pub struct Commit {
    root: Root,
    spacing: u64,
    stage: Stage,
    tries: u32,
}

#[derive(Debug)]
enum Stage {
    /// The root is put, or looked at.
    Put,
    /// This root lies under the name; its boundary is looked for, the root of a number.
    Check { there: Root, boundary: u64 },
}

/// What is to be done.
#[derive(Debug)]
pub enum Next {
    /// Put the root, unless its name is taken.
    Create,
    /// Look at the root of this number. `put`: a put of it succeeded, so one that is not known yet
    /// is waited for.
    Look {
        /// Of the root.
        number: u64,
        /// It is there.
        put: bool,
    },
    /// Nothing more.
    End(End),
}

/// How a commit ended.
#[derive(Debug)]
pub enum End {
    /// The root is there, and was never another's.
    Committed,
    /// The number is another opening's.
    Taken(Root),
    /// The store has gone on so far that the root may have been deleted since: whose it was is not
    /// known any more. The root above, which is there.
    Passed(Root),
    /// It could not be found out; the put may be applied later.
    Unknown(Error),
}

impl Commit {
    /// Begins with a put.
    #[must_use]
    pub fn new(root: Root, spacing: u64) -> Self {
        Self { root, spacing, stage: Stage::Put, tries: 0 }
    }

    /// What is committed.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The root, once it ended.
    #[must_use]
    pub fn into_root(self) -> Root {
        self.root
    }

    /// A put ended well, which is also if the name was taken, or not.
    pub fn put(&self, well: bool) -> Next {
        Next::Look { number: self.root.number, put: well }
    }

    /// A look ended.
    pub fn looked(&mut self, found: Found) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Put), found) {
            (Stage::Put, Found::Root(there)) => match boundary(self.root.number, self.spacing) {
                Some(boundary) => {
                    self.stage = Stage::Check { there, boundary };
                    Next::Look { number: boundary, put: false }
                }
                None => self.whose(there),
            },
            (Stage::Put, Found::Nothing) => {
                let what = format!("{} was put, and is not there", self.root.name());
                self.again(Next::Create, Error::new(ErrorKind::Io, what))
            }
            (Stage::Put, Found::Unclear(error)) => self.again(Next::Create, error),
            (Stage::Check { there, .. }, Found::Nothing) => self.whose(there),
            (Stage::Check { .. }, Found::Root(above)) => Next::End(End::Passed(above)),
            (Stage::Check { there, boundary }, Found::Unclear(error)) => {
                self.stage = Stage::Check { there, boundary };
                self.again(Next::Look { number: boundary, put: false }, error)
            }
        }
    }

    // The first root of its number lies under the name.
    fn whose(&self, there: Root) -> Next {
        Next::End(if there == self.root { End::Committed } else { End::Taken(there) })
    }

    fn again(&mut self, next: Next, error: Error) -> Next {
        self.tries += 1;
        if self.tries < ROOT_TRIES_MAX { next } else { Next::End(End::Unknown(error)) }
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
