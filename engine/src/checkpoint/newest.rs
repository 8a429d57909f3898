//! The search for the newest root of a store. Numbers have no gaps above the last boundary but one,
//! so a look at one number tells on which side of it the newest lies. Boundaries are never
//! deleted: the search finds the last of them by doubling and halving, and then the newest root
//! behind it. It needs no list, which may be old.
//!
//! What it finds may be too low, if a look missed a root that was just put: whoever then puts the
//! next number finds that it is taken.

use crate::checkpoint::root::{Found, ROOT_BYTES_MAX, Root};
use crate::io::dfs::Dfs;
use crate::limits::ROOT_TRIES_MAX;
use crate::types::error::ErrorKind;
use crate::types::{Error, ObjectName, Result};

/// See the module.
#[derive(Debug)]
pub struct Newest {
    store: u64,
    // Distance of the numbers that are looked at: boundaries first, then all.
    unit: u64,
    // There, or zero; and not there.
    low: u64,
    high: Option<u64>,
    step: u64,
    // Of number `low`, if it was seen.
    found: Option<Root>,
    // One that is known to be there.
    floor: Option<Root>,
    asked: u64,
    tries: u32,
}

/// What is to be done.
#[derive(Debug)]
pub enum Hunt {
    /// Look at the root of this number.
    Look(u64),
    /// This is the newest; none: the store has no root.
    Newest(Option<Root>),
    /// It could not be found out.
    Failed(Error),
}

impl Newest {
    /// A search in a store, of which this root is known to be there.
    #[must_use]
    pub fn new(store: u64, spacing: u64, floor: Option<Root>) -> Self {
        let number = floor.as_ref().map_or(0, |root| root.number);
        let low = number - number % spacing;
        Self {
            store,
            unit: spacing,
            low,
            high: None,
            step: 1,
            found: None,
            floor,
            asked: 0,
            tries: 0,
        }
    }

    /// What to do first, or next.
    pub fn aim(&mut self) -> Hunt {
        let next = match self.high {
            None => self.low + self.unit * self.step,
            Some(high) if high - self.low > self.unit => {
                self.low + (high - self.low) / self.unit / 2 * self.unit
            }
            Some(_) if self.unit > 1 => {
                self.unit = 1;
                let floor = self.floor.take().filter(|floor| floor.number > self.low);
                if let Some(floor) = floor {
                    self.low = floor.number;
                    self.found = Some(floor);
                }
                return self.aim();
            }
            Some(_) if self.low > 0 && self.found.is_none() => self.low,
            Some(_) => return Hunt::Newest(self.found.take()),
        };
        self.asked = next;
        Hunt::Look(next)
    }

    /// A look ended.
    pub fn looked(&mut self, found: Found) -> Hunt {
        match found {
            Found::Root(root) => {
                if self.high.is_none() {
                    self.step *= 2;
                }
                self.low = root.number;
                self.found = Some(root);
            }
            Found::Nothing if self.asked > self.low => self.high = Some(self.asked),
            Found::Nothing => {
                let name = ObjectName::root(self.store, self.asked);
                let what = format!(
                    "{name} was there and is gone: something else deletes objects of this store; \
                     see what does, then open it from a handle that was kept"
                );
                return Hunt::Failed(Error::new(ErrorKind::MissingObject, what));
            }
            Found::Unclear(error) => {
                self.tries += 1;
                if self.tries < ROOT_TRIES_MAX {
                    return Hunt::Look(self.asked);
                }
                return Hunt::Failed(error);
            }
        }
        self.tries = 0;
        self.aim()
    }
}

/// The newest root of a store, for tools; blocks.
///
/// # Errors
/// What kept it from finding out.
pub fn find(dfs: &Dfs, store: u64, spacing: u64) -> Result<Option<Root>> {
    let mut newest = Newest::new(store, spacing, None);
    let mut hunt = newest.aim();
    loop {
        let number = match hunt {
            Hunt::Look(number) => number,
            Hunt::Newest(root) => return Ok(root),
            Hunt::Failed(error) => return Err(error),
        };
        let name = ObjectName::root(store, number);
        hunt = newest.looked(Found::of(&name, dfs.load(&name, ROOT_BYTES_MAX as u64)));
    }
}

#[cfg(test)]
#[path = "newest_tests.rs"]
mod tests;
