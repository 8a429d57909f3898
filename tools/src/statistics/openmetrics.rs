//! Statistics in the text format of OpenMetrics: one family a figure, labelled by shard, store and
//! state.

use std::fmt;

use aquifer::limits::LATENCY_NS_MAX;
use aquifer::mem::histogram::Histogram;
use aquifer::shard::compactors::CompactorCounters;
use aquifer::shard::statistics::{RequestCounters, ShardStatistics, Statistics, StoreStatistics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Bounds of latency buckets: from a quarter of a microsecond by factors of two.
const BUCKET_FIRST_LOG: u32 = 8;

/// The whole text, its end mark included.
pub(super) fn render(statistics: &Statistics) -> String {
    let mut registry = Registry::with_prefix("aquifer");
    registry.register_collector(Box::new(Families(statistics.clone())));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes all text");
    text
}

#[derive(Debug)]
struct Families(Statistics);

type Labels = Vec<(&'static str, String)>;

/// A figure with its labels.
type Sample = (Labels, u64);

/// A part of something, and how to find its figure.
type Part<T> = (&'static str, fn(&T) -> u64);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Out(&mut encoder);
        let all = &self.0;
        out.gauge(
            "budget",
            "Memory the engine may use",
            Some(Unit::Bytes),
            vec![(vec![], all.budget_bytes)],
        )?;
        requests(out, all)?;
        reads(out, all)?;
        memory(out, all)?;
        jobs(out, all)?;
        compactors(out, all)?;
        stores(out, all)?;
        dfs(out, all)?;
        latencies(out, all)
    }
}

struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn family(
        &mut self,
        (name, help, unit, kind): (&str, &str, Option<&Unit>, MetricType),
        samples: Vec<Sample>,
        encode: impl Fn(u64, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                return encode(value, family);
            }
            encode(value, family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: Vec<Sample>,
    ) -> fmt::Result {
        let family = (name, help, unit.as_ref(), MetricType::Counter);
        self.family(family, samples, |value, encoder| ConstCounter::new(value).encode(encoder))
    }

    /// A counter of times, given in nanoseconds.
    fn seconds(&mut self, name: &str, help: &str, samples: Vec<Sample>) -> fmt::Result {
        let family = (name, help, Some(&Unit::Seconds), MetricType::Counter);
        self.family(family, samples, |ns, encoder| {
            ConstCounter::new(ns as f64 / 1e9).encode(encoder)
        })
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: Vec<Sample>,
    ) -> fmt::Result {
        let family = (name, help, unit.as_ref(), MetricType::Gauge);
        self.family(family, samples, |value, encoder| {
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
        })
    }
}

/// A figure of each shard.
fn of_shards(all: &Statistics, figure: fn(&ShardStatistics) -> u64) -> Vec<Sample> {
    let sample =
        |shard: &ShardStatistics| (vec![("shard", shard.shard.to_string())], figure(shard));
    all.shards.iter().map(sample).collect()
}

/// Figures of each shard under the values of one more label.
fn of_parts(all: &Statistics, label: &'static str, parts: &[Part<ShardStatistics>]) -> Vec<Sample> {
    let of = |(part, figure): &Part<ShardStatistics>| {
        let mut samples = of_shards(all, *figure);
        samples.iter_mut().for_each(|(labels, _)| labels.push((label, (*part).to_owned())));
        samples
    };
    parts.iter().flat_map(of).collect()
}

/// Figures of the requests of each state.
fn of_states(
    all: &Statistics,
    label: &'static str,
    parts: &[Part<RequestCounters>],
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for shard in &all.shards {
        for store in &shard.stores {
            for state in &store.states {
                for (part, figure) in parts {
                    let labels = vec![
                        ("shard", shard.shard.to_string()),
                        ("store", store.number.to_string()),
                        ("state", state.name.clone()),
                        (label, (*part).to_owned()),
                    ];
                    samples.push((labels, figure(&state.requests)));
                }
            }
        }
    }
    samples
}

fn requests(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let kinds = of_states(
        all,
        "kind",
        &[
            ("get", |r| r.gets),
            ("put", |r| r.puts),
            ("delete", |r| r.deletes),
            ("merge", |r| r.merges),
            ("clear", |r| r.clears),
            ("scan", |r| r.scans),
        ],
    );
    out.counter("requests", "Requests to open stores, by kind", None, kinds)?;
    let answers = of_states(
        all,
        "by",
        &[("row", |r| r.row_hits), ("filter", |r| r.filter_negatives), ("dfs", |r| r.dfs_gets)],
    );
    out.counter("gets", "Gets of open stores, by what answered them", None, answers)?;
    let ends = of_states(all, "end", &[("absent", |r| r.absent), ("failed", |r| r.failed)]);
    out.counter("gets_without_value", "Gets that found nothing, or failed", None, ends)?;
    let stalls = of_shards(all, |s| s.counters.stalls);
    out.counter("stalls", "Requests that waited for memory or jobs", None, stalls)?;
    let under_way = of_parts(
        all,
        "state",
        &[("suspended", |s| s.in_flight.suspended), ("stalled", |s| s.in_flight.stalled)],
    );
    out.gauge("requests_in_flight", "Requests that wait for a read or for room", None, under_way)?;
    let blocked = of_shards(all, |s| s.blocked_ns);
    out.seconds("sessions_blocked", "Time that sessions waited for requests", blocked)
}

fn reads(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let reads = of_shards(all, |s| s.counters.coalescer.reads);
    out.counter("reads", "Reads of the DFS for requests", None, reads)?;
    let bytes = of_shards(all, |s| s.counters.coalescer.read_bytes);
    out.counter("read", "Bytes read for requests", Some(Unit::Bytes), bytes)?;
    let joined = of_shards(all, |s| s.counters.coalescer.joins);
    out.counter("reads_joined", "Needs met by a read under way", None, joined)?;
    let merged = of_shards(all, |s| s.counters.coalescer.merged);
    out.counter("reads_merged", "Extents that shared a read with a neighbour", None, merged)?;
    let gaps = of_shards(all, |s| s.counters.coalescer.gap_bytes);
    out.counter("read_gaps", "Bytes read between neighbours", Some(Unit::Bytes), gaps)?;
    let retries = of_shards(all, |s| s.read_retries);
    out.counter("read_retries", "Reads submitted once more", None, retries)?;
    let gets = of_shards(all, |s| s.http.requests);
    out.counter("http_gets", "GETs of shards, each time they were sent", None, gets)?;
    let connects = of_shards(all, |s| s.http.connects);
    out.counter("http_connects", "Connections of shards to stores", None, connects)?;
    let ends = of_parts(
        all,
        "why",
        &[
            ("refused", |s| s.http.refused),
            ("late", |s| s.http.timeouts),
            ("unusual", |s| s.http.fallbacks),
        ],
    );
    out.counter("http_gets_failed", "GETs of shards that brought nothing", None, ends)?;
    let hedges = of_shards(all, |s| s.http.hedges);
    out.counter("http_hedges", "GETs sent once more because they took long", None, hedges)?;
    let won = of_shards(all, |s| s.http.hedges_won);
    out.counter("http_hedges_won", "Of these, those that were answered first", None, won)?;
    let again = of_shards(all, |s| s.counters.rereads);
    out.counter("rereads", "Blocks and manifests that a store brought wrong", None, again)?;
    ssd(out, all)?;
    let strangers = of_shards(all, |s| s.counters.filter_false_positives);
    out.counter("filter_false_positives", "Units read in vain", None, strangers)
}

fn ssd(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let found = of_parts(all, "found", &[("yes", |s| s.ssd.hits), ("no", |s| s.ssd.misses)]);
    out.counter("ssd_lookups", "Extents looked for in the cache on the SSD", None, found)?;
    let written = of_shards(all, |s| s.ssd.written_bytes);
    out.counter("ssd_written", "Bytes written to it", Some(Unit::Bytes), written)?;
    let evicted = of_shards(all, |s| s.ssd.evicted_bytes);
    out.counter("ssd_evicted", "Bytes that made room in it", Some(Unit::Bytes), evicted)?;
    let lost =
        of_parts(all, "why", &[("damaged", |s| s.ssd.damaged), ("refused", |s| s.ssd.failures)]);
    out.counter("ssd_failures", "What the DFS served instead of the SSD", None, lost)?;
    let bytes = of_parts(
        all,
        "of",
        &[("held", |s| s.ssd.held_bytes), ("capacity", |s| s.ssd.capacity_bytes)],
    );
    out.gauge("ssd", "Bytes of the cache on the SSD", Some(Unit::Bytes), bytes)
}

fn memory(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let purposes = of_parts(
        all,
        "purpose",
        &[
            ("fixed", |s| s.memory.fixed_bytes),
            ("tables", |s| s.memory.tables_bytes),
            ("jobs", |s| s.memory.jobs_bytes),
            ("buffers", |s| s.memory.buffers_bytes),
            ("ssd", |s| s.memory.ssd_bytes),
            ("rows", |s| s.memory.rows_bytes),
        ],
    );
    out.gauge("memory", "Memory charged to the budget", Some(Unit::Bytes), purposes)?;
    let dirty = of_shards(all, |s| s.memory.dirty_bytes);
    out.gauge("memory_dirty", "Rows not yet flushed", Some(Unit::Bytes), dirty)?;
    let evicted = of_shards(all, |s| s.counters.rows_evicted);
    out.counter("rows_evicted", "Rows evicted from memory", None, evicted)
}

fn jobs(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let done = of_parts(
        all,
        "kind",
        &[
            ("flush", |s| s.counters.flushes),
            ("merge", |s| s.counters.merges),
            ("opening", |s| s.counters.openings),
        ],
    );
    out.counter("jobs", "Background jobs that ended well", None, done)?;
    let failed = of_shards(all, |s| s.counters.job_failures);
    out.counter("job_failures", "Background jobs that failed, and are tried again", None, failed)?;
    let written = of_shards(all, |s| s.counters.job_bytes_written);
    out.counter("job_written", "Bytes that jobs wrote", Some(Unit::Bytes), written)?;
    let flushed = of_shards(all, |s| s.counters.flush_bytes_written);
    out.counter("flush_written", "Of these, bytes of flushes", Some(Unit::Bytes), flushed)?;
    let running = of_parts(
        all,
        "kind",
        &[
            ("flush", |s| s.jobs.flushes_running),
            ("merge", |s| s.jobs.merges_running),
            ("opening", |s| s.jobs.openings_running),
        ],
    );
    out.gauge("jobs_running", "Background jobs that run", None, running)?;
    let queued = of_parts(
        all,
        "kind",
        &[("flush", |s| s.jobs.flushes_queued), ("merge", |s| s.jobs.merges_queued)],
    );
    out.gauge("jobs_queued", "Background jobs that are due", None, queued)?;
    let debt = of_parts(
        all,
        "kind",
        &[("flush", |s| s.jobs.flush_debt_bytes), ("merge", |s| s.jobs.merge_debt_bytes)],
    );
    out.gauge("job_debt", "Bytes that jobs are behind", Some(Unit::Bytes), debt)?;
    let pace = of_shards(all, |s| s.jobs.pace);
    out.gauge("write_pace", "Bytes jobs must write for each byte of a write", None, pace)?;
    let checkpoints = of_shards(all, |s| s.counters.checkpoints);
    out.counter("checkpoints", "Checkpoints completed", None, checkpoints)?;
    let lost = of_parts(
        all,
        "end",
        &[("fenced", |s| s.counters.commits_fenced), ("unknown", |s| s.counters.commits_unknown)],
    );
    out.counter("commits_lost", "Commits that ended as another opening's, or unknown", None, lost)
}

fn compactors(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let all = &all.compactors;
    // An engine that merges by itself has nothing to tell.
    if all.each.is_empty() {
        return Ok(());
    }
    let ends = [("done", all.merges), ("returned", all.returned)];
    let ends = ends.map(|(end, count)| (vec![("end", end.to_owned())], count));
    out.counter("merges_elsewhere", "Merges sent to compactors, by end", None, ends.to_vec())?;
    let written = vec![(vec![], all.written_bytes)];
    out.counter("merges_elsewhere_written", "Bytes of them", Some(Unit::Bytes), written)?;
    let each = |of: fn(&CompactorCounters) -> u64| -> Vec<Sample> {
        let sample = |one: &CompactorCounters| (vec![("address", one.address.clone())], of(one));
        all.each.iter().map(sample).collect()
    };
    out.counter("compactor_merges", "Merges that it did", None, each(|c| c.merges))?;
    out.counter("compactor_busy", "Times that it had no place", None, each(|c| c.busy))?;
    let failed = "Times that it failed or could not be reached";
    out.counter("compactor_failures", failed, None, each(|c| c.failures))?;
    let alone = "1 while it is left alone after a failure";
    out.gauge("compactor_left_alone", alone, None, each(|c| u64::from(c.alone_ns > 0)))
}

fn stores(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let of = |figure: fn(&StoreStatistics) -> u64| -> Vec<Sample> {
        let sample = |shard: &ShardStatistics, store: &StoreStatistics| {
            let shard = shard.shard.to_string();
            (vec![("shard", shard), ("store", store.number.to_string())], figure(store))
        };
        let mut samples = Vec::new();
        for shard in &all.shards {
            samples.extend(shard.stores.iter().map(|store| sample(shard, store)));
        }
        samples
    };
    out.gauge("stored", "Bytes of the store's runs", Some(Unit::Bytes), of(|s| s.stored_bytes))?;
    out.gauge("tablets", "Key ranges with runs of their own", None, of(|s| s.tablets))?;
    out.gauge("tablets_unopened", "Of these, not open yet", None, of(|s| s.tablets_unopened))?;
    out.gauge("runs_max", "Runs of the fullest tablet", None, of(|s| s.runs_max))
}

fn dfs(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let kind = |name: &str, value| (vec![("kind", name.to_owned())], value);
    let dfs = &all.dfs;
    let requests = vec![kind("get", dfs.gets), kind("put", dfs.puts), kind("delete", dfs.deletes)];
    out.counter("dfs_requests", "What jobs and checkpoints asked of the DFS", None, requests)?;
    let bytes = vec![kind("get", dfs.get_bytes), kind("put", dfs.put_bytes)];
    out.counter("dfs_transferred", "Bytes of these", Some(Unit::Bytes), bytes)?;
    let one = |value| vec![(vec![], value)];
    out.counter("dfs_retries", "Operations tried again", None, one(dfs.retries))?;
    let help = "Reads of the thread of stores sent once more because they took long";
    out.counter("dfs_hedges", help, None, one(dfs.hedges))?;
    let help = "Of these, those that were answered first";
    out.counter("dfs_hedges_won", help, None, one(dfs.hedges_won))?;
    let of = |name: &str, value| (vec![("operation", name.to_owned())], value);
    let all = all.requests();
    let operations = vec![
        of("get", all.gets),
        of("put", all.puts),
        of("part", all.parts),
        of("head", all.heads),
        of("list", all.lists),
        of("delete", all.deletes),
    ];
    let help = "Requests to the DFS, of shards too, each time they were sent";
    out.counter("dfs_operations", help, None, operations)?;
    let bytes =
        vec![of("get", all.get_bytes), of("put", all.put_bytes), of("part", all.part_bytes)];
    out.counter("dfs_moved", "Bytes that these moved", Some(Unit::Bytes), bytes)?;
    let class = |name: &str, value| (vec![("class", name.to_owned())], value);
    let billed = vec![class("read", all.billed_reads()), class("write", all.billed_writes())];
    out.counter("dfs_billed", "Requests by the class that stores bill", None, billed)
}

fn latencies(out: &mut Out<'_, '_>, all: &Statistics) -> fmt::Result {
    let help = "Time of requests inside the shard, by kind and what answered; of the tier memory a \
                sample";
    let kind = MetricType::Histogram;
    let mut family = out.0.encode_descriptor("latency", help, Some(&Unit::Seconds), kind)?;
    for shard in &all.shards {
        for latency in &shard.latencies {
            let labels = vec![
                ("shard", shard.shard.to_string()),
                ("kind", format!("{:?}", latency.kind).to_lowercase()),
                ("tier", format!("{:?}", latency.tier).to_lowercase()),
            ];
            let of = &latency.histogram;
            let sum = of.sum_ns() as f64 / 1e9;
            let mut encoder = family.encode_family(&labels)?;
            encoder.encode_histogram::<Labels>(sum, of.count(), &buckets(of), None)?;
        }
    }
    Ok(())
}

/// Upper bounds in seconds, and how many times lie between one and the one before.
fn buckets(of: &Histogram) -> Vec<(f64, u64)> {
    let last_log = (LATENCY_NS_MAX + 1).ilog2();
    let mut seen = 0;
    let between = |log| {
        let until = of.count_until((1_u64 << log) - 1);
        let count = until - std::mem::replace(&mut seen, until);
        ((1_u64 << log) as f64 / 1e9, count)
    };
    let mut buckets: Vec<_> = (BUCKET_FIRST_LOG..last_log).map(between).collect();
    buckets.push((f64::INFINITY, of.count() - seen));
    buckets
}

#[cfg(test)]
#[path = "openmetrics_tests.rs"]
mod tests;
