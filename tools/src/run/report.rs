//! What a run tells at its end, for people and as JSON.

use std::fmt;
use std::time::Duration;

use aquifer::shard::ShardCounters;
use aquifer::shard::compactors::CompactorStatistics;
use aquifer::shard::engine::Io;
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;

use crate::run::count::Counted;
use crate::run::verify::Verified;

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Words of a run that is counted as one.
    pub ngram: u64,
    /// Words (or runs) counted, by the whole job.
    pub words: u64,
    /// Of these, counted before this resume.
    pub resumed_at: u64,
    /// Words that are distinct.
    pub distinct: u64,
    /// Bytes of input that this run read.
    pub input_bytes: u64,
    /// Time this run counted, the last checkpoint included.
    pub seconds: f64,
    /// Words a second of this run.
    pub words_per_s: f64,
    /// Megabytes (10^6) of input a second of this run.
    pub mb_per_s: f64,
    /// Flushes of the store.
    pub flushes: u64,
    /// Merges of the store (compactions).
    pub merges: u64,
    /// Of these, done by compactors.
    pub merges_elsewhere: u64,
    /// Merges that were for compactors and came back.
    pub merges_returned: u64,
    /// Units that gets needed from the DFS.
    pub cold_units: u64,
    /// Of these, shared with a read that was under way.
    pub joined_units: u64,
    /// Reads of the DFS.
    pub cold_reads: u64,
    /// Bytes of them.
    pub cold_read_bytes: u64,
    /// Reads of the DFS by word.
    pub reads_per_word: f64,
    /// Percent of the gets that a row in memory answered.
    pub row_hits_percent: f64,
    /// Percent of the gets that filters alone answered: new words.
    pub filter_negatives_percent: f64,
    /// Requests that waited for memory.
    pub stalls: u64,
    /// Completed checkpoints.
    pub checkpoints: u64,
    /// Longest time that no word was taken because of a checkpoint, milliseconds.
    pub longest_pause_ms: f64,
    /// From cut to durable handle on average, milliseconds.
    pub upload_mean_ms: f64,
    /// Bytes that flushes and merges wrote.
    pub written_bytes: u64,
    /// Records in flight on average.
    pub in_flight_mean: f64,
    /// Records that waited for an earlier one of their word.
    pub parked: u64,
    /// The way to the disk.
    pub io: String,
    /// Why this way.
    pub io_reason: String,
    /// Time to open the engine, milliseconds.
    pub open_ms: f64,
    /// Memory of the engine.
    pub memory_bytes: u64,
    /// Largest resident set while counting, above what it was before the engine was opened.
    pub rss_above_start_bytes: u64,
    /// The most frequent words.
    pub top: Vec<(String, u64)>,
    /// Words whose count was read back from the store.
    pub read_back: u64,
    /// Whether these counts were compared with an independent count.
    pub verified: bool,
    /// Words that were looked for and rightly not found.
    pub absent_checked: u64,
}

/// What a report is made of.
pub struct Facts<'a> {
    /// Words of a run.
    pub ngram: u64,
    /// What was counted.
    pub counted: &'a Counted,
    /// Records and bytes before this run.
    pub before: (u64, u64),
    /// Time of counting.
    pub elapsed: Duration,
    /// The way to the disk.
    pub io: &'a Io,
    /// Time to open the engine.
    pub opened: Duration,
    /// The shard's counters at the end of counting.
    pub shard: ShardCounters,
    /// What compactors did.
    pub compactors: CompactorStatistics,
    /// Memory of the engine.
    pub memory_bytes: u64,
    /// See the report.
    pub rss_above_start_bytes: u64,
}

