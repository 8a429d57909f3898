//! The compactors that an engine sends merges to: which one is asked, what becomes of it, and those
//! that are left alone because they failed.
//!
//! An errand is waited for on a thread of its own, which sleeps in the connection; the job that
//! sent it waits as a task. All that can go wrong ends in an error here: then the store merges
//! itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::io::handoff::locked;
use crate::io::sealed::Secret;
use crate::io::wire::Wire;
use crate::io::{clock, sys};
use crate::limits::{
    COMPACTOR_ALONE_DOUBLINGS_MAX, COMPACTOR_ALONE_MS, COMPACTOR_GREETING_MS, COMPACTOR_SILENT_MS,
    COMPACTORS_MAX, ERRAND_BASE_NS, ERRAND_MIB_NS,
};
use crate::lsm::away::Verdict;
use crate::lsm::errand::Report;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

const MS: Nanos = 1_000_000;

/// What compactors did for an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompactorStatistics {
    /// Merges that compactors did, and whose tables hold.
    pub merges: u64,
    /// Bytes of these tables.
    pub written_bytes: u64,
    /// Merges that were for compactors and came back: the stores did them.
    pub returned: u64,
    /// By compactor.
    pub each: Vec<CompactorCounters>,
}

/// What one compactor did for an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompactorCounters {
    /// Its address.
    pub address: String,
    /// Merges that it did, and whose tables hold.
    pub merges: u64,
    /// Times that it had no place for another merge.
    pub busy: u64,
    /// Times that it failed, was lost or could not be reached.
    pub failures: u64,
    /// It failed, and is asked again in so many nanoseconds.
    pub alone_ns: Nanos,
}

#[derive(Debug)]
struct Compactor {
    address: String,
    merges: AtomicU64,
    busy: AtomicU64,
    failures: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    alone_until: Nanos,
}

/// See the module. An engine without any has an empty one.
#[derive(Debug, Default)]
pub struct Compactors {
    secret: Option<Secret>,
    each: Vec<Compactor>,
    // Whose turn it is.
    turn: AtomicUsize,
    written_bytes: AtomicU64,
    returned: AtomicU64,
}

/// How an errand failed.
enum Lost {
    /// Nothing was written under its names: another compactor may be asked.
    Unsent(Option<Error>),
    /// Its names may be taken.
    Sent(Error),
}

