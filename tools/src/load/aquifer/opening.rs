//! How the engine is opened, and opened again.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aquifer::io::dfs::Dfs;
use aquifer::io::url::without_faults;
use aquifer::shard::engine::{Config, Engine, ShardThread, SsdConfig, StoreConfig, opening};
use aquifer::shard::session::Session;
use aquifer::shard::statistics::Statistics;
use aquifer::shard::values::ControlResult;
use aquifer::state::request::{Completions, StoreId};
use aquifer::state::{Key, MapState, StateKind, StateTable, ValueState};
use aquifer::types::ObjectKind;

use crate::compactor::Compactors;
use crate::io::Io;
use crate::load::options::{Driver, KEY_GROUPS};
use crate::load::session::Setup;
use crate::statistics::Watch;

const STATE: &str = "value";

/// An engine that serves.
pub(super) struct Live {
    // Dropped before the engine.
    pub(super) session: Session,
    pub(super) engine: Engine,
    /// One, but in the middle of a rescale. Each has its part of the key groups, in their order.
    pub(super) stores: Vec<StoreId>,
    pub(super) home: Home,
}

/// Where the records live: a state of each store.
#[derive(Clone)]
pub(super) enum Home {
    /// A record is the value of its key.
    Values(Vec<ValueState>),
    /// A record is an entry of a map.
    Maps(Vec<MapState>),
}

/// Of states, one of each store, the one that a key belongs to.
#[inline]
pub(super) fn state_of<T: Copy>(states: &[T], key: &Key<'_>) -> T {
    states[usize::from(key.group) * states.len() / KEY_GROUPS as usize]
}

/// First and last key group of the store `at` of `count`: those for which [`state_of`] takes it.
fn range_of(at: u32, count: u32) -> (u16, u16) {
    let first = |at: u32| (at * KEY_GROUPS).div_ceil(count);
    (first(at) as u16, (first(at + 1) - 1) as u16)
}

impl Live {
    /// The store, where there is one.
    pub(super) fn store(&self) -> StoreId {
        self.stores[0]
    }

    /// The state of the one store whose records are values.
    pub(super) fn value(&self) -> Option<ValueState> {
        match &self.home {
            Home::Values(states) if states.len() == 1 => states.first().copied(),
            _ => None,
        }
    }

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
    hedge: bool,
    io: Io,
    maps: bool,
    /// Stores at most.
    stores_max: u32,
    compactors: Compactors,
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
            hedge: setup.args.hedge,
            io: setup.args.io,
            maps: setup.data.maps,
            stores_max: setup.args.to.iter().copied().max().unwrap_or(1),
            compactors: setup.args.compactors.clone(),
            watch: Watch::start(setup.args.metrics_addr)?,
        })
    }

    /// Opens the engine and its stores, empty or from handles.
    pub(super) fn open(&self, handles: &[Vec<u8>], count: u32, latency: Duration) -> Result<Live> {
        let engine = Engine::open(Config {
            memory_bytes: usize::try_from(self.memory_bytes)?,
            thread: match self.driver {
                Driver::Inline => ShardThread::Inline,
                Driver::Owned => ShardThread::Owned,
            },
            io: self.io.into(),
            statistics_page: self.watch.page(),
            ssd: self.ssd.clone(),
            hedge: self.hedge,
            compactors: self.compactors.compactors.clone(),
            compactor_secret_file: self.compactors.secret_file.clone(),
            ..Config::new(slower(&self.dfs, latency))
        })?;
        self.watch.follow(&engine);
        let mut session = engine.session(0)?;
        let opened = self.open_stores(&mut session, handles, count)?;
        let home = self.home(&opened)?;
        let stores = opened.into_iter().map(|(store, _)| store).collect();
        Ok(Live { session, engine, stores, home })
    }

    /// Opens all stores at once, as subtasks of a job do.
    fn open_stores(
        &self,
        session: &mut Session,
        handles: &[Vec<u8>],
        count: u32,
    ) -> Result<Vec<(StoreId, StateTable)>> {
        let mut states = StateTable::default();
        states.declare(STATE, if self.maps { StateKind::Map } else { StateKind::Value })?;
        let mut asked = Vec::new();
        for at in 0..count {
            let config = StoreConfig {
                range: range_of(at, count),
                states: states.clone(),
                handles: handles.to_vec(),
                ..StoreConfig::new(u64::from(at) + 1, KEY_GROUPS)
            };
            asked.push(session.start_control(opening(config)?)?);
        }
        let mut opened = vec![None; asked.len()];
        while opened.iter().any(Option::is_none) {
            session.poll(None, &mut Completions::default())?;
            while let Some(ended) = session.finished_control() {
                let at = asked.iter().position(|number| *number == ended.user_data);
                match (at, ended.result?) {
                    (Some(at), ControlResult::Opened(store, table)) => {
                        opened[at] = Some((store, table));
                    }
                    (_, other) => bail!("the engine answered an opening with {other:?}"),
                }
            }
        }
        Ok(opened.into_iter().flatten().collect())
    }

    fn home(&self, opened: &[(StoreId, StateTable)]) -> Result<Home> {
        let stores = opened.iter();
        Ok(if self.maps {
            Home::Maps(stores.map(|(id, states)| states.map(*id, STATE)).collect::<Result<_, _>>()?)
        } else {
            let states = stores.map(|(id, states)| states.value(*id, STATE));
            Home::Values(states.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps handles, one behind the other, in place of those before.
    pub(super) fn keep(&self, handles: &[u8]) -> Result<()> {
        let file = &self.handle_file;
        let draft = file.with_extension("handle.partial");
        fs::write(&draft, handles)
            .and_then(|()| fs::rename(&draft, file))
            .with_context(|| format!("the handle {} cannot be kept", file.display()))
    }

    /// The distributed store for looks that are not the engine's, so that its counters and faults
    /// stay out of them.
    pub(super) fn dfs_aside(&self) -> Result<Dfs> {
        Dfs::open(&without_faults(&self.dfs)).context("the distributed store")
    }

    /// Bytes of all tables on it.
    pub(super) fn stored_bytes(&self) -> Result<u64> {
        let dfs = self.dfs_aside()?;
        let mut bytes = 0;
        for number in 1..=u64::from(self.stores_max) {
            let listed = dfs.list(number)?;
            let tables = listed.iter().filter(|object| object.name.kind == ObjectKind::Sst);
            bytes += tables.map(|object| object.bytes).sum::<u64>();
        }
        Ok(bytes)
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
