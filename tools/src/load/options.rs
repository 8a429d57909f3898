//! The options of the load generator, as the command line names them.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use aquifer::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, KEY_SIZE_BYTES_MIN, MAP_KEY_BYTES, VALUE_SIZE_BYTES_MIN};
use super::dist::Dist;
use super::environment::check_memory;
use super::workload::Workload;
use crate::compactor::Compactors;
use crate::io::Io;
use crate::statistics::Address;
use crate::units::{Memory, Share, count_in, parse_count, parse_size, size_in};

/// Maximal parallelism of the engine's store: Flink's default.
pub(super) const KEY_GROUPS: u32 = 128;

const IN_FLIGHT_MAX: u32 = 1 << 16;
const KEY_SIZES: RangeInclusive<u64> = KEY_SIZE_BYTES_MIN as u64..=KEY_BYTES_MAX as u64;
const VALUE_SIZES: RangeInclusive<u64> = VALUE_SIZE_BYTES_MIN as u64..=VALUE_BYTES_MAX as u64;
const AT_LEAST_ONE: RangeInclusive<u64> = 1..=u64::MAX;

/// Everything one run needs to know. It serialises to the `options` of the report, so fields keep
/// their names.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoadArgs {
    /// Workloads to run, in this order: load, get, get-absent, put, rmw, ycsb-a to ycsb-f,
    /// checkpoint, restore, rescale. ycsb-d inserts records and reads those inserted last. The
    /// engine orders rows inside the maps of a key alone: ycsb-e keeps the records in maps of 1000
    /// entries and scans 1 to 100 entries of one, at most to its end; beside it goes load alone
    #[arg(value_name = "WORKLOAD", value_delimiter = ',', required = true)]
    pub workloads: Vec<Workload>,

    /// Records in the data set
    #[arg(long, value_name = "N", default_value = "1M",
          value_parser = count_in::<u64>(1..=u32::MAX.into()))]
    pub records: u64,

    /// Bytes of every key, at most 2048
    #[arg(long, value_name = "SIZE", default_value_t = 16,
          value_parser = size_in::<u32>(KEY_SIZES))]
    pub key_size: u32,

    /// Bytes of every value, at most 16M
    #[arg(long, value_name = "SIZE", default_value_t = 128,
          value_parser = size_in::<u32>(VALUE_SIZES))]
    pub value_size: u32,

    /// Make values compress about R to 1 [default: incompressible]
    #[arg(long, value_name = "R")]
    pub compressible: Option<f64>,

    /// uniform, zipf:THETA, hotspot:KEYS:OPS, latest (the newest most often) or sequential
    /// [default: uniform, for ycsb zipf:0.99, for ycsb-d latest]
    #[arg(long, value_name = "DIST")]
    pub dist: Option<Dist>,

    /// Shards of the engine; the load generator drives one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_shards)]
    pub shards: u32,

    /// Who runs a shard: a thread of the engine, or the caller
    #[arg(long, value_enum, default_value_t = Driver::Owned)]
    pub driver: Driver,

    /// The way to the disk
    #[arg(long, value_enum, default_value_t = Io::Auto, env = "AQUIFER_IO")]
    pub io: Io,

    /// Requests per submit: never more than may be in flight
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = count_in::<u32>(1..=IN_FLIGHT_MAX.into()))]
    pub batch: u32,

    /// Most requests in flight per shard
    #[arg(long, value_name = "N", default_value_t = 1024,
          value_parser = count_in::<u32>(1..=IN_FLIGHT_MAX.into()))]
    pub in_flight: u32,

    /// All memory the engine may use: a size of at least 48M, or a percentage of the data, which is
    /// raised to 48M; at most what the machine has
    #[arg(long, value_name = "SIZE|P%", default_value = "10%")]
    pub memory: Memory,

    /// Where the engine keeps its files [default: a temporary directory]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// The distributed store [default: file://DIR/dfs]
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,

    /// Size of the local cache of the distributed store, in --dir; 0 is none
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
    pub ssd: u64,

    /// Send GETs of a store that take longer than 99 of 100 once more: one in twenty at most
    #[arg(long)]
    pub hedge: bool,

    /// Seconds measured per workload
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,

    /// Seconds run before the measurement
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub warmup: f64,

    /// Open loop: start R operations a second, count latency from the intended start [default:
    /// closed loop]
    #[arg(long, value_name = "R", value_parser = count_in::<u64>(AT_LEAST_ONE))]
    pub rate: Option<u64>,

    /// Seed of the operations, and of the values when they are loaded
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    pub seed: u64,

    /// Share of the keys that is rewritten before each checkpoint
    #[arg(long, value_name = "P%", default_value = "1%")]
    pub change: Share,

    /// Stores that rescale opens in place of those before, one number after the other; then it is
    /// one store again
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "2,4,1,3",
          value_parser = count_in::<u32>(1..=KEY_GROUPS.into()))]
    #[serde(default = "chain")]
    pub to: Vec<u32>,

    /// Check every value returned; fail the run on the first wrong or missing one (4 more bytes of
    /// memory per record)
    #[arg(long)]
    pub verify: bool,

    /// Use the data an earlier run loaded in --dir; load it where there is none
    #[arg(long)]
    pub reuse: bool,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Serve metrics of the engine as OpenMetrics: PORT of this machine alone, or IP:PORT
    #[arg(long, value_name = "ADDR")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_addr: Option<Address>,
    /// The compactors
    #[command(flatten)]
    #[serde(flatten)]
    pub compactors: Compactors,
    /// Write the report as a page for a browser, with rates, latencies and memory over time
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,

    /// Write a flame graph of the measured part (per workload, if there are several)
    #[arg(long, value_name = "FILE.svg")]
    pub flamegraph: Option<PathBuf>,

    /// No live line
    #[arg(long)]
    pub quiet: bool,
}

