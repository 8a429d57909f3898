//! The loop of the job: words go through the controller into the store, checkpoints are cut on
//! the way.
//!
//! A cut is exact: the job lets every record in flight end, then starts the checkpoint. What was
//! submitted before belongs to it, so its position is the reader's of that moment. Counting goes
//! on while it uploads.

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use aquifer::aec::{Context, Controller, Counters, Options};
use aquifer::shard::session::Session;
use aquifer::shard::values::{ControlDone, ControlOp, ControlResult};
use aquifer::state::ValueState;
use aquifer::state::request::{Batch, Completions, StoreId};
use aquifer::types::{Error, Result as EngineResult};

use crate::run::input::{Position, Reader};
use crate::run::job_file::{Checkpoint, Job};
use crate::run::progress::Progress;
use crate::run::tally::Tally;

/// Pause between two looks for the end of an upload while there is nothing to count.
const UPLOAD_LOOK: Duration = Duration::from_micros(500);

/// How to count.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Records in flight at most.
    pub in_flight: u32,
    /// Key groups of the store.
    pub key_groups: u32,
    /// Records from one checkpoint to the next.
    pub checkpoint_every: u64,
    /// Records to count in all.
    pub limit: u64,
    /// Records after which the process kills itself.
    pub crash_at: u64,
}

/// What the loop works with.
pub struct Parts<'a> {
    /// To the shard.
    pub session: &'a mut Session,
    /// Where the counts are.
    pub store: StoreId,
    /// The counts.
    pub state: ValueState,
    /// The input, at the position of the job's last checkpoint.
    pub reader: Reader<'a>,
    /// The job.
    pub job: &'a mut Job,
    /// Its file.
    pub job_path: &'a Path,
    /// Shown on the way.
    pub progress: &'a mut Progress,
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Records, those before a resume included.
    pub records: u64,
    /// Bytes of the input up to here.
    pub bytes: u64,
    /// Counted on the side.
    pub tally: Tally,
    /// Of the controller.
    pub controller: Counters,
    /// Completed checkpoints.
    pub checkpoints: u64,
    /// Longest time that no record was taken because of a checkpoint: a drain, or the job file.
    pub longest_pause: Duration,
    /// From cut to durable handle, all checkpoints together.
    pub uploads: Duration,
}

/// Counts to the end of the input or to the limit, and commits a last checkpoint.
///
/// # Errors
/// The input cannot be read, the engine failed a request or a checkpoint, the job file cannot be
/// written.
pub fn count(parts: Parts<'_>, plan: Plan) -> Result<Counted> {
    let tally = Rc::new(RefCell::new(parts.job.last().tally));
    let options = Options { in_flight_max: plan.in_flight, key_groups: plan.key_groups };
    let (state, noted) = (parts.state, Rc::clone(&tally));
    let controller = Controller::new(options, move |context: Context, ()| {
        let noted = Rc::clone(&noted);
        async move {
            let count = state.get_with(&context, number).await?? + 1;
            state.put(&context, &count.to_le_bytes()).submit().await?;
            noted.borrow_mut().note(count, || context.key());
            Ok(())
        }
    })?;
    let next_cut = (parts.reader.records() / plan.checkpoint_every + 1) * plan.checkpoint_every;
    let mut counting = Counting {
        parts,
        plan,
        controller,
        tally,
        batch: Batch::default(),
        done: Completions::default(),
        next_cut,
        upload: None,
        checkpoints: 0,
        longest_pause: Duration::ZERO,
        uploads: Duration::ZERO,
    };
    counting.run()
}

/// The number that a value of the state holds.
///
/// # Errors
/// `Corrupt` for anything but eight bytes.
pub fn number(value: Option<&[u8]>) -> EngineResult<u64> {
    let Some(value) = value else { return Ok(0) };
    let bytes = value.try_into();
    let bytes = bytes
        .map_err(|_| Error::corrupt(format!("a count of {} bytes instead of 8", value.len())))?;
    Ok(u64::from_le_bytes(bytes))
}

/// A checkpoint that is cut and not yet durable.
struct Upload {
    control: u64,
    position: Position,
    tally: Tally,
    cut: Instant,
}

struct Counting<'a, F, Fut> {
    parts: Parts<'a>,
    plan: Plan,
    controller: Controller<(), F, Fut>,
    tally: Rc<RefCell<Tally>>,
    batch: Batch,
    done: Completions,
    next_cut: u64,
    upload: Option<Upload>,
    checkpoints: u64,
    longest_pause: Duration,
    uploads: Duration,
}

