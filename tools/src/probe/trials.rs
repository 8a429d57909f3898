//! The trials of a probe, each of objects of its own.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aquifer::io::dfs::Dfs;
use aquifer::io::entropy;
use aquifer::limits::PAGE_BYTES;
use aquifer::types::error::ErrorKind;
use aquifer::types::{Error, Incarnation, ObjectKind, ObjectName};

use super::{Capability, Outcome};

/// A name that is taken is refused.
pub(super) const CREATE: &str = "create if absent";
/// Of several writers one wins.
pub(super) const RACE: &str = "create if absent, in a race";

/// New names that are read back as soon as they are written.
const NAMES: usize = 100;
/// Rounds of a race, and writers in each.
const ROUNDS: usize = 8;
const WRITERS: usize = 16;
/// Bytes whose transfer shows the bandwidth.
const LARGE_BYTES: usize = 8 << 20;
/// A clock that is off by more is told of.
const SKEW_S_MAX: i64 = 5;

/// What trials write, to be deleted in the end.
struct Scratch {
    dfs: Dfs,
    incarnation: Incarnation,
    names: RefCell<Vec<ObjectName>>,
}

impl Scratch {
    fn open(url: &str) -> Result<Self> {
        let incarnation = Incarnation { host_epoch: 0, nonce: entropy::nonce()? };
        Ok(Self { dfs: Dfs::open(url)?, incarnation, names: RefCell::default() })
    }

    /// A new name.
    fn name(&self) -> Result<ObjectName> {
        let mut names = self.names.borrow_mut();
        let (incarnation, seq, rand) = (self.incarnation, names.len() as u64, entropy::seed()?);
        let kind = ObjectKind::Manifest;
        let name = ObjectName { store: u64::MAX, incarnation, kind, seq, rand };
        names.push(name);
        Ok(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for name in self.names.take() {
            // What cannot be deleted lies below a number that no store has.
            let _left = self.dfs.delete(&name);
        }
    }
}

/// Runs all trials.
pub(super) fn run(url: &str) -> Result<Vec<Capability>> {
    let scratch = Scratch::open(url)?;
    let first = scratch.name()?;
    scratch.dfs.put(&first, b"probe").context("it takes no object")?;
    Ok(vec![
        demanded("put and get", echo(&scratch)?),
        demanded("ranges", ranges(&scratch)?),
        demanded("delete", delete(&scratch)?),
        demanded("new names are read as soon as they are written", fresh(&scratch)?),
        optional("list", list(&scratch)?),
        optional(CREATE, create(&scratch)?),
        optional(RACE, race(&scratch)?),
        optional("clock", clock(&scratch, &first)?),
        optional("latency and bandwidth", speed(&scratch)?),
    ])
}

/// What came of a trial, and what was seen.
type Seen = (Outcome, String);

fn demanded(what: &'static str, (outcome, seen): Seen) -> Capability {
    Capability { what, outcome, demanded: true, seen }
}

fn optional(what: &'static str, (outcome, seen): Seen) -> Capability {
    Capability { what, outcome, demanded: false, seen }
}

fn holds(seen: impl Into<String>) -> Seen {
    (Outcome::Holds, seen.into())
}

fn refuted(seen: impl Into<String>) -> Seen {
    (Outcome::Refuted, seen.into())
}

/// What a refusal means for the trial.
fn refusal(error: &Error) -> Seen {
    let lacks = error.kind == ErrorKind::Unsupported;
    (if lacks { Outcome::Lacks } else { Outcome::Refuted }, error.text.to_string())
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 7) as u8 ^ at as u8).collect()
}

fn echo(scratch: &Scratch) -> Result<Seen> {
    let (name, bytes) = (scratch.name()?, pattern(3 * PAGE_BYTES + 1));
    let put = scratch.dfs.put(&name, &bytes);
    // As after a reply that was lost.
    let again = put.and_then(|()| scratch.dfs.put(&name, &bytes));
    let read = again.and_then(|()| scratch.dfs.load(&name, bytes.len() as u64));
    let size = read.and_then(|read| Ok((read, scratch.dfs.size(&name)?)));
    Ok(match size {
        Err(error) => refusal(&error),
        Ok((read, size)) if read == bytes && size == bytes.len() as u64 => {
            holds("whole objects, and a put that is repeated")
        }
        Ok((read, size)) => refuted(format!("{} bytes came back, {size} are told of", read.len())),
    })
}

fn ranges(scratch: &Scratch) -> Result<Seen> {
    let (name, bytes) = (scratch.name()?, pattern(4 * PAGE_BYTES));
    scratch.dfs.put(&name, &bytes)?;
    for (from, len) in [(0, 1), (PAGE_BYTES, PAGE_BYTES), (3 * PAGE_BYTES, PAGE_BYTES), (5, 9000)] {
        match scratch.dfs.read(&name, from as u64, len) {
            Err(error) => return Ok(refusal(&error)),
            Ok(read) if read != bytes[from..from + len] => {
                return Ok(refuted(format!("other bytes than the {len} from byte {from} on")));
            }
            Ok(_) => {}
        }
    }
    Ok(match scratch.dfs.read(&name, 4 * PAGE_BYTES as u64 - 1, PAGE_BYTES) {
        Ok(_) => refuted("a range beyond the end is answered with bytes"),
        Err(_) => holds("the bytes that were asked for, and none beyond the end"),
    })
}

