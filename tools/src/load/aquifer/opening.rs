//! How the engine is opened, and opened again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use aquifer::io::dfs::Dfs;
use aquifer::io::url::without_faults;
use aquifer::shard::engine::{Config, Engine, ShardThread, SsdConfig, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::statistics::Statistics;
use aquifer::state::request::StoreId;
use aquifer::state::{MapState, StateKind, StateTable, ValueState};

use crate::io::Io;
use crate::load::options::Driver;
use crate::load::session::Setup;
use crate::statistics::Watch;

/// Maximal parallelism of the store: Flink's default.
pub(super) const KEY_GROUPS: u32 = 128;

const STATE: &str = "value";

/// An engine that serves.
pub(super) struct Live {
    // Dropped before the engine.
    pub(super) session: Session,
    pub(super) engine: Engine,
    pub(super) store: StoreId,
    pub(super) home: Home,
}

/// Where the records live.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// A record is the value of its key.
    Values(ValueState),
    /// A record is an entry of a map.
    Maps(MapState),
}

impl Live {
    /// What the engine did and holds as of now.
    pub(super) fn statistics(&self) -> Statistics {
        let mut all = self.engine.statistics();
        // A shard that is gone has said so to `poll`.
        if let Ok(shard) = self.session.statistics() {
            all.shards = vec![shard];
        }
        all
    }
}

/// What does not change from one opening to the next.
pub(super) struct Opening {
    pub(super) dfs: String,
    pub(super) memory_bytes: u64,
    /// Where the handle of the last checkpoint is kept.
    pub(super) handle_file: PathBuf,
    driver: Driver,
    ssd: Option<SsdConfig>,
    io: Io,
    maps: bool,
    watch: Watch,
}

impl Opening {
    pub(super) fn of(setup: &Setup) -> Result<Self> {
        // The path of a url is absolute, `--dir` need not be.
        let dir = std::path::absolute(&setup.dir).context("--dir")?;
        let in_dir = || format!("file://{}/dfs", dir.display());
        Ok(Self {
            dfs: setup.args.dfs.clone().unwrap_or_else(in_dir),
            memory_bytes: setup.memory_bytes,
            handle_file: setup.dir.join("aquifer.handle"),
            driver: setup.args.driver,
            ssd: Some(setup.args.ssd)
                .filter(|&bytes| bytes > 0)
                .map(|bytes| SsdConfig::new(setup.dir.join("ssd"), bytes)),
            io: setup.args.io,
            maps: setup.data.maps,
            watch: Watch::start(setup.args.metrics_addr)?,
        })
    }

    /// Opens the engine and its store, empty or from a handle.
    pub(super) fn open(&self, handle: Option<&[u8]>, latency: Duration) -> Result<Live> {
        let engine = Engine::open(Config {
            memory_bytes: usize::try_from(self.memory_bytes)?,
            thread: match self.driver {
                Driver::Inline => ShardThread::Inline,
                Driver::Owned => ShardThread::Owned,
            },
            io: self.io.into(),
            statistics_page: self.watch.page(),
            ssd: self.ssd.clone(),
            ..Config::new(slower(&self.dfs, latency))
        })?;
        self.watch.follow(&engine);
        let mut session = engine.session(0)?;
        let mut states = StateTable::default();
        let kind = if self.maps { StateKind::Map } else { StateKind::Value };
        states.declare(STATE, kind)?;
        let handles = handle.map(<[u8]>::to_vec).into_iter().collect();
        let config = StoreConfig { states, handles, ..StoreConfig::new(1, KEY_GROUPS) };
        let (store, states) = session.open_store(config)?;
        let home = match self.maps {
            true => Home::Maps(states.map(store, STATE)?),
            false => Home::Values(states.value(store, STATE)?),
        };
        Ok(Live { session, engine, store, home })
    }

    /// The distributed store for looks that are not the engine's, so that its counters and faults
    /// stay out of them.
    pub(super) fn dfs_aside(&self) -> Result<Dfs> {
        Dfs::open(&without_faults(&self.dfs)).context("the distributed store")
    }
}

/// The url with `latency` for every request; of two latencies in a url the last one counts.
fn slower(url: &str, latency: Duration) -> String {
    if latency.is_zero() {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}latency={}ms", latency.as_millis())
}

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
