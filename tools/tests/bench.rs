//! The load generator through the real binary, on a small data set, every value checked.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const RECORDS: u64 = 200_000;
const ROW_BYTES: u64 = 16 + 128;

fn bench(folder: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquifer"));
    command.arg("bench").args(args.split(' ')).current_dir(folder);
    command.output().unwrap()
}

fn refused(args: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), args);
    assert!(!output.status.success(), "{args} is refused");
    String::from_utf8(output.stderr).unwrap()
}

fn has(object: &Value, names: &str) {
    for name in names.split(' ') {
        assert!(object.get(name).is_some_and(|value| !value.is_null()), "{name} of {object}");
    }
}

fn count(phase: &Value, counter: &str) -> u64 {
    phase["counters"][counter].as_u64().unwrap_or_else(|| panic!("no counter {counter}"))
}

fn phase<'a>(report: &'a Value, name: &str, round: u64) -> &'a Value {
    let mut phases = report["phases"].as_array().unwrap().iter();
    let found = phases.find(|phase| phase["name"] == name && phase["round"] == round);
    found.unwrap_or_else(|| panic!("no round {round} of {name}"))
}

fn check_phase(phase: &Value) {
    let name = phase["name"].as_str().unwrap();
    has(phase, "engine round ops seconds ops_per_s cpu_us_per_op latency_us device dfs counters");
    has(phase, "space_amplification rss_bytes_max budget_bytes longest_pause_ms");
    has(&phase["latency_us"], "p50 p90 p99 p99_9 p99_99 max");
    has(&phase["device"], "reads_per_op read_bytes_per_op write_bytes_per_op");
    has(&phase["dfs"], "gets_per_op get_bytes_per_op puts put_bytes deletes lists retries");
    has(
        &phase["counters"],
        "requests row_hits block_needs reads_issued reads_joined extents_merged filter_negatives \
         filter_false_positives",
    );
    assert_eq!((&phase["wrong"], &phase["missing"]), (&0.into(), &0.into()), "{name}");
    let ops = phase["ops"].as_u64().unwrap();
    assert!(ops > 0, "{name}");
    let reads = phase["device"]["reads_per_op"].as_f64().unwrap() * ops as f64;
    let issued = count(phase, "reads_issued") as f64;
    assert!((reads - issued).abs() <= 1.0, "{name}: {reads} by the device, {issued} issued");
}

fn check_checkpoint(phase: &Value) {
    let object = &phase["checkpoint"];
    has(object, "state_bytes new_bytes cut_us seconds bytes_moved handle_bytes");
    let number = |name: &str| object[name].as_f64().unwrap();
    assert_eq!(object["state_bytes"], RECORDS * ROW_BYTES);
    let change = (RECORDS / 50 * ROW_BYTES) as f64;
    assert!(number("new_bytes") >= change, "2 % are rewritten before each checkpoint: {object}");
    // What was written more than once is flushed once.
    let moved = number("bytes_moved") / number("new_bytes");
    assert!(moved > 0.5 && number("handle_bytes") <= 1024.0, "{object}");
    assert!(number("ops_per_s_during") > 0.0 && number("ops_per_s_before") > 0.0, "{object}");
    for spread in ["cut_us", "seconds"] {
        let (p50, max) = (object[spread]["p50"].as_f64(), object[spread]["max"].as_f64());
        assert!(p50 > Some(0.0) && p50 <= max, "{spread}: {object}");
    }
    // Checkpoints that were on their way at an end of the phase are in one count alone.
    let counted = count(phase, "checkpoints").abs_diff(object["checkpoints"].as_u64().unwrap());
    assert!(counted <= 1, "{object}");
}

fn check_restore(phase: &Value) {
    let object = &phase["restore"];
    has(object, "state_bytes open_ms first_read_ms ops_per_s_curve");
    assert_eq!(object["state_bytes"], RECORDS * ROW_BYTES);
    assert!(object["first_read_ms"].as_f64() >= object["open_ms"].as_f64(), "{object}");
    let requests = object["dfs_requests_before_first_read"].as_u64().unwrap();
    let round_trips = object["dfs_round_trips_before_first_read"].as_u64().unwrap();
    // The manifest, a table, a block.
    assert!(requests >= 3, "{object}");
    assert!(round_trips >= 1 && round_trips <= requests, "{object}");
    assert_eq!(object["ops_per_s_curve"].as_array().unwrap().len(), 2, "a second and a half");
}

