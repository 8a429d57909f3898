//! Engines and stores: what stands behind their handles.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aquifer::checkpoint::handle::split;
use aquifer::shard::engine::{Config, Engine, StoreConfig};
use aquifer::shard::source::StatisticsSource;
use aquifer::state::StateTable;
use aquifer::state::request::StoreId;

use crate::handles::{Kind, Table, locked};
use crate::session::SessionObject;
use crate::status::{Failure, Outcome, Status};
use crate::{fork, options};

/// Engines of a process: one is the rule.
pub static ENGINES: Table<EngineObject, 64> = Table::new(Kind::Engine);

/// Stores of a process.
pub static STORES: Table<StoreObject, { 1 << 14 }> = Table::new(Kind::Store);

/// Behind an `aqf_engine`.
pub struct EngineObject {
    /// Told apart from other engines.
    pub handle: u64,
    pub options: String,
    /// Sessions and stores look here at every call.
    pub closed: AtomicBool,
    statistics: StatisticsSource,
    engine: Mutex<Option<Engine>>,
    sessions: Mutex<Vec<Weak<SessionObject>>>,
}

/// Opens an engine.
pub fn open(text: &[u8]) -> Result<u64, Failure> {
    let config: Config = options::engine(text)?;
    fork::watch();
    let options = options::engine_text(&config);
    let engine = Engine::open(config)?;
    ENGINES.insert(|handle| {
        Arc::new(EngineObject {
            handle,
            options,
            closed: AtomicBool::new(false),
            statistics: engine.statistics_source(),
            engine: Mutex::new(Some(engine)),
            sessions: Mutex::default(),
        })
    })
}

impl EngineObject {
    /// Opens a session to a shard.
    pub fn open_session(self: &Arc<Self>, shard: u32) -> Result<u64, Failure> {
        let engine = locked(&self.engine);
        let engine = engine.as_ref().ok_or_else(|| Kind::Engine.bad(self.handle))?;
        SessionObject::insert(self, shard, engine.session(shard as usize)?)
    }

    /// Remembers a session, to wake it at the end.
    pub fn remember(&self, session: &Arc<SessionObject>) {
        let mut sessions = locked(&self.sessions);
        sessions.retain(|known| known.strong_count() > 0);
        sessions.push(Arc::downgrade(session));
    }

    /// Its statistics as JSON.
    pub fn statistics(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(&self.statistics.statistics());
        text.map_err(|error| Failure::new(Status::Panic, format!("statistics as JSON: {error}")))
    }

    /// Ends it.
    pub fn close(&self, patience: Duration) -> Outcome {
        self.closed.store(true, Ordering::Release);
        for session in locked(&self.sessions).drain(..) {
            if let Some(session) = session.upgrade() {
                session.waker.wake();
            }
        }
        let engine = locked(&self.engine).take();
        engine.map_or(Ok(()), |engine| engine.close(patience))?;
        Ok(Status::Ok)
    }
}

/// Where a store lives: its requests must come from a session to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Of the engine.
    pub engine: u64,
    pub shard: u32,
    /// The session that is the shard; zero for shards with a thread of their own.
    pub session: u64,
}

/// Behind an `aqf_store`.
pub struct StoreObject {
    pub home: Home,
    /// What it was opened with: no states, and no handles.
    pub config: StoreConfig,
    /// Counts changes of `inner`, which sessions keep copies of.
    pub version: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Clone)]
pub struct Inner {
    pub state: StoreState,
    pub states: StateTable,
}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It takes requests.
    Open(StoreId),
    /// It keeps its checkpoints itself, and begins with the newest: that is still to be restored.
    Begun(StoreId),
    /// A checkpoint is being read into another store, which takes the place of this one.
    Restoring(StoreId),
    Closed,
}

impl StoreObject {
    /// A store that the engine opened.
    pub fn new(home: Home, config: StoreConfig, id: StoreId) -> Self {
        let inner = Inner { state: Self::unrestored(&config, id), states: StateTable::default() };
        Self { home, config, version: AtomicU64::new(1), inner: Mutex::new(inner) }
    }

    fn unrestored(config: &StoreConfig, id: StoreId) -> StoreState {
        if config.keep > 0 { StoreState::Begun(id) } else { StoreState::Open(id) }
    }

    pub fn inner(&self) -> Inner {
        locked(&self.inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut locked(&self.inner));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// A restore from handles, one behind the other, begins: the configuration of the new opening.
    pub fn begin_restore(&self, handles: &[u8]) -> Result<StoreConfig, Failure> {
        let mut refused = None;
        self.change(|inner| match inner.state {
            _ if self.config.keep == 0 && handles.is_empty() => {
                refused = Some(
                    "the request has no handle: pass those of checkpoints as its value; only a \
                     store with the option keep_checkpoints is restored without",
                );
            }
            _ if !inner.states.is_empty() => {
                refused = Some("the store has states already; restore before the first is opened");
            }
            StoreState::Restoring(_) => refused = Some("the store is being restored already"),
            StoreState::Closed => refused = Some("the store was closed"),
            StoreState::Open(_) if self.config.keep > 0 => {
                refused = Some("the store was restored already");
            }
            StoreState::Open(id) | StoreState::Begun(id) => {
                inner.state = StoreState::Restoring(id);
            }
        });
        if let Some(refused) = refused {
            return Err(Failure::invalid(refused));
        }
        let newest = self.config.keep > 0 && handles.is_empty();
        let handles = if newest { Vec::new() } else { split(handles) };
        let handles = handles.into_iter().map(<[u8]>::to_vec).collect();
        Ok(StoreConfig { handles, ..self.config.clone() })
    }

    /// The restore ended: the number on the shard of what is not used any more.
    pub fn restored(&self, id: StoreId, states: StateTable) -> StoreId {
        let mut unused = id;
        self.change(|inner| {
            if let StoreState::Restoring(replaced) = inner.state {
                unused = replaced;
                *inner = Inner { state: StoreState::Open(id), states };
            }
        });
        unused
    }

    /// If a restore ran, it failed: the store is as before.
    pub fn restore_failed(&self) {
        self.change(|inner| {
            if let StoreState::Restoring(id) = inner.state {
                inner.state = Self::unrestored(&self.config, id);
            }
        });
    }

    /// States were declared; an older table than the known one changes nothing.
    pub fn declared(&self, states: StateTable) {
        self.change(|inner| {
            if states.len() > inner.states.len() {
                inner.states = states;
            }
        });
    }

    /// The store is closed: its number on the shard, if it has one.
    pub fn close(&self) -> Option<StoreId> {
        let mut closed = None;
        self.change(|inner| {
            if let StoreState::Open(id) | StoreState::Begun(id) | StoreState::Restoring(id) =
                inner.state
            {
                closed = Some(id);
            }
            inner.state = StoreState::Closed;
        });
        closed
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
