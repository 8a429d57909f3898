//! Two samples of statistics as tables of text.

use std::fmt;
use std::time::Duration;

use aquifer::shard::compactors::CompactorCounters;
use aquifer::shard::statistics::{LatencyStatistics, ShardStatistics, Statistics};
use indicatif::{BinaryBytes, HumanDuration};

/// A shard that did not publish for so long is not polled, nanoseconds.
const SILENT_NS: u64 = 2_000_000_000;

/// What is shown.
pub(super) struct View {
    pub(super) head: String,
    pub(super) warning: Option<String>,
    pub(super) tables: Vec<Table>,
}

/// One table.
pub(super) struct Table {
    pub(super) title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// A shard in both samples.
struct Pair<'a> {
    now: &'a ShardStatistics,
    before: &'a ShardStatistics,
    seconds: f64,
}

impl Pair<'_> {
    fn grown(&self, of: impl Fn(&ShardStatistics) -> u64) -> u64 {
        of(self.now).saturating_sub(of(self.before))
    }

    fn rate(&self, of: impl Fn(&ShardStatistics) -> u64) -> f64 {
        per_second(self.grown(of), self.seconds)
    }

    fn number(&self) -> String {
        self.now.shard.to_string()
    }
}

impl View {
    /// What happened from `before` to `now`.
    pub(super) fn of(before: &Statistics, now: &Statistics, warning: Option<String>) -> Self {
        // A page of an engine that was opened again meanwhile starts from zero.
        let nothing = Statistics::default();
        let same = now.uptime_ns >= before.uptime_ns;
        let before = if same { before } else { &nothing };
        let none = ShardStatistics::default();
        let earlier = |shard: usize| before.shards.iter().find(|other| other.shard == shard);
        let taken = |all: &Statistics, shard: &ShardStatistics| {
            Duration::from_nanos(all.uptime_ns.saturating_sub(shard.age_ns)).as_secs_f64()
        };
        let pair = |shard| {
            let of: &ShardStatistics = shard;
            let earlier = earlier(of.shard);
            let began = earlier.map_or(0.0, |earlier| taken(before, earlier));
            let seconds = taken(now, of) - began;
            Pair { now: of, before: earlier.unwrap_or(&none), seconds }
        };
        let pairs: Vec<Pair<'_>> = now.shards.iter().map(pair).collect();
        let silent = now.shards.iter().filter(|shard| shard.age_ns > SILENT_NS).map(|shard| {
            format!(
                "shard {} is not polled, its figures are {} old",
                shard.shard,
                time(shard.age_ns)
            )
        });
        let warnings: Vec<String> = warning.into_iter().chain(silent).collect();
        let up = HumanDuration(Duration::from_nanos(now.uptime_ns));
        Self {
            head: format!(
                "process {}, up {up}, {}, budget {}",
                now.process_id,
                match now.shards.len() {
                    1 => "1 shard".to_owned(),
                    count => format!("{count} shards"),
                },
                BinaryBytes(now.budget_bytes)
            ),
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
            tables: [
                Some(requests(&pairs)),
                Some(answers(&pairs)),
                Some(latencies(&pairs)),
                Some(jobs(&pairs)),
                compactors(now),
                Some(memory(&pairs)),
                ssd(&pairs),
                Some(dfs(before, now)),
                Some(stores(&pairs)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }
}

impl Table {
    // The names of the columns stand in one text, with commas.
    fn new(title: &'static str, columns: &'static str, rows: Vec<Vec<String>>) -> Self {
        Self { title, columns: columns.split(", ").collect(), rows }
    }

    /// The names of the columns and the rows, aligned.
    pub(super) fn lines(&self) -> Vec<String> {
        let width = |at: usize| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(self.columns[at].len())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            format!("  {}", cells.collect::<Vec<_>>().join("  "))
        };
        let head = line(&mut self.columns.iter().copied());
        let rows = self.rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
        std::iter::once(head).chain(rows).collect()
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head)?;
        if let Some(warning) = &self.warning {
            writeln!(f, "{warning}")?;
        }
        for table in &self.tables {
            writeln!(f, "{}", table.title)?;
            table.lines().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

fn requests(pairs: &[Pair<'_>]) -> Table {
    let row = |pair: &Pair<'_>| {
        let writes = |s: &ShardStatistics| {
            let r = &s.counters.requests;
            r.puts + r.deletes + r.merges + r.clears
        };
        let blocked = pair.rate(|s| s.blocked_ns) / 1e9 * 100.0;
        vec![
            pair.number(),
            rate(pair.rate(|s| s.counters.requests.total())),
            rate(pair.rate(|s| s.counters.requests.gets)),
            rate(pair.rate(writes)),
            rate(pair.rate(|s| s.counters.requests.scans)),
            rate(pair.rate(|s| s.counters.stalls)),
            pair.now.in_flight.suspended.to_string(),
            pair.now.in_flight.stalled.to_string(),
            format!("{blocked:.0}%"),
            time(pair.now.age_ns),
        ]
    };
    let columns = "shard, requests/s, gets/s, writes/s, scans/s, stalls/s, reading, stalled, \
                   sessions wait, age";
    Table::new("Requests", columns, pairs.iter().map(row).collect())
}

fn answers(pairs: &[Pair<'_>]) -> Table {
    let row = |pair: &Pair<'_>| {
        let gets = pair.grown(|s| s.counters.requests.gets);
        let needs = pair.grown(|s| s.counters.coalescer.needs);
        vec![
            pair.number(),
            share(pair.grown(|s| s.counters.requests.row_hits), gets),
            share(pair.grown(|s| s.counters.requests.filter_negatives), gets),
            share(pair.grown(|s| s.counters.requests.dfs_gets), gets),
            share(pair.grown(|s| s.counters.requests.absent), gets),
            rate(pair.rate(|s| s.counters.coalescer.reads)),
            bytes_rate(pair.rate(|s| s.counters.coalescer.read_bytes)),
            share(pair.grown(|s| s.counters.coalescer.joins), needs),
            pair.now.read_retries.to_string(),
        ]
    };
    let columns = "shard, by rows, by filters, by DFS, absent, reads/s, read, joined, retries";
    Table::new("Gets", columns, pairs.iter().map(row).collect())
}

fn latencies(pairs: &[Pair<'_>]) -> Table {
    let mut rows = Vec::new();
    for pair in pairs {
        for latency in &pair.now.latencies {
            let same = |other: &&LatencyStatistics| {
                (other.kind, other.tier) == (latency.kind, latency.tier)
            };
            let before = pair.before.latencies.iter().find(same);
            let since = match before {
                Some(before) => latency.histogram.since(&before.histogram),
                None => latency.histogram.clone(),
            };
            if since.count() == 0 {
                continue;
            }
            let mut row = vec![
                pair.number(),
                format!("{:?}", latency.kind).to_lowercase(),
                format!("{:?}", latency.tier).to_lowercase(),
                rate(per_second(since.count(), pair.seconds)),
            ];
            row.extend([0.5, 0.9, 0.99, 0.999].map(|share| time(since.quantile_ns(share))));
            rows.push(row);
        }
    }
    Table::new("Latencies", "shard, kind, from, timed/s, p50, p90, p99, p99.9", rows)
}

fn jobs(pairs: &[Pair<'_>]) -> Table {
    let row = |pair: &Pair<'_>| {
        let jobs = &pair.now.jobs;
        let counters = &pair.now.counters;
        vec![
            pair.number(),
            format!("{}/{}/{}", jobs.flushes_running, jobs.merges_running, jobs.openings_running),
            format!("{}/{}", jobs.flushes_queued, jobs.merges_queued),
            format!("{}/{}/{}", counters.flushes, counters.merges, counters.openings),
            counters.job_failures.to_string(),
            bytes_rate(pair.rate(|s| s.counters.job_bytes_written)),
            bytes(jobs.flush_debt_bytes),
            bytes(jobs.merge_debt_bytes),
            jobs.pace.to_string(),
            format!("{}+{}", counters.checkpoints, pair.now.in_flight.checkpoints),
        ]
    };
    let columns = "shard, running, queued, done, failed, written, flush debt, merge debt, pace, \
                   checkpoints";
    Table::new("Jobs (flush/merge/open)", columns, pairs.iter().map(row).collect())
}

fn compactors(now: &Statistics) -> Option<Table> {
    let all = &now.compactors;
    let row = |one: &CompactorCounters| {
        vec![
            one.address.clone(),
            one.merges.to_string(),
            one.busy.to_string(),
            one.failures.to_string(),
            if one.alone_ns == 0 { "-".to_owned() } else { time(one.alone_ns) },
        ]
    };
    let mut rows: Vec<_> = all.each.iter().map(row).collect();
    let back = all.returned.to_string();
    rows.first_mut()?.push(back);
    let columns = "address, merges, busy, failures, left alone, came back in all";
    Some(Table::new("Compactors", columns, rows))
}

fn memory(pairs: &[Pair<'_>]) -> Table {
    let row = |pair: &Pair<'_>| {
        let memory = &pair.now.memory;
        vec![
            pair.number(),
            bytes(memory.budget_bytes),
            share(memory.charged_bytes(), memory.budget_bytes),
            bytes(memory.rows_bytes),
            bytes(memory.dirty_bytes),
            bytes(memory.tables_bytes),
            bytes(memory.buffers_bytes),
            bytes(memory.ssd_bytes),
            bytes(memory.jobs_bytes),
            bytes(memory.fixed_bytes),
        ]
    };
    let columns =
        "shard, budget, charged, rows, of them dirty, tables, buffers, SSD index, jobs, fixed";
    Table::new("Memory", columns, pairs.iter().map(row).collect())
}

fn ssd(pairs: &[Pair<'_>]) -> Option<Table> {
    let row = |pair: &Pair<'_>| {
        let ssd = &pair.now.ssd;
        let hits = pair.grown(|s| s.ssd.hits);
        vec![
            pair.number(),
            bytes(ssd.capacity_bytes),
            share(ssd.held_bytes, ssd.capacity_bytes),
            share(hits, hits + pair.grown(|s| s.ssd.misses)),
            rate(pair.rate(|s| s.ssd.hits)),
            bytes_rate(pair.rate(|s| s.ssd.written_bytes)),
            bytes_rate(pair.rate(|s| s.ssd.evicted_bytes)),
            ssd.damaged.to_string(),
            ssd.failures.to_string(),
        ]
    };
    let some = pairs.iter().filter(|pair| pair.now.ssd.capacity_bytes > 0);
    let rows: Vec<_> = some.map(row).collect();
    let columns = "shard, size, held, found there, hits/s, written, evicted, damaged, failures";
    (!rows.is_empty()).then(|| Table::new("SSD", columns, rows))
}

fn dfs(before: &Statistics, now: &Statistics) -> Table {
    let seconds =
        Duration::from_nanos(now.uptime_ns.saturating_sub(before.uptime_ns)).as_secs_f64();
    let grown =
        |of: fn(&Statistics) -> u64| per_second(of(now).saturating_sub(of(before)), seconds);
    let row = vec![
        rate(grown(|all| all.dfs.gets)),
        bytes_rate(grown(|all| all.dfs.get_bytes)),
        rate(grown(|all| all.dfs.puts)),
        bytes_rate(grown(|all| all.dfs.put_bytes)),
        rate(grown(|all| all.dfs.deletes)),
        now.dfs.retries.to_string(),
        rate(grown(|all| all.requests().billed_reads())),
        rate(grown(|all| all.requests().billed_writes())),
        bytes_rate(grown(|all| all.executors.iter().map(|e| e.read_bytes).sum())),
        bytes_rate(grown(|all| all.executors.iter().map(|e| e.written_bytes).sum())),
    ];
    let columns = "gets/s, got, puts/s, put, deletes/s, retries, all billed reads/s, \
                   all billed writes/s, jobs read, jobs wrote";
    Table::new("DFS, beside the reads of gets", columns, vec![row])
}

fn stores(pairs: &[Pair<'_>]) -> Table {
    let mut rows = Vec::new();
    for pair in pairs {
        for store in &pair.now.stores {
            rows.push(vec![
                pair.number(),
                store.number.to_string(),
                store.states.len().to_string(),
                bytes(store.rows_bytes),
                bytes(store.tables_bytes),
                bytes(store.stored_bytes),
                store.tablets.to_string(),
                store.tablets_unopened.to_string(),
                store.runs_max.to_string(),
                store.job_failures_in_a_row.to_string(),
            ]);
        }
    }
    let columns = "shard, store, states, rows, tables, on DFS, tablets, unopened, runs at most, \
                   jobs fail";
    Table::new("Stores", columns, rows)
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e7 => format!("{:.0}M", r / 1e6),
        r if r >= 1e6 => format!("{:.1}M", r / 1e6),
        r if r >= 1e4 => format!("{:.0}k", r / 1e3),
        r if r >= 1e3 => format!("{:.1}k", r / 1e3),
        r if r >= 10.0 || r == 0.0 => format!("{r:.0}"),
        r => format!("{r:.1}"),
    }
}

fn bytes(count: u64) -> String {
    match count {
        b if b >= 10 << 30 => format!("{}G", b >> 30),
        b if b >= 10 << 20 => format!("{}M", b >> 20),
        b if b >= 10 << 10 => format!("{}K", b >> 10),
        b => format!("{b}B"),
    }
}

fn bytes_rate(per_second: f64) -> String {
    format!("{}/s", bytes(per_second as u64))
}

fn share(part: u64, all: u64) -> String {
    match all {
        0 => "-".to_owned(),
        all => format!("{:.1}%", part as f64 / all as f64 * 100.0),
    }
}

fn time(ns: u64) -> String {
    match ns {
        t if t >= 10_000_000_000 => format!("{}s", t / 1_000_000_000),
        t if t >= 10_000_000 => format!("{}ms", t / 1_000_000),
        t if t >= 10_000 => format!("{}us", t / 1_000),
        t => format!("{t}ns"),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