#[test]
fn every_workload_of_the_engine_verifies_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let options = "--records 200K --memory 48M --change 2% --seconds 1.5 --warmup 0.2 --verify \
                   --quiet --dir data --json report.json";
    let workloads = "load,get,put,rmw,get-absent,checkpoint,restore,restore";
    let output = bench(folder.path(), &format!("{workloads} {options}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();

    assert_eq!(report["schema"], "aquifer-bench/1");
    has(&report["environment"], "kernel cpu cores memory_bytes filesystem io io_reason");
    has(&report["environment"], "version commit started_at");
    assert_eq!(report["data_bytes"], RECORDS * ROW_BYTES);
    assert_eq!(report["options"]["change"], "2%");
    let names: Vec<&str> = report["phases"].as_array().unwrap().iter().map(name_of).collect();
    let want = "load load-drained get put rmw get-absent checkpoint restore restore";
    assert_eq!(names.join(" "), want);
    report["phases"].as_array().unwrap().iter().for_each(check_phase);

    let load = phase(&report, "load", 1);
    assert_eq!((&load["ops"], count(load, "requests")), (&RECORDS.into(), RECORDS));
    let rmw = phase(&report, "rmw", 1);
    let mean = rmw["records_in_flight_mean"].as_f64().unwrap();
    assert!(mean > 0.0 && mean <= 1024.0, "{mean}");
    let counted =
        count(rmw, "records_in_flight_sum") as f64 / count(rmw, "controller_turns") as f64;
    assert!((counted - mean).abs() < 1e-6, "{counted} {mean}");
    check_checkpoint(phase(&report, "checkpoint", 1));
    check_restore(phase(&report, "restore", 1));
    check_restore(phase(&report, "restore", 2));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("cut p50") && table.contains("round trips"), "{table}");

    // A later run restores what this one left: its last handle is on disk.
    let again = "restore,checkpoint,get --reuse --driver inline --seconds 0.3";
    let rest = "--records 200K --memory 48M --warmup 0 --verify --quiet --dir data";
    let output = bench(folder.path(), &format!("{again} {rest}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_chain_of_rescales_copies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rest = "--records 50K --memory 48M --warmup 0 --verify --quiet --dir data";
    let run = |args: &str| {
        let output = bench(folder.path(), &format!("{args} {rest} --json report.json"));
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        let report = fs::read(folder.path().join("report.json")).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (serde_json::from_slice::<Value>(&report).unwrap(), said)
    };
    // Inserted records are read as well, and the chain ends as the one store it began with.
    let (report, said) = run("load,ycsb-d,rescale,rmw,checkpoint,restore --seconds 0.5");
    assert_eq!(report["options"]["to"], serde_json::json!([2, 4, 1, 3]));
    let phases = report["phases"].as_array().unwrap();
    phases.iter().for_each(check_phase);
    let steps: Vec<&Value> = phases.iter().filter(|phase| phase["name"] == "rescale").collect();
    let numbers = |phase: &&Value| {
        let rescale = &phase["rescale"];
        [rescale["from"].as_u64().unwrap(), rescale["to"].as_u64().unwrap()]
    };
    assert_eq!(steps.iter().map(numbers).collect::<Vec<_>>(), [[1, 2], [2, 4], [4, 1], [1, 3]]);
    let inserted = phase(&report, "ycsb-d", 1)["ops"].as_u64().unwrap() / 20;
    for phase in &steps {
        let (object, ops) = (&phase["rescale"], phase["ops"].as_u64().unwrap());
        assert!(ops > 50_000 + inserted / 2, "{ops} of 50000 and about {inserted}");
        assert_eq!(object["bytes_copied"], 0, "{object}");
        assert_eq!(object["stored_bytes_after"], object["stored_bytes_before"], "{object}");
        assert!(object["stored_bytes_before"].as_u64() > Some(50_000 * ROW_BYTES), "{object}");
        assert!(object["first_read_ms"].as_f64() >= object["open_ms"].as_f64(), "{object}");
        let from = object["from"].as_u64().unwrap();
        let requests = object["dfs_requests_before_first_read"].as_u64().unwrap();
        let round_trips = object["dfs_round_trips_before_first_read"].as_u64().unwrap();
        // A manifest of each store before, a table, a block; the manifests all at once.
        assert!(requests >= from + 2, "{object}");
        assert!(round_trips >= 1 && round_trips <= requests - from + 1, "{object}");
    }
    assert!(said.contains("from 4 to 1 stores"), "{said}");

    let (report, _) = run("rescale,get --reuse --to 5,128 --driver inline --seconds 0.2");
    let last = report["phases"].as_array().unwrap()[1].clone();
    assert_eq!(
        (&last["rescale"]["to"], &last["rescale"]["bytes_copied"]),
        (&128.into(), &0.into())
    );
}

#[test]
fn ycsb_verifies_on_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let rest = "--records 50K --memory 48M --seconds 0.5 --warmup 0.1 --verify --quiet";
    let runs = [
        "load,ycsb-a,ycsb-b,ycsb-c,ycsb-d,ycsb-f,restore,ycsb-d",
        // One by one: reads and changes follow each other in any order.
        "load,ycsb-f,get,ycsb-f --batch 1 --in-flight 3",
        "load,ycsb-e,ycsb-e",
    ];
    for (driver, run) in ["owned", "inline", "owned"].iter().zip(runs) {
        let args = format!("{run} {rest} --driver {driver} --json report.json");
        let output = bench(folder.path(), &args);
        assert!(output.status.success(), "{run}: {}", String::from_utf8_lossy(&output.stderr));
        let report = fs::read(folder.path().join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        report["phases"].as_array().unwrap().iter().for_each(check_phase);
    }
    // What an earlier run inserted is there, and other records follow it.
    for run in ["load,ycsb-d", "ycsb-d --reuse", "ycsb-d,get --reuse"] {
        let output = bench(folder.path(), &format!("{run} {rest} --dir data"));
        assert!(output.status.success(), "{run}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn name_of(phase: &Value) -> &str {
    phase["name"].as_str().unwrap()
}

#[test]
fn the_flame_graph_names_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let options = "--records 200K --memory 48M --seconds 1 --warmup 0 --quiet --flamegraph f.svg";
    let output = bench(folder.path(), &format!("load,get {options}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph = fs::read_to_string(folder.path().join("f-get.svg")).unwrap();
    for module in ["aquifer::shard::", "aquifer::lsm::", "aquifer_tools::load::"] {
        assert!(graph.contains(module), "{module} has no samples");
    }
}

/// A load that is in the middle of its work; `signals` is what `env` does to its signals.
fn loading(folder: &Path, signals: &str) -> Child {
    let mut command = Command::new("env");
    command.arg(signals).arg(env!("CARGO_BIN_EXE_aquifer"));
    command.args(["bench", "load", "--records", "50M", "--memory", "48M", "--quiet"]);
    command.current_dir(folder).env("TMPDIR", folder).env("XDG_RUNTIME_DIR", folder);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    await_tables(folder, 3);
    child
}

fn await_tables(folder: &Path, count: usize) {
    let began = Instant::now();
    while tables(folder) < count {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is loaded");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal that ends the run, which leaves no data and no statistics page.
fn end(mut child: Child, signal: Signal, folder: &Path) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(signal as i32), "{status}");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = entries.filter(|path| !path.ends_with("aquifer")).collect();
    assert!(left.is_empty(), "{left:?} is left");
    assert_eq!(fs::read_dir(folder.join("aquifer")).unwrap().count(), 0, "a page is left");
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        end(loading(folder.path(), "--default-signal=INT,TERM,HUP"), signal, folder.path());
    }
    // As a background job of a script.
    end(loading(folder.path(), "--ignore-signal=INT"), Signal::SIGINT, folder.path());
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let child = loading(folder.path(), "--ignore-signal=HUP");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    // Merges take tables away, but not as fast as others come.
    await_tables(folder.path(), tables(folder.path()) + 2);
    end(child, Signal::SIGTERM, folder.path());
}

/// Tables anywhere below a folder, which changes meanwhile.
fn tables(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_name().to_str() {
        Some(name) if name.starts_with("sst-") => 1,
        _ => tables(&entry.path()),
    };
    entries.map(count).sum()
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    for workload in ["ycsb-g", "wordcount", "window", "join"] {
        let error = refused(&format!("load,{workload}"));
        assert!(error.contains(&format!("no workload '{workload}'")), "{error}");
    }
    assert!(refused("get --change 0%").contains("--change"));
    let folder = tempfile::tempdir().unwrap();
    let wrong = ["--shards 2", "--batch 1M", "--memory 10000T", "--seconds 0", "--reuse", "--to 0"];
    for args in wrong {
        let output = bench(folder.path(), &format!("get {args}"));
        assert_eq!(output.status.code(), Some(2), "{args}: wrong options");
    }
    let error = refused("get --value-size 100M");
    assert!(error.contains("'100M' is too large: use at most 16777216"), "{error}");
    let error = refused("get --records 100k --memory 1M");
    assert!(error.contains("--memory 1048576") && error.contains("minimum"), "{error}");
}

#[test]
fn a_number_below_zero_is_a_wrong_number() {
    let numbers = "shards records key-size value-size batch in-flight memory ssd seconds warmup \
                   rate seed change compressible";
    for option in numbers.split_whitespace() {
        for number in ["-1", "-5M", "-10%"] {
            let error = refused(&format!("get --{option} {number}"));
            assert!(error.contains(&format!("--{option}")), "{option}: {error}");
            assert!(!error.contains("tip:"), "{option}: {error}");
        }
    }
    let error = refused("get --records -1M");
    assert!(error.contains("'-1M' is no count: use digits"), "{error}");
}

#[test]
fn a_share_of_few_records_is_raised_to_what_an_engine_takes() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        "get --records 3000 --memory 10% --seconds 0.1 --warmup 0 --quiet --json report.json";
    let output = bench(folder.path(), args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(phase(&report, "get", 1)["budget_bytes"], 48 << 20);
    let said = String::from_utf8(output.stdout).unwrap();
    let memory =
        "  memory = 48.00 MiB, the least that an engine takes; 10% of the data is 42.19 KiB\n";
    assert!(said.contains(memory), "{said}");
}
