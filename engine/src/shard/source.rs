//! Where the statistics of an engine come from.

use std::sync::Arc;
use std::time::Duration;

use crate::io::clock;
use crate::io::dfs::Dfs;
use crate::limits::{STATISTICS_LOOK_US, STATISTICS_WAIT_MS};
use crate::shard::compactors::Compactors;
use crate::shard::driver;
use crate::shard::statistics::{SCHEMA, Slot, Statistics};
use crate::types::Nanos;

/// Gives the statistics of an engine, to any thread. It may outlive the engine, and then gives
/// the last ones.
#[derive(Clone)]
pub struct StatisticsSource {
    shared: Arc<Source>,
}

/// What they are made of.
pub(super) struct Source {
    pub opened_at: Nanos,
    pub budget_bytes: usize,
    pub dfs: Dfs,
    pub compactors: Arc<Compactors>,
    /// By shard.
    pub slots: Vec<Arc<Slot>>,
    /// The shards have threads of their own, which answer at once.
    pub owned: bool,
}

impl StatisticsSource {
    pub(super) fn new(source: Source) -> Self {
        Self { shared: Arc::new(source) }
    }

    /// The DFS of the engine.
    pub(super) fn dfs(&self) -> &Dfs {
        &self.shared.dfs
    }

    /// What the engine did and holds. Shards on threads of their own are asked for it, and have a
    /// tenth of a second to answer. An inline shard is asked too, and not waited for, since it may
    /// be the caller's: it answers at its next turn, and until then gives what it last published,
    /// which `age_ns` tells.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let source = &*self.shared;
        source.slots.iter().for_each(|slot| slot.ask());
        let deadline = clock::now() + STATISTICS_WAIT_MS * 1_000_000;
        let asked = || source.slots.iter().any(|slot| slot.is_asked());
        while source.owned && asked() && clock::now() < deadline {
            std::thread::sleep(Duration::from_micros(STATISTICS_LOOK_US));
        }
        let now = clock::now();
        Statistics {
            schema: SCHEMA.to_owned(),
            process_id: std::process::id(),
            uptime_ns: now - source.opened_at,
            budget_bytes: source.budget_bytes as u64,
            shards: source.slots.iter().map(|slot| slot.read(now)).collect(),
            dfs: source.dfs.counters(),
            compactors: source.compactors.statistics(),
            executors: driver::executor_counters(),
        }
    }
}