impl<F, Fut> Counting<'_, F, Fut>
where
    F: FnMut(Context, ()) -> Fut,
    Fut: Future<Output = EngineResult<()>>,
{
    fn run(&mut self) -> Result<Counted> {
        let mut ended = false;
        let mut drained_since = None;
        loop {
            ended |= !self.fill()?;
            let at_cut = self.parts.reader.records() == self.next_cut;
            self.turn()?;
            if !ended && !at_cut {
                continue;
            }
            let since = *drained_since.get_or_insert_with(Instant::now);
            if !self.controller.is_idle() {
                continue;
            }
            self.finish_upload()?;
            self.cut()?;
            self.longest_pause = self.longest_pause.max(since.elapsed());
            drained_since = None;
            if ended {
                self.finish_upload()?;
                return Ok(self.counted());
            }
        }
    }

    // Offers records until no more may be in flight or the next cut is due; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let stop = self.next_cut.min(self.plan.limit).min(self.plan.crash_at);
        while self.parts.reader.records() < stop {
            if self.controller.in_flight() == self.plan.in_flight {
                return Ok(true);
            }
            let Some(key) = self.parts.reader.next()? else { return Ok(false) };
            let offered = self.controller.offer(key, ());
            offered.map_err(|()| anyhow!("the controller refused a record it had room for"))?;
        }
        if stop == self.plan.crash_at {
            die()?;
        }
        Ok(stop < self.plan.limit)
    }

    // One turn of the controller, and one of the shard unless every record has ended.
    fn turn(&mut self) -> Result<()> {
        self.controller.turn(&mut self.done, &mut self.batch);
        if let Some(failure) = self.controller.failures().next() {
            let word = String::from_utf8_lossy(&failure.key).into_owned();
            return Err(failure.error).with_context(|| format!("counting `{word}`"));
        }
        if !self.controller.is_idle() {
            self.parts.session.submit(&mut self.batch)?;
            self.parts.session.poll(None, &mut self.done)?;
            self.take_controls()?;
        }
        self.parts.progress.at(self.parts.reader.bytes(), self.parts.reader.records());
        Ok(())
    }

    // Every record counted so far has ended, so the state is that of the reader's position.
    fn cut(&mut self) -> Result<()> {
        let control = self.parts.session.start_control(ControlOp::Checkpoint(self.parts.store))?;
        self.upload = Some(Upload {
            control,
            position: self.parts.reader.position(),
            tally: self.tally.borrow().clone(),
            cut: Instant::now(),
        });
        self.next_cut = self.next_cut.saturating_add(self.plan.checkpoint_every);
        Ok(())
    }

    // One checkpoint uploads at a time: the next one waits for it, so that never more than two
    // intervals are lost.
    fn finish_upload(&mut self) -> Result<()> {
        while self.upload.is_some() {
            // With no request in flight a poll does not wait, and brings the end of controls only.
            self.parts.session.poll(Some(Duration::ZERO), &mut self.done)?;
            self.take_controls()?;
            if self.upload.is_some() {
                std::thread::sleep(UPLOAD_LOOK);
            }
        }
        Ok(())
    }

    fn take_controls(&mut self) -> Result<()> {
        while let Some(ControlDone { user_data, result, .. }) =
            self.parts.session.finished_control()
        {
            match self.upload.take_if(|upload| upload.control == user_data) {
                Some(upload) => {
                    let result = result
                        .context("a checkpoint failed; --resume goes on from the one before")?;
                    let ControlResult::Handle(handle) = result else {
                        bail!("a checkpoint brought no handle but {result:?}");
                    };
                    self.commit(handle, upload)?;
                }
                None => drop(result.context("releasing an old checkpoint")?),
            }
        }
        Ok(())
    }

    // The job file first: as long as it names a checkpoint, its objects must stay.
    fn commit(&mut self, handle: Vec<u8>, upload: Upload) -> Result<()> {
        self.checkpoints += 1;
        self.uploads += upload.cut.elapsed();
        let Upload { position, tally, .. } = upload;
        let released = self.parts.job.add(Checkpoint { handle, position, tally });
        let saving = Instant::now();
        self.parts.job.save(self.parts.job_path)?;
        self.longest_pause = self.longest_pause.max(saving.elapsed());
        for old in released {
            let release = ControlOp::Release(self.parts.store, old.handle);
            self.parts.session.start_control(release)?;
        }
        Ok(())
    }

    fn counted(&self) -> Counted {
        Counted {
            records: self.parts.reader.records(),
            bytes: self.parts.reader.bytes(),
            tally: self.tally.borrow().clone(),
            controller: self.controller.counters(),
            checkpoints: self.checkpoints,
            longest_pause: self.longest_pause,
            uploads: self.uploads,
        }
    }
}

/// Ends the process as a power failure would end it: nothing is flushed, nobody is told.
fn die() -> Result<()> {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
    bail!("the process survived SIGKILL")
}
