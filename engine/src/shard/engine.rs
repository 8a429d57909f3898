//! The face of the engine: one per process and configuration.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::ssd::Ssd;
use crate::io::dfs::Dfs;
pub use crate::io::host::credentials::Access;
pub use crate::io::read_driver::IoKind;
use crate::io::retry::Patience;
use crate::io::ring_open::RingMode;
pub use crate::io::ssd_file::SsdConfig;
use crate::io::{clock, entropy, wire};
use crate::limits::{CLOSE_LOOK_MS, MEMORY_DEFAULT_BYTES, PATIENCE_NS_DEFAULT, SSD_MEMORY_DIVISOR};
use crate::shard::compactors::Compactors;
use crate::shard::driver::{Driver, Own};
use crate::shard::owned::OwnedShard;
use crate::shard::page::StatisticsPage;
use crate::shard::session::{Session, Side, unexpected};
use crate::shard::source::{Source, StatisticsSource};
use crate::shard::statistics::{Slot, Statistics};
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

/// How an engine shall reach its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// By io_uring where it is allowed, else as `Portable`; the log says why.
    #[default]
    Auto,
    /// By io_uring, or not at all.
    Uring,
    /// By threads that block, which works everywhere and costs more CPU for each cold read.
    Portable,
}

/// How an engine reaches its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// How.
    pub kind: IoKind,
    /// Why so; where io_uring is forbidden, by what, and the remedy.
    pub reason: String,
}

impl IoMode {
    /// Starts something in the way that is asked for, and says in which. Where `Auto` meets that
    /// io_uring is forbidden, the log says so, and what that `costs`.
    pub(super) fn start<T>(
        self,
        costs: &str,
        start: impl Fn(IoKind) -> Result<T>,
    ) -> Result<(T, Io)> {
        let portable = |reason| {
            let kind = IoKind::Portable;
            start(kind).map(|started| (started, Io { kind, reason }))
        };
        if self == Self::Portable {
            return portable("asked for".to_owned());
        }
        match start(IoKind::Uring) {
            Ok(started) => {
                let reason = "io_uring is allowed here".to_owned();
                Ok((started, Io { kind: IoKind::Uring, reason }))
            }
            Err(error) if self == Self::Auto && error.kind == ErrorKind::Unsupported => {
                log::warn!(
                    "{}; until then threads that block read and write instead (io=portable){costs}",
                    error.text
                );
                portable(error.text.to_string())
            }
            Err(error) => Err(error),
        }
    }
}

/// How to open an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// All memory the engine may use, bytes, shared evenly by its shards.
    pub memory_bytes: usize,
    /// The DFS that is the home of the state: `file:///path`, a path, a store such as
    /// `s3://bucket/prefix`, `host://name/path` in a file system that the host lends
    /// (`io::host::FILE_SYSTEMS`), `memory://name`, with `?latency=2ms&fail=0.01` for tests.
    pub dfs: String,
    /// Who the engine is to its store: by default whoever the environment says.
    pub access: Access,
    /// Shards; one per core that the host gives the engine.
    pub shards: usize,
    /// Which thread runs them.
    pub thread: ShardThread,
    /// How it reaches its files.
    pub io: IoMode,
    /// A file in which the engine keeps its statistics as JSON, for tools like `aquifer top`:
    /// replaced as a whole twice a second by a thread of its own, removed when the engine is
    /// dropped, readable for its owner alone. Its folder must exist. Something else than an old
    /// page at its place is refused, and so is the page of an engine that runs.
    pub statistics_page: Option<PathBuf>,
    /// A cache on the local SSD. It may be lost, filled or damaged at any moment: then the DFS
    /// serves. Where it cannot be opened, the engine goes without, and says so in the log.
    pub ssd: Option<SsdConfig>,
    /// Has GETs of a store that take longer than 99 of 100 sent once more, on another connection,
    /// for the first answer to count: at most one request in twenty. Each costs what a request
    /// costs.
    pub hedge: bool,
    /// For how long, from its first failure on, what fails at the DFS for the moment is tried again
    /// before its request fails: ten seconds unless said otherwise, 1 s to a day. The last try
    /// begins within it; one that is not answered at all ends five seconds later, ten beside the
    /// ring. Writes that find no room, checkpoints and drains wait as long for flushes and merges
    /// that fail.
    pub patience: Duration,
    /// Compactors, `host:port` each, that merges are sent to; what none of them does is merged
    /// here. Their DFS is the engine's, under any url.
    pub compactors: Vec<String>,
    /// The file that holds the secret of the compactors; else the environment does
    /// (`wire::SECRET_VARIABLE`).
    pub compactor_secret_file: Option<PathBuf>,
}

