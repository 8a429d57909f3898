use std::sync::Arc;

use aquifer_tools::load::{LoadArgs, OpKind, RunReport, run};
use clap::Parser;
use cobble::{Config, DbBuilder, VolumeDescriptor};

use super::threads::{End, Task, Threads};
use super::{BUCKET, CobbleTarget, DB, Dataset, Plan, flight};

const DATA: Dataset = Dataset {
    records: 20_000_000,
    key_size_bytes: 16,
    value_size_bytes: 128,
    random_bytes: 128,
    seed: 1,
    maps: false,
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn run_cobble(options: &str, threads: u32) -> RunReport {
    let (in_flight, batch) = flight(threads);
    let flight = format!("--in-flight {in_flight} --batch {batch}");
    let line = format!("bench {options} {flight} --seconds 0.3 --warmup 0 --quiet --verify");
    let args = Command::try_parse_from(line.split_whitespace()).unwrap().load;
    run(&args, "cobble", 1, &mut |setup| Ok(Box::new(CobbleTarget::open(setup, threads)?))).unwrap()
}

/// One test, since objects are lent to a process: more data than memory, hot records that many
/// threads change at once, an SSD, latency, and a process that begins anew.
#[test]
fn every_workload_verifies_near_and_far() {
    let hot = "put,rmw,get,get-absent,ycsb-a,ycsb-f --dist hotspot:0.001:0.9 --records 60000";
    for threads in [1, 16] {
        let report = run_cobble(&format!("{hot} --memory 2M"), threads);
        assert_eq!(report.phases.len(), 8);
        assert!(report.phases.iter().all(|phase| phase.ops > 0 && phase.missing == 0));
        assert!(report.phases[2].counters["flushes"] > 0, "puts reach the folder");
    }
    let dir = tempfile::tempdir().unwrap();
    let far = "--records 60000 --memory 2M --ssd 4M --dfs file:///not-looked-at?latency=2ms";
    let options = format!("{far} --dir {} --reuse", dir.path().display());
    run_cobble(&format!("load {options}"), 1);
    for threads in [1, 16] {
        let report = run_cobble(&format!("get {options}"), threads);
        assert_eq!(report.phases.len(), 1, "the load is there");
        let get = &report.phases[0];
        assert!(get.dfs.as_ref().unwrap().gets_per_op > 0.5, "most records are not in memory");
        assert!(get.latency_us.p50 >= 2000.0, "{} us", get.latency_us.p50);
    }
}

#[test]
fn changes_of_one_key_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = VolumeDescriptor::single_volume(folder.path().to_str().unwrap());
    let db = DbBuilder::new(Config { volumes, ..Config::default() });
    let db = Arc::new(db.bucket_ranges(vec![BUCKET..=BUCKET]).db_id(DB).open().unwrap());
    let mut threads = Threads::start(16, &db, DATA).unwrap();
    let mut key = vec![0; DATA.key_size_bytes as usize];
    DATA.key(7, &mut key);
    let task = |tag, kind| Task { tag, kind, key: key.clone() };
    let changes = 20_000;
    threads.give((0..changes).map(|tag| task(tag, OpKind::Rmw)));
    assert_eq!(threads.take(changes as usize, None).len(), changes as usize);
    threads.give(std::iter::once(task(changes, OpKind::Get)));
    let (_, end) = threads.take(1, None).pop().unwrap();
    let End::Value(value) = end else { panic!("{end:?}") };
    assert_eq!(DATA.check(7, &value), Ok(changes - 1), "the first is version 0");
}

#[test]
fn metadata_is_partitioned_where_it_does_not_fit() {
    let roomy = Plan::new(288 << 20, &DATA, 0);
    assert!(!roomy.partitioned);
    let all = roomy.cache_bytes + 2 * roomy.write_buffer_bytes + roomy.metadata_bytes;
    assert_eq!(all, 288 << 20);
    let narrow = Plan::new(28 << 20, &DATA, 0);
    assert!(narrow.partitioned);
    assert_eq!(narrow.cache_bytes + 2 * narrow.write_buffer_bytes, 28 << 20);
    assert_eq!(Plan::new(28 << 20, &DATA, 4 << 20).ssd_bytes, 64 << 20, "Cobble takes no less");
}
