//! The face of the engine: one per process and configuration.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::io::dfs::Dfs;
use crate::io::uring::RingMode;
use crate::io::{clock, entropy};
use crate::limits::STATISTICS_WAIT_MS;
use crate::shard::driver::{self, Driver};
use crate::shard::owned::OwnedShard;
use crate::shard::page::StatisticsPage;
use crate::shard::session::{Session, Side, unexpected};
use crate::shard::statistics::{SCHEMA, Slot, Statistics};
use crate::shard::values::{ControlOp, ControlResult, OpenStore};
use crate::state::StateTable;
use crate::state::request::StoreId;
use crate::types::{Error, Incarnation, Nanos, Result};

/// Which thread runs a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardThread {
    /// A thread of the engine's.
    Owned,
    /// The host's, inside `poll`: a session is the shard.
    Inline,
}

/// How to open an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// All memory the engine may use, bytes, shared evenly by its shards.
    pub memory_bytes: usize,
    /// The DFS that is the home of the state: `file:///path`, a path, `memory://name`, with
    /// `?latency=2ms&fail=0.01` for tests.
    pub dfs: String,
    /// Shards; one per core that the host gives the engine.
    pub shards: usize,
    /// Which thread runs them.
    pub thread: ShardThread,
    /// A file in which the engine keeps its statistics as JSON, for tools like `aquifer top`:
    /// replaced as a whole twice a second by a thread of its own, removed when the engine is
    /// dropped, readable for its owner alone. Its folder must exist.
    pub statistics_page: Option<PathBuf>,
}

/// A store to open.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The host's number of the store (the operator subtask), the same in all its incarnations.
    pub number: u64,
    /// The host's attempt or epoch; any number, for people who read object names.
    pub host_epoch: u64,
    /// Maximal parallelism.
    pub key_groups: u32,
    /// First and last key group of the store.
    pub range: (u16, u16),
    /// Its states. A restored store has those of the checkpoint too.
    pub states: StateTable,
    /// Handle of the checkpoint to start from.
    pub handle: Option<Vec<u8>>,
}

/// The engine.
pub struct Engine {
    config: Config,
    dfs: Dfs,
    // Goes before the shards that it asks.
    _page: Option<StatisticsPage>,
    owned: Vec<OwnedShard>,
    source: StatisticsSource,
}

/// Gives the statistics of an engine, to any thread. It may outlive the engine, and then gives
/// the last ones.
#[derive(Clone)]
pub struct StatisticsSource {
    shared: Arc<Source>,
}

struct Source {
    opened_at: Nanos,
    budget_bytes: usize,
    dfs: Dfs,
    // By shard; an inline one has none before its session.
    slots: Mutex<Vec<Option<Arc<Slot>>>>,
    // The shards have threads of their own, which answer at once.
    owned: bool,
}

impl StatisticsSource {
    /// What the engine did and holds. Shards on threads of their own are asked for it, and have a
    /// tenth of a second to answer. An inline shard is asked too, and not waited for, since it may
    /// be the caller's: it answers at its next turn, and until then gives what it last published,
    /// which `age_ns` tells.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let source = &*self.shared;
        let slots: Vec<Arc<Slot>> = source.slots().iter().flatten().cloned().collect();
        slots.iter().for_each(|slot| slot.ask());
        let deadline = clock::now() + STATISTICS_WAIT_MS * 1_000_000;
        while source.owned && slots.iter().any(|s| s.is_asked()) && clock::now() < deadline {
            std::thread::sleep(Duration::from_micros(50));
        }
        let now = clock::now();
        Statistics {
            schema: SCHEMA.to_owned(),
            process_id: std::process::id(),
            uptime_ns: now - source.opened_at,
            budget_bytes: source.budget_bytes as u64,
            shards: slots.iter().map(|slot| slot.read(now)).collect(),
            dfs: source.dfs.counters(),
            executors: driver::executor_counters(),
        }
    }
}

impl Source {
    fn slots(&self) -> MutexGuard<'_, Vec<Option<Arc<Slot>>>> {
        // Its changes are single assignments.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Opens the engine: its DFS, and its threads if it owns them.
    ///
    /// # Errors
    /// `Invalid` for a bad configuration, `Unsupported` where io_uring is forbidden; a statistics
    /// page that cannot be written.
    pub fn open(config: Config) -> Result<Self> {
        if config.shards == 0 {
            return Err(Error::invalid("an engine has at least one shard"));
        }
        let dfs = Dfs::open(&config.dfs)?;
        let memory_bytes = config.memory_bytes / config.shards;
        let mut owned = Vec::new();
        if config.thread == ShardThread::Owned {
            for index in 0..config.shards {
                owned.push(OwnedShard::start(index, memory_bytes, dfs.clone())?);
            }
        }
        let mut slots: Vec<_> = owned.iter().map(|shard| Some(Arc::clone(shard.slot()))).collect();
        slots.resize(config.shards, None);
        let source = Source {
            opened_at: clock::now(),
            budget_bytes: config.memory_bytes,
            dfs: dfs.clone(),
            slots: Mutex::new(slots),
            owned: config.thread == ShardThread::Owned,
        };
        let source = StatisticsSource { shared: Arc::new(source) };
        let page = config.statistics_page.as_deref();
        let page = page.map(|path| StatisticsPage::start(path, source.clone())).transpose()?;
        Ok(Self { config, dfs, _page: page, owned, source })
    }

    /// What the engine did and holds; see [`StatisticsSource::statistics`].
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.source.statistics()
    }

    /// Gives the same to other threads.
    #[must_use]
    pub fn statistics_source(&self) -> StatisticsSource {
        self.source.clone()
    }

    /// A session to a shard. An inline shard has exactly one: the session is the shard, and
    /// dropping it drops the shard.
    ///
    /// # Errors
    /// `Invalid` for a shard that does not exist or has its session already.
    pub fn session(&self, shard: usize) -> Result<Session> {
        if shard >= self.config.shards {
            return Err(Error::invalid(format!(
                "shard {shard} of {}; shards count from 0",
                self.config.shards
            )));
        }
        if let Some(owned) = self.owned.get(shard) {
            return Ok(Session::new(Side::Owned(owned.connect())));
        }
        let slot = &mut self.source.shared.slots()[shard];
        if slot.is_some() {
            return Err(Error::invalid(format!(
                "the inline shard {shard} has its session; take one to another shard, or open the \
                 engine with more"
            )));
        }
        let memory_bytes = self.config.memory_bytes / self.config.shards;
        let driver = Driver::open(RingMode::Inline, shard, memory_bytes, self.dfs.clone())?;
        *slot = Some(Arc::clone(driver.slot()));
        Ok(Session::new(Side::Inline(Box::new(driver))))
    }
}

impl Session {
    /// Opens a store on this session's shard, and waits until it serves.
    ///
    /// # Errors
    /// A bad configuration, a handle that is not whole, objects that are missing or damaged.
    pub fn open_store(&mut self, config: StoreConfig) -> Result<(StoreId, StateTable)> {
        let open = OpenStore {
            number: config.number,
            incarnation: Incarnation { host_epoch: config.host_epoch, nonce: entropy::nonce()? },
            seed: entropy::seed()?,
            key_groups: config.key_groups,
            range: config.range,
            states: config.states,
            handle: config.handle,
        };
        match self.run_control(ControlOp::Open(Box::new(open)))? {
            ControlResult::Opened(store, states) => Ok((store, states)),
            other => Err(unexpected(&other)),
        }
    }
}
