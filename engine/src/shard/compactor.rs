//! A compactor: a process that does merges for engines which have its secret, over the same DFS.
//! It keeps nothing, deletes nothing and is told all it needs with each merge, so any number of
//! engines may use it and losing it loses nothing.
//!
//! A thread for each connection greets, takes one errand, runs it as a job of a background executor
//! and tells how far it is until it ends or the engine has gone.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::io::dfs::Dfs;
use crate::io::doorbell::Doorbell;
use crate::io::handoff::locked;
use crate::io::retry::{Patience, patiently};
use crate::io::sealed::Secret;
use crate::io::wire::{self, Wire};
use crate::io::{clock, sys};
use crate::limits::{
    COMPACTOR_CONNECTIONS_MAX, COMPACTOR_GREETING_MS, COMPACTOR_LIFE_MS, COMPACTOR_MEMORY_BYTES,
    COMPACTOR_MERGES_MAX, COMPACTOR_PROGRESS_MS, COMPACTOR_REFUSAL_MS, COMPACTOR_SILENT_MS,
    TRIAL_STORE,
};
use crate::lsm::errand::{Errand, Report};
use crate::lsm::errand_job::{ErrandJob, Watch};
use crate::mem::slab::Slab;
use crate::shard::engine::IoMode;
use crate::shard::executor::{Executor, ExecutorLink, Executors, Finished, Order};
use crate::shard::job_run::Reach;
use crate::sst::meta::TableRef;
use crate::types::error::ErrorKind;
use crate::types::{Error, Nanos, Result};

const MS: Nanos = 1_000_000;

/// How to start a compactor.
#[derive(Clone, Debug)]
pub struct CompactorConfig {
    /// Where it listens, `host:port`; the port 0 is any that is free.
    pub listen: String,
    /// The DFS, under any url that leads to the root of its engines.
    pub dfs: String,
    /// The file that holds the secret; else the environment does (`wire::SECRET_VARIABLE`).
    pub secret_file: Option<PathBuf>,
    /// Merges at once.
    pub merges: usize,
    /// Memory that merges may hold, bytes, shared evenly.
    pub memory_bytes: usize,
    /// How it reaches its files.
    pub io: IoMode,
}

impl CompactorConfig {
    /// A merge at once for each core of this process, with `COMPACTOR_MEMORY_BYTES` each.
    #[must_use]
    pub fn new(listen: impl Into<String>, dfs: impl Into<String>) -> Self {
        let merges = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: listen.into(),
            dfs: dfs.into(),
            secret_file: None,
            merges,
            memory_bytes: merges.saturating_mul(COMPACTOR_MEMORY_BYTES),
            io: IoMode::Auto,
        }
    }
}

/// See the module.
pub struct Compactor {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    secret: Secret,
    dfs: Dfs,
    executor: &'static Errands,
    merge_bytes: usize,
    // Merges that may still be taken.
    places: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    refusal_at: Mutex<Option<Nanos>>,
}

type Errands = Executor<Box<ErrandJob>>;

static ERRANDS: Executors<Box<ErrandJob>> = Executors::new(|job, io| job.step(io));

// A compactor sends no merge on, and has no cache.
fn link(executor: &Errands, bell: &Doorbell, dfs: &Dfs) -> Result<ExecutorLink<Box<ErrandJob>>> {
    let reach = Reach { dfs: dfs.clone(), compactors: Arc::default(), cache: None };
    executor.link(bell, &reach)
}

impl Compactor {
    /// Opens the DFS, tries it and listens. What cannot be reached is tried for ten seconds.
    ///
    /// # Errors
    /// `Invalid` for a bad configuration, without a secret, or for an address that is taken;
    /// `Unsupported` where io_uring is forbidden and asked for; what a listing of the DFS says.
    pub fn start(config: &CompactorConfig) -> Result<Self> {
        let CompactorConfig { merges, memory_bytes, .. } = *config;
        if !(1..=COMPACTOR_MERGES_MAX).contains(&merges) {
            let what = format!("{merges} merges at once: use 1 to {COMPACTOR_MERGES_MAX}");
            return Err(Error::invalid(what));
        }
        let secret = wire::read_secret(config.secret_file.as_deref())?;
        let listener = wire::listen(&config.listen)?;
        // An object that is missing here the engine has perhaps: it merges by itself.
        let patience = Patience::DEFAULT.without_the_missing();
        let dfs = Dfs::open(&config.dfs)?.with_patience(patience);
        // Who may not even list would hold up every merge.
        patiently(|| dfs.list(TRIAL_STORE))?;
        let (executor, _) = config.io.start("", |kind| {
            let executor = ERRANDS.of(kind);
            // Its threads start.
            link(executor, &Doorbell::new()?, &dfs).map(|_link| executor)
        })?;
        let shared = Shared {
            secret,
            dfs,
            executor,
            merge_bytes: memory_bytes / merges,
            places: Arc::new(AtomicUsize::new(merges)),
            connections: Arc::new(AtomicUsize::new(COMPACTOR_CONNECTIONS_MAX + merges)),
            refusal_at: Mutex::new(None),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|cause| Error::io("the address of a socket", &cause))
    }

