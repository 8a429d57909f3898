//! When operations start: as soon as there is room (closed loop), or at a fixed rate (open loop).

use std::time::Duration;

/// The pace of one phase. Times are nanoseconds since the runner's start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// The next batch starts when a whole one has room.
    Closed,
    /// Operation `n` starts at `origin_ns + n * period_ns`, whether the engine keeps up or not.
    Open { origin_ns: u64, period_ns: f64, started: u64 },
}

impl Pace {
    pub(super) fn new(rate_per_s: Option<u64>, now_ns: u64) -> Self {
        match rate_per_s {
            None => Self::Closed,
            Some(rate) => {
                Self::Open { origin_ns: now_ns, period_ns: 1e9 / rate as f64, started: 0 }
            }
        }
    }

    /// How many operations to start now, given the room, and the size of a batch.
    #[inline]
    pub(super) fn due(&self, now_ns: u64, room: usize, batch: usize) -> usize {
        match self {
            Self::Closed => {
                if room >= batch {
                    batch
                } else {
                    0
                }
            }
            Self::Open { started, .. } => {
                let due = self.intended_by(now_ns).saturating_sub(*started);
                usize::try_from(due).unwrap_or(usize::MAX).min(room).min(batch)
            }
        }
    }

    /// Takes the next operation's place and returns its start.
    #[inline]
    pub(super) fn start(&mut self, now_ns: u64) -> u64 {
        match self {
            Self::Closed => now_ns,
            Self::Open { origin_ns, period_ns, started } => {
                let intended_ns = *origin_ns + (*started as f64 * *period_ns) as u64;
                *started += 1;
                intended_ns
            }
        }
    }

    /// How long nothing needs to start; `None` in a closed loop, where only a completion makes
    /// room.
    pub(super) fn idle(&self, now_ns: u64) -> Option<Duration> {
        match self {
            Self::Closed => None,
            Self::Open { origin_ns, period_ns, started } => {
                let next_ns = *origin_ns + (*started as f64 * period_ns) as u64;
                Some(Duration::from_nanos(next_ns.saturating_sub(now_ns)))
            }
        }
    }

    /// Operations of an open loop whose start has come.
    fn intended_by(&self, now_ns: u64) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open { origin_ns, period_ns, .. } => {
                ((now_ns.saturating_sub(*origin_ns)) as f64 / period_ns) as u64 + 1
            }
        }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