impl Config {
    /// One shard on a thread of its own, with `MEMORY_DEFAULT_BYTES`, whose state lives on `dfs`.
    #[must_use]
    pub fn new(dfs: impl Into<String>) -> Self {
        Self {
            memory_bytes: MEMORY_DEFAULT_BYTES,
            dfs: dfs.into(),
            access: Access::Environment,
            shards: 1,
            thread: ShardThread::Owned,
            io: IoMode::Auto,
            statistics_page: None,
            ssd: None,
            hedge: false,
            patience: Duration::from_nanos(PATIENCE_NS_DEFAULT),
            compactors: Vec::new(),
            compactor_secret_file: None,
        }
    }
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
    /// Handles of the checkpoints to start from; none for an empty store. They are of any stores,
    /// with any numbers, and of them the store takes its own key groups, each of which exactly one
    /// must hold. Objects are shared, none is copied.
    pub handles: Vec<Vec<u8>>,
    /// Zero: the host keeps handles, which is the commit. Else, for a job without a coordinator,
    /// the store commits its checkpoints on the DFS itself and keeps so many of the newest. It
    /// begins with the newest that an opening of its number committed, and takes no handles; that
    /// opening commits no more. The DFS must let one of several writers of a name win: an opening
    /// tries it, and is refused where it does not.
    pub keep: usize,
}

impl StoreConfig {
    /// The store `number` of all key groups, empty and without states.
    #[must_use]
    pub fn new(number: u64, key_groups: u32) -> Self {
        Self {
            number,
            host_epoch: 0,
            key_groups,
            // No groups at all are refused when it is opened.
            range: (0, key_groups.saturating_sub(1) as u16),
            states: StateTable::default(),
            handles: Vec::new(),
            keep: 0,
        }
    }
}

/// The engine.
pub struct Engine {
    io: Io,
    // Goes before the shards that it asks.
    _page: Option<StatisticsPage>,
    shards: Shards,
    source: StatisticsSource,
}

enum Shards {
    Owned(Vec<OwnedShard>),
    // Each until its session takes it.
    Inline(Mutex<Vec<Option<Box<Driver>>>>),
}

/// Shards, and where they publish their statistics.
type Opened = (Shards, Vec<Arc<Slot>>);

impl Shards {
    fn open(
        config: &Config,
        dfs: &Dfs,
        compactors: &Arc<Compactors>,
        kind: IoKind,
    ) -> Result<Opened> {
        let memory_bytes = config.memory_bytes / config.shards;
        let share = config.ssd.as_ref().map(|ssd| ssd_share(ssd, config.shards, memory_bytes));
        let ssd_bytes = share.transpose()?;
        let own = |index| {
            let ssd = config.ssd.clone().zip(ssd_bytes);
            let (compactors, hedge) = (Arc::clone(compactors), config.hedge);
            Own { index, memory_bytes, dfs: dfs.clone(), compactors, ssd, hedge }
        };
        let indices = 0..config.shards;
        if config.thread == ShardThread::Owned {
            let start = |index| OwnedShard::start(kind, own(index));
            let shards = indices.map(start).collect::<Result<Vec<_>>>()?;
            let slots = shards.iter().map(|shard| Arc::clone(shard.slot())).collect();
            return Ok((Self::Owned(shards), slots));
        }
        let mode = RingMode::Inline;
        let open = |index| Driver::open(kind, mode, own(index));
        let drivers = indices.map(open).collect::<Result<Vec<_>>>()?;
        let slots = drivers.iter().map(|driver| Arc::clone(driver.slot())).collect();
        let drivers = drivers.into_iter().map(|driver| Some(Box::new(driver))).collect();
        Ok((Self::Inline(Mutex::new(drivers)), slots))
    }
}

/// What each of so many shards may have of a cache, if the index of it fits their memory.
fn ssd_share(ssd: &SsdConfig, shards: usize, memory_bytes: usize) -> Result<u64> {
    let bytes = ssd.shard_bytes(shards)?;
    let (needed, most) = (Ssd::memory_bytes(bytes), memory_bytes as u64 / SSD_MEMORY_DIVISOR);
    if needed <= most {
        return Ok(bytes);
    }
    Err(Error::invalid(format!(
        "the index of a cache of {bytes} bytes a shard takes {needed} bytes of memory, and a shard \
         of {memory_bytes} bytes gives {most}: make the cache smaller or the budget larger"
    )))
}

