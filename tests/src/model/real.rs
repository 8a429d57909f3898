//! Runs programs on the real engine: a ring, threads and a folder. They are those of `run`, from
//! the same shapes and against the same model, without faults; time is real, so that a seed fixes
//! what is asked and not when it is served.
//!
//! One thread talks to all stores, through an interface of the engine: `native` or `abi`. A store
//! belongs to one session: only within a session is there an order of submission.

use std::collections::BTreeMap;
use std::time::Duration;

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::compactor::{Compactor, CompactorConfig};
use aquifer::shard::engine::{Config, ShardThread, StoreConfig};
use aquifer::types;
use aquifer::types::error::ErrorKind;
use tempfile::TempDir;

use crate::io_mode;
use crate::model::abi::Abi;
use crate::model::asked::{Asked, Outcome};
use crate::model::finish::READ_BACK_BATCH;
use crate::model::native::Native;
use crate::model::oracle::{KEY_GROUPS, Model, Op, declared};
use crate::model::report::Report;
use crate::model::run::{Kept, PendingControl, some_kept};
use crate::model::shape::Shape;
use crate::sim::driver::Answer;
use crate::sim::rng::Rng;

/// Memory of a shard: the least that an engine takes.
const SHARD_BYTES: usize = MEMORY_MIN_BYTES;
/// Checkpoints of a program kept at once: each keeps the model of its cut.
const KEPT_MAX: usize = 6;
/// A session without an answer for this long is stuck. A sync can take minutes on a disk that
/// others fill.
const PATIENCE: Duration = Duration::from_secs(900);

/// What ended: its number and how.
pub(super) type End = (u64, Answer);

/// A request about a store as a whole.
#[derive(Debug)]
pub(super) enum About {
    Checkpoint,
    Release(Vec<u8>),
    Drain,
}

/// An open engine with its sessions, through one of its interfaces. Sessions are named by their
/// place; requests by numbers, which come back with their ends.
pub(super) trait Host: Sized {
    /// An open store.
    type Store: Copy;

    /// Opens an engine, and a session to each of these shards.
    fn start(config: &Config, shards: &[usize]) -> Outcome<Self>;

    /// Opens a store on a session for which nothing is in flight.
    fn open_store(&mut self, session: usize, config: StoreConfig) -> Outcome<Self::Store>;

    /// Closes a store; its requests in flight may fail.
    fn close_store(&mut self, session: usize, store: Self::Store) -> Outcome<()>;

    /// An operation as the requests that this interface has for it.
    fn split(op: Op) -> Vec<Op>;

    /// Adds a request to the batch of a session.
    fn add(&mut self, session: usize, store: Self::Store, op: &Op, number: u64) -> Outcome<()>;

    /// Submits what may be in flight of the session's batch; true if that was all.
    fn submit(&mut self, session: usize) -> Outcome<bool>;

    /// Starts a request about a store.
    fn start_about(
        &mut self,
        session: usize,
        store: Self::Store,
        about: About,
        number: u64,
    ) -> Outcome<()>;

    /// What ended; waits for something, though not longer than `patience`.
    fn poll(&mut self, session: usize, patience: Duration, rng: &mut Rng) -> Outcome<Vec<End>>;

    /// Closes the engine and its sessions with all that is in flight, in some order; the ends of
    /// all that, if the order lets it end.
    fn stop(self, rng: &mut Rng, report: &mut Report) -> Outcome<Option<Vec<End>>>;
}

/// A store; it is open between the steps of the program.
struct StoreRun<S> {
    lane: usize,
    open: Option<S>,
    model: Model,
}

/// When a program looks for answers.
#[derive(Debug)]
struct Pace {
    // Chance in ten thousand of looking after a batch.
    poll: u32,
    // Requests in flight at most. Above what a session takes, batches are taken in part.
    backlog: usize,
}

