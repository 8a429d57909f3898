//! Whole runs against an engine in a map, sound or with a defect planted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aquifer::codec::varint;
use aquifer::state::Entries;
use clap::Parser;

use super::*;
use crate::load::{Op, OpKind, Ops, Outcome, TargetStats};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Clone, Copy, PartialEq)]
enum Defect {
    None,
    LosesEveryHundredthPut,
    SwapsABit,
    ForgetsKeys,
    CompletesTwice,
}

struct MapTarget {
    data: Dataset,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    queue: VecDeque<(u64, OpKind, Vec<u8>)>,
    puts: u64,
    defect: Defect,
    capacity: usize,
}

impl MapTarget {
    fn apply(&mut self, op: Op<'_>) {
        match op.kind {
            OpKind::Get | OpKind::Scan(_) => {}
            OpKind::Put => {
                self.puts += 1;
                let lost = self.puts.is_multiple_of(100) && self.puts > self.data.records;
                if !(lost && self.defect == Defect::LosesEveryHundredthPut) {
                    self.rows.insert(op.key.to_vec(), op.value.to_vec());
                }
            }
            OpKind::Rmw => {
                let mut next = Vec::new();
                let current = self.rows.get(op.key).map(Vec::as_slice);
                self.data.next_value(op.key, current, &mut next);
                self.rows.insert(op.key.to_vec(), next);
            }
        }
        self.queue.push_back((op.tag, op.kind, op.key.to_vec()));
    }
}

impl MapTarget {
    /// The rows of one map from a key on, one of them left out by an engine that forgets keys.
    fn scan(&self, key: &[u8], limit: u32) -> Vec<u8> {
        let map = &key[..key.len() - 8];
        let from = self.rows.range(key.to_vec()..).take_while(|(key, _)| key.starts_with(map));
        let forgets = usize::from(self.defect == Defect::ForgetsKeys);
        let mut out = Vec::new();
        for (key, value) in from.take(limit as usize).skip(forgets) {
            for part in [&key[map.len()..], value] {
                varint::put(&mut out, part.len() as u64);
                out.extend_from_slice(part);
            }
        }
        out
    }
}

impl Target for MapTarget {
    fn about(&self) -> About {
        About { io: "none".into(), io_reason: "in memory".into(), settings: Vec::new() }
    }

    fn submit(&mut self, ops: Ops<'_>) -> Result<usize> {
        let room = self.capacity - self.queue.len();
        ops.iter().take(room).for_each(|op| self.apply(op));
        Ok(room.min(ops.len()))
    }