    /// Serves engines, for ever.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn serve(self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => self.shared.clone().connected(stream, peer),
                // Descriptors ran out, or the engine left before it was greeted.
                Err(cause) => {
                    self.shared.refused(&format!("a connection was not accepted: {cause}"));
                    std::thread::sleep(Duration::from_millis(COMPACTOR_REFUSAL_MS));
                }
            }
        }
    }
}

/// One of so many; it is free again when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(of: &Arc<AtomicUsize>) -> Option<Self> {
        let less = |left: usize| left.checked_sub(1);
        of.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok().map(|_| Self(of.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn connected(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = Place::take(&self.connections) else {
            return self.refused(&format!("{peer}: too many connections"));
        };
        let serve = move || {
            let _place = place;
            if let Err(error) = self.converse(stream) {
                self.refused(&format!("{peer}: {}", error.text));
            }
        };
        let thread = std::thread::Builder::new().name("aquifer-compactor".to_owned());
        if let Err(cause) = thread.spawn(serve) {
            log::warn!("{}", sys::no_thread("serving a connection", &cause).text);
        }
    }

    fn refused(&self, why: &str) {
        let now = clock::now();
        let mut at = locked(&self.refusal_at);
        if at.is_none_or(|at| now - at >= COMPACTOR_REFUSAL_MS * MS) {
            *at = Some(now);
            log::warn!("{why}");
        }
    }

    fn converse(&self, stream: TcpStream) -> Result<()> {
        let deadline = clock::now() + COMPACTOR_GREETING_MS * MS;
        let mut wire = Wire::accept(stream, &self.secret, deadline)?;
        wire.send(&Report::Ready.encode(), deadline)?;
        let errand = wire.receive(deadline)?;
        let report = match Place::take(&self.places) {
            None => Report::Busy,
            Some(_place) => match self.run(&errand, &mut wire) {
                Ok(tables) => Report::Done(tables),
                Err(error) => {
                    self.refused(&format!("a merge failed: {}", error.text));
                    Report::Failed(error.text.to_string())
                }
            },
        };
        wire.send(&report.encode(), clock::now() + COMPACTOR_SILENT_MS * MS)
    }

    fn run(&self, errand: &[u8], wire: &mut Wire) -> Result<Vec<TableRef>> {
        let watch = Arc::new(Watch::default());
        let job = ErrandJob::new(Errand::decode(errand)?, self.merge_bytes, watch.clone())?;
        let bell = Doorbell::new()?;
        let mut link = link(self.executor, &bell, &self.dfs)?;
        let token = Slab::default().insert(());
        assert!(link.start(Order::Job { token, job: Box::new(job) }).is_ok(), "an empty link");
        let mut told = (0, clock::now());
        let job = loop {
            if let Some(Finished::Job { job, .. }) = link.finished() {
                break job?;
            }
            link.nudge(clock::now())?;
            bell.sleep(Some(COMPACTOR_PROGRESS_MS * MS))?;
            let (written, now) = (watch.written(), clock::now());
            if written == told.0 && now - told.1 < COMPACTOR_LIFE_MS * MS {
                continue;
            }
            told = (written, now);
            let progress = Report::Progress(written).encode();
            if wire.send(&progress, now + COMPACTOR_SILENT_MS * MS).is_err() {
                // Its place is taken until the job has seen that.
                watch.give_up();
            }
        };
        job.into_tables().map_err(|error| self.explained(error))
    }

    // The engine's people read it.
    fn explained(&self, error: Error) -> Error {
        if error.kind != ErrorKind::MissingObject {
            return error;
        }
        let what = format!("{}; is the root of its --dfs that of the engine?", error.text);
        Error::new(error.kind, what)
    }
}

#[cfg(test)]
#[path = "compactor_tests.rs"]
mod tests;
