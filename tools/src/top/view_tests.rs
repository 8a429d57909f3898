use aquifer::shard::statistics::{Kind, Tier};

use super::*;

fn sample(uptime_ns: u64, gets: u64) -> Statistics {
    let mut shard = ShardStatistics { age_ns: 1_000_000, ..ShardStatistics::default() };
    shard.counters.requests.gets = gets;
    shard.counters.requests.row_hits = gets / 4 * 3;
    shard.counters.requests.dfs_gets = gets / 4;
    shard.memory.budget_bytes = 64 << 20;
    shard.memory.rows_bytes = 32 << 20;
    let mut latency =
        LatencyStatistics { kind: Kind::Get, tier: Tier::Dfs, histogram: Default::default() };
    latency.histogram.record(uptime_ns / 100_000, gets);
    shard.latencies = vec![latency];
    Statistics { process_id: 7, uptime_ns, shards: vec![shard], ..Statistics::default() }
}

// The cells of the row of a table whose first cells are these.
#[track_caller]
fn row(text: &str, title: &str, first: &[&str]) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let found = lines.find(|line| cells(line).iter().zip(first).all(|(a, b)| a == b));
    cells(found.unwrap_or_else(|| panic!("no row {first:?} of {title} in\n{text}")))
}

#[test]
fn rates_are_of_the_time_between_the_samples() {
    let (before, now) = (sample(10_000_000_000, 1000), sample(12_000_000_000, 5000));
    let text = View::of(&before, &now, None).to_string();
    assert!(text.starts_with("process 7, up 12 seconds, 1 shard,"), "{text}");
    assert_eq!(row(&text, "Requests", &["0"])[1..3], ["2.0k", "2.0k"]);
    assert_eq!(row(&text, "Gets", &["0"])[1..4], ["75.0%", "0.0%", "25.0%"]);
    assert_eq!(row(&text, "Memory", &["0"])[1..4], ["64M", "50.0%", "32M"]);
    // The times of the first sample are taken off.
    let latency = row(&text, "Latencies", &["0", "get", "dfs"]);
    assert_eq!(latency[3], "2.5k");
    assert!(["118us", "119us", "120us", "121us"].contains(&&latency[4][..]), "{latency:?}");
}

#[test]
fn compactors_are_shown_where_there_are_some() {
    let mut now = sample(10_000_000_000, 1000);
    assert!(!View::of(&now, &now, None).to_string().contains("Compactors"));
    let compactor = |address: &str, alone_ns| CompactorCounters {
        address: address.to_owned(),
        merges: 7,
        alone_ns,
        ..CompactorCounters::default()
    };
    now.compactors.each = vec![compactor("near:1", 0), compactor("far:2", 3_000_000_000)];
    now.compactors.returned = 4;
    let text = View::of(&now, &now, None).to_string();
    assert_eq!(row(&text, "Compactors", &["near:1"])[1..], ["7", "0", "0", "-", "4"]);
    assert_eq!(row(&text, "Compactors", &["far:2"])[1..], ["7", "0", "0", "3000ms"]);
}

#[test]
fn the_ssd_is_shown_where_there_is_one() {
    let (mut before, mut now) = (sample(10_000_000_000, 1000), sample(12_000_000_000, 5000));
    assert!(!View::of(&before, &now, None).to_string().lines().any(|line| line == "SSD"));
    before.shards[0].ssd.hits = 100;
    let ssd = &mut now.shards[0].ssd;
    (ssd.capacity_bytes, ssd.held_bytes, ssd.written_bytes) = (64 << 20, 16 << 20, 4 << 20);
    (ssd.hits, ssd.misses, ssd.damaged) = (4000, 1300, 2);
    let text = View::of(&before, &now, None).to_string();
    let row = row(&text, "SSD", &["0"]);
    assert_eq!(row[1..], ["64M", "25.0%", "75.0%", "1.9k", "2048K/s", "0B/s", "2", "0"], "{text}");
}

#[test]
fn an_engine_that_was_opened_again_starts_from_zero() {
    let (before, now) = (sample(10_000_000_000, 1_000_000), sample(2_000_000_000, 4000));
    let text = View::of(&before, &now, None).to_string();
    assert_eq!(row(&text, "Requests", &["0"])[1..3], ["2.0k", "2.0k"]);
}

#[test]
fn a_shard_that_nobody_polls_is_pointed_out() {
    let mut now = sample(10_000_000_000, 1000);
    now.shards[0].age_ns = 9_000_000_000;
    let view = View::of(&now, &now, Some("the page is old".to_owned()));
    let warning = view.warning.as_deref().unwrap();
    assert!(warning.starts_with("the page is old; shard 0 is not polled"), "{warning}");
    assert_eq!(row(&view.to_string(), "Requests", &["0"])[1], "0");
}
