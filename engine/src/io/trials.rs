//! Trials of what a DFS does when several write one name. They can find that it does not hold; that
//! it always holds no trial can show.

use std::sync::{Barrier, Mutex, PoisonError};

use serde::Serialize;

use crate::io::dfs::Dfs;
use crate::io::entropy;
use crate::io::handoff::locked;
use crate::limits::{TRIAL_BYTES, TRIAL_NAMES, TRIAL_ROUNDS, TRIAL_STORE, TRIAL_WRITERS};
use crate::types::error::ErrorKind;
use crate::types::{Error, Incarnation, ObjectKind, ObjectName, Result};

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was not found wanting.
    Holds,
    /// It does not hold.
    Refuted,
    /// The DFS or its client has no such thing.
    Lacks,
}

/// What came of a trial, and what was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What came of it.
    pub outcome: Outcome,
    /// In words.
    pub text: String,
}

impl Seen {
    /// A trial that was not found wanting.
    pub fn holds(text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Holds, text: text.into() }
    }

    /// A trial that was.
    pub fn refuted(text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Refuted, text: text.into() }
    }

    /// What a failure means for a trial.
    #[must_use]
    pub fn refusal(error: &Error) -> Self {
        let lacks = error.kind == ErrorKind::Unsupported;
        let outcome = if lacks { Outcome::Lacks } else { Outcome::Refuted };
        Self { outcome, text: error.text.to_string() }
    }
}

/// What trials write, to be deleted in the end: below a store number that no host has.
#[derive(Debug)]
pub struct Scratch {
    /// Where they write.
    pub dfs: Dfs,
    incarnation: Incarnation,
    names: Mutex<Vec<ObjectName>>,
}

impl Scratch {
    /// Of trials of this DFS.
    ///
    /// # Errors
    /// The kernel gives no random numbers.
    pub fn new(dfs: Dfs) -> Result<Self> {
        let incarnation = Incarnation { host_epoch: 0, nonce: entropy::nonce()? };
        Ok(Self { dfs, incarnation, names: Mutex::default() })
    }

    /// A new name.
    ///
    /// # Errors
    /// As of `new`.
    pub fn name(&self) -> Result<ObjectName> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (incarnation, seq, rand) = (self.incarnation, names.len() as u64, entropy::seed()?);
        let kind = ObjectKind::Manifest;
        let name = ObjectName { store: TRIAL_STORE, incarnation, kind, seq, rand };
        names.push(name);
        Ok(name)
    }

    /// True for the objects of these trials.
    #[must_use]
    pub fn is_own(&self, name: &ObjectName) -> bool {
        name.incarnation == self.incarnation
    }

    /// A name that is taken is refused.
    ///
    /// # Errors
    /// As of `new`, and what the DFS fails with.
    pub fn create(&self) -> Result<Seen> {
        let name = self.name()?;
        let both = (self.dfs.create(&name, b"first")?, self.dfs.create(&name, b"second")?);
        let first = both == (true, false) && self.dfs.load(&name, 100)? == b"first";
        Ok(if first {
            Seen::holds("a name that is taken is refused")
        } else {
            Seen::refuted("a name that is taken is written again")
        })
    }

    /// Of several writers one wins.
    ///
    /// # Errors
    /// As of `create`.
    pub fn race(&self) -> Result<Seen> {
        for round in 1..=TRIAL_ROUNDS {
            let name = self.name()?;
            // They begin at once, and have much to write: a store that looks for the name first
            // and writes then has longer to be wrong.
            let start = Barrier::new(TRIAL_WRITERS);
            let creates = std::thread::scope(|scope| {
                let writer = |at: usize| {
                    let (dfs, start) = (&self.dfs, &start);
                    let bytes = pattern(TRIAL_BYTES + at);
                    scope.spawn(move || {
                        start.wait();
                        dfs.create(&name, &bytes)
                    })
                };
                let writers: Vec<_> = (0..TRIAL_WRITERS).map(writer).collect();
                let join = |writer: std::thread::ScopedJoinHandle<'_, Result<bool>>| {
                    writer.join().expect("it does not panic")
                };
                writers.into_iter().map(join).collect::<Result<Vec<bool>>>()
            });
            let winners = creates?.into_iter().filter(|&won| won).count();
            if winners != 1 {
                return Ok(Seen::refuted(format!(
                    "{winners} of {TRIAL_WRITERS} writers won, in round {round}"
                )));
            }
        }
        Ok(Seen::holds(format!(
            "one of {TRIAL_WRITERS} writers won, in each of {TRIAL_ROUNDS} rounds"
        )))
    }

    /// So many new names are read back as soon as they are written.
    ///
    /// # Errors
    /// As of `create`.
    pub fn fresh(&self, count: usize) -> Result<Seen> {
        let mut late = 0;
        for at in 0..count {
            let (name, bytes) = (self.name()?, pattern(64 + at));
            self.dfs.put(&name, &bytes)?;
            let read = self.dfs.load(&name, bytes.len() as u64);
            match read {
                Err(error) if error.kind != ErrorKind::MissingObject => return Err(error),
                read => late += usize::from(!read.is_ok_and(|read| read == bytes)),
            }
        }
        Ok(if late == 0 {
            Seen::holds(format!("{count} of {count}"))
        } else {
            Seen::refuted(format!("{late} of {count} were not there or had other bytes"))
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let names = std::mem::take(self.names.get_mut().unwrap_or_else(PoisonError::into_inner));
        for name in &names {
            // What cannot be deleted lies below a number that no store has, for a scrub.
            let _left = self.dfs.delete(name);
        }
        if let Some(name) = names.first() {
            self.dfs.prune(name);
        }
    }
}

/// Bytes that differ from those of other lengths and places.
#[must_use]
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 7) as u8 ^ at as u8).collect()
}

