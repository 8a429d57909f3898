//! The trials of a probe, each of objects of its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aquifer::io::dfs::Dfs;
use aquifer::io::trials::{Outcome, Scratch, Seen, pattern};
use aquifer::limits::PAGE_BYTES;
use aquifer::types::ObjectName;
use aquifer::types::error::ErrorKind;

use super::Capability;

/// A name that is taken is refused.
pub(super) const CREATE: &str = "create if absent";
/// Of several writers one wins.
pub(super) const RACE: &str = "create if absent, in a race";

/// New names that are read back as soon as they are written.
const NAMES: usize = 100;
/// Rounds of what is done several times.
const ROUNDS: usize = 8;
/// Bytes whose transfer shows the bandwidth.
const LARGE_BYTES: usize = 8 << 20;
/// A clock that is off by more is told of.
const SKEW_S_MAX: i64 = 5;

/// Runs all trials.
pub(super) fn run(url: &str) -> Result<Vec<Capability>> {
    let scratch = Scratch::new(Dfs::open(url)?)?;
    let first = scratch.name()?;
    scratch.dfs.put(&first, b"probe").context("it takes no object")?;
    Ok(vec![
        demanded("put and get", echo(&scratch)?),
        demanded("ranges", ranges(&scratch)?),
        demanded("delete", delete(&scratch)?),
        demanded("new names are read as soon as they are written", seen(scratch.fresh(NAMES))),
        optional("list", list(&scratch)?),
        optional(CREATE, seen(scratch.create())),
        optional(RACE, seen(scratch.race())),
        optional("headers that tell content apart", content_headers(&scratch, &first)?),
        optional("clock", clock(&scratch, &first)?),
        optional("latency and bandwidth", speed(&scratch)?),
    ])
}

fn seen(trial: aquifer::types::Result<Seen>) -> Seen {
    trial.unwrap_or_else(|error| Seen::refusal(&error))
}

fn demanded(what: &'static str, Seen { outcome, text: seen }: Seen) -> Capability {
    Capability { what, outcome, demanded: true, seen }
}

fn optional(what: &'static str, Seen { outcome, text: seen }: Seen) -> Capability {
    Capability { what, outcome, demanded: false, seen }
}

fn echo(scratch: &Scratch) -> Result<Seen> {
    let (name, bytes) = (scratch.name()?, pattern(3 * PAGE_BYTES + 1));
    let put = scratch.dfs.put(&name, &bytes);
    // As after a reply that was lost.
    let again = put.and_then(|()| scratch.dfs.put(&name, &bytes));
    let read = again.and_then(|()| scratch.dfs.load(&name, bytes.len() as u64));
    let size = read.and_then(|read| Ok((read, scratch.dfs.size(&name)?)));
    Ok(match size {
        Err(error) => Seen::refusal(&error),
        Ok((read, size)) if read == bytes && size == bytes.len() as u64 => {
            Seen::holds("whole objects, and a put that is repeated")
        }
        Ok((read, size)) => {
            Seen::refuted(format!("{} bytes came back, {size} are told of", read.len()))
        }
    })
}

fn ranges(scratch: &Scratch) -> Result<Seen> {
    let (name, bytes) = (scratch.name()?, pattern(4 * PAGE_BYTES));
    scratch.dfs.put(&name, &bytes)?;
    for (from, len) in [(0, 1), (PAGE_BYTES, PAGE_BYTES), (3 * PAGE_BYTES, PAGE_BYTES), (5, 9000)] {
        match scratch.dfs.read(&name, from as u64, len) {
            Err(error) => return Ok(Seen::refusal(&error)),
            Ok(read) if read != bytes[from..from + len] => {
                return Ok(Seen::refuted(format!(
                    "other bytes than the {len} from byte {from} on"
                )));
            }
            Ok(_) => {}
        }
    }
    Ok(match scratch.dfs.read(&name, 4 * PAGE_BYTES as u64 - 1, PAGE_BYTES) {
        Ok(_) => Seen::refuted("a range beyond the end is answered with bytes"),
        Err(_) => Seen::holds("the bytes that were asked for, and none beyond the end"),
    })
}

fn delete(scratch: &Scratch) -> Result<Seen> {
    let name = scratch.name()?;
    scratch.dfs.put(&name, b"gone soon")?;
    let deleted = scratch.dfs.delete(&name).and_then(|()| scratch.dfs.delete(&name));
    if let Err(error) = deleted {
        return Ok(Seen::refusal(&error));
    }
    Ok(match scratch.dfs.load(&name, 100) {
        Err(error) if error.kind == ErrorKind::MissingObject => {
            Seen::holds("gone at once, and a delete that is repeated")
        }
        Err(error) => Seen::refusal(&error),
        Ok(_) => Seen::refuted("what was deleted is still read"),
    })
}

fn list(scratch: &Scratch) -> Result<Seen> {
    let mut missing = 0;
    for _ in 0..ROUNDS {
        let name = scratch.name()?;
        scratch.dfs.put(&name, b"listed")?;
        match scratch.dfs.list(name.store) {
            Err(error) => return Ok(Seen::refusal(&error)),
            Ok(listed) => missing += usize::from(!listed.iter().any(|o| o.name == name)),
        }
    }
    Ok(if missing == 0 {
        Seen::holds("new objects are listed at once")
    } else {
        Seen::refuted(format!("{missing} of {ROUNDS} new objects were not listed at once"))
    })
}

fn content_headers(scratch: &Scratch, name: &ObjectName) -> Result<Seen> {
    let headers = scratch.dfs.content_headers(name)?;
    Ok(if headers.is_empty() {
        let text =
            "neither ETag nor Content-MD5; the engine checks by checksums of its own".to_owned();
        Seen { outcome: Outcome::Lacks, text }
    } else {
        Seen::holds(headers.join(" and "))
    })
}

fn clock(scratch: &Scratch, first: &ObjectName) -> Result<Seen> {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let listed = match scratch.dfs.list(first.store) {
        Err(error) => return Ok(Seen::refusal(&error)),
        Ok(listed) => listed,
    };
    let own = listed.iter().filter(|object| scratch.is_own(&object.name));
    Ok(match own.filter_map(|object| object.modified_s).max() {
        None => Seen {
            outcome: Outcome::Lacks,
            text: "it does not tell when objects were written".to_owned(),
        },
        Some(there) if (there - here as i64).abs() <= SKEW_S_MAX => {
            Seen::holds(format!("within {SKEW_S_MAX} s of this machine's"))
        }
        Some(there) => Seen::refuted(format!("{} s off this machine's", there - here as i64)),
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
    Ok(Seen::holds(format!(
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
