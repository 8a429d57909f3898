use aquifer_tools::figure::Figure;
use aquifer_tools::load::PhaseReport;

use super::ratios;

fn phase(engine: &str, name: &str, round: u32, ops_per_s: f64, cpu: f64) -> PhaseReport {
    let text = serde_json::json!({
        "name": name, "engine": engine, "round": round, "dist": "uniform", "batch": 1,
        "in_flight": 1, "ops": 1, "seconds": 1.0, "ops_per_s": ops_per_s, "cpu_us_per_op": cpu,
        "latency_us":
            {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p99_9": 1.0, "p99_99": 1.0, "max": 1.0},
        "wrong": 0, "missing": 0, "block_device": null, "dfs": null, "write_amplification": null,
        "device": {"reads_per_op": 1.0, "read_bytes_per_op": 1.0, "write_bytes_per_op": 1.0},
        "space_amplification": 1.0, "rss_bytes_max": 1, "budget_bytes": 1,
        "longest_pause_ms": 1.0, "drain_ms": null, "counters": {}
    });
    serde_json::from_value(text).unwrap()
}

#[test]
fn ratios_pair_the_same_round_and_workload() {
    let phases = [
        phase("a", "get", 1, 100.0, 2.0),
        phase("b", "get", 1, 50.0, 4.0),
        phase("a", "get", 2, 10.0, 3.0),
        phase("b", "get", 2, 1.0, 3.0),
        phase("a", "put", 1, 7.0, 1.0),
        phase("c", "put", 1, 1.0, 1.0),
        phase("b", "rmw", 1, 1.0, 1.0),
    ];
    let found = ratios("a", &phases);
    assert_eq!(found.len(), 2, "a has no rmw to compare");
    assert_eq!((found[0].name.as_str(), found[0].other.as_str()), ("get", "b"));
    assert_eq!(found[0].ops_per_s, Figure { min: 2.0, median: 6.0, max: 10.0 });
    assert_eq!(found[0].cpu_us_per_op, Figure { min: 0.5, median: 0.75, max: 1.0 });
    assert_eq!((found[1].name.as_str(), found[1].ops_per_s.median), ("put", 7.0));
}