/// Whether one of those that race for a name wins, so that stores can commit without a coordinator.
/// What held is not tried again. Takes some requests, and blocks.
///
/// # Errors
/// `Unsupported`, with what was seen, if it was refuted; `Io` if it could not be found out.
pub fn decides_races(dfs: &Dfs) -> Result<()> {
    let mut known = locked(dfs.known_to_decide_races());
    if !*known {
        try_races(dfs)?;
        *known = true;
    }
    Ok(())
}

fn try_races(dfs: &Dfs) -> Result<()> {
    let scratch = Scratch::new(dfs.clone())?;
    let trials: [fn(&Scratch) -> Result<Seen>; 3] = [
        |scratch| scratch.fresh(TRIAL_NAMES),
        |scratch| scratch.create().or_else(lacking),
        |scratch| scratch.race().or_else(lacking),
    ];
    for trial in trials {
        let seen = trial(&scratch)?;
        if seen.outcome != Outcome::Holds {
            let what = format!(
                "stores cannot commit on this DFS by themselves, for it does not let one of \
                 several writers of a name win: {}; have the host keep the handles of \
                 checkpoints, or use another DFS (`aquifer probe` tries one)",
                seen.text
            );
            return Err(Error::new(ErrorKind::Unsupported, what));
        }
    }
    Ok(())
}

// A DFS that cannot be asked for a name that is not taken.
fn lacking(error: Error) -> Result<Seen> {
    if error.kind == ErrorKind::Unsupported { Ok(Seen::refusal(&error)) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::test_support::Folder;

    #[test]
    fn a_folder_and_memory_decide_races_and_keep_nothing_of_it() {
        let folder = Folder::new();
        for url in [folder.url(), "memory://trials"] {
            let dfs = Dfs::open(url).unwrap();
            decides_races(&dfs).unwrap();
            let puts = dfs.counters().puts;
            assert!(puts > TRIAL_ROUNDS as u64 && dfs.list(TRIAL_STORE).unwrap().is_empty());
            decides_races(&dfs).unwrap();
            assert_eq!(dfs.counters().puts, puts, "what held is not tried again");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a folder is left");
    }

    #[test]
    fn trials_do_not_take_folders_away_from_each_other() {
        let folder = Folder::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let scratch = Scratch::new(Dfs::open(folder.url()).unwrap()).unwrap();
                        let name = scratch.name().unwrap();
                        scratch.dfs.put(&name, b"mine").unwrap();
                        scratch.dfs.delete(&name).unwrap();
                        scratch.dfs.prune(&name);
                        // Its folder is made anew.
                        scratch.dfs.put(&name, b"mine").unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dfs_that_fails_is_not_judged() {
        let dfs = Dfs::open("memory://trials-fail?fail=1").unwrap();
        assert_eq!(decides_races(&dfs).unwrap_err().kind, ErrorKind::Io);
    }
}
