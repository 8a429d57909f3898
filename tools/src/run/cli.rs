//! Options of `aquifer run wordcount`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

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
    /// Files and folders to count, `-` for standard input [default: the current folder and the
    /// sources in the cargo home].
    #[arg(value_name = "PATH|-")]
    pub paths: Vec<PathBuf>,
    /// Count runs of N words, joined by a space [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=NGRAM_MAX))]
    pub ngram: Option<u64>,
    /// Memory of the engine.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pub memory: u64,
    /// Where the store lives: a folder, file:///path or memory://name [default: a folder of the job
    /// below target/aquifer].
    #[arg(long, value_name = "URL")]
    pub dfs: Option<String>,
    /// The file that keeps the handles of checkpoints and their positions.
    #[arg(long, value_name = "FILE", default_value = "wordcount.job")]
    pub job: PathBuf,
    /// Cut a checkpoint every N words.
    #[arg(long, value_name = "N", default_value = "2M", value_parser = parse_positive)]
    pub checkpoint_every: u64,
    /// Stop after N words.
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub limit: Option<u64>,
    /// Records in flight at most.
    #[arg(long, value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub in_flight: u32,
    /// Go on from the last checkpoint in the job file, with the job's own input and options.
    #[arg(long)]
    pub resume: bool,
    /// Kill the process with SIGKILL after N words.
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub crash_at: Option<u64>,
    /// Write every count, read back from the store, as word, tab and count, sorted.
    #[arg(long, value_name = "FILE")]
    pub counts: Option<PathBuf>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Do not check the counts in the store against an independent count.
    #[arg(long)]
    pub no_verify: bool,
}

fn parse_positive(text: &str) -> Result<u64, String> {
    match scaled(text, 1000) {
        Some(0) => Err("at least 1 is needed".to_owned()),
        Some(count) => Ok(count),
        None => Err("write digits, with K, M or G for thousands, millions, billions".to_owned()),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    scaled(text.strip_suffix("iB").unwrap_or(text), 1024)
        .ok_or_else(|| "write digits, with K, M or G for KiB, MiB, GiB, as in 64M".to_owned())
}

fn scaled(text: &str, base: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" => 1,
        "M" | "m" => 2,
        "G" | "g" => 3,
        _ => return None,
    };
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(base.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_as_people_write_them() {
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_positive("2M"), Ok(2_000_000));
        assert_eq!(parse_positive("1_500k"), Ok(1_500_000));
        for bad in ["", "M", "5X", "-1", "1.5", "99999999999999999999", "99999999999G"] {
            assert!(parse_size(bad).is_err() && parse_positive(bad).is_err(), "{bad}");
        }
        assert!(parse_positive("0").is_err());
    }
}