struct Real<H: Host> {
    shape: Shape,
    pace: Pace,
    rng: Rng,
    config: Config,
    host: Option<H>,
    // What each session is asked and has not answered.
    lanes: Vec<usize>,
    stores: Vec<StoreRun<H::Store>>,
    kept: Vec<Kept>,
    asked: Asked,
    controls: BTreeMap<u64, PendingControl>,
    report: Report,
    next_number: u64,
    // Dropped last: shards write to it.
    folder: TempDir,
}

/// Runs a seed through the Rust interface.
///
/// # Errors
/// What the engine did wrong, for people.
pub fn run(seed: u64, thread: ShardThread) -> Outcome<Report> {
    Real::<Native>::new(seed, thread).run()
}

/// Runs a seed through the Rust interface, with a compactor in this process that merges are sent
/// to.
///
/// # Errors
/// As `run`.
pub fn run_elsewhere(seed: u64, thread: ShardThread) -> Outcome<Report> {
    let mut program = Real::<Native>::new(seed, thread);
    program.send_merges_away().map_err(|error| error.to_string())?;
    program.run()
}

/// Runs a seed through the C interface.
///
/// # Errors
/// As `run`.
pub fn run_abi(seed: u64, thread: ShardThread) -> Outcome<Report> {
    Real::<Abi>::new(seed, thread).run()
}

impl<H: Host> Real<H> {
    fn new(seed: u64, thread: ShardThread) -> Self {
        let mut rng = Rng::new(seed);
        let shape = Shape::draw_large(&mut rng.fork());
        let shards = rng.pick(&[1, 1, 2]);
        let sessions = match thread {
            ShardThread::Owned => rng.between(shards, 3),
            // A session is the shard.
            ShardThread::Inline => shards,
        };
        let folder = tempfile::tempdir().expect("a folder for objects");
        let latency = rng.pick(&["", "", "?latency=300us"]);
        let dfs = format!("file://{}{latency}", folder.path().display());
        let stores = (0..shape.stores.max(sessions))
            .map(|at| StoreRun { lane: at % sessions, open: None, model: Model::default() })
            .collect();
        let pace =
            Pace { poll: rng.pick(&[300, 3000, 10_000]), backlog: rng.pick(&[100, 2000, 17_000]) };
        Self {
            shape,
            pace,
            rng,
            config: Config {
                memory_bytes: shards * SHARD_BYTES,
                shards,
                thread,
                io: io_mode(),
                ..Config::new(dfs)
            },
            host: None,
            lanes: vec![0; sessions],
            stores,
            kept: Vec::new(),
            asked: Asked::default(),
            controls: BTreeMap::new(),
            report: Report::default(),
            next_number: 0,
            folder,
        }
    }

    fn send_merges_away(&mut self) -> types::Result<()> {
        let secret = self.folder.path().join("secret");
        std::fs::write(&secret, "a secret of the tests").expect("a folder that can be written");
        let mut config = CompactorConfig::new("127.0.0.1:0", &self.config.dfs);
        config.secret_file = Some(secret.clone());
        config.io = self.config.io;
        let compactor = Compactor::start(&config)?;
        self.config.compactors = vec![compactor.address()?.to_string()];
        self.config.compactor_secret_file = Some(secret);
        self.shape.favour_large_merges();
        // It serves as long as this process lives.
        std::thread::spawn(|| compactor.serve());
        Ok(())
    }

    fn run(mut self) -> Outcome<Report> {
        self.program()?;
        self.finish()?;
        Ok(self.report)
    }

    fn program(&mut self) -> Outcome<()> {
        self.start()?;
        for store in 0..self.stores.len() {
            self.open(store, None)?;
        }
        for _ in 0..self.shape.batches {
            if self.rng.chance(self.shape.crash) {
                self.crash()?;
            }
            let store = self.rng.below(self.stores.len());
            if self.rng.chance(self.shape.reopen) {
                self.reopen(store)?;
            }
            if self.rng.chance(self.shape.checkpoint) {
                self.start_checkpoint(store)?;
            }
            if self.rng.chance(self.shape.release) || self.kept.len() > KEPT_MAX {
                self.release()?;
            }
            if self.rng.chance(self.shape.drain) {
                self.start_control(store, About::Drain, PendingControl::Drain)?;
            }
            self.submit_batch()?;
            if self.rng.chance(self.pace.poll) {
                let patience = self.rng.pick(&[Duration::ZERO, PATIENCE]);
                let lane = self.rng.below(self.lanes.len());
                self.poll(lane, patience)?;
            }
            if self.asked.len() > self.pace.backlog {
                self.settle()?;
            }
        }
        self.settle()
    }

