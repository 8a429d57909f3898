use aquifer_tools::load::{LoadArgs, run};
use clap::Parser;

use super::{Dataset, DiskTarget, Layout};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn run_disk(options: &str) -> anyhow::Result<aquifer_tools::load::RunReport> {
    let line = format!("bench {options} --records 3000 --seconds 0.2 --warmup 0 --quiet");
    let args = Command::try_parse_from(line.split_whitespace())?.load;
    run(&args, "disk", 1, &mut |setup| Ok(Box::new(DiskTarget::open(setup)?)))
}

#[test]
fn rows_read_back_whole_from_memory_and_from_disk() {
    // Rows of a third of a block, of more than one block, and of sizes that divide nothing, in
    // memory for a tenth of them.
    for sizes in [
        "--value-size 128 --memory 43K",
        "--value-size 1301 --key-size 9 --memory 393K",
        "--value-size 5000 --memory 1500K",
    ] {
        for dist in ["uniform", "zipf:0.99", "sequential"] {
            let options = format!("get,get-absent {sizes} --dist {dist} --verify --in-flight 64");
            let report = run_disk(&options).unwrap();
            let get = &report.phases[2];
            assert!(get.counters["row_hits"] > 0 && get.counters["reads_issued"] > 0);
            assert_eq!(report.phases[3].counters["reads_issued"], 0, "absent keys cost no read");
        }
    }
}

#[test]
fn updates_are_refused() {
    let error = format!("{:#}", run_disk("put").unwrap_err());
    assert!(error.contains("no updates"), "{error}");
}

#[test]
fn blocks_hold_whole_rows() {
    let data = |value_size_bytes| Dataset {
        records: 100,
        key_size_bytes: 16,
        value_size_bytes,
        random_bytes: 8,
        seed: 1,
        maps: false,
    };
    let small = Layout::new(&data(128));
    assert_eq!((small.block_bytes, small.rows_per_block), (4096, 28));
    assert_eq!(small.place(29), (1, 144));
    assert_eq!(small.file_bytes(100), 4 * 4096);
    let large = Layout::new(&data(5000));
    assert_eq!((large.block_bytes, large.rows_per_block, large.place(3)), (8192, 1, (3, 0)));
}
