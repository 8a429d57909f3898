//! Reads every count back from the store, and checks it against an independent count: the input
//! once more, into a plain hash map. Words that would take too much memory at once are taken in
//! parts by key group.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use aquifer::codec::hash::key_group;
use aquifer::shard::session::Session;
use aquifer::state::request::{Batch, Completions, Status};
use aquifer::state::{Key, Target, ValueState};
use aquifer::types::KeyGroup;

use crate::run::count::{Counted, number};
use crate::run::input::{Position, Reader};
use crate::run::inputs::{Inputs, Pass};
use crate::run::merge::Parts;
use crate::run::progress::Progress;

/// Memory that the hash map of one part may take, by estimate.
const PART_BYTES_MAX: u64 = 1 << 30;
/// What a word takes beside its bytes: its place in the map at the worst load, and what the
/// allocator adds.
const WORD_OVERHEAD_BYTES: u64 = 80;
/// Differences that are shown.
const SHOWN_MAX: usize = 10;
/// Words that must be absent, per part.
const ABSENT_PER_PART: usize = 5_000;
const BATCH: usize = 256;
const IN_FLIGHT: usize = 4096;

/// What to read back.
pub struct ReadBack<'a> {
    /// The input.
    pub inputs: &'a Inputs,
    /// Words of a run.
    pub ngram: usize,
    /// Key groups of the store.
    pub key_groups: u32,
    /// What was counted.
    pub counted: &'a Counted,
    /// To the shard.
    pub session: &'a mut Session,
    /// The counts.
    pub state: ValueState,
    /// Whether differences are looked for.
    pub verify: bool,
    /// Where every count is written to.
    pub counts: Option<&'a Path>,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verified {
    /// Words read back.
    pub words: u64,
    /// Words that were not there, as they should.
    pub absent: u64,
}

/// A word, its count in the input, and its count in the store.
struct Entry {
    group: KeyGroup,
    key: Box<[u8]>,
    expected: u64,
    stored: Cell<u64>,
}

impl ReadBack<'_> {
    /// Reads everything back.
    ///
    /// # Errors
    /// The counts differ; the engine failed a read; a file cannot be read or written.
    pub fn run(mut self) -> Result<Verified> {
        let tally = &self.counted.tally;
        let bytes = tally.distinct_bytes + tally.distinct * WORD_OVERHEAD_BYTES;
        let count = bytes.div_ceil(PART_BYTES_MAX).clamp(1, self.key_groups.into()) as u32;
        self.run_in_parts(count)
    }

    fn run_in_parts(&mut self, count: u32) -> Result<Verified> {
        let mut found = Verified::default();
        let mut parts = self.counts.map(Parts::new).transpose()?;
        let mut differences = Differences::default();
        for part in 0..count {
            let mut entries = self.part(part, count)?;
            self.read(&entries)?;
            found.words += entries.len() as u64;
            if self.verify {
                differences.add(&entries);
                found.absent += self.check_absent(&entries)?;
            }
            if let Some(parts) = &mut parts {
                entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                parts.add(|out| write_counts(out, &entries))?;
            }
        }
        if let Some(parts) = parts {
            parts.finish()?;
        }
        let distinct = self.counted.tally.distinct;
        differences.fail()?;
        if self.verify && found.words != distinct {
            bail!("{} words are in the input, but {distinct} were new to the store", found.words);
        }
        Ok(found)
    }

    // Counts the words of one part of the key groups, in the order of the store.
    fn part(&self, part: u32, parts: u32) -> Result<Vec<Entry>> {
        let group = |key: &[u8]| key_group(key, self.key_groups);
        let mine = |key: &[u8]| parts == 1 || u32::from(group(key)) % parts == part;
        let mut counts: HashMap<Box<[u8]>, u64> = HashMap::new();
        let mut progress = Progress::new("verifying", self.inputs.bytes());
        let start = Position::default();
        let mut reader = Reader::new(self.inputs, self.ngram, &start, Pass::Second)?;
        while reader.records() < self.counted.records {
            let Some(key) = reader.next()? else { break };
            if mine(key) {
                match counts.get_mut(key) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(key.into(), 1)),
                }
            }
            progress.at(reader.bytes(), reader.records());
        }
        let entries = counts.into_iter().map(|(key, expected)| {
            let group = group(&key);
            Entry { group, key, expected, stored: Cell::new(0) }
        });
        let mut entries: Vec<Entry> = entries.collect();
        // As stored keys are ordered, so that words of one unit are read together.
        entries.sort_unstable_by(|a, b| {
            let order = |e: &Entry| (e.group, e.key.len());
            order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
        });
        Ok(entries)
    }

    fn read(&mut self, entries: &[Entry]) -> Result<()> {
        let key = |i: usize| &*entries[i].key;
        get_all(self.session, self.state, self.key_groups, entries.len(), key, |i, count| {
            entries[i].stored.set(count);
        })
    }

    // Neighbours of words that are there: they lie in the same units, and no word holds a `_`.
    fn check_absent(&mut self, entries: &[Entry]) -> Result<u64> {
        let step = entries.len().div_ceil(ABSENT_PER_PART).max(1);
        let absent: Vec<Vec<u8>> =
            entries.iter().step_by(step).map(|e| neighbour(&e.key)).collect();
        let mut wrong = None;
        let (state, groups) = (self.state, self.key_groups);
        get_all(
            self.session,
            state,
            groups,
            absent.len(),
            |i| &absent[i],
            |i, count| {
                if count != 0 {
                    wrong = Some((i, count));
                }
            },
        )?;
        if let Some((i, count)) = wrong {
            let word = String::from_utf8_lossy(&absent[i]);
            bail!("verification failed: `{word}` is not in the input, the store counts {count}");
        }
        Ok(absent.len() as u64)
    }
}