    fn host(&mut self) -> &mut H {
        self.host.as_mut().expect("the engine is open between steps")
    }

    /// Opens the engine and its sessions.
    fn start(&mut self) -> Outcome<()> {
        let shards: Vec<usize> = (0..self.lanes.len()).map(|at| at % self.config.shards).collect();
        self.host = Some(H::start(&self.config, &shards)?);
        Ok(())
    }

    /// Closes the engine with all that is in flight.
    fn stop(&mut self) -> Outcome<()> {
        let host = self.host.take().expect("the engine is open between steps");
        if let Some(ends) = host.stop(&mut self.rng, &mut self.report)? {
            self.asked.all_may_fail();
            ends.into_iter().try_for_each(|end| self.ended(end))?;
            let (asked, controls) = (self.asked.len(), self.controls.len());
            if asked + controls > 0 {
                return Err(format!("{asked} requests and {controls} about stores never ended"));
            }
        }
        self.asked.clear();
        self.controls.clear();
        self.lanes.fill(0);
        Ok(())
    }

    /// Closes the engine, opens another and restores its stores.
    fn crash(&mut self) -> Outcome<()> {
        self.report.crashes += 1;
        self.stop()?;
        self.start()?;
        for store in 0..self.stores.len() {
            let from = some_kept(&self.kept, store, &mut self.rng);
            self.open(store, from)?;
        }
        Ok(())
    }

    fn open(&mut self, store: usize, from: Option<Kept>) -> Outcome<()> {
        let lane = self.stores[store].lane;
        self.settle_lane(lane)?;
        let config = StoreConfig {
            host_epoch: self.report.crashes,
            states: declared(),
            handles: from.iter().map(|kept| kept.handle.clone()).collect(),
            ..StoreConfig::new(100 + store as u64, KEY_GROUPS)
        };
        self.report.restores += u64::from(from.is_some());
        self.stores[store].open = Some(self.host().open_store(lane, config)?);
        self.stores[store].model = from.map(|kept| kept.model).unwrap_or_default();
        Ok(())
    }

    // Closes a store with requests in flight and opens it from a checkpoint; others go on.
    fn reopen(&mut self, store: usize) -> Outcome<()> {
        self.close(store)?;
        let from = some_kept(&self.kept, store, &mut self.rng);
        self.open(store, from)
    }

    fn close(&mut self, store: usize) -> Outcome<()> {
        self.asked.may_fail(store);
        let (lane, open) = self.opened(store);
        self.host().close_store(lane, open)
    }

    // The session of a store, and the store there.
    fn opened(&self, store: usize) -> (usize, H::Store) {
        let StoreRun { lane, open, .. } = &self.stores[store];
        (*lane, open.expect("stores are open between steps"))
    }

    fn start_control(
        &mut self,
        store: usize,
        about: About,
        pending: PendingControl,
    ) -> Outcome<()> {
        let (lane, open) = self.opened(store);
        self.next_number += 1;
        let number = self.next_number;
        self.host().start_about(lane, open, about, number)?;
        self.lanes[lane] += 1;
        self.controls.insert(number, pending);
        Ok(())
    }

    fn start_checkpoint(&mut self, store: usize) -> Outcome<()> {
        let model = self.stores[store].model.clone();
        self.start_control(store, About::Checkpoint, PendingControl::Checkpoint { store, model })
    }

