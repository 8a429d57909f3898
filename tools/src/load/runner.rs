//! The loop: keeps operations in flight in an engine and records what comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::dataset::Dataset;
use super::flight::{Flight, Ledger};
use super::live::Live;
use super::options::LoadArgs;
use super::pace::Pace;
use super::probe::resident_bytes;
use super::source::OpSource;
use super::target::{OpBatch, OpKind, Target};
use super::window::Window;

/// An engine that completes nothing for so long, while it also does not block, will not recover.
const STALL: Duration = Duration::from_secs(60);
const SHOW_EVERY_NS: u64 = 1_000_000_000;

/// Runs the operations of one phase against an engine.
pub(super) struct Runner<'a> {
    target: &'a mut dyn Target,
    data: Dataset,
    source: OpSource,
    pace: Pace,
    flight: Flight,
    batch: OpBatch,
    batch_ops: usize,
    /// Operations of the batch that the engine has taken.
    submitted: usize,
    origin: Instant,
    window: Window,
    progress: Progress,
}

/// Where the runner shows how it gets on.
pub(super) struct Watch<'a> {
    pub(super) live: &'a Live,
    pub(super) name: &'static str,
}

/// What the live line was last computed from.
#[derive(Default)]
struct Progress {
    shown_ns: u64,
    shown_ops: u64,
    shown_reads: u64,
    completed_ns: u64,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        target: &'a mut dyn Target,
        args: &LoadArgs,
        data: Dataset,
        source: OpSource,
        floors: Option<Vec<u32>>,
    ) -> Self {
        let inserted = source.inserted();
        let batch_ops = args.batch_ops() as usize;
        // A load is never paced: the rate is that of the workload under test.
        let rate = args.rate.filter(|_| source.left() == usize::MAX);
        Self {
            target,
            data,
            source,
            pace: Pace::new(rate, 0),
            flight: Flight::new(data, args.in_flight_all(), inserted, floors),
            batch: OpBatch::new(batch_ops, data.row_bytes() as usize),
            batch_ops,
            submitted: 0,
            origin: Instant::now(),
            window: Window::starting_at(0),
            progress: Progress::default(),
        }
    }

    /// Runs until `seconds` from now, or until a workload that ends by itself has ended.
    pub(super) fn run_for(&mut self, seconds: Option<f64>, watch: &Watch<'_>) -> Result<()> {
        let end_ns = seconds.map_or(u64::MAX, |s| self.now_ns() + (s * 1e9) as u64);
        while self.step(watch)?.is_some_and(|now_ns| now_ns < end_ns) {}
        Ok(())
    }

    /// Runs until `ended` says so, which looks after every poll at the engine and at the number of
    /// operations completed, or until a workload that ends by itself has ended.
    pub(super) fn run_until(
        &mut self,
        watch: &Watch<'_>,
        ended: &mut dyn FnMut(&mut dyn Target, u64) -> Result<bool>,
    ) -> Result<()> {
        while self.step(watch)?.is_some() {
            if ended(self.target, self.window.tally.ops)? {
                break;
            }
        }
        Ok(())
    }

    /// Starts what is due and waits for completions; the time then. Nothing at the end of a
    /// workload that ends by itself.
    fn step(&mut self, watch: &Watch<'_>) -> Result<Option<u64>> {
        self.submit_due()?;
        if self.flight.outstanding() == 0 && self.source.left() == 0 {
            return Ok(None);
        }
        self.wait(watch).map(Some)
    }

    /// Completes what is in flight and starts nothing more.
    pub(super) fn finish(&mut self, watch: &Watch<'_>) -> Result<()> {
        while self.flight.outstanding() > 0 {
            self.submit_rest()?;
            self.wait(watch)?;
        }
        Ok(())
    }

    /// Forgets what was recorded: the measured part begins.
    pub(super) fn open_window(&mut self) {
        let now_ns = self.now_ns();
        self.window = Window::starting_at(now_ns);
        self.progress.shown_ns = now_ns;
        self.progress.shown_ops = 0;
        self.progress.shown_reads = self.reads();
    }

    /// Operations completed since [`open_window`](Self::open_window).
    pub(super) fn completed(&self) -> u64 {
        self.window.tally.ops
    }

    /// Writes that the engine has taken, in this run and the phases before. Only of workloads that
    /// do nothing else.
    pub(super) fn writes_submitted(&self) -> u64 {
        self.source.version() - (self.batch.len() - self.submitted) as u64
    }

    /// What was recorded since [`open_window`](Self::open_window).
    pub(super) fn close_window(&mut self) -> Window {
        let now_ns = self.now_ns();
        self.window.end(now_ns, resident_bytes());
        self.window.clone()
    }

    /// The engine, between two runs of the loop.
    pub(super) fn target(&mut self) -> &mut dyn Target {
        self.target
    }

    /// What the next phase has to know.
    pub(super) fn into_ledger(self) -> Ledger {
        Ledger {
            version: self.source.version(),
            inserted: self.source.inserted(),
            floors: self.flight.into_floors(),
        }
    }

    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn submit_due(&mut self) -> Result<()> {
        while self.submit_rest()? {
            let now_ns = self.now_ns();
            let batch_ops = self.batch_ops.min(self.source.left());
            let ops = self.pace.due(now_ns, self.flight.room(), batch_ops);
            if ops == 0 {
                return Ok(());
            }
            self.fill(ops, now_ns);
        }
        Ok(())
    }

    /// Makes the next batch. One clock for all of it.
    fn fill(&mut self, ops: usize, now_ns: u64) {
        self.batch.clear();
        self.submitted = 0;
        for _ in 0..ops {
            let draft = self.source.draw(self.flight.there());
            let tag = self.flight.start(draft, self.pace.start(now_ns));
            let value_bytes =
                if draft.kind == OpKind::Put { self.data.value_size_bytes } else { 0 };
            let (key, value) =
                self.batch.push(draft.kind, tag, self.data.key_size_bytes, value_bytes);
            self.data.key(draft.index, key);
            if draft.kind == OpKind::Put {
                self.data.value(draft.index, draft.version, value);
            }
        }
    }

    /// Hands over what the engine has not taken of the last batch; whether it took everything.
    fn submit_rest(&mut self) -> Result<bool> {
        if self.submitted == self.batch.len() {
            return Ok(true);
        }
        let rest = self.batch.ops_from(self.submitted);
        let accepted = self.target.submit(rest).context("the engine failed in submit")?;
        ensure!(
            accepted <= rest.len(),
            "the engine accepted {accepted} of {} requests",
            rest.len()
        );
        self.submitted += accepted;
        Ok(self.submitted == self.batch.len())
    }

    /// Waits for completions, or for the next start of an open loop, and records. Returns the time.
    fn wait(&mut self, watch: &Watch<'_>) -> Result<u64> {
        let idle = self.pace.idle(self.now_ns());
        let completed = if self.flight.outstanding() > 0 {
            self.poll(idle)?
        } else {
            std::thread::sleep(idle.unwrap_or_default());
            0
        };
        let now_ns = self.now_ns();
        if completed > 0 || self.flight.outstanding() == 0 {
            self.progress.completed_ns = now_ns;
        }
        let stalled_ns = now_ns - self.progress.completed_ns;
        ensure!(
            stalled_ns < STALL.as_nanos() as u64,
            "no request completed for {STALL:?} with {} in flight: the engine is stuck",
            self.flight.outstanding()
        );
        let tally = self.flight.take_tally();
        self.window.record(self.flight.finished_ns(), tally, now_ns);
        self.flight.forget_finished();
        if now_ns - self.progress.shown_ns >= SHOW_EVERY_NS {
            self.window.sample(now_ns, resident_bytes());
            self.show(now_ns, watch);
        }
        Ok(now_ns)
    }

    fn poll(&mut self, wait: Option<Duration>) -> Result<usize> {
        let flight = &mut self.flight;
        let mut failure = None;
        let completed = self.target.poll(wait, &mut |tag, outcome| {
            let judged = flight.finish(tag, &outcome);
            if failure.is_none() {
                failure = judged.err();
            }
        });
        let completed = completed.context("the engine failed in poll")?;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(completed),
        }
    }

    fn reads(&self) -> u64 {
        self.target.stats().device.map_or(0, |device| device.reads)
    }

    fn show(&mut self, now_ns: u64, watch: &Watch<'_>) {
        let latency = self.window.latency_us();
        let reads = self.reads();
        let progress = &mut self.progress;
        let ops = self.window.tally.ops.saturating_sub(progress.shown_ops);
        let seconds = (now_ns - progress.shown_ns) as f64 / 1e9;
        watch.live.show(format!(
            "{:<10} {:>5.0} s  {:>9.0} ops/s  p50 {:>8.1} us  p99 {:>8.1} us  {:>5.2} reads/op",
            watch.name,
            now_ns as f64 / 1e9,
            ops as f64 / seconds,
            latency.p50,
            latency.p99,
            (reads - progress.shown_reads) as f64 / ops.max(1) as f64,
        ));
        progress.shown_ns = now_ns;
        progress.shown_ops = self.window.tally.ops;
        progress.shown_reads = reads;
    }
}