fn neighbour(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    if let Some(last) = key.last_mut() {
        *last = b'_';
    }
    key
}

/// Gets the counts of `len` keys, many at once; absent is 0.
fn get_all<'k>(
    session: &mut Session,
    state: ValueState,
    key_groups: u32,
    len: usize,
    key: impl Fn(usize) -> &'k [u8],
    mut take: impl FnMut(usize, u64),
) -> Result<()> {
    let (mut batch, mut done) = (Batch::default(), Completions::default());
    let (mut asked, mut answered) = (0, 0);
    while answered < len {
        while asked < len && batch.requests.len() < BATCH && asked - answered < IN_FLIGHT {
            let key = Key::new(key(asked), key_groups);
            let target = Target { key, namespace: &[], user_data: asked as u64 };
            state.request_get(&mut batch, &target)?;
            asked += 1;
        }
        session.submit(&mut batch)?;
        session.poll(None, &mut done)?;
        for item in &done.items {
            let value = match item.status {
                Status::Value => Some(done.value(item)),
                Status::Absent => None,
                Status::Failed { index } => {
                    let word = String::from_utf8_lossy(key(item.user_data as usize)).into_owned();
                    let error = done.errors[index as usize].clone();
                    return Err(error).with_context(|| format!("reading the count of `{word}`"));
                }
                status => bail!("a get ended with {status:?}"),
            };
            take(item.user_data as usize, number(value)?);
            answered += 1;
        }
    }
    Ok(())
}

fn write_counts(out: &mut BufWriter<File>, entries: &[Entry]) -> std::io::Result<()> {
    for entry in entries.iter().filter(|entry| entry.stored.get() > 0) {
        out.write_all(&entry.key)?;
        writeln!(out, "\t{}", entry.stored.get())?;
    }
    Ok(())
}

/// Words whose counts differ.
#[derive(Debug, Default)]
struct Differences {
    count: u64,
    first: Vec<String>,
}

impl Differences {
    fn add(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.expected != entry.stored.get()) {
            self.count += 1;
            if self.first.len() < SHOWN_MAX {
                let word = String::from_utf8_lossy(&entry.key);
                let (expected, stored) = (entry.expected, entry.stored.get());
                self.first.push(format!("`{word}` {expected} times, the store counts {stored}"));
            }
        }
    }

    fn fail(&self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let shown = self.first.join("\n  ");
        bail!("verification failed: {} words differ. The input has\n  {shown}", self.count)
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