    fn release(&mut self) -> Outcome<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.kept.len());
        let Kept { store, handle, .. } = self.kept.swap_remove(at);
        self.start_control(store, About::Release(handle), PendingControl::Other)
    }

    fn submit_batch(&mut self) -> Outcome<()> {
        let lane = self.rng.below(self.lanes.len());
        let mine: Vec<usize> =
            (0..self.stores.len()).filter(|&store| self.stores[store].lane == lane).collect();
        for _ in 0..self.rng.between(1, self.shape.batch_max) {
            let store = self.rng.pick(&mine);
            let op = self.shape.op(&mut self.rng, &self.stores[store].model);
            self.add(store, op)?;
        }
        self.submit(lane)
    }

    /// Adds an operation to the batch of its session and to the model.
    fn add(&mut self, store: usize, op: Op) -> Outcome<()> {
        let (lane, open) = self.opened(store);
        for op in H::split(op) {
            self.next_number += 1;
            let number = self.next_number;
            self.host().add(lane, open, &op, number)?;
            self.lanes[lane] += 1;
            let expected = self.stores[store].model.apply(&op);
            self.asked.add(number, store, &op, expected, false);
        }
        Ok(())
    }

    fn submit(&mut self, lane: usize) -> Outcome<()> {
        while !self.host().submit(lane)? {
            self.poll(lane, PATIENCE)?;
        }
        Ok(())
    }

    /// Checks what a session brings; how many ends that were.
    fn poll(&mut self, lane: usize, patience: Duration) -> Outcome<usize> {
        let host = self.host.as_mut().expect("the engine is open between steps");
        let ends = host.poll(lane, patience, &mut self.rng)?;
        let count = ends.len();
        ends.into_iter().try_for_each(|end| self.ended(end))?;
        self.lanes[lane] -= count;
        Ok(count)
    }

    fn ended(&mut self, (number, answer): End) -> Outcome<()> {
        if let Some(pending) = self.controls.remove(&number) {
            return self.control_done(pending, answer);
        }
        self.report.requests += 1;
        self.report.failed += u64::from(matches!(answer, Answer::Failed(..)));
        self.asked.take(number)?.judge(number, &answer)
    }

    fn control_done(&mut self, pending: PendingControl, answer: Answer) -> Outcome<()> {
        match (pending, answer) {
            (PendingControl::Checkpoint { store, model }, Answer::Value(handle)) => {
                self.report.checkpoints += 1;
                self.kept.push(Kept { store, handle, model });
                Ok(())
            }
            (PendingControl::Drain | PendingControl::Other, Answer::Done) => Ok(()),
            // The store was closed under it.
            (_, Answer::Failed(ErrorKind::Closed, _)) => Ok(()),
            (pending, answer) => Err(format!("{pending:.100?} was answered with {answer:?}")),
        }
    }

    /// Polls a session until everything asked of it was answered.
    fn settle_lane(&mut self, lane: usize) -> Outcome<()> {
        while self.lanes[lane] > 0 {
            if self.poll(lane, PATIENCE)? == 0 {
                let first = format!("{:?}", self.asked.first());
                let left = self.lanes[lane];
                return Err(format!("stuck with {left} requests; the first: {first:.200}"));
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        (0..self.lanes.len()).try_for_each(|lane| self.settle_lane(lane))
    }

    /// Reads everything back, then restores every kept checkpoint.
    fn finish(&mut self) -> Outcome<()> {
        for store in 0..self.stores.len() {
            self.start_control(store, About::Drain, PendingControl::Drain)?;
            self.read_back(store)?;
            self.start_checkpoint(store)?;
        }
        self.settle()?;
        self.stop()?;
        self.start()?;
        for kept in self.kept.clone() {
            let store = kept.store;
            self.open(store, Some(kept))?;
            self.read_back(store)?;
            self.close(store)?;
        }
        self.settle()?;
        self.stop()
    }

    fn read_back(&mut self, store: usize) -> Outcome<()> {
        let lane = self.stores[store].lane;
        for ops in self.shape.read_back(&mut self.rng).chunks(READ_BACK_BATCH) {
            ops.iter().try_for_each(|op| self.add(store, op.clone()))?;
            self.submit(lane)?;
            self.settle_lane(lane)?;
        }
        Ok(())
    }
}
