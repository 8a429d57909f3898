use clap::Parser;

use super::{Driver, LoadArgs};
use crate::load::{Dist, Workload};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn parse(line: &str) -> LoadArgs {
    Command::try_parse_from(line.split(' ')).unwrap().load
}

#[test]
fn defaults_are_those_of_the_contract() {
    let args = parse("bench get");
    assert_eq!((args.records, args.key_size, args.value_size), (1_000_000, 16, 128));
    assert_eq!(
        (args.shards, args.driver, args.batch, args.in_flight),
        (1, Driver::Owned, 64, 1024)
    );
    assert_eq!(args.memory.bytes(args.dataset(1).data_bytes()), 14_400_000);
    assert_eq!((args.seconds, args.warmup, args.seed, args.ssd), (10.0, 3.0, 1, 0));
    assert!(args.check().is_ok());
}

#[test]
fn workloads_split_at_commas_and_blanks() {
    let args = parse("bench load,get rmw --dist zipf:0.9 --rate 5K");
    assert_eq!(args.workloads, [Workload::Load, Workload::Get, Workload::Rmw]);
    assert_eq!((args.dist, args.rate), (Some(Dist::Zipf(0.9)), Some(5000)));
}

#[test]
fn options_survive_the_report() {
    let args =
        parse("bench get-absent --records 2M --memory 288M --io uring --dist hotspot:0.1:0.9");
    let json = serde_json::to_value(&args).unwrap();
    assert_eq!((&json["in-flight"], &json["workloads"][0]), (&1024.into(), &"get-absent".into()));
    let again: LoadArgs = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), json);
}

#[test]
fn impossible_options_are_refused_with_a_remedy() {
    let cases = [
        ("ycsb-e", "of its own, beside load alone"),
        ("--records 0", "at least 1"),
        ("--records 5G", "at most 4294967295"),
        ("--key-size 7", "'--key-size <SIZE>': '7' is too small: use at least 8"),
        ("--key-size 3K", "at most 2048"),
        ("--value-size 4", "at least 8"),
        ("--value-size 100M", "'100M' is too large: use at most 16777216"),
        ("--value-size x", "'x' is no size: use digits, with K, M"),
        ("--compressible 0.5", "ratio"),
        ("--shards 0", "drives one shard: use 1"),
        ("--shards 2", "drives one shard: use 1"),
        ("--batch 0", "at least 1"),
        ("--batch 1M", "at most 65536"),
        ("--memory 10000T", "--memory 10995116277760000: 9.77 PiB is more than this machine has"),
        ("--memory 100% --records 4G --value-size 1M --batch 1", "is more than this machine has"),
        ("--in-flight 0", "--in-flight"),
        ("--in-flight 1M", "at most 65536"),
        ("--seconds 0", "--seconds"),
        ("--rate 0", "at least 1"),
        ("--seed x", "'x' is no count"),
        ("--memory 0%", "above 0"),
        ("--reuse", "--dir"),
        ("--value-size 1M --batch 5000 --in-flight 5000", "lower --batch"),
    ];
    for (options, hint) in cases {
        let error = match Command::try_parse_from(format!("bench get {options}").split(' ')) {
            Ok(command) => format!("{:#}", command.load.check().unwrap_err()),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(hint), "{options}: {error}");
    }
    assert!(Command::try_parse_from(["bench"]).is_err());
}

#[test]
fn counts_and_sizes_have_units_everywhere() {
    let args = parse("bench get --value-size 4K --batch 1K --in-flight 2K --seed 1K");
    assert_eq!((args.value_size, args.batch, args.in_flight, args.seed), (4096, 1000, 2000, 1000));
}

#[test]
fn a_batch_is_never_more_than_may_be_in_flight() {
    let args = LoadArgs { shards: 2, ..parse("bench get --batch 64 --in-flight 10") };
    assert_eq!((args.in_flight_all(), args.batch_ops()), (20, 20));
}

#[test]
fn compressible_values_have_their_share_of_random_bytes() {
    assert_eq!(parse("bench get --compressible 2").dataset(1).random_bytes, 64);
    assert_eq!(parse("bench get --compressible 1000").dataset(1).random_bytes, 8);
    assert_eq!(parse("bench get").dataset(1).random_bytes, 128);
}
