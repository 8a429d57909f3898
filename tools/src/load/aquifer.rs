//! Aquifer under the load generator: gets and puts as requests of a session, read-modify-writes as
//! records of a controller.

mod checkpoints;
mod opening;
mod records;

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aquifer::aec::{Context, Controller, Options};
use aquifer::shard::statistics::Statistics;
use aquifer::shard::values::ControlOp;
use aquifer::state::request::{Batch, Completions, Status};
use aquifer::state::{Entries, Key, MapState, Target as At, ValueState};
use indicatif::BinaryBytes;

use self::checkpoints::Last;
use self::opening::{Home, Live, Opening, state_of};
use self::records::{Record, Records};
use super::dataset::MAP_KEY_BYTES;
use super::options::KEY_GROUPS;
use super::session::Setup;
use super::target::{
    About, CONTROLLER_TURNS, Checkpoints, DeviceCounts, DfsCounts, Op, OpKind, Ops, Outcome,
    RECORDS_IN_FLIGHT_SUM, Target, TargetStats,
};
use crate::units::Memory;

/// The engine with one store, of one state.
struct Aquifer<F, Fut> {
    live: Option<Live>,
    opening: Opening,
    batch: Batch,
    /// Between polls it holds what nobody was given yet.
    completions: Completions,
    controller: Controller<Record, F, Fut>,
    /// Requests in flight that are no record's.
    direct: usize,
    records: Rc<Records>,
    /// One of each store of the last checkpoint.
    last: Vec<Last>,
    /// The number of the checkpoint that is on its way.
    cutting: Option<u64>,
    /// Bytes that flushes had written when the last one was complete, since the engine was opened.
    flushed: u64,
    about: About,
}

/// Opens the engine for a run.
///
/// # Errors
/// What the engine refuses, and options it does not have yet.
pub fn open(setup: &Setup) -> Result<Box<dyn Target>> {
    let args = &setup.args;
    let opening = Opening::of(setup)?;
    let last = if setup.loaded { Last::read(&opening)? } else { Vec::new() };
    let live = opening
        .open(&checkpoints::handles(&last), 1, Duration::ZERO)
        .with_context(|| format!("with --memory {}", setup.args.memory))?;
    let records = Rc::new(Records::new(setup.data));
    records.set_home(&live);
    let options = Options { in_flight_max: args.in_flight_all(), key_groups: KEY_GROUPS };
    let shared = Rc::clone(&records);
    let controller =
        Controller::new(options, move |ctx, record| Rc::clone(&shared).run(ctx, record))?;
    let about = About {
        io: live.engine.io().kind.to_string(),
        io_reason: live.engine.io().reason.clone(),
        settings: vec![
            ("dfs", opening.dfs.clone()),
            ("driver", format!("{:?}", args.driver).to_lowercase()),
            ("key_groups", KEY_GROUPS.to_string()),
            ("memory", memory(setup)),
        ],
    };
    Ok(Box::new(Aquifer {
        live: Some(live),
        opening,
        batch: Batch::default(),
        completions: Completions::default(),
        controller,
        direct: 0,
        records,
        last,
        cutting: None,
        flushed: 0,
        about,
    }))
}

/// The budget, for people: a share of little data is raised.
fn memory(setup: &Setup) -> String {
    let budget = BinaryBytes(setup.memory_bytes);
    let share = setup.args.memory;
    let asked = share.bytes(setup.data.data_bytes());
    match share {
        Memory::Bytes(_) => budget.to_string(),
        Memory::Percent(_) if asked == setup.memory_bytes => {
            format!("{budget}, {share} of the data")
        }
        Memory::Percent(_) => format!(
            "{budget}, the least that an engine takes; {share} of the data is {}",
            BinaryBytes(asked)
        ),
    }
}

/// One request of a record that is the value of its key.
#[inline]
fn push_value(batch: &mut Batch, states: &[ValueState], op: &Op<'_>) -> Result<()> {
    let key = Key::new(op.key, KEY_GROUPS);
    let state = state_of(states, &key);
    let at = At { key, namespace: &[], user_data: op.tag };
    match op.kind {
        OpKind::Get => state.request_get(batch, &at)?,
        OpKind::Put => state.request_put(batch, &at, op.value)?,
        kind => bail!("{kind:?} of a value"),
    }
    Ok(())
}

