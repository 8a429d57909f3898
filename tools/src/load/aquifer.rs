//! Aquifer under the load generator: gets and puts as requests of a session, read-modify-writes as
//! records of a controller.

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aquifer::aec::{Context, Controller, Options};
use aquifer::shard::driver::executor_counters;
use aquifer::shard::engine::{Config, Engine, ShardThread, StoreConfig};
use aquifer::shard::session::Session;
use aquifer::shard::values::ControlOp;
use aquifer::state::request::{Batch, Completions, Status, StoreId};
use aquifer::state::{Key, StateKind, StateTable, Target as At, ValueState};

use super::options::{Driver, Io};
use super::session::Setup;
use super::target::{About, DeviceCounts, DfsCounts, OpKind, Ops, Outcome, Target, TargetStats};

/// Maximal parallelism of the store: Flink's default.
const KEY_GROUPS: u32 = 128;

/// The engine with one store of one value state.
struct Aquifer<F, Fut> {
    // Dropped before the engine.
    session: Session,
    engine: Engine,
    store: StoreId,
    state: ValueState,
    batch: Batch,
    completions: Completions,
    controller: Controller<u64, F, Fut>,
    ended: Rc<RefCell<Vec<u64>>>,
    handle_file: PathBuf,
    about: About,
    budget_bytes: u64,
}

/// Opens the engine for a run.
///
/// # Errors
/// What the engine refuses, and options it does not have yet.
pub fn open(setup: &Setup) -> Result<Box<dyn Target>> {
    let args = &setup.args;
    ensure!(args.shards == 1, "--shards {}: the load generator drives one shard", args.shards);
    ensure!(args.io != Io::Portable, "--io portable: this build has the uring driver only");
    ensure!(args.ssd == 0, "--ssd: this build has no local cache; leave it at 0");
    let url = match &args.dfs {
        Some(url) => url.clone(),
        None => format!("file://{}/dfs", setup.dir.display()),
    };
    let engine = Engine::open(Config {
        memory_bytes: usize::try_from(setup.memory_bytes)?,
        dfs: url.clone(),
        shards: 1,
        thread: match args.driver {
            Driver::Inline => ShardThread::Inline,
            Driver::Owned => ShardThread::Owned,
        },
    })?;
    let mut session = engine.session(0)?;
    let handle_file = setup.dir.join("aquifer.handle");
    let handle = match setup.loaded {
        true => Some(std::fs::read(&handle_file).context("the handle of the loaded data")?),
        false => None,
    };
    let mut states = StateTable::default();
    states.declare("value", StateKind::Value)?;
    let (store, states) = session.open_store(StoreConfig {
        number: 1,
        host_epoch: 0,
        key_groups: KEY_GROUPS,
        range: (0, (KEY_GROUPS - 1) as u16),
        states,
        handle,
    })?;
    let state = states.value(store, "value")?;
    let ended = Rc::new(RefCell::new(Vec::<u64>::new()));
    let records = Options { in_flight_max: args.in_flight_all(), key_groups: KEY_GROUPS };
    let (data, ends) = (setup.data, Rc::clone(&ended));
    let controller = Controller::new(records, move |ctx: Context, tag| {
        let ends = Rc::clone(&ends);
        async move {
            let key = ctx.key();
            let mut next = Vec::new();
            state.get_with(&ctx, |now| data.next_value(&key, now, &mut next)).await?;
            state.put(&ctx, &next).await?;
            ends.borrow_mut().push(tag);
            Ok(())
        }
    })?;
    Ok(Box::new(Aquifer {
        session,
        engine,
        store,
        state,
        batch: Batch::default(),
        completions: Completions::default(),
        controller,
        ended,
        handle_file,
        about: About {
            io: "uring".to_owned(),
            io_reason: "io_uring is allowed here".to_owned(),
            settings: vec![
                ("dfs", url),
                ("driver", format!("{:?}", args.driver).to_lowercase()),
                ("key_groups", KEY_GROUPS.to_string()),
            ],
        },
        budget_bytes: setup.memory_bytes,
    }))
}

