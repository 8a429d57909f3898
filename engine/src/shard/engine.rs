//! The face of the engine: one per process and configuration.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::io::clock;
use crate::io::dfs::Dfs;
use crate::io::entropy;
use crate::io::uring::RingMode;
use crate::limits::CLOSE_LOOK_MS;
use crate::shard::driver::Driver;
use crate::shard::owned::OwnedShard;
use crate::shard::session::{Session, Side, unexpected};
use crate::shard::values::{ControlOp, ControlResult, OpenStore};
use crate::state::StateTable;
use crate::state::request::StoreId;
use crate::types::error::ErrorKind;
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
    owned: Vec<OwnedShard>,
    inline_opened: AtomicUsize,
}

impl Engine {
    /// Opens the engine: its DFS, and its threads if it owns them.
    ///
    /// # Errors
    /// `Invalid` for a bad configuration, `Unsupported` where io_uring is forbidden.
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
        Ok(Self { config, dfs, owned, inline_opened: AtomicUsize::new(0) })
    }

    /// Ends the engine's threads, and waits for that no longer than `patience`. Requests that are
    /// in flight take effect or not; sessions that wait for them get an error. Inline shards are
    /// their sessions', which the host drops.
    ///
    /// # Errors
    /// `Io`: a thread has not ended, for the kernel does not answer it. It is left to itself.
    pub fn close(mut self, patience: Duration) -> Result<()> {
        let deadline = clock::now().saturating_add(patience.as_nanos() as Nanos);
        self.owned.iter().for_each(OwnedShard::stop);
        while clock::now() < deadline && !self.owned.iter().all(OwnedShard::has_ended) {
            std::thread::sleep(Duration::from_millis(CLOSE_LOOK_MS));
        }
        let count = self.owned.len();
        let stuck: Vec<_> = self.owned.drain(..).filter(|shard| !shard.has_ended()).collect();
        if stuck.is_empty() {
            return Ok(());
        }
        let error = Error::new(
            ErrorKind::Io,
            format!(
                "{} of {count} shards have not ended within {patience:?}: a disk or file system \
                 does not answer them; their threads are left to themselves",
                stuck.len()
            ),
        );
        stuck.into_iter().for_each(OwnedShard::abandon);
        Err(error)
    }

    /// The DFS, for its counters.
    #[must_use]
    pub fn dfs(&self) -> &Dfs {
        &self.dfs
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
            return Ok(Session::new(Side::Owned(owned.connect()?)));
        }
        if self.inline_opened.fetch_add(1, Ordering::Relaxed) >= self.config.shards {
            return Err(Error::invalid(
                "every inline shard of this engine has its session; open it with more shards",
            ));
        }
        let memory_bytes = self.config.memory_bytes / self.config.shards;
        let driver = Driver::open(RingMode::Inline, memory_bytes, self.dfs.clone())?;
        Ok(Session::new(Side::Inline(Box::new(driver))))
    }
}

/// The control request that opens a store, under names that were never used.
///
/// # Errors
/// The kernel gives no random numbers.
pub fn opening(config: StoreConfig) -> Result<ControlOp> {
    Ok(ControlOp::Open(Box::new(OpenStore {
        number: config.number,
        incarnation: Incarnation { host_epoch: config.host_epoch, nonce: entropy::nonce()? },
        seed: entropy::seed()?,
        key_groups: config.key_groups,
        range: config.range,
        states: config.states,
        handle: config.handle,
    })))
}

impl Session {
    /// Opens a store on this session's shard, and waits until it serves.
    ///
    /// # Errors
    /// A bad configuration, a handle that is not whole, objects that are missing or damaged.
    pub fn open_store(&mut self, config: StoreConfig) -> Result<(StoreId, StateTable)> {
        match self.run_control(opening(config)?)? {
            ControlResult::Opened(store, states) => Ok((store, states)),
            other => Err(unexpected(&other)),
        }
    }
}
