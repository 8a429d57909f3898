//! RocksDB falls back to plain reads in silence. This looks for its rings, alone in its process,
//! since other tests open rings too.
#![cfg(feature = "rocksdb")]

use aquifer_benches::rocks::RocksTarget;
use aquifer_tools::load::{LoadArgs, run};
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn rings_open() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.to_string_lossy().contains("io_uring"))
        .count()
}

#[test]
fn reads_go_through_io_uring() {
    let line = "bench get --records 20000 --seconds 0.3 --warmup 0 --quiet --memory 1M";
    let args = Command::try_parse_from(line.split_whitespace()).unwrap().load;
    assert_eq!(rings_open(), 0);
    run(&args, "rocksdb", 1, &mut |setup| Ok(Box::new(RocksTarget::open(setup, false)?))).unwrap();
    // A ring belongs to the thread that read and stays until the thread ends.
    assert!(rings_open() > 0, "no ring was opened: reads went another way");
}