impl Engine {
    /// Opens the engine: its DFS and its shards, with their threads if it owns them. Where
    /// io_uring is forbidden this takes less than a second to find out.
    ///
    /// # Errors
    /// `Invalid` for a bad configuration; `NoMemory` for too small a budget; `Unsupported` where
    /// `IoMode::Uring` asks for what is forbidden; `Io` where descriptors or threads run out, and
    /// for a statistics page that cannot be written.
    pub fn open(config: Config) -> Result<Self> {
        if config.shards == 0 {
            return Err(Error::invalid("an engine has at least one shard"));
        }
        let dfs = Dfs::open_as(&config.dfs, &config.access)?;
        let dfs = dfs.with_patience(Patience::new(config.patience)?);
        if config.hedge {
            dfs.set_hedge();
        }
        let compactors = Arc::new(match &config.compactors[..] {
            [] => Compactors::default(),
            addresses => {
                let secret = wire::read_secret(config.compactor_secret_file.as_deref())?;
                Compactors::new(addresses, secret)?
            }
        });
        let open = |kind| Shards::open(&config, &dfs, &compactors, kind);
        let costs = ", which costs more CPU for each cold read";
        let ((shards, slots), io) = config.io.start(costs, open)?;
        let source = Source {
            opened_at: clock::now(),
            budget_bytes: config.memory_bytes,
            dfs,
            compactors,
            slots,
            owned: config.thread == ShardThread::Owned,
        };
        let source = StatisticsSource::new(source);
        let page = config.statistics_page.as_deref();
        let page = page.map(|path| StatisticsPage::start(path, source.clone())).transpose()?;
        let Config { shards: count, memory_bytes, thread, .. } = &config;
        log::info!(
            "an engine is open: shards {count} ({thread:?}), memory {memory_bytes} bytes, \
             io {:?} ({})",
            io.kind,
            io.reason
        );
        Ok(Self { io, _page: page, shards, source })
    }

    /// Ends the engine's threads and its use of what the host lends, and waits for that no longer
    /// than `patience`. Requests that are in flight take effect or not; sessions that wait for them
    /// get an error. Inline shards are their sessions', which the host drops.
    ///
    /// # Errors
    /// `Io`: a thread has not ended, for the kernel does not answer it, or a call of the host has
    /// not returned. It is left to itself.
    pub fn close(self, patience: Duration) -> Result<()> {
        let Self { shards, source, .. } = self;
        let deadline = clock::now().saturating_add(patience.as_nanos() as Nanos);
        let ended = match shards {
            Shards::Owned(shards) => end(shards, deadline, patience),
            Shards::Inline(_) => Ok(()),
        };
        let left = Duration::from_nanos(deadline.saturating_sub(clock::now()));
        let closed = ended.and(source.dfs().close(left));
        match &closed {
            Ok(()) => log::info!("an engine is closed"),
            Err(error) => log::error!("{}", error.text),
        }
        closed
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

    /// How the engine reaches its files.
    #[must_use]
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// A session to a shard. An inline shard has exactly one: the session is the shard, and
    /// dropping it drops the shard.
    ///
    /// # Errors
    /// `Invalid` for a shard that does not exist or has its session already.
    pub fn session(&self, shard: usize) -> Result<Session> {
        let unknown = |shards: usize| {
            Error::invalid(format!("shard {shard} of {shards}; shards count from 0"))
        };
        match &self.shards {
            Shards::Owned(shards) => {
                let owned = shards.get(shard).ok_or_else(|| unknown(shards.len()))?;
                Ok(Session::new(Side::Owned(owned.connect()?)))
            }
            Shards::Inline(shards) => {
                let mut shards = shards.lock().unwrap_or_else(PoisonError::into_inner);
                let count = shards.len();
                let driver = shards.get_mut(shard).ok_or_else(|| unknown(count))?;
                let driver = driver.take().ok_or_else(|| {
                    Error::invalid(format!(
                        "inline shard {shard} has its session already; open the engine with more \
                         shards"
                    ))
                })?;
                Ok(Session::new(Side::Inline(driver)))
            }
        }
    }
}

// Ends shards, and leaves those to themselves that have not ended at the deadline.
fn end(shards: Vec<OwnedShard>, deadline: Nanos, patience: Duration) -> Result<()> {
    shards.iter().for_each(OwnedShard::stop);
    while clock::now() < deadline && !shards.iter().all(OwnedShard::has_ended) {
        std::thread::sleep(Duration::from_millis(CLOSE_LOOK_MS));
    }
    let count = shards.len();
    let stuck: Vec<_> = shards.into_iter().filter(|shard| !shard.has_ended()).collect();
    if stuck.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} of {count} shards have not ended within {patience:?}: a disk or file system does not \
         answer them; their threads are left to themselves",
        stuck.len()
    );
    stuck.into_iter().for_each(OwnedShard::abandon);
    Err(Error::new(ErrorKind::Io, text))
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
        handles: config.handles,
        keep: config.keep,
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
