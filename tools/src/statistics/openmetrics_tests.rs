use aquifer::io::dfs::DfsCounters;
use aquifer::io::requests::Requests;
use aquifer::shard::compactors::CompactorStatistics;
use aquifer::shard::statistics::{
    Kind, LatencyStatistics, ShardCounters, StateStatistics, StoreStatistics, Tier,
};

use super::*;

fn statistics() -> Statistics {
    let requests = RequestCounters { gets: 7, row_hits: 5, ..RequestCounters::default() };
    let state = StateStatistics { name: "a \"b\"\\\n".to_owned(), requests };
    let store = StoreStatistics { number: 9, states: vec![state], ..StoreStatistics::default() };
    let mut histogram = Histogram::default();
    histogram.record(200, 3);
    histogram.record(1_000, 1);
    histogram.record(LATENCY_NS_MAX, 1);
    let latency = LatencyStatistics { kind: Kind::Get, tier: Tier::Dfs, histogram };
    let counters = ShardCounters { commits_fenced: 1, commits_unknown: 2, ..Default::default() };
    let shard = ShardStatistics {
        shard: 1,
        counters,
        blocked_ns: 1_500_000_000,
        requests: Requests { gets: 5, get_bytes: 4096, ..Requests::default() },
        latencies: vec![latency],
        stores: vec![store],
        ..ShardStatistics::default()
    };
    let each = vec![CompactorCounters {
        address: "far:7070".to_owned(),
        failures: 2,
        alone_ns: 5,
        ..CompactorCounters::default()
    }];
    let compactors = CompactorStatistics { merges: 3, written_bytes: 8, returned: 1, each };
    let requests = Requests { gets: 2, heads: 1, lists: 3, puts: 4, ..Requests::default() };
    let dfs = DfsCounters { requests, ..DfsCounters::default() };
    let shards = vec![shard];
    Statistics { budget_bytes: 4096, shards, dfs, compactors, ..Statistics::default() }
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[test]
fn figures_stand_under_their_names_and_labels() {
    let text = render(&statistics());
    has(&text, "# TYPE aquifer_budget_bytes gauge");
    has(&text, "# UNIT aquifer_budget_bytes bytes");
    has(&text, "aquifer_budget_bytes 4096");
    has(&text, r#"aquifer_requests_total{shard="1",store="9",state="a \"b\"\\\n",kind="get"} 7"#);
    has(&text, r#"aquifer_gets_total{shard="1",store="9",state="a \"b\"\\\n",by="row"} 5"#);
    has(&text, r#"aquifer_sessions_blocked_seconds_total{shard="1"} 1.5"#);
    has(&text, "aquifer_dfs_retries_total 0");
    has(&text, r#"aquifer_commits_lost_total{shard="1",end="fenced"} 1"#);
    has(&text, r#"aquifer_commits_lost_total{shard="1",end="unknown"} 2"#);
    has(&text, r#"aquifer_merges_elsewhere_total{end="done"} 3"#);
    has(&text, r#"aquifer_merges_elsewhere_total{end="returned"} 1"#);
    has(&text, r#"aquifer_compactor_failures_total{address="far:7070"} 2"#);
    has(&text, r#"aquifer_compactor_left_alone{address="far:7070"} 1"#);
    assert!(!render(&Statistics::default()).contains("compactor"));
    has(&text, r#"aquifer_dfs_operations_total{operation="get"} 7"#);
    has(&text, r#"aquifer_dfs_moved_bytes_total{operation="get"} 4096"#);
    has(&text, r#"aquifer_dfs_billed_total{class="read"} 8"#);
    has(&text, r#"aquifer_dfs_billed_total{class="write"} 7"#);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn buckets_add_up_to_the_count() {
    let text = render(&statistics());
    let bucket = |le: &str, count: u32| {
        let labels = r#"shard="1",kind="get",tier="dfs""#;
        has(&text, &format!(r#"aquifer_latency_seconds_bucket{{le="{le}",{labels}}} {count}"#));
    };
    bucket("2.56e-7", 3);
    bucket("5.12e-7", 3);
    bucket("0.000001024", 4);
    bucket("+Inf", 5);
    has(&text, r#"aquifer_latency_seconds_count{shard="1",kind="get",tier="dfs"} 5"#);
}