impl<F, Fut> Aquifer<F, Fut>
where
    F: FnMut(Context, u64) -> Fut,
    Fut: Future<Output = aquifer::types::Result<()>>,
{
    fn submit_direct(&mut self, ops: Ops<'_>) -> Result<usize> {
        for op in ops.iter() {
            let key = Key::new(op.key, KEY_GROUPS);
            let at = At { key, namespace: &[], user_data: op.tag };
            match op.kind {
                OpKind::Get => self.state.request_get(&mut self.batch, &at)?,
                OpKind::Put => self.state.request_put(&mut self.batch, &at, op.value)?,
                OpKind::Rmw => bail!("a batch mixes read-modify-writes with other operations"),
            }
        }
        // What the session has no room for stays in the batch and goes with the next poll.
        self.session.submit(&mut self.batch)?;
        Ok(ops.len())
    }

    fn submit_records(&mut self, ops: Ops<'_>) -> usize {
        let mut accepted = 0;
        for op in ops.iter() {
            if self.controller.offer(op.key, op.tag).is_err() {
                break;
            }
            accepted += 1;
        }
        accepted
    }

    fn poll_records(
        &mut self,
        wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let started = std::time::Instant::now();
        loop {
            self.controller.turn(&mut self.completions, &mut self.batch);
            if let Some(failure) = self.controller.failures().next() {
                bail!("a record failed: {}", failure.error);
            }
            self.session.submit(&mut self.batch)?;
            let mut ended = self.ended.borrow_mut();
            if !ended.is_empty() {
                let count = ended.len();
                ended.drain(..).for_each(|tag| done(tag, Outcome::Done));
                drop(ended);
                self.session.poll(Some(Duration::ZERO), &mut self.completions)?;
                return Ok(count);
            }
            drop(ended);
            let left = wait.map(|wait| wait.saturating_sub(started.elapsed()));
            self.session.poll(left, &mut self.completions)?;
            if left == Some(Duration::ZERO) && self.completions.items.is_empty() {
                return Ok(0);
            }
        }
    }
}

impl<F, Fut> Target for Aquifer<F, Fut>
where
    F: FnMut(Context, u64) -> Fut,
    Fut: Future<Output = aquifer::types::Result<()>>,
{
    fn about(&self) -> About {
        self.about.clone()
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        match ops.iter().next() {
            Some(op) if op.kind == OpKind::Rmw => Ok(self.submit_records(ops)),
            _ => self.submit_direct(ops),
        }
    }

    fn poll(
        &mut self,
        wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        if !self.controller.is_idle() {
            return self.poll_records(wait, done);
        }
        self.session.submit(&mut self.batch)?;
        self.session.poll(wait, &mut self.completions)?;
        for item in &self.completions.items {
            let outcome = match item.status {
                Status::Value => Outcome::Value(self.completions.value(item)),
                Status::Absent => Outcome::Absent,
                Status::Done | Status::Entries { .. } => Outcome::Done,
                Status::Failed { index } => {
                    Outcome::Failed(self.completions.errors[index as usize].to_string())
                }
            };
            done(item.user_data, outcome);
        }
        let count = self.completions.items.len();
        self.completions.clear();
        Ok(count)
    }

    fn drain_background(&mut self) -> Result<()> {
        self.session.run_control(ControlOp::Drain(self.store))?;
        let handle = self.session.checkpoint(self.store)?;
        std::fs::write(&self.handle_file, handle).context("the handle of the loaded data")
    }

    fn stats(&self) -> TargetStats {
        // A shard that is gone has said so to `poll`.
        let shard = self.session.counters().unwrap_or_default();
        let records = self.controller.counters();
        let jobs = executor_counters();
        let dfs = self.engine.dfs().counters();
        TargetStats {
            counters: vec![
                ("requests", shard.requests),
                ("row_hits", shard.row_hits),
                ("block_needs", shard.coalescer.needs),
                ("reads_issued", shard.coalescer.reads),
                ("reads_joined", shard.coalescer.joins),
                ("extents_merged", shard.coalescer.merged),
                ("filter_negatives", shard.filter_negatives),
                ("filter_false_positives", shard.filter_false_positives),
                ("rows_evicted", shard.rows_evicted),
                ("flushes", shard.flushes),
                ("merges", shard.merges),
                ("job_bytes_written", shard.job_bytes_written),
                ("job_failures", shard.job_failures),
                ("stalls", shard.stalls),
                ("checkpoints", shard.checkpoints),
                ("records", records.records),
                ("records_in_flight_sum", records.in_flight_sum),
                ("controller_turns", records.turns),
            ],
            device: Some(DeviceCounts {
                reads: shard.coalescer.reads,
                read_bytes: shard.coalescer.read_bytes
                    + jobs.iter().map(|j| j.bytes_read).sum::<u64>(),
                write_bytes: jobs.iter().map(|j| j.bytes_written).sum(),
            }),
            dfs: Some(DfsCounts {
                gets: dfs.gets,
                get_bytes: dfs.get_bytes,
                puts: dfs.puts,
                put_bytes: dfs.put_bytes,
                deletes: dfs.deletes,
                ..DfsCounts::default()
            }),
            budget_bytes: self.budget_bytes,
        }
    }
}
