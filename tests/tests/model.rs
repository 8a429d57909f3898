//! Random programs on the simulated engine. `AQUIFER_SEEDS=n` runs n seeds (from `AQUIFER_FIRST`
//! on), `AQUIFER_SEED=s` runs one and tells what it did.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aquifer_tests::model::report::{Report, reached};
use aquifer_tests::model::run::{describe, run};
use aquifer_tests::sim::driver::Sabotage;
use aquifer_tests::sim::faults::Fault;

/// Seeds of an ordinary test run, a minute or two on two cores.
const SEEDS: u64 = 2_000;
/// Requests that they serve at least: 5,000 each.
const REQUESTS_MIN: u64 = 10_000_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Runs a seed twice: it must succeed, and do the same both times.
fn replay(seed: u64) -> Result<Report, String> {
    let first = run(seed, Sabotage::None)?;
    let second = run(seed, Sabotage::None)?;
    if first.trace != second.trace {
        return Err("two runs of it differ".to_owned());
    }
    Ok(first)
}

/// Runs seeds on all cores: what the good ones did, and the bad ones.
fn replay_all(seeds: Range<u64>) -> (Vec<Report>, Vec<u64>) {
    let next = AtomicU64::new(seeds.start);
    let ended = Mutex::new((Vec::new(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let replayed = replay(seed);
            let mut ended = ended.lock().unwrap();
            match replayed {
                Ok(report) => ended.0.push(report),
                Err(failure) => {
                    eprintln!("seed {seed}: {failure}");
                    ended.1.push(seed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    ended.into_inner().unwrap()
}

/// What only seeds with faults and small tables reach.
fn reached_by_seeds(reports: &[Report]) -> Vec<(&'static str, u64)> {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum();
    vec![
        ("requests failed under faults", sum(|r| r.failed)),
        ("requests failed by damage that stays", sum(|r| r.damage_seen)),
        ("writes refused for it", sum(|r| r.refused_writes)),
        ("checkpoints not opened for it", sum(|r| r.refused_opens)),
        ("hits of the SSD", sum(|r| r.ssd_hits)),
        ("damage of the SSD", sum(|r| r.ssd_damaged)),
        ("failures of the SSD", sum(|r| r.ssd_failures)),
        ("claims", sum(|r| r.claims)),
        ("failed jobs", sum(|r| r.counters.job_failures)),
        ("merges elsewhere", sum(|r| r.errands_done)),
        ("merges that came back", sum(|r| r.errands_returned)),
        ("merges elsewhere that nobody waited for", sum(|r| r.errands_late)),
        ("seeds with split tablets", sum(|r| u64::from(r.tablets_max > 1))),
    ]
}

#[test]
fn random_programs_agree_with_the_model() {
    if let Some(seed) = number("AQUIFER_SEED") {
        println!("{}", describe(seed));
        println!("{:#?}", replay(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}")));
        return;
    }
    let first = number("AQUIFER_FIRST").unwrap_or(1);
    let count = number("AQUIFER_SEEDS").unwrap_or(SEEDS);
    let (reports, failed) = replay_all(first..first + count);
    assert!(
        failed.is_empty(),
        "seeds {failed:?} failed; replay one with AQUIFER_SEED=<seed> cargo test -p \
         aquifer-tests --test model random"
    );
    // A test that stopped reaching something would go on passing.
    for (what, times) in reached(&reports).into_iter().chain(reached_by_seeds(&reports)) {
        println!("{what}: {times}");
        assert!(times > 0 || count < SEEDS, "{count} seeds never reached: {what}");
    }
    for &fault in Fault::ALL.iter().filter(|fault| !fault.of_roots()) {
        let times: u64 = reports.iter().map(|report| report.met[fault]).sum();
        println!("{fault:?}: {times}");
        assert!(times > 0 || count < SEEDS, "{count} seeds never met: {fault:?}");
    }
    let requests: u64 = reports.iter().map(|report| report.requests).sum();
    assert!(requests >= REQUESTS_MIN || count < SEEDS, "{count} seeds are too short");
}

// Seeds after which a planted fault must have been seen.
const SEEDS_TO_DETECT: u64 = 30;

fn detects(sabotage: Sabotage) {
    let seen = (1..=SEEDS_TO_DETECT).find(|&seed| run(seed, sabotage).is_err());
    assert!(seen.is_some(), "{sabotage:?} was not seen in {SEEDS_TO_DETECT} seeds");
}

#[test]
fn an_older_object_is_seen() {
    detects(Sabotage::OlderObject);
}

#[test]
fn a_neighbouring_page_is_seen() {
    detects(Sabotage::NeighbourPage);
}

#[test]
fn a_lost_write_is_seen() {
    detects(Sabotage::LostWrite);
}

#[test]
fn a_lost_delete_is_seen() {
    detects(Sabotage::LostDelete);
}

#[test]
fn a_wrong_value_is_seen() {
    detects(Sabotage::WrongValue);
}

#[test]
fn a_lost_entry_is_seen() {
    detects(Sabotage::LostEntry);
}

#[test]
fn a_lost_answer_is_seen() {
    detects(Sabotage::LostAnswer);
}

#[test]
fn a_double_answer_is_seen() {
    detects(Sabotage::DoubleAnswer);
}

#[test]
fn a_deleted_table_is_seen() {
    detects(Sabotage::DeletedTable);
}

#[test]
fn an_inexact_cut_is_seen() {
    detects(Sabotage::LateSnapshot);
}

#[test]
fn hidden_randomness_is_seen() {
    let differs = |seed| {
        let trace = || run(seed, Sabotage::HiddenRandomness).expect("it breaks no promise").trace;
        trace() != trace()
    };
    assert!((1..=3).any(differs));
}
