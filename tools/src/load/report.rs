//! The report: one JSON object a run. Other programs read it, so fields are added, never renamed
//! or dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::options::LoadArgs;
use crate::files;

/// Names the shape of the report.
pub const SCHEMA: &str = "aquifer-bench/1";

/// Largest report that is read, bytes: each second takes about 200, so this is a run of two weeks.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where and when.
    pub environment: Environment,
    /// Every effective option, as the command line names it.
    pub options: LoadArgs,
    /// User bytes: keys plus values.
    pub data_bytes: u64,
    /// The effective options of every engine.
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// In the order in which they ran.
    pub phases: Vec<PhaseReport>,
}

/// One measured phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The workload, or `load-drained`: the load with the background work it left behind.
    pub name: String,
    /// The engine under test.
    pub engine: String,
    /// Counts from 1.
    pub round: u32,
    /// Distribution of the keys.
    pub dist: String,
    /// Requests per submit.
    pub batch: u32,
    /// Most requests in flight.
    pub in_flight: u32,
    /// Operations completed in the phase.
    pub ops: u64,
    /// Length of the phase.
    pub seconds: f64,
    /// The rate.
    pub ops_per_s: f64,
    /// User plus system time of the whole process, background work included.
    pub cpu_us_per_op: f64,
    /// From submit, or from the intended start with `--rate`.
    pub latency_us: LatencyUs,
    /// Quantiles with their latencies, from 0 towards 1.
    #[serde(default)]
    pub latency_spectrum_us: Vec<[f64; 2]>,
    /// Second by second.
    #[serde(default)]
    pub samples: Vec<Sample>,
    /// Values that were not those of their key; looked for with `--verify`.
    pub wrong: u64,
    /// Keys that exist and were not found.
    pub missing: u64,
    /// This process: bytes by the kernel, requests by the engine or else by the block device.
    pub device: DevicePerOp,
    /// The whole machine's requests to the block device under `--dir`, where there is one.
    pub block_device: Option<DevicePerOp>,
    /// `null` for an engine without a distributed store.
    pub dfs: Option<DfsReport>,
    /// Device bytes written per user byte written; `null` if nothing was written.
    pub write_amplification: Option<f64>,
    /// Bytes of files per user byte of the data set, at the end of the phase.
    pub space_amplification: f64,
    /// Highest resident memory seen.
    pub rss_bytes_max: u64,
    /// The memory the engine holds itself to.
    pub budget_bytes: u64,
    /// Longest stretch in which no operation completed.
    pub longest_pause_ms: f64,
    /// Time that background work needed after the phase; only of phases that write.
    pub drain_ms: Option<f64>,
    /// Records in flight in the controller at the ends of its turns, on average
    /// (`records_in_flight_sum / controller_turns`); `null` if no operation was a record.
    #[serde(default)]
    pub records_in_flight_mean: Option<f64>,
    /// The engine's own counters.
    pub counters: BTreeMap<String, u64>,
    /// Only of the workload `checkpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointReport>,
    /// Only of the workload `restore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreReport>,
    /// Only of the workload `rescale`, which has a phase for each number of stores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescale: Option<RescaleReport>,
}

/// A second of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its end, from the start of the phase.
    pub at_s: f64,
    /// The rate in it.
    pub ops_per_s: f64,
    /// Latencies of what completed in it.
    pub p50_us: f64,
    /// See [`p50_us`](Self::p50_us).
    pub p99_us: f64,
    /// See [`p50_us`](Self::p50_us).
    pub max_us: f64,
    /// Resident memory at its end.
    pub rss_bytes: u64,
}

/// Checkpoints while operations were in flight.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// How many.
    pub checkpoints: u64,
    /// Keys plus values of the state.
    pub state_bytes: u64,
    /// Keys plus values written since the checkpoint before, on average.
    pub new_bytes: u64,
    /// How long the cut held the host's thread.
    pub cut_us: Spread,
    /// From the cut to the handle.
    pub seconds: Spread,
    /// Bytes that a checkpoint itself wrote to the distributed store, on average: the flush of
    /// what memory held at the cut, and the manifest. Merges are not counted, nor flushes that
    /// memory asked for before the cut.
    pub bytes_moved: u64,
    /// Size of what the host keeps.
    pub handle_bytes: u64,
    /// Rate between a cut and its handle.
    pub ops_per_s_during: f64,
    /// Rate between a handle and the next cut.
    pub ops_per_s_before: f64,
}

/// The first moments of an engine that was opened from a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoreReport {
    /// Keys plus values of the state.
    pub state_bytes: u64,
    /// Until the engine served.
    pub open_ms: f64,
    /// From the same start until one read was answered.
    pub first_read_ms: f64,
    /// Requests to the distributed store by then.
    pub dfs_requests_before_first_read: u64,
    /// Of these, the longest chain in which each waited for the one before.
    pub dfs_round_trips_before_first_read: u64,
    /// The rate of reads, second by second.
    pub ops_per_s_curve: Vec<f64>,
}

/// The first moments of an engine that was opened as another number of stores.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RescaleReport {
    /// Stores whose checkpoints it was opened from.
    pub from: u32,
    /// Stores that it was opened as.
    pub to: u32,
    /// Until all of them served.
    pub open_ms: f64,
    /// From the same start until one read was answered.
    pub first_read_ms: f64,
    /// Bytes of tables that the new stores wrote before their checkpoint: state that was copied
    /// instead of shared.
    pub bytes_copied: u64,
    /// Bytes of all tables on the distributed store before they were opened.
    pub stored_bytes_before: u64,
    /// The same when their checkpoint had taken the place of the old one.
    pub stored_bytes_after: u64,
    /// Requests to the distributed store until the first read was answered.
    pub dfs_requests_before_first_read: u64,
    /// Of these, the longest chain in which each waited for the one before.
    pub dfs_round_trips_before_first_read: u64,
}