/// One request of a record that is an entry of a map.
fn push_entry(batch: &mut Batch, states: &[MapState], op: &Op<'_>) -> Result<()> {
    let (map, entry) = op.key.split_last_chunk::<MAP_KEY_BYTES>().context("a short key")?;
    let key = Key::new(map, KEY_GROUPS);
    let state = state_of(states, &key);
    let at = At { key, namespace: &[], user_data: op.tag };
    match op.kind {
        OpKind::Put => state.request_put(batch, &at, entry, op.value)?,
        OpKind::Scan(limit) => {
            // A scan begins above a map key; below the first there is the empty one.
            let before = u64::from_be_bytes(*entry).checked_sub(1).map(u64::to_be_bytes);
            let after = before.as_ref().map_or(&[][..], |key| &key[..]);
            state.request_scan(batch, &at, after, limit)?;
        }
        kind => bail!("{kind:?} of an entry of a map"),
    }
    Ok(())
}

const CLOSED: &str = "the engine was closed and did not open again";

impl<F, Fut> Aquifer<F, Fut>
where
    F: FnMut(Context, Record) -> Fut,
    Fut: Future<Output = aquifer::types::Result<()>>,
{
    fn submit_direct(&mut self, ops: Ops<'_>) -> Result<usize> {
        let live = self.live.as_mut().context(CLOSED)?;
        for op in ops.iter() {
            match &live.home {
                Home::Values(states) => push_value(&mut self.batch, states, &op)?,
                Home::Maps(states) => push_entry(&mut self.batch, states, &op)?,
            }
        }
        self.direct += ops.len();
        // What the session has no room for stays in the batch and goes with the next poll.
        live.session.submit(&mut self.batch)?;
        Ok(ops.len())
    }

    fn submit_records(&mut self, ops: Ops<'_>) -> Result<usize> {
        let mut accepted = 0;
        for op in ops.iter() {
            let changes = match op.kind {
                OpKind::Rmw => true,
                OpKind::Get => false,
                kind => bail!("a batch mixes read-modify-writes with {kind:?}"),
            };
            if self.controller.offer(op.key, Record { tag: op.tag, changes }).is_err() {
                break;
            }
            accepted += 1;
        }
        Ok(accepted)
    }

    fn poll_records(
        &mut self,
        wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let live = self.live.as_mut().context(CLOSED)?;
        let started = std::time::Instant::now();
        loop {
            self.controller.turn(&mut self.completions, &mut self.batch);
            if let Some(failure) = self.controller.failures().next() {
                bail!("a record failed: {}", failure.error);
            }
            live.session.submit(&mut self.batch)?;
            let count = self.records.hand_out(done);
            if count > 0 {
                live.session.poll(Some(Duration::ZERO), &mut self.completions)?;
                return Ok(count);
            }
            let left = wait.map(|wait| wait.saturating_sub(started.elapsed()));
            live.session.poll(left, &mut self.completions)?;
            if left == Some(Duration::ZERO) && self.completions.items.is_empty() {
                return Ok(0);
            }
        }
    }

    fn hand_out(&mut self, done: &mut dyn FnMut(u64, Outcome<'_>)) -> usize {
        for item in &self.completions.items {
            let outcome = match item.status {
                Status::Value => Outcome::Value(self.completions.value(item)),
                Status::Absent => Outcome::Absent,
                Status::Done => Outcome::Done,
                Status::Entries { more } => {
                    match Entries::check(self.completions.value(item), more) {
                        Ok(entries) => Outcome::Entries(entries),
                        Err(error) => Outcome::Failed(error.to_string()),
                    }
                }
                Status::Failed { index } => {
                    Outcome::Failed(self.completions.errors[index as usize].to_string())
                }
            };
            done(item.user_data, outcome);
        }
        let count = self.completions.items.len();
        self.completions.clear();
        self.direct -= count;
        count
    }
}

impl<F, Fut> Target for Aquifer<F, Fut>
where
    F: FnMut(Context, Record) -> Fut,
    Fut: Future<Output = aquifer::types::Result<()>>,
{
    fn about(&self) -> About {
        self.about.clone()
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        // Completions of requests are the controller's or the load generator's, not of both.
        let as_records = !self.controller.is_idle() || ops.iter().any(|op| op.kind == OpKind::Rmw);
        match (as_records, self.direct) {
            (true, 0) => self.submit_records(ops),
            (true, _) => Ok(0),
            (false, _) => self.submit_direct(ops),
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
        // The turn that took a cut may have brought some.
        if self.completions.items.is_empty() {
            let live = self.live.as_mut().context(CLOSED)?;
            live.session.submit(&mut self.batch)?;
            live.session.poll(wait, &mut self.completions)?;
        }
        Ok(self.hand_out(done))
    }

    fn drain_background(&mut self) -> Result<()> {
        let live = self.live.as_mut().context(CLOSED)?;
        live.session.run_control(ControlOp::Drain(live.store()))?;
        let handle = live.session.checkpoint(live.store())?;
        self.commit(handle).map(drop)
    }

    fn stats(&self) -> TargetStats {
        let budget_bytes = self.opening.memory_bytes;
        let Some(live) = &self.live else {
            return TargetStats { budget_bytes, ..TargetStats::default() };
        };
        let records = self.controller.counters();
        let statistics = live.statistics();
        let requests = statistics.requests();
        let Statistics { shards, dfs, executors, compactors, .. } = statistics;
        let shard = shards[0].counters;
        TargetStats {
            counters: vec![
                ("requests", shard.requests.total()),
                ("row_hits", shard.requests.row_hits),
                ("block_needs", shard.coalescer.needs),
                ("reads_issued", shard.coalescer.reads),
                ("reads_joined", shard.coalescer.joins),
                ("ssd_hits", shards[0].ssd.hits),
                ("ssd_misses", shards[0].ssd.misses),
                ("ssd_written_bytes", shards[0].ssd.written_bytes),
                ("extents_merged", shard.coalescer.merged),
                ("gap_bytes", shard.coalescer.gap_bytes),
                ("rereads", shard.rereads),
                ("ring_gets", shards[0].http.requests),
                ("ring_fallbacks", shards[0].http.fallbacks),
                ("hedges", shards[0].http.hedges + dfs.hedges),
                ("hedges_won", shards[0].http.hedges_won + dfs.hedges_won),
                ("filter_negatives", shard.requests.filter_negatives),
                ("filter_false_positives", shard.filter_false_positives),
                ("rows_evicted", shard.rows_evicted),
                ("flushes", shard.flushes),
                ("merges", shard.merges),
                ("merges_elsewhere", compactors.merges),
                ("merges_returned", compactors.returned),
                ("job_bytes_written", shard.job_bytes_written),
                ("job_failures", shard.job_failures),
                ("stalls", shard.stalls),
                ("checkpoints", shard.checkpoints),
                ("records", records.records),
                (RECORDS_IN_FLIGHT_SUM, records.in_flight_sum),
                (CONTROLLER_TURNS, records.turns),
            ],
            device: Some(DeviceCounts {
                reads: shard.coalescer.reads,
                read_bytes: shard.coalescer.read_bytes
                    + executors.iter().map(|e| e.read_bytes).sum::<u64>(),
                write_bytes: executors.iter().map(|e| e.written_bytes).sum(),
            }),
            dfs: Some(DfsCounts {
                gets: dfs.gets,
                get_bytes: dfs.get_bytes,
                puts: dfs.puts,
                put_bytes: dfs.put_bytes,
                deletes: dfs.deletes,
                lists: requests.lists,
                retries: dfs.retries + shards[0].read_retries,
                billed_reads: requests.billed_reads(),
                billed_writes: requests.billed_writes(),
            }),
            budget_bytes,
        }
    }

    fn levels(&self) -> Vec<(&'static str, u64)> {
        let Some(live) = &self.live else { return Vec::new() };
        let memory = live.statistics().shards[0].memory;
        vec![
            ("row_bytes", memory.rows_bytes),
            ("table_bytes", memory.tables_bytes),
            ("buffer_bytes", memory.buffers_bytes),
        ]
    }

    fn checkpoints(&mut self) -> Option<&mut dyn Checkpoints> {
        Some(self)
    }
}
