//! Checkpoints of the engine while operations are in flight, and openings from the last one.

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aquifer::aec::Context;
use aquifer::checkpoint::handle::{Handle, split};
use aquifer::lsm::manifest::Manifest;
use aquifer::shard::values::{ControlOp, ControlResult};
use aquifer::sst::TableRef;
use aquifer::types::ObjectName;

use super::opening::Opening;
use super::records::Record;
use super::{Aquifer, CLOSED};
use crate::load::target::{Checkpointed, Checkpoints};

/// The checkpoint to open from.
pub(super) struct Last {
    handle: Vec<u8>,
    manifest: Manifest,
    manifest_bytes: u64,
}

impl Last {
    fn of(opening: &Opening, handle: Vec<u8>) -> Result<Self> {
        let names = Handle::decode(&handle)?;
        let bytes = opening.dfs_aside()?.load(&names.manifest, names.manifest_bytes)?;
        let manifest = Manifest::decode(&names.manifest, &bytes)?;
        Ok(Self { handle, manifest, manifest_bytes: names.manifest_bytes })
    }

    /// The checkpoint that an earlier run left: of several stores, if it ended in the middle of a
    /// rescale.
    pub(super) fn read(opening: &Opening) -> Result<Vec<Self>> {
        let handles = fs::read(&opening.handle_file).context("the handle of the loaded data")?;
        split(&handles).into_iter().map(|handle| Self::of(opening, handle.to_vec())).collect()
    }
}

/// The handles of checkpoints.
pub(super) fn handles(of: &[Last]) -> Vec<Vec<u8>> {
    of.iter().map(|last| last.handle.clone()).collect()
}

/// The tables that checkpoints name.
fn tables(of: &[Last]) -> impl Iterator<Item = &TableRef> {
    of.iter().flat_map(|last| &last.manifest.tables)
}

impl<F, Fut> Aquifer<F, Fut> {
    /// Keeps the handle of a complete checkpoint: only then is the one before given up.
    pub(super) fn commit(&mut self, handle: Vec<u8>) -> Result<Checkpointed> {
        let last = Last::of(&self.opening, handle)?;
        let live = self.live.as_mut().context(CLOSED)?;
        let flushed = live.statistics().shards[0].counters.flush_bytes_written;
        let done = Checkpointed {
            bytes_moved: last.manifest_bytes + flushed
                - std::mem::replace(&mut self.flushed, flushed),
            handle_bytes: last.handle.len() as u64,
        };
        self.opening.keep(&last.handle)?;
        for before in std::mem::replace(&mut self.last, vec![last]) {
            live.session.start_control(ControlOp::Release(live.store(), before.handle))?;
        }
        Ok(done)
    }
}

impl<F, Fut> Checkpoints for Aquifer<F, Fut>
where
    F: FnMut(Context, Record) -> Fut,
    Fut: Future<Output = aquifer::types::Result<()>>,
{
    fn start(&mut self) -> Result<Duration> {
        let given = self.controller.is_idle() && self.completions.items.is_empty();
        ensure!(given && self.cutting.is_none(), "a cut among records, or among cuts");
        let live = self.live.as_mut().context(CLOSED)?;
        live.session.submit(&mut self.batch)?;
        let begun = Instant::now();
        self.cutting = Some(live.session.start_control(ControlOp::Checkpoint(live.store()))?);
        // An inline shard cuts in this turn; to one that has a thread the request is sent.
        live.session.poll(Some(Duration::ZERO), &mut self.completions)?;
        Ok(begun.elapsed())
    }

    fn finished(&mut self) -> Result<Option<Checkpointed>> {
        let mut handle = None;
        let live = self.live.as_mut().context(CLOSED)?;
        while let Some(ended) = live.session.finished_control() {
            match ended.result? {
                ControlResult::Handle(bytes) if self.cutting == Some(ended.user_data) => {
                    handle = Some(bytes);
                }
                // A checkpoint was given up.
                ControlResult::Done => {}
                other => bail!("the engine answered something that was not asked: {other:?}"),
            }
        }
        let Some(handle) = handle else { return Ok(None) };
        self.cutting = None;
        self.commit(handle).map(Some)
    }

    fn close(&mut self) {
        // Objects are read past the page cache, so nothing of them stays in memory.
        self.live = None;
        self.completions.clear();
        self.cutting = None;
        self.direct = 0;
        self.flushed = 0;
    }

    fn open_last(&mut self, stores: u32, latency: Duration) -> Result<()> {
        ensure!(!self.last.is_empty(), "there was no checkpoint yet");
        let live = self.opening.open(&handles(&self.last), stores, latency)?;
        self.records.set_home(&live);
        self.live = Some(live);
        Ok(())
    }

    fn hand_over(&mut self) -> Result<u64> {
        let live = self.live.as_mut().context(CLOSED)?;
        let mut last = Vec::new();
        for &store in &live.stores {
            last.push(Last::of(&self.opening, live.session.checkpoint(store)?)?);
        }
        self.opening.keep(&handles(&last).concat())?;
        let before = std::mem::replace(&mut self.last, last);
        let dfs = self.opening.dfs_aside()?;
        for last in &before {
            // Its store is closed, and would have deleted nothing more than this: all the tables
            // go on in the new ones.
            dfs.delete(&Handle::decode(&last.handle)?.manifest)?;
        }
        let known: HashSet<ObjectName> = tables(&before).map(|table| table.name).collect();
        let new: HashSet<_> =
            tables(&self.last).filter(|table| !known.contains(&table.name)).collect();
        Ok(new.into_iter().map(|table| table.file_bytes).sum())
    }

    fn stored_bytes(&self) -> Result<u64> {
        self.opening.stored_bytes()
    }

    fn dfs_reads(&self) -> u64 {
        let Some(live) = &self.live else { return 0 };
        let all = live.statistics();
        all.dfs.gets + all.shards[0].counters.coalescer.reads
    }
}
