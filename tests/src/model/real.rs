//! Runs programs on the real engine: a ring, threads and a folder. They are those of `run`, from
//! the same shapes and against the same model, without faults; time is real, so that a seed fixes
//! what is asked and not when it is served.
//!
//! One thread talks to all stores. A store belongs to one session: only within a session is there
//! an order of submission.

use std::collections::BTreeMap;
use std::time::Duration;

use aquifer::limits::MEMORY_MIN_BYTES;
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::{ControlDone, ControlOp, ControlResult};
use aquifer::state::request::{Batch, Completions, StoreId};
use aquifer::types::error::ErrorKind;
use tempfile::TempDir;

use crate::io_mode;
use crate::model::asked::{Asked, Outcome};
use crate::model::finish::READ_BACK_BATCH;
use crate::model::oracle::{KEY_GROUPS, Model, Op, States, declared};
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

/// A session, and where its shard is.
struct Lane {
    session: Session,
    shard: usize,
    done: Completions,
}

/// A store; it is open between the steps of the program.
struct StoreRun {
    lane: usize,
    open: Option<(StoreId, States)>,
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

struct Real {
    shape: Shape,
    pace: Pace,
    rng: Rng,
    config: Config,
    sessions: usize,
    lanes: Vec<Lane>,
    engine: Option<Engine>,
    stores: Vec<StoreRun>,
    kept: Vec<Kept>,
    asked: Asked,
    // By session and number.
    controls: BTreeMap<(usize, u64), PendingControl>,
    report: Report,
    next_number: u64,
    // Dropped last: shards write to it.
    _folder: TempDir,
}

/// Runs a seed.
///
/// # Errors
/// What the engine did wrong, for people.
pub fn run(seed: u64, thread: ShardThread) -> Outcome<Report> {
    let mut run = Real::new(seed, thread);
    run.program()?;
    run.finish()?;
    Ok(run.report)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Real {
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
            sessions,
            lanes: Vec::new(),
            engine: None,
            stores,
            kept: Vec::new(),
            asked: Asked::default(),
            controls: BTreeMap::new(),
            report: Report::default(),
            next_number: 0,
            _folder: folder,
        }
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
                self.start_control(store, ControlOp::Drain, PendingControl::Drain)?;
            }
            self.submit_batch()?;
            if self.rng.chance(self.pace.poll) {
                let patience = self.rng.pick(&[Some(Duration::ZERO), Some(PATIENCE)]);
                let lane = self.rng.below(self.lanes.len());
                self.poll(lane, patience)?;
            }
            if self.asked.len() > self.pace.backlog {
                self.settle()?;
            }
        }
        self.settle()
    }

    /// Opens the engine and its sessions.
    fn start(&mut self) -> Outcome<()> {
        let engine = Engine::open(self.config.clone()).map_err(text)?;
        for at in 0..self.sessions {
            let shard = at % self.config.shards;
            let session = engine.session(shard).map_err(text)?;
            self.lanes.push(Lane { session, shard, done: Completions::default() });
        }
        self.engine = Some(engine);
        Ok(())
    }

    /// Drops the engine with all that is in flight.
    fn stop(&mut self) -> Outcome<()> {
        for shard in 0..self.config.shards {
            let lane = self.lanes.iter().find(|lane| lane.shard == shard);
            let lane = lane.expect("every shard has a session");
            self.report.add(&lane.session.statistics().map_err(text)?.counters);
        }
        // A host may drop them in any order.
        if self.rng.chance(5000) {
            self.engine = None;
        }
        self.lanes.clear();
        self.engine = None;
        self.asked.clear();
        self.controls.clear();
        Ok(())
    }

    /// Drops the engine, opens another and restores its stores.
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
            number: 100 + store as u64,
            host_epoch: self.report.crashes,
            key_groups: KEY_GROUPS,
            range: (0, (KEY_GROUPS - 1) as u16),
            states: declared(),
            handle: from.as_ref().map(|kept| kept.handle.clone()),
        };
        let (id, table) = self.lanes[lane].session.open_store(config).map_err(text)?;
        let states = States::of(id, &table).map_err(text)?;
        self.report.restores += u64::from(from.is_some());
        self.stores[store].open = Some((id, states));
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
        self.start_control(store, ControlOp::Close, PendingControl::Other)
    }

    fn start_control(
        &mut self,
        store: usize,
        op: impl FnOnce(StoreId) -> ControlOp,
        pending: PendingControl,
    ) -> Outcome<()> {
        let StoreRun { lane, open, .. } = &self.stores[store];
        let (id, _) = open.expect("stores are open between steps");
        let number = self.lanes[*lane].session.start_control(op(id)).map_err(text)?;
        self.controls.insert((*lane, number), pending);
        Ok(())
    }

    fn start_checkpoint(&mut self, store: usize) -> Outcome<()> {
        let model = self.stores[store].model.clone();
        let pending = PendingControl::Checkpoint { store, model };
        self.start_control(store, ControlOp::Checkpoint, pending)
    }

    fn release(&mut self) -> Outcome<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.kept.len());
        let Kept { store, handle, .. } = self.kept.swap_remove(at);
        self.start_control(store, |id| ControlOp::Release(id, handle), PendingControl::Other)
    }

    fn submit_batch(&mut self) -> Outcome<()> {
        let lane = self.rng.below(self.lanes.len());
        let mine: Vec<usize> =
            (0..self.stores.len()).filter(|&store| self.stores[store].lane == lane).collect();
        let mut batch = Batch::default();
        for _ in 0..self.rng.between(1, self.shape.batch_max) {
            let store = self.rng.pick(&mine);
            let op = self.shape.op(&mut self.rng, &self.stores[store].model);
            self.add(&mut batch, store, &op)?;
        }
        self.submit(lane, batch)
    }

    /// Adds an operation to a batch and to the model.
    fn add(&mut self, batch: &mut Batch, store: usize, op: &Op) -> Outcome<()> {
        self.next_number += 1;
        let slot = &mut self.stores[store];
        let (_, states) = slot.open.expect("stores are open between steps");
        let asked = states.request(batch, op, self.next_number);
        asked.map_err(|error| format!("{op:?}: {error}"))?;
        let expected = slot.model.apply(op);
        self.asked.add(self.next_number, store, op, expected, false);
        Ok(())
    }

    fn submit(&mut self, lane: usize, mut batch: Batch) -> Outcome<()> {
        loop {
            self.lanes[lane].session.submit(&mut batch).map_err(text)?;
            if batch.requests.is_empty() {
                return Ok(());
            }
            self.poll(lane, Some(PATIENCE))?;
        }
    }

    /// Checks what a session brings; how many ends that were.
    fn poll(&mut self, at: usize, patience: Option<Duration>) -> Outcome<usize> {
        let lane = &mut self.lanes[at];
        lane.session.poll(patience, &mut lane.done).map_err(text)?;
        let mut ends = lane.done.items.len();
        self.report.requests += ends as u64;
        for item in &lane.done.items {
            let asked = self.asked.take(item.user_data)?;
            asked.judge(item.user_data, &Answer::of(&lane.done, item))?;
        }
        while let Some(done) = self.lanes[at].session.finished_control() {
            ends += 1;
            self.control_done(at, done)?;
        }
        Ok(ends)
    }

    fn control_done(&mut self, lane: usize, done: ControlDone) -> Outcome<()> {
        let number = done.user_data;
        let Some(pending) = self.controls.remove(&(lane, number)) else {
            return Err(format!("control {number} ended and nobody waits for it"));
        };
        match (pending, done.result) {
            (PendingControl::Checkpoint { store, model }, Ok(ControlResult::Handle(handle))) => {
                self.report.checkpoints += 1;
                self.kept.push(Kept { store, handle, model });
                Ok(())
            }
            (PendingControl::Drain | PendingControl::Other, Ok(ControlResult::Done)) => Ok(()),
            // The store was closed under it.
            (_, Err(error)) if error.kind == ErrorKind::Closed => Ok(()),
            (pending, result) => Err(format!("{pending:.100?} was answered with {result:?}")),
        }
    }

    /// Polls a session until everything asked of it was answered.
    fn settle_lane(&mut self, lane: usize) -> Outcome<()> {
        let waits = |run: &Self| {
            run.lanes[lane].session.in_flight() > 0
                || run.controls.keys().any(|&(of, _)| of == lane)
        };
        while waits(self) {
            if self.poll(lane, Some(PATIENCE))? == 0 {
                let first = format!("{:?}", self.asked.first());
                let statistics = self.lanes[lane].session.statistics();
                return Err(format!("stuck; the first request: {first:.200}; {statistics:?}"));
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
            self.start_control(store, ControlOp::Drain, PendingControl::Drain)?;
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
            let mut batch = Batch::default();
            for op in ops {
                self.add(&mut batch, store, op)?;
            }
            self.submit(lane, batch)?;
            self.settle_lane(lane)?;
        }
        Ok(())
    }
}
