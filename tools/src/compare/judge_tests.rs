use clap::Parser;

use super::{Verdict, alone, differences, phases};
use crate::figure::Figure;
use crate::load::{About, Environment, LoadArgs, PhaseReport, RunReport};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

fn options(args: &str) -> LoadArgs {
    Cli::parse_from(["bench"].into_iter().chain(args.split(' '))).load
}

fn run(args: &str, phases: Vec<PhaseReport>) -> RunReport {
    RunReport {
        schema: crate::load::SCHEMA.to_owned(),
        environment: Environment::of(std::path::Path::new("/"), &About::default()),
        options: options(args),
        data_bytes: 1,
        settings: Default::default(),
        phases,
    }
}

fn phase(name: &str, ops_per_s: f64, reads: f64) -> PhaseReport {
    let text = serde_json::json!({
        "name": name, "engine": "aquifer", "round": 1, "dist": "uniform", "batch": 1,
        "in_flight": 1, "ops": 1, "seconds": 1.0, "ops_per_s": ops_per_s, "cpu_us_per_op": 2.0,
        "latency_us": {"p50": 1e6 / ops_per_s, "p90": 1.0, "p99": 1.0, "p99_9": 1.0,
                       "p99_99": 1.0, "max": 1.0},
        "wrong": 0, "missing": 0, "block_device": null, "dfs": null, "write_amplification": null,
        "device": {"reads_per_op": reads, "read_bytes_per_op": 1.0, "write_bytes_per_op": 1.0},
        "space_amplification": 1.0, "rss_bytes_max": 1, "budget_bytes": 1,
        "longest_pause_ms": 1.0, "drain_ms": null, "counters": {}
    });
    serde_json::from_value(text).unwrap()
}

fn rounds(rates: &[f64]) -> RunReport {
    run("get", rates.iter().map(|rate| phase("get", *rate, 1.0)).collect())
}

fn verdicts(a: &[f64], b: &[f64], threshold: f64) -> Vec<(&'static str, Verdict)> {
    let judged = phases(&rounds(a), &rounds(b), threshold);
    let figures = judged.into_iter().flat_map(|phase| phase.figures);
    figures.map(|figure| (figure.name, figure.verdict)).collect()
}

fn of_rate(a: &[f64], b: &[f64]) -> Verdict {
    verdicts(a, b, 0.05)[0].1
}

#[test]
fn worse_is_beyond_the_threshold_and_outside_the_rounds() {
    let before = [100.0, 104.0, 110.0];
    assert_eq!(of_rate(&before, &before), Verdict::Same);
    assert_eq!(of_rate(&before, &[80.0, 85.0, 90.0]), Verdict::Worse);
    assert_eq!(of_rate(&before, &[97.0, 99.0, 99.5]), Verdict::Same, "within the threshold");
    assert_eq!(of_rate(&before, &[80.0, 85.0, 101.0]), Verdict::Same, "a round says otherwise");
    assert_eq!(of_rate(&before, &[130.0, 140.0, 150.0]), Verdict::Better);
    assert_eq!(of_rate(&[100.0], &[94.0]), Verdict::Worse, "one round each");
}

#[test]
fn of_costs_less_is_better() {
    let found = verdicts(&[100.0], &[50.0], 0.05);
    let want = [
        ("ops/s", Verdict::Worse),
        ("cpu us/op", Verdict::Same),
        ("p50 us", Verdict::Worse),
        ("p99 us", Verdict::Same),
        ("reads/op", Verdict::Same),
    ];
    assert_eq!(found, want);
    assert_eq!(verdicts(&[50.0], &[100.0], 0.05)[2], ("p50 us", Verdict::Better));
}

#[test]
fn hardly_any_reads_are_none() {
    let reads = |reads: f64| run("get", vec![phase("get", 1.0, reads)]);
    let compared = |a: f64, b: f64| phases(&reads(a), &reads(b), 0.05)[0].figures[4].clone();
    let none = compared(0.0, 0.005);
    assert_eq!(none.ratio, Figure { min: 1.0, median: 1.0, max: 1.0 });
    assert_eq!((none.a.median, none.b.median), (0.0, 0.005), "shown as they are");
    assert_eq!(compared(0.5, 1.0).ratio.median, 2.0);
}

#[test]
fn what_was_measured_otherwise_does_not_compare() {
    let base = || run("get", vec![phase("get", 1.0, 1.0)]);
    assert_eq!(differences(&base(), &base()), [""; 0]);
    let said = |b: &RunReport| differences(&base(), b).join(";");
    let named = [
        ("get --records 5", "--records is 1000000 in A and 5 in B"),
        ("get --memory 48M", "--memory is \"10%\" in A"),
        ("get --rate 5", "--rate is null in A and 5 in B"),
        ("get --warmup 9", "--warmup"),
        ("get --dfs file:///x?latency=2ms", "what --dfs injects is nothing in A and latency=2ms"),
    ];
    for (args, what) in named {
        let said = said(&run(args, vec![phase("get", 1.0, 1.0)]));
        assert!(said.contains(what), "{said}");
    }
    for args in ["get --seed 9", "get,put --json x", "get --dir x", "get --quiet"] {
        assert_eq!(said(&run(args, vec![phase("get", 1.0, 1.0)])), "", "{args}");
    }
    let mut other = base();
    other.environment.cpu = "abacus".to_owned();
    assert!(said(&other).contains("cpu is") && said(&other).contains("\"abacus\" in B"));
    let mut other = base();
    other.phases[0].batch = 9;
    assert!(said(&other).contains("get of aquifer is uniform, batch 1, in flight 1 in A"));
}

#[test]
fn phases_of_one_report_alone_are_named() {
    let one = run("get", vec![phase("get", 1.0, 1.0), phase("put", 1.0, 1.0)]);
    let two = run("get", vec![phase("get", 1.0, 1.0), phase("get", 1.0, 1.0)]);
    assert_eq!(alone(&one, &two), ["put of aquifer"]);
    assert_eq!(alone(&two, &one), [""; 0]);
    let judged = phases(&one, &two, 0.05);
    assert_eq!((judged.len(), judged[0].rounds), (1, (1, 2)));
}
