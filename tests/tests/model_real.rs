//! Random programs on the real engine, on a real disk, through its Rust and its C interface.
//! `AQUIFER_PROGRAMS=n` runs n of them, `AQUIFER_PROGRAM=s` one.

use aquifer::shard::engine::ShardThread;
use aquifer_tests::model::real::{run, run_abi, run_elsewhere};
use aquifer_tests::model::report::{Report, asked_of_c, reached, reached_elsewhere};

/// Programs of an ordinary test run, for each kind of shard.
const PROGRAMS: u64 = 8;
/// Requests that they serve at least.
const REQUESTS_MIN: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// How to run a program, and what must be reached.
type Way =
    (fn(u64, ShardThread) -> Result<Report, String>, fn(&[Report]) -> Vec<(&'static str, u64)>);

const RUST: Way = (run, reached);
const ELSEWHERE: Way = (run_elsewhere, reached_elsewhere);
const C: Way = (run_abi, asked_of_c);

fn agree_with_the_model((run, reached): Way, thread: ShardThread) {
    let one = number("AQUIFER_PROGRAM");
    let count = number("AQUIFER_PROGRAMS").unwrap_or(PROGRAMS);
    let programs = one.map_or(1..=count, |seed| seed..=seed);
    let run = |seed| {
        run(seed, thread).unwrap_or_else(|failure| {
            panic!(
                "program {seed}: {failure}; run it alone with AQUIFER_PROGRAM={seed} cargo test \
                 -p aquifer-tests --test model_real"
            )
        })
    };
    let reports: Vec<Report> = programs.map(run).collect();
    let ordinary = one.is_none() && count >= PROGRAMS;
    for (what, times) in reached(&reports) {
        println!("{thread:?}: {what}: {times}");
        assert!(times > 0 || !ordinary, "{count} programs never reached: {what}");
    }
    let requests: u64 = reports.iter().map(|report| report.requests).sum();
    assert!(requests >= REQUESTS_MIN || !ordinary, "{count} programs are too short");
}

#[test]
fn programs_on_an_inline_shard_agree_with_the_model() {
    agree_with_the_model(RUST, ShardThread::Inline);
}

#[test]
fn programs_on_an_owned_shard_agree_with_the_model() {
    agree_with_the_model(RUST, ShardThread::Owned);
}

#[test]
fn programs_whose_merges_go_elsewhere_agree_with_the_model() {
    agree_with_the_model(ELSEWHERE, ShardThread::Owned);
}

#[test]
fn c_programs_on_an_inline_shard_agree_with_the_model() {
    agree_with_the_model(C, ShardThread::Inline);
}

#[test]
fn c_programs_on_an_owned_shard_agree_with_the_model() {
    agree_with_the_model(C, ShardThread::Owned);
}