/// Of reports that were written before there was a choice.
fn chain() -> Vec<u32> {
    vec![2, 4, 1, 3]
}

fn parse_shards(text: &str) -> Result<u32, String> {
    match parse_count(text)? {
        1 => Ok(1),
        _ => Err("the load generator drives one shard: use 1".to_owned()),
    }
}

/// Who runs a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A thread of the engine.
    Owned,
    /// The caller's thread.
    Inline,
}

impl LoadArgs {
    /// Refuses what no run can honour, before anything is opened.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.compressible.is_none_or(|ratio| (1.0..=1000.0).contains(&ratio)),
            "--compressible is a ratio from 1 to 1000, such as 2 for values that compress to half"
        );
        let batch_bytes = u64::from(self.batch_ops()) * self.dataset(0).row_bytes();
        ensure!(
            batch_bytes <= u64::from(u32::MAX),
            "a batch of {batch_bytes} bytes is over 4 GiB: lower --batch"
        );
        ensure!(
            self.seconds > 0.0 && self.seconds.is_finite() && (0.0..1e9).contains(&self.warmup),
            "--seconds is above 0 and --warmup is 0 or more"
        );
        let in_maps = |workload: &Workload| [Workload::Load, Workload::YcsbE].contains(workload);
        ensure!(
            !self.maps() || self.workloads.iter().all(in_maps),
            "ycsb-e keeps the records in maps, where no other workload looks: run it in a command \
             of its own, beside load alone"
        );
        ensure!(
            !self.maps() || self.key_size as usize >= MAP_KEY_BYTES + KEY_SIZE_BYTES_MIN as usize,
            "ycsb-e needs --key-size 16 or more: 8 bytes are the map key"
        );
        let memory = self.memory.bytes(self.dataset(0).data_bytes());
        check_memory(memory).with_context(|| format!("--memory {}", self.memory))?;
        ensure!(!self.reuse || self.dir.is_some(), "--reuse needs --dir: where the data lies");
        Ok(())
    }

    /// The records these options describe.
    pub fn dataset(&self, seed: u64) -> Dataset {
        let share = 1.0 / self.compressible.unwrap_or(1.0);
        let random_bytes = (f64::from(self.value_size) * share).round() as u32;
        Dataset {
            records: self.records,
            key_size_bytes: self.key_size,
            value_size_bytes: self.value_size,
            random_bytes: random_bytes.clamp(VALUE_SIZE_BYTES_MIN, self.value_size),
            seed,
            maps: self.maps(),
        }
    }

    /// Whether the records are entries of maps.
    pub fn maps(&self) -> bool {
        self.workloads.contains(&Workload::YcsbE)
    }

    /// Most requests in flight over all shards.
    pub fn in_flight_all(&self) -> u32 {
        self.in_flight.saturating_mul(self.shards).min(IN_FLIGHT_MAX)
    }

    /// Requests per submit: never more than may be in flight.
    pub fn batch_ops(&self) -> u32 {
        self.batch.min(self.in_flight_all())
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