    fn poll(
        &mut self,
        _wait: Option<Duration>,
        done: &mut dyn FnMut(u64, Outcome<'_>),
    ) -> Result<usize> {
        let count = self.queue.len().div_ceil(2);
        let ended: Vec<_> = self.queue.drain(..count).collect();
        for (tag, kind, key) in ended {
            let mut value =
                self.rows.get(&key).filter(|_| self.defect != Defect::ForgetsKeys).cloned();
            if let (Defect::SwapsABit, Some(value)) = (self.defect, &mut value) {
                value[9] ^= 1;
            }
            let rows = match kind {
                OpKind::Scan(limit) => self.scan(&key, limit),
                _ => Vec::new(),
            };
            let outcome = || match (kind, &value) {
                (OpKind::Scan(_), _) => Outcome::Entries(Entries::check(&rows, false).unwrap()),
                (OpKind::Get, Some(value)) => Outcome::Value(value),
                (OpKind::Get, None) => Outcome::Absent,
                (OpKind::Put | OpKind::Rmw, _) => Outcome::Done,
            };
            done(tag, outcome());
            if self.defect == Defect::CompletesTwice {
                done(tag, outcome());
            }
        }
        Ok(count)
    }

    fn drain_background(&mut self) -> Result<()> {
        assert!(self.queue.is_empty(), "called with requests in flight");
        Ok(())
    }

    fn stats(&self) -> TargetStats {
        TargetStats { counters: vec![("puts", self.puts)], ..TargetStats::default() }
    }
}

fn run_with(options: &str, defect: Defect) -> Result<RunReport> {
    let line = format!("bench {options} --records 2000 --seconds 0.2 --warmup 0.05 --quiet");
    let args = Command::try_parse_from(line.split_whitespace())?.load;
    run(&args, "map", 3, &mut |setup| {
        assert!(!setup.loaded && setup.dir.exists());
        let (rows, queue) = (BTreeMap::new(), VecDeque::new());
        // An odd capacity below the batch: partial acceptance all the time.
        Ok(Box::new(MapTarget { data: setup.data, rows, queue, puts: 0, defect, capacity: 51 }))
    })
}

fn error_of(options: &str, defect: Defect) -> String {
    format!("{:#}", run_with(options, defect).unwrap_err())
}

#[test]
fn all_workloads_verify_on_a_sound_engine() {
    let options = "put,rmw,get,get-absent,ycsb-a,ycsb-b,ycsb-c,ycsb-d,ycsb-f,ycsb-d,get --verify \
                   --dist zipf:0.9 --in-flight 200";
    let report = run_with(options, Defect::None).unwrap();
    let names: Vec<&str> = report.phases.iter().map(|phase| phase.name.as_str()).collect();
    let want = "load load-drained put rmw get get-absent ycsb-a ycsb-b ycsb-c ycsb-d ycsb-f \
                ycsb-d get";
    assert_eq!(names.join(" "), want);
    for phase in &report.phases {
        assert_eq!((phase.wrong, phase.missing), (0, 0), "{}", phase.name);
        assert!(phase.ops >= 2000 && phase.seconds > 0.0, "{}: {}", phase.name, phase.ops);
        assert!(phase.latency_us.p50 > 0.0 && phase.rss_bytes_max > 0, "{}", phase.name);
    }
    assert_eq!((report.phases[0].ops, report.phases[0].counters["puts"]), (2000, 2000));
    assert_eq!(report.data_bytes, 2000 * 144);
}

#[test]
fn inserts_and_scans_verify_and_write_a_twentieth() {
    for (options, reads) in [("ycsb-d", "latest"), ("load,ycsb-e", "zipf:0.99")] {
        let report = run_with(&format!("{options} --verify"), Defect::None).unwrap();
        let phase = &report.phases[2];
        assert_eq!((phase.wrong, phase.missing, &phase.dist[..]), (0, 0, reads), "{options}");
        let writes = phase.counters["puts"] as f64 / phase.ops as f64;
        assert!((writes - 0.05).abs() < 0.02, "{options}: {writes} of {}", phase.ops);
    }
}

#[test]
fn defects_end_the_run() {
    let cases = [
        (Defect::LosesEveryHundredthPut, "ycsb-a --verify --dist uniform", "a write was lost"),
        (Defect::SwapsABit, "get --verify", "is wrong"),
        (Defect::ForgetsKeys, "get --verify", "is missing"),
        (Defect::ForgetsKeys, "ycsb-d --verify", "is missing"),
        (Defect::ForgetsKeys, "ycsb-e --verify", "is missing in a scan"),
        (Defect::SwapsABit, "ycsb-d --verify", "is wrong"),
        (Defect::CompletesTwice, "get", "not in flight"),
    ];
    for (defect, options, want) in cases {
        let error = error_of(options, defect);
        assert!(error.contains(want), "{options}: {error}");
    }
}

#[test]
fn missing_keys_are_counted_without_verification() {
    let report = run_with("get", Defect::ForgetsKeys).unwrap();
    let get = &report.phases[2];
    assert_eq!(get.missing, get.ops);
}

#[test]
fn an_open_loop_holds_its_rate() {
    let report = run_with("get --rate 20K", Defect::None).unwrap();
    let rate = report.phases[2].ops_per_s;
    assert!((15_000.0..22_000.0).contains(&rate), "{rate}");
}

#[test]
fn the_report_has_the_names_of_the_contract() {
    let report = serde_json::to_value(run_with("get", Defect::None).unwrap()).unwrap();
    assert_eq!(report["schema"], "aquifer-bench/1");
    let has = |object: &serde_json::Value, names: &str| {
        for name in names.split(' ') {
            assert!(object.get(name).is_some(), "{name}");
        }
    };
    has(&report, "environment options data_bytes phases");
    has(
        &report["environment"],
        "kernel cpu cores memory_bytes filesystem io io_reason version commit started_at",
    );
    let phase = &report["phases"][2];
    has(phase, "name engine round ops seconds ops_per_s cpu_us_per_op latency_us wrong missing");
    has(phase, "device dfs write_amplification space_amplification rss_bytes_max budget_bytes");
    has(phase, "longest_pause_ms counters");
    has(&phase["latency_us"], "p50 p90 p99 p99_9 p99_99 max");
    has(&phase["device"], "reads_per_op read_bytes_per_op write_bytes_per_op");
}

#[test]
fn an_engine_without_checkpoints_is_refused_before_it_loads() {
    for workload in ["checkpoint", "restore"] {
        let error = error_of(&format!("load,get,{workload}"), Defect::None);
        assert!(error.contains(workload) && error.contains("map has no checkpoints"), "{error}");
    }
}

#[test]
fn a_workload_named_again_is_its_next_round() {
    let report = run_with("get,put,get", Defect::None).unwrap();
    let rounds: Vec<u32> = report.phases.iter().map(|phase| phase.round).collect();
    assert_eq!(rounds, [3, 3, 3, 3, 4]);
}

#[test]
fn a_report_goes_through_a_pipe_and_leaves_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::read(pipe).unwrap())
    };
    run_with(&format!("get --json {}", pipe.display()), Defect::None).unwrap();
    assert!(!pipe.metadata().unwrap().is_file());
    let report: RunReport = serde_json::from_slice(&reader.join().unwrap()).unwrap();
    assert_eq!(report.schema, SCHEMA);
}