/// The middle and the worst of several figures.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one, of an even number the higher one.
    pub p50: f64,
    /// The highest one.
    pub max: f64,
}

impl Spread {
    /// Of these figures; zeros of none.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        Self { p50: at(figures.len() / 2), max: figures.last().copied().unwrap_or_default() }
    }
}

/// Quantiles of the latency.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the quantiles")]
pub struct LatencyUs {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

/// Traffic with a disk, per operation.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DevicePerOp {
    /// Read requests; `null` if nobody knows.
    pub reads_per_op: Option<f64>,
    /// Bytes read.
    pub read_bytes_per_op: f64,
    /// Bytes written.
    pub write_bytes_per_op: f64,
}

/// Traffic with the distributed store.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the requests")]
pub struct DfsReport {
    pub gets_per_op: f64,
    pub get_bytes_per_op: f64,
    pub puts: u64,
    pub put_bytes: u64,
    pub deletes: u64,
    pub lists: u64,
    pub retries: u64,
    #[serde(default)]
    pub billed_reads: u64,
    #[serde(default)]
    pub billed_writes: u64,
}

impl RunReport {
    /// Writes the report; an earlier one under the same name is replaced as a whole. What is no
    /// file, such as a pipe or `/dev/null`, is written to.
    pub fn write(&self, path: &Path) -> Result<()> {
        let draft = path.with_extension("json.partial");
        let text = serde_json::to_vec_pretty(self)?;
        let written = if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            fs::write(path, text)
        } else {
            fs::write(&draft, text).and_then(|()| fs::rename(&draft, path))
        };
        written.with_context(|| format!("the report {} cannot be written", path.display()))
    }

    /// The settings of the engines and a row per phase, for people.
    pub fn print(&self) {
        for (engine, settings) in &self.settings {
            println!("{engine}: {} ({})", self.environment.io, self.environment.io_reason);
            for (name, value) in settings {
                println!("  {name} = {value}");
            }
        }
        println!("{}", table_head());
        for phase in &self.phases {
            println!("{}", phase.row());
        }
        for note in self.phases.iter().filter_map(PhaseReport::note) {
            println!("{note}");
        }
    }

    /// Reads a report back.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read(path, REPORT_BYTES_MAX)
            .with_context(|| format!("the report {} cannot be read", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is no report of schema {SCHEMA}", path.display()))
    }
}

/// The head of the table that [`PhaseReport::row`] fills.
pub fn table_head() -> String {
    format!(
        "{:<14} {:<13} {:>5} {:>11} {:>9} {:>9} {:>9} {:>9} {:>8} {:>10} {:>9} {:>9}",
        "engine",
        "phase",
        "round",
        "ops/s",
        "cpu us",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "reads/op",
        "pause ms",
        "w-amp",
        "rss MiB"
    )
}

impl PhaseReport {
    /// What the table has no column for.
    pub fn note(&self) -> Option<String> {
        let of = format!("{} {}:", self.name, self.round);
        if let Some(c) = &self.checkpoint {
            return Some(format!(
                "{of} {} checkpoints, new {:.1} of {:.1} MiB, cut p50 {:.0} us max {:.0} us, took \
                 p50 {:.3} s max {:.3} s, moved {:.1} MiB, handle {} B, {:.0} ops/s during, {:.0} \
                 before",
                c.checkpoints,
                mib(c.new_bytes),
                mib(c.state_bytes),
                c.cut_us.p50,
                c.cut_us.max,
                c.seconds.p50,
                c.seconds.max,
                mib(c.bytes_moved),
                c.handle_bytes,
                c.ops_per_s_during,
                c.ops_per_s_before
            ));
        }
        if let Some(r) = &self.restore {
            let curve: Vec<String> = r.ops_per_s_curve.iter().map(|v| format!("{v:.0}")).collect();
            return Some(format!(
                "{of} {:.1} MiB open after {:.1} ms, first read after {:.1} ms, {} requests in {} \
                 round trips; ops/s by second: {}",
                mib(r.state_bytes),
                r.open_ms,
                r.first_read_ms,
                r.dfs_requests_before_first_read,
                r.dfs_round_trips_before_first_read,
                curve.join(" ")
            ));
        }
        if let Some(r) = &self.rescale {
            return Some(format!(
                "{of} from {} to {} stores, open after {:.1} ms, first read after {:.1} ms, {} \
                 requests in {} round trips; {} bytes copied, stored {:.1} MiB before and {:.1} \
                 after",
                r.from,
                r.to,
                r.open_ms,
                r.first_read_ms,
                r.dfs_requests_before_first_read,
                r.dfs_round_trips_before_first_read,
                r.bytes_copied,
                mib(r.stored_bytes_before),
                mib(r.stored_bytes_after)
            ));
        }
        let records = self.records_in_flight_mean?;
        Some(format!("{of} {records:.0} records in flight on average"))
    }

    /// One line of the table.
    pub fn row(&self) -> String {
        let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        format!(
            "{:<14} {:<13} {:>5} {:>11.0} {:>9.2} {:>9.1} {:>9.1} {:>9.1} \
             {:>8} {:>10.1} {:>9} {:>9}",
            self.engine,
            self.name,
            self.round,
            self.ops_per_s,
            self.cpu_us_per_op,
            self.latency_us.p50,
            self.latency_us.p99,
            self.latency_us.p99_9,
            or_dash(self.device.reads_per_op),
            self.longest_pause_ms,
            or_dash(self.write_amplification),
            self.rss_bytes_max >> 20
        )
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
