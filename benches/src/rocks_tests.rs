use aquifer_tools::load::{LoadArgs, RunReport, run};
use clap::Parser;

use super::{Dataset, Plan, RocksTarget};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn run_rocks(options: &str, lz4: bool) -> RunReport {
    let line = format!("bench {options} --records 20000 --seconds 0.3 --warmup 0 --quiet");
    let args = Command::try_parse_from(line.split_whitespace()).unwrap().load;
    run(&args, "rocksdb", 1, &mut |setup| {
        let target = RocksTarget::open(setup, lz4)?;
        Ok(Box::new(target))
    })
    .unwrap()
}

#[test]
fn every_workload_verifies_within_the_batch_and_across() {
    // A hot record occurs many times in one batch: changes must see each other.
    let hot = "put,rmw,get,get-absent,ycsb-a,ycsb-f --verify --dist hotspot:0.001:0.9 --batch 256";
    let report = run_rocks(&format!("{hot} --in-flight 256"), false);
    assert_eq!(report.phases.len(), 8);
    assert!(report.phases.iter().all(|phase| phase.ops > 0 && phase.missing == 0));
}

#[test]
fn lz4_is_off_and_on() {
    let written = |lz4| {
        let report = run_rocks("get --verify --compressible 4 --memory 2M", lz4);
        assert_eq!(report.phases[1].name, "load-drained");
        report.phases[1].write_amplification.unwrap()
    };
    let (plain, compressed) = (written(false), written(true));
    assert!(compressed < plain * 0.8, "{compressed} of {plain}");
}

#[test]
fn metadata_is_partitioned_where_it_does_not_fit() {
    let data = Dataset {
        records: 20_000_000,
        key_size_bytes: 16,
        value_size_bytes: 128,
        random_bytes: 128,
        seed: 1,
        maps: false,
    };
    assert!(!Plan::new(288 << 20, &data, false).partitioned);
    assert!(Plan::new(28 << 20, &data, false).partitioned);
}