impl Report {
    /// The report before anything was read back.
    #[must_use]
    pub fn new(facts: &Facts<'_>) -> Self {
        let Facts { counted, shard, before: (records, bytes), .. } = facts;
        let words = counted.records - records;
        let input_bytes = counted.bytes - bytes;
        let seconds = facts.elapsed.as_secs_f64();
        let of_words = |n: u64| n as f64 / words.max(1) as f64;
        let uploads_ms = counted.uploads.as_secs_f64() * 1e3;
        Self {
            ngram: facts.ngram,
            words: counted.records,
            resumed_at: *records,
            distinct: counted.tally.distinct,
            input_bytes,
            seconds,
            words_per_s: words as f64 / seconds,
            mb_per_s: input_bytes as f64 / 1e6 / seconds,
            flushes: shard.flushes,
            merges: shard.merges,
            merges_elsewhere: facts.compactors.merges,
            merges_returned: facts.compactors.returned,
            cold_units: shard.coalescer.needs,
            joined_units: shard.coalescer.joins,
            cold_reads: shard.coalescer.reads,
            cold_read_bytes: shard.coalescer.read_bytes,
            reads_per_word: of_words(shard.coalescer.reads),
            row_hits_percent: of_words(shard.requests.row_hits) * 100.0,
            filter_negatives_percent: of_words(shard.requests.filter_negatives) * 100.0,
            stalls: shard.stalls,
            checkpoints: counted.checkpoints,
            longest_pause_ms: counted.longest_pause.as_secs_f64() * 1e3,
            upload_mean_ms: uploads_ms / counted.checkpoints.max(1) as f64,
            written_bytes: shard.job_bytes_written,
            in_flight_mean: counted.controller.in_flight_mean(),
            parked: counted.controller.parked,
            io: facts.io.kind.to_string(),
            io_reason: facts.io.reason.clone(),
            open_ms: facts.opened.as_secs_f64() * 1e3,
            memory_bytes: facts.memory_bytes,
            rss_above_start_bytes: facts.rss_above_start_bytes,
            top: counted.tally.top.clone(),
            read_back: 0,
            verified: false,
            absent_checked: 0,
        }
    }

    /// Adds what reading back found.
    pub fn add(&mut self, verified: Verified, compared: bool) {
        self.read_back = verified.words;
        self.absent_checked = verified.absent;
        self.verified = compared;
    }

    fn what(&self) -> String {
        match self.ngram {
            1 => "words".to_owned(),
            2 => "word pairs".to_owned(),
            3 => "word triples".to_owned(),
            n => format!("runs of {n} words"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = HumanCount;
        let b = BinaryBytes;
        write!(f, "{} {}, {} distinct", n(self.words), self.what(), n(self.distinct))?;
        if self.resumed_at > 0 {
            write!(f, "; resumed at {}", n(self.resumed_at))?;
        }
        let rate = n(self.words_per_s as u64);
        let (seconds, mb) = (self.seconds, self.mb_per_s);
        writeln!(f, "\nrate         {rate} words/s, {mb:.1} MB/s, {seconds:.1} s")?;
        let (hits, new) = (self.row_hits_percent, self.filter_negatives_percent);
        writeln!(f, "gets         {hits:.1} % answered by rows in memory, {new:.1} % by filters")?;
        let (reads, bytes) = (n(self.cold_reads), b(self.cold_read_bytes));
        let (per_word, joined) = (self.reads_per_word, n(self.joined_units));
        let units = n(self.cold_units);
        writeln!(f, "cold reads   {units} units in {reads} reads of {bytes}, {joined} joined")?;
        writeln!(f, "             {per_word:.3} reads per word")?;
        let (flushes, merges) = (n(self.flushes), n(self.merges));
        let written = b(self.written_bytes);
        writeln!(f, "background   {flushes} flushes, {merges} compactions, {written} written")?;
        if self.merges_elsewhere + self.merges_returned > 0 {
            let (away, back) = (n(self.merges_elsewhere), n(self.merges_returned));
            writeln!(f, "             {away} compactions elsewhere, {back} came back")?;
        }
        let (pause, upload) = (self.longest_pause_ms, self.upload_mean_ms);
        let cuts = n(self.checkpoints);
        writeln!(f, "checkpoints  {cuts}, longest pause {pause:.1} ms, upload {upload:.0} ms")?;
        let (flight, parked) = (self.in_flight_mean, n(self.parked));
        writeln!(f, "controller   {flight:.0} records in flight, {parked} waited for their word")?;
        let (memory, rss) = (b(self.memory_bytes), b(self.rss_above_start_bytes));
        writeln!(f, "memory       budget {memory}, resident {rss} above the start")?;
        if !self.top.is_empty() {
            writeln!(f, "most frequent")?;
        }
        for (word, count) in &self.top {
            writeln!(f, "  {:>13}  {word}", n(*count).to_string())?;
        }
        let (read, absent) = (n(self.read_back), n(self.absent_checked));
        match (self.verified, self.read_back) {
            (true, _) => {
                write!(f, "verified: {read} counts as counted independently, {absent} absent words")
            }
            (false, 0) => write!(f, "not verified"),
            (false, _) => write!(f, "not verified; {read} counts read back"),
        }
    }
}