impl Compactors {
    /// The compactors at these addresses.
    ///
    /// # Errors
    /// `Invalid` for what is no address.
    pub fn new(addresses: &[String], secret: Secret) -> Result<Self> {
        if addresses.len() > COMPACTORS_MAX {
            let what = format!("{} compactors: name {COMPACTORS_MAX} at most", addresses.len());
            return Err(Error::invalid(what));
        }
        for address in addresses {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                let what = format!("{address} is no address of a compactor: use HOST:PORT");
                return Err(Error::invalid(what));
            }
        }
        let compactor = |address: &String| Compactor {
            address: address.clone(),
            merges: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            state: Mutex::default(),
        };
        let each = addresses.iter().map(compactor).collect();
        Ok(Self { secret: Some(secret), each, ..Self::default() })
    }

    /// True without compactors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// What they did so far.
    #[must_use]
    pub fn statistics(&self) -> CompactorStatistics {
        let now = clock::now();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = |compactor: &Compactor| CompactorCounters {
            address: compactor.address.clone(),
            merges: get(&compactor.merges),
            busy: get(&compactor.busy),
            failures: get(&compactor.failures),
            alone_ns: locked(&compactor.state).alone_until.saturating_sub(now),
        };
        let each: Vec<_> = self.each.iter().map(counters).collect();
        CompactorStatistics {
            merges: each.iter().map(|compactor| compactor.merges).sum(),
            written_bytes: get(&self.written_bytes),
            returned: get(&self.returned),
            each,
        }
    }

    /// Has a compactor do an errand that merges `bytes`: which one, and its report. `moved` grows
    /// by the bytes that it says it has written, which are no more.
    ///
    /// # Errors
    /// None has done it. If one has begun, the errand's names may be taken.
    pub(crate) async fn send(
        self: &Arc<Self>,
        errand: Vec<u8>,
        bytes: u64,
        moved: Arc<AtomicU64>,
    ) -> Result<(usize, Vec<u8>)> {
        let result = match self.willing(clock::now()) {
            willing if willing.is_empty() => Err(none_took_it()),
            willing => {
                let (this, (sender, outcome)) = (self.clone(), oneshot::channel());
                std::thread::Builder::new()
                    .name("aquifer-errand".to_owned())
                    .spawn(move || sender.send(this.ask(&willing, &errand, bytes, &moved)))
                    .map_err(|cause| sys::no_thread("sending a merge to a compactor", &cause))?;
                let broken = || Error::new(ErrorKind::Poisoned, "an errand panicked; report it");
                outcome.await.unwrap_or_else(|_| Err(broken()))
            }
        };
        if result.is_err() {
            self.returned.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Takes note of what a store made of a report.
    pub(crate) fn settle(&self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted(by, bytes) => {
                self.each[by].merges.fetch_add(1, Ordering::Relaxed);
                self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
                *locked(&self.each[by].state) = State::default();
            }
            Verdict::Rejected(by, error) => {
                self.returned.fetch_add(1, Ordering::Relaxed);
                self.each[by].failed(&error, 0);
            }
        }
    }

    // Those that are to be asked, in turn.
    fn willing(&self, now: Nanos) -> Vec<usize> {
        let count = self.each.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let order = (0..count).map(|at| (first % count + at) % count);
        order.filter(|&at| locked(&self.each[at].state).alone_until <= now).collect()
    }

    fn ask(
        &self,
        willing: &[usize],
        errand: &[u8],
        bytes: u64,
        moved: &AtomicU64,
    ) -> Result<(usize, Vec<u8>)> {
        let first_asked = clock::now();
        for &at in willing {
            let (compactor, asked) = (&self.each[at], clock::now());
            // However many there are, the store does not wait for all of them one by one.
            if asked - first_asked >= COMPACTOR_GREETING_MS * MS {
                break;
            }
            let failed = |error| compactor.failed(error, clock::now() - asked);
            match self.ask_one(&compactor.address, errand, bytes, moved) {
                Ok(report) => return Ok((at, report)),
                Err(Lost::Unsent(None)) => drop(compactor.busy.fetch_add(1, Ordering::Relaxed)),
                Err(Lost::Unsent(Some(error))) => failed(&error),
                Err(Lost::Sent(error)) => {
                    failed(&error);
                    return Err(error);
                }
            }
        }
        Err(none_took_it())
    }

    fn ask_one(
        &self,
        address: &str,
        errand: &[u8],
        bytes: u64,
        moved: &AtomicU64,
    ) -> std::result::Result<Vec<u8>, Lost> {
        let secret = self.secret.as_ref().expect("there are compactors");
        let greeted = clock::now() + COMPACTOR_GREETING_MS * MS;
        let begin = || {
            let mut wire = Wire::connect(address, secret, greeted)?;
            match Report::decode(&wire.receive(greeted)?)? {
                Report::Ready => Ok(wire),
                _ => Err(out_of_turn()),
            }
        };
        let mut wire = begin().map_err(|error| Lost::Unsent(Some(error)))?;
        let report = wire.send(errand, greeted).and_then(|()| {
            let deadline = clock::now().saturating_add(patience(bytes));
            report_until(&mut wire, deadline, (bytes, moved))
        });
        wire.close();
        match report {
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(Lost::Unsent(None)),
            Err(error) => Err(Lost::Sent(error)),
        }
    }
}

impl Compactor {
    // The failure held up a merge for so long.
    fn failed(&self, error: &Error, lost: Nanos) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut state = locked(&self.state);
        let doublings = state.failures_in_a_row.min(COMPACTOR_ALONE_DOUBLINGS_MAX);
        let alone = lost.max(COMPACTOR_ALONE_MS * MS) << doublings;
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        state.alone_until = clock::now() + alone;
        log::warn!(
            "compactor {}: {}; its merge runs here, and it is left alone for {} s",
            self.address,
            error.text,
            alone / (1000 * MS)
        );
    }
}

// The report that ends an errand of so many bytes; `None` if the compactor has no place for it.
fn report_until(
    wire: &mut Wire,
    deadline: Nanos,
    (bytes, moved): (u64, &AtomicU64),
) -> Result<Option<Vec<u8>>> {
    let mut written = 0;
    loop {
        let report = wire.receive(clock::now() + COMPACTOR_SILENT_MS * MS)?;
        match Report::decode(&report)? {
            Report::Busy => return Ok(None),
            Report::Progress(now) => {
                let now = now.clamp(written, bytes.max(written));
                moved.fetch_add(now - written, Ordering::Relaxed);
                written = now;
            }
            Report::Done(_) => return Ok(Some(report)),
            Report::Failed(why) => return Err(Error::new(ErrorKind::Io, why)),
            Report::Ready => return Err(out_of_turn()),
        }
        if clock::now() >= deadline {
            return Err(Error::new(
                ErrorKind::Io,
                "it has not ended a merge in time: see that its machine and its way to the DFS are \
                 not overloaded",
            ));
        }
    }
}

// How long a merge of so many bytes may take.
fn patience(bytes: u64) -> Nanos {
    ERRAND_BASE_NS.saturating_add((bytes >> 20).saturating_mul(ERRAND_MIB_NS))
}

fn none_took_it() -> Error {
    Error::new(ErrorKind::Io, "no compactor takes a merge at the moment")
}

fn out_of_turn() -> Error {
    Error::corrupt("it spoke out of turn: run engine and compactor from the same release")
}

#[cfg(test)]
#[path = "compactors_tests.rs"]
mod tests;
