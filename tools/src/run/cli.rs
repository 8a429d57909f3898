//! Options of `aquifer run wordcount`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::compactor::Compactors;
use crate::io::Io;
use crate::statistics::Address;
use crate::units::{count_in, parse_size};

/// Longest run of words that is counted as one.
const NGRAM_MAX: u64 = 16;

const EXAMPLES: &str = "\
Examples:
  aquifer run wordcount                          this folder and the sources in the cargo home
  aquifer run wordcount src README.md            these files and folders
  cat book.txt | aquifer run wordcount - --counts book.tsv
  aquifer run wordcount --ngram 3 --memory 48M   triples: more keys than fit in memory
  aquifer run wordcount --ngram 3 --crash-at 5M  kill itself hard on the way ...
  aquifer run wordcount --resume                 ... and go on from the last checkpoint

A word is a run of ASCII letters and digits, in lower case. Counts and positions are in words; with
--ngram N, in runs of N words of one file. The counts live in a store on the DFS; the job file keeps
the handles of its last two checkpoints with the position in the input that belongs to each.";

/// Options of the word count.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files and folders to count, `-` for standard input, pipes included [default: the current
    /// folder and the sources in the cargo home].
    #[arg(value_name = "PATH|-")]
    pub paths: Vec<PathBuf>,
    /// Count runs of N words, joined by a space [default: 1].
    #[arg(long, value_name = "N", value_parser = count_in::<u64>(1..=NGRAM_MAX))]
    pub ngram: Option<u64>,
    /// Memory of the engine.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pub memory: u64,
    /// Where the store lives: a folder, file:///path, memory://name, s3://bucket/path, gs://,
    /// abfs:// or webhdfs:// [default: a folder of the job below target/aquifer].
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// The file that keeps the handles of checkpoints and their positions.
    #[arg(long, value_name = "FILE", default_value = "wordcount.job")]
    pub job: PathBuf,
    /// Cut a checkpoint every N words.
    #[arg(long, value_name = "N", default_value = "2M",
          value_parser = count_in::<u64>(1..=u64::MAX))]
    pub checkpoint_every: u64,
    /// Stop after N words.
    #[arg(long, value_name = "N", value_parser = count_in::<u64>(1..=u64::MAX))]
    pub limit: Option<u64>,
    /// Records in flight at most.
    #[arg(long, value_name = "N", default_value_t = 1024,
          value_parser = count_in::<u32>(1..=16_384))]
    pub in_flight: u32,
    /// The way to the disk.
    #[arg(long, value_enum, default_value_t = Io::Auto, env = "AQUIFER_IO")]
    pub io: Io,
    /// Go on from the last checkpoint in the job file, with the job's own input and options.
    #[arg(long)]
    pub resume: bool,
    /// Go on from the checkpoint before the last, in case the last one is damaged.
    #[arg(long, requires = "resume")]
    pub older: bool,
    /// Kill the process with SIGKILL after N words; input that ends before is an error.
    #[arg(long, value_name = "N", value_parser = count_in::<u64>(1..=u64::MAX))]
    pub crash_at: Option<u64>,
    /// Write every count, read back from the store, as word, tab and count, sorted.
    #[arg(long, value_name = "FILE")]
    pub counts: Option<PathBuf>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Serve metrics of the engine as OpenMetrics: PORT of this machine alone, or IP:PORT.
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<Address>,
    /// The compactors.
    #[command(flatten)]
    pub compactors: Compactors,
    /// Do not check the counts in the store against an independent count.
    #[arg(long)]
    pub no_verify: bool,
}
