//! What a host lends to the engines of its process, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::io::handoff::locked;
use crate::limits::HOST_NAME_BYTES_MAX;
use crate::types::{Error, Result};

/// A thing that is lent, counted by who uses it: the host may have references of its own.
pub(crate) type Loan<T> = Arc<Arc<T>>;

/// Things of one kind. An engine that is open keeps those that it uses.
pub struct Lent<T: ?Sized> {
    what: &'static str,
    things: Mutex<BTreeMap<String, Loan<T>>>,
}

impl<T: ?Sized> Lent<T> {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, things: Mutex::new(BTreeMap::new()) }
    }

    /// Lends a thing under a name.
    ///
    /// # Errors
    /// `Invalid` for a name that a url cannot have, or that is taken.
    pub fn lend(&self, name: &str, thing: Arc<T>) -> Result<()> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_step = [".", ".."].contains(&name);
        let long = name.len() > HOST_NAME_BYTES_MAX;
        if name.is_empty() || long || is_step || !name.chars().all(allowed) {
            return Err(Error::invalid(format!(
                "the name of a {} has 1 to {HOST_NAME_BYTES_MAX} letters, digits, - _ and ., and \
                 is not . or ..",
                self.what
            )));
        }
        let mut things = locked(&self.things);
        if things.contains_key(name) {
            return Err(Error::invalid(format!(
                "a {} is lent as '{name}' already: take it back first, or choose another name",
                self.what
            )));
        }
        things.insert(name.to_owned(), Arc::new(thing));
        Ok(())
    }

    /// Takes a thing back: no call is inside it, and none will come.
    ///
    /// # Errors
    /// `Invalid` if none is lent by this name, or if an engine uses it: one that is open, or one
    /// that was closed while a call did not return, as long as it does not.
    pub fn take_back(&self, name: &str) -> Result<()> {
        let mut things = locked(&self.things);
        let Some(thing) = things.get(name) else {
            return Err(Error::invalid(format!("no {} is lent as '{name}'", self.what)));
        };
        // It is copied under the lock alone.
        if Arc::strong_count(thing) > 1 {
            return Err(Error::invalid(format!(
                "the {} '{name}' is in use: close the engines that were opened with it, and let \
                 the calls return that they wait for",
                self.what
            )));
        }
        let taken = things.remove(name);
        drop(things);
        drop(taken);
        Ok(())
    }

    pub(crate) fn find(&self, name: &str) -> Result<Loan<T>> {
        locked(&self.things).get(name).cloned().ok_or_else(|| {
            Error::invalid(format!(
                "this process has no {} '{name}': it exists only inside the process of the host \
                 that lends it, which does so before it opens an engine",
                self.what
            ))
        })
    }
}
