//! Random direct reads of 4 KiB: the portable driver beside fio's `psync` with as many threads as
//! the driver has reads in flight, in turns on one file. Needs fio.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aquifer::io::clock;
use aquifer::io::dfs::Dfs;
use aquifer::io::read_driver::{IoKind, ReadDriver};
use aquifer::io::reads::{Read, Wait};
use aquifer::io::ring_open::RingMode;
use aquifer::io::values::{IoDone, ObjectSlot};
use aquifer::limits::PAGE_BYTES;
use aquifer::mem::pool::Pool;
use aquifer::mem::slab::Token;
use aquifer_benches::samples::{mixed, object_name};
use aquifer_tools::figure::Figure;
use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Random direct reads: the portable driver beside fio's psync")]
struct Args {
    /// Reads in flight, and threads of fio.
    #[arg(long, default_value_t = 64)]
    depth: u64,
    /// Rounds, each of both in turns.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// MiB of the file.
    #[arg(long, default_value_t = 512)]
    file_mib: usize,
    /// A folder on the disk to measure.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::TempDir::new_in(&args.dir).context("--dir")?;
    let dfs = Dfs::open(folder.path().to_str().context("--dir is plain text")?)?;
    let words = (args.file_mib << 20) as u64 / 8;
    let bytes: Vec<u8> = (0..words).flat_map(|i| mixed(i).to_le_bytes()).collect();
    dfs.put(&object_name(), &bytes)?;
    drop(bytes);
    let file = folder.path().join(object_name().to_string());
    let mut rig = Rig::open(&dfs, (args.file_mib << 20) / PAGE_BYTES)?;
    // Both once, unmeasured: the host of a virtual disk caches what was read.
    rig.reads_per_s(args.depth, Duration::from_secs(1))?;
    fio(&file, args.depth, 1)?;
    let mut ratios = Vec::new();
    for round in 0..args.rounds {
        let mut ours = 0.0;
        let mut theirs = 0.0;
        for turn in 0..2 {
            if (turn + round) % 2 == 0 {
                ours = rig.reads_per_s(args.depth, Duration::from_secs(args.seconds))?;
            } else {
                theirs = fio(&file, args.depth, args.seconds)?;
            }
        }
        println!("round {}: portable {ours:.0} reads/s, fio {theirs:.0}", round + 1);
        ratios.push(ours / theirs);
    }
    let Figure { min, median, max } = Figure::of(ratios).context("--rounds is at least one")?;
    println!("portable / fio psync at depth {}: {min:.2} / {median:.2} / {max:.2}", args.depth);
    Ok(())
}

/// The driver as a shard drives it.
struct Rig {
    driver: ReadDriver,
    pool: Pool,
    object: ObjectSlot,
    pages: u64,
    turn: u64,
}

impl Rig {
    fn open(dfs: &Dfs, pages: usize) -> Result<Self> {
        let mut driver = ReadDriver::open(IoKind::Portable, RingMode::Inline)?;
        let object = driver.open_object(dfs.open_object(&object_name(), 0)?);
        Ok(Self { driver, pool: Pool::default(), object, pages: pages as u64, turn: 0 })
    }

    /// Keeps `depth` reads in flight for a while.
    fn reads_per_s(&mut self, depth: u64, span: Duration) -> Result<f64> {
        let (start, mut ended, mut done) = (Instant::now(), 0, Vec::new());
        (0..depth).try_for_each(|_| self.submit())?;
        while self.driver.pending() > 0 {
            self.driver.turn(clock::now(), Wait::Until { deadline: None }, &mut done)?;
            let over = start.elapsed() >= span;
            for answer in done.drain(..) {
                let IoDone::Read { buf, result, .. } = answer else { continue };
                result?;
                self.pool.give_back(buf);
                ended += 1;
                if !over {
                    self.submit()?;
                }
            }
        }
        Ok(f64::from(ended) / start.elapsed().as_secs_f64())
    }

    fn submit(&mut self) -> Result<()> {
        self.turn += 1;
        let offset = mixed(self.turn) % self.pages * PAGE_BYTES as u64;
        let (token, object, buf) = (Token(self.turn), self.object, self.pool.take(PAGE_BYTES)?);
        self.driver.submit(Read { token, object, offset, buf, again: false }, clock::now());
        Ok(())
    }
}

/// Reads a second of fio.
fn fio(file: &Path, jobs: u64, seconds: u64) -> Result<f64> {
    let mut command = Command::new("fio");
    command.args(["--name=psync", "--ioengine=psync", "--rw=randread", "--bs=4k", "--direct=1"]);
    command.args(["--thread", "--group_reporting", "--time_based", "--output-format=json"]);
    command.args(["--norandommap", "--randrepeat=0", "--readonly"]);
    command.arg(format!("--numjobs={jobs}")).arg(format!("--runtime={seconds}"));
    command.arg(format!("--filename={}", file.display()));
    let output = command.output().context("running fio (apt-get install fio)")?;
    ensure!(output.status.success(), "fio: {}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("fio's JSON")?;
    report["jobs"][0]["read"]["iops"].as_f64().context("fio names no rate")
}
