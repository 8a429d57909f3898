//! The workloads: what share of their operations reads, writes or does both.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::dist::{Dist, YCSB_DIST};
use super::rng::Rng;

/// One workload of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Workload {
    /// Put of every key once, then background work drained.
    Load,
    /// Get of keys that exist.
    Get,
    /// Get of keys that do not exist.
    GetAbsent,
    /// Blind updates.
    Put,
    /// Get, change, put of one key.
    Rmw,
    /// Half reads, half updates.
    YcsbA,
    /// 95 % reads, 5 % updates.
    YcsbB,
    /// Reads only.
    YcsbC,
    /// 95 % reads of what was inserted last, 5 % inserts.
    YcsbD,
    /// 95 % scans of short ranges of a map, 5 % inserts.
    YcsbE,
    /// Half reads, half read-modify-writes.
    YcsbF,
    /// Blind updates, and checkpoints while they go on.
    Checkpoint,
    /// Drop the engine, open it from its last checkpoint, read.
    Restore,
    /// The same with other numbers of stores, one after the other; each time all records are read.
    Rescale,
}

const ALL: [(Workload, &str); 14] = [
    (Workload::Load, "load"),
    (Workload::Get, "get"),
    (Workload::GetAbsent, "get-absent"),
    (Workload::Put, "put"),
    (Workload::Rmw, "rmw"),
    (Workload::YcsbA, "ycsb-a"),
    (Workload::YcsbB, "ycsb-b"),
    (Workload::YcsbC, "ycsb-c"),
    (Workload::YcsbD, "ycsb-d"),
    (Workload::YcsbE, "ycsb-e"),
    (Workload::YcsbF, "ycsb-f"),
    (Workload::Checkpoint, "checkpoint"),
    (Workload::Restore, "restore"),
    (Workload::Rescale, "rescale"),
];

impl Workload {
    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(workload, _)| *workload == self).map_or("", |(_, name)| name)
    }

    /// Whether any of its operations writes.
    pub fn writes(self) -> bool {
        self.mix().reads < 1.0
    }

    /// Whether it needs an engine with checkpoints.
    pub fn checkpoints(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Restore | Self::Rescale)
    }

    /// The distribution it uses: the one asked for, else what its definition says.
    pub fn dist(self, asked: Option<Dist>) -> Dist {
        let own = match self {
            Self::Load | Self::Rescale => return Dist::Sequential,
            Self::YcsbA | Self::YcsbB | Self::YcsbC | Self::YcsbE | Self::YcsbF => YCSB_DIST,
            Self::YcsbD => Dist::Latest,
            Self::Get | Self::GetAbsent | Self::Put | Self::Rmw => Dist::Uniform,
            Self::Checkpoint | Self::Restore => Dist::Uniform,
        };
        asked.unwrap_or(own)
    }

    pub(super) fn mix(self) -> Mix {
        let (reads, other) = match self {
            Self::Load | Self::Put | Self::Checkpoint => (0.0, Kind::Put),
            Self::Rmw => (0.0, Kind::Rmw),
            Self::Get | Self::GetAbsent | Self::YcsbC | Self::Restore | Self::Rescale => {
                (1.0, Kind::Get)
            }
            Self::YcsbA => (0.5, Kind::Put),
            Self::YcsbB => (0.95, Kind::Put),
            Self::YcsbD | Self::YcsbE => (0.95, Kind::Insert),
            Self::YcsbF => (0.5, Kind::Rmw),
        };
        let read = if self == Self::YcsbE { Kind::Scan } else { Kind::Get };
        Mix { read, reads, other }
    }
}

/// What a workload draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A read of a record.
    Get,
    /// A read of a record and of some that follow it.
    Scan,
    /// A new version of a record.
    Put,
    /// A changed version of a record.
    Rmw,
    /// A new record.
    Insert,
}

/// The kinds of a workload's operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    /// What its reads are.
    read: Kind,
    /// Their share.
    reads: f64,
    /// What the rest is.
    other: Kind,
}

impl Mix {
    #[inline]
    pub(super) fn sample(self, rng: &mut Rng) -> Kind {
        let read = self.reads >= 1.0 || (self.reads > 0.0 && rng.unit() < self.reads);
        if read { self.read } else { self.other }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ALL.iter().find(|(_, name)| *name == text).map(|(workload, _)| *workload).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|(_, name)| *name).collect();
            format!("this build has no workload '{text}'; it has {}", names.join(", "))
        })
    }
}

crate::as_text!(Workload);

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