fn delete(scratch: &Scratch) -> Result<Seen> {
    let name = scratch.name()?;
    scratch.dfs.put(&name, b"gone soon")?;
    let deleted = scratch.dfs.delete(&name).and_then(|()| scratch.dfs.delete(&name));
    if let Err(error) = deleted {
        return Ok(refusal(&error));
    }
    Ok(match scratch.dfs.load(&name, 100) {
        Err(error) if error.kind == ErrorKind::MissingObject => {
            holds("gone at once, and a delete that is repeated")
        }
        Err(error) => refusal(&error),
        Ok(_) => refuted("what was deleted is still read"),
    })
}

fn fresh(scratch: &Scratch) -> Result<Seen> {
    let mut late = 0;
    for at in 0..NAMES {
        let (name, bytes) = (scratch.name()?, pattern(64 + at));
        scratch.dfs.put(&name, &bytes)?;
        let read = scratch.dfs.load(&name, bytes.len() as u64);
        late += usize::from(!read.is_ok_and(|read| read == bytes));
    }
    Ok(if late == 0 {
        holds(format!("{NAMES} of {NAMES}"))
    } else {
        refuted(format!("{late} of {NAMES} were not there or had other bytes"))
    })
}

fn list(scratch: &Scratch) -> Result<Seen> {
    let mut missing = 0;
    for _ in 0..ROUNDS {
        let name = scratch.name()?;
        scratch.dfs.put(&name, b"listed")?;
        match scratch.dfs.list(name.store) {
            Err(error) => return Ok(refusal(&error)),
            Ok(listed) => missing += usize::from(!listed.iter().any(|o| o.name == name)),
        }
    }
    Ok(if missing == 0 {
        holds("new objects are listed at once")
    } else {
        refuted(format!("{missing} of {ROUNDS} new objects were not listed at once"))
    })
}

fn create(scratch: &Scratch) -> Result<Seen> {
    let name = scratch.name()?;
    let first = scratch.dfs.create(&name, b"first");
    let both = first.and_then(|first| Ok((first, scratch.dfs.create(&name, b"second")?)));
    Ok(match both {
        Err(error) => refusal(&error),
        Ok((true, false)) if scratch.dfs.load(&name, 100).is_ok_and(|read| read == b"first") => {
            holds("a name that is taken is refused")
        }
        Ok(_) => refuted("a name that is taken is written again"),
    })
}

fn race(scratch: &Scratch) -> Result<Seen> {
    let (mut wrong, mut most) = (0, 0);
    for _ in 0..ROUNDS {
        let name = scratch.name()?;
        let creates = std::thread::scope(|scope| {
            let writer = |at: usize| {
                let dfs = &scratch.dfs;
                scope.spawn(move || dfs.create(&name, &pattern(100 + at)))
            };
            let writers: Vec<_> = (0..WRITERS).map(writer).collect();
            let ends = writers.into_iter().map(|writer| writer.join().expect("it does not panic"));
            ends.collect::<aquifer::types::Result<Vec<bool>>>()
        });
        let winners = match creates {
            Err(error) => return Ok(refusal(&error)),
            Ok(created) => created.into_iter().filter(|&won| won).count(),
        };
        wrong += usize::from(winners != 1);
        most = most.max(winners);
    }
    Ok(if wrong == 0 {
        holds(format!("one of {WRITERS} writers won, in each of {ROUNDS} rounds"))
    } else {
        refuted(format!(
            "{wrong} of {ROUNDS} rounds had not one winner; {most} of {WRITERS} writers won at most"
        ))
    })
}

fn clock(scratch: &Scratch, first: &ObjectName) -> Result<Seen> {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let listed = match scratch.dfs.list(first.store) {
        Err(error) => return Ok(refusal(&error)),
        Ok(listed) => listed,
    };
    let names = scratch.names.borrow();
    let own = listed.iter().filter(|object| names.contains(&object.name));
    Ok(match own.filter_map(|object| object.modified_s).max() {
        None => (Outcome::Lacks, "it does not tell when objects were written".to_owned()),
        Some(there) if (there - here as i64).abs() <= SKEW_S_MAX => {
            holds(format!("within {SKEW_S_MAX} s of this machine's"))
        }
        Some(there) => refuted(format!("{} s off this machine's", there - here as i64)),
    })
}

fn speed(scratch: &Scratch) -> Result<Seen> {
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    let page = pattern(PAGE_BYTES);
    for _ in 0..ROUNDS {
        let name = scratch.name()?;
        puts.push(timed(|| scratch.dfs.put(&name, &page))?);
        gets.push(timed(|| scratch.dfs.read(&name, 0, PAGE_BYTES))?);
    }
    let (name, large) = (scratch.name()?, pattern(LARGE_BYTES));
    let put = timed(|| scratch.dfs.put(&name, &large))?;
    let get = timed(|| scratch.dfs.load(&name, LARGE_BYTES as u64))?;
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let rate = |time: Duration| LARGE_BYTES as f64 / time.as_secs_f64() / f64::from(1 << 20);
    Ok(holds(format!(
        "a page put in {:.1} ms and got in {:.1} ms (medians of {ROUNDS}); {:.0} and {:.0} MiB/s, \
         one request at a time",
        median(puts),
        median(gets),
        rate(put),
        rate(get),
    )))
}

fn timed<T>(call: impl FnOnce() -> aquifer::types::Result<T>) -> Result<Duration> {
    let begun = Instant::now();
    call()?;
    Ok(begun.elapsed())
}
