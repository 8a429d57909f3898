//! The workloads `restore` and `rescale`: the engine is dropped, opened from its last checkpoint,
//! as one store or as several, and read while its memory is still empty.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::checkpoint;
use super::report::{RescaleReport, RestoreReport};
use super::runner::{Runner, Watch};
use super::target::Target;

/// What every request takes longer in the opening that counts round trips: much more than all the
/// work of an opening, and the noise of a busy machine.
const SLOW: Duration = Duration::from_millis(200);
const SLICE_S: f64 = 1.0;

/// An engine that was just opened from its last checkpoint and has answered one read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// Until the engine served.
    open: Duration,
    /// From the same start until the first read was answered.
    first_read: Duration,
    /// Requests to the distributed store by then.
    requests: u64,
    /// Of these, the longest chain in which each waited for the one before.
    round_trips: u64,
}

/// Opens the engine from its last checkpoint as so many stores, twice. `read_one` reads one record.
///
/// Round trips are measured, not modelled: the first opening is one in which every request takes
/// [`SLOW`] longer, so what it takes longer than the second, in units of `SLOW`, is the number of
/// requests that waited for one another.
pub(super) fn open(
    target: &mut dyn Target,
    stores: u32,
    read_one: &mut dyn FnMut(&mut dyn Target) -> Result<()>,
) -> Result<Opened> {
    let slow = open_once(target, stores, SLOW, read_one)?;
    let opened = open_once(target, stores, Duration::ZERO, read_one)?;
    let waited = slow.first_read.saturating_sub(opened.first_read);
    let round_trips = (waited.as_secs_f64() / SLOW.as_secs_f64()).round() as u64;
    // A stall of the machine is no round trip.
    Ok(Opened { round_trips: round_trips.min(opened.requests), ..opened })
}

fn open_once(
    target: &mut dyn Target,
    stores: u32,
    latency: Duration,
    read_one: &mut dyn FnMut(&mut dyn Target) -> Result<()>,
) -> Result<Opened> {
    checkpoint::of(target)?.close();
    let begun = Instant::now();
    let opened = checkpoint::of(target)?.open_last(stores, latency);
    opened.context("the last checkpoint does not open")?;
    let open = begun.elapsed();
    read_one(target).context("the first read")?;
    let first_read = begun.elapsed();
    let requests = checkpoint::of(target)?.dfs_reads();
    Ok(Opened { open, first_read, requests, round_trips: 0 })
}

/// Reads for `seconds`; the rate of every second, the last one perhaps shorter.
pub(super) fn read(runner: &mut Runner<'_>, watch: &Watch<'_>, seconds: f64) -> Result<Vec<f64>> {
    let mut curve = Vec::new();
    let mut left = seconds;
    while left > 0.0 {
        let (begun, from) = (Instant::now(), runner.completed());
        runner.run_for(Some(left.min(SLICE_S)), watch)?;
        curve.push((runner.completed() - from) as f64 / begun.elapsed().as_secs_f64());
        left -= SLICE_S;
    }
    Ok(curve)
}

impl Opened {
    pub(super) fn report(&self, state_bytes: u64, curve: Vec<f64>) -> RestoreReport {
        RestoreReport {
            state_bytes,
            open_ms: self.open.as_secs_f64() * 1e3,
            first_read_ms: self.first_read.as_secs_f64() * 1e3,
            dfs_requests_before_first_read: self.requests,
            dfs_round_trips_before_first_read: self.round_trips,
            ops_per_s_curve: curve,
        }
    }
}

/// From so many stores to so many others.
pub(super) struct Step {
    from: u32,
    to: u32,
    stored_bytes_before: u64,
    opened: Opened,
}

impl Step {
    /// Opens the engine, which was `from` stores at its last checkpoint, as `to` stores.
    pub(super) fn begin(
        target: &mut dyn Target,
        (from, to): (u32, u32),
        read_one: &mut dyn FnMut(&mut dyn Target) -> Result<()>,
    ) -> Result<Self> {
        let stored_bytes_before = checkpoint::of(target)?.stored_bytes()?;
        let opened = open(target, to, read_one)?;
        Ok(Self { from, to, stored_bytes_before, opened })
    }

    /// The checkpoint of the new stores takes the place of the old one.
    pub(super) fn end(self, target: &mut dyn Target) -> Result<RescaleReport> {
        let bytes_copied = checkpoint::of(target)?.hand_over()?;
        let Opened { open, first_read, requests, round_trips } = self.opened;
        Ok(RescaleReport {
            from: self.from,
            to: self.to,
            open_ms: open.as_secs_f64() * 1e3,
            first_read_ms: first_read.as_secs_f64() * 1e3,
            bytes_copied,
            stored_bytes_before: self.stored_bytes_before,
            stored_bytes_after: checkpoint::of(target)?.stored_bytes()?,
            dfs_requests_before_first_read: requests,
            dfs_round_trips_before_first_read: round_trips,
        })
    }
}

/// Makes one store of them all again.
pub(super) fn join(target: &mut dyn Target) -> Result<()> {
    let engine = checkpoint::of(target)?;
    engine.close();
    engine.open_last(1, Duration::ZERO).context("the last checkpoints do not open as one")?;
    engine.hand_over().map(drop)
}
