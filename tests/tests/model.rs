//! Random programs on the simulated engine. `AQUIFER_SEEDS=n` runs n seeds (from `AQUIFER_FIRST`
//! on), `AQUIFER_SEED=s` runs one and tells what it did.

use aquifer_tests::model::run::{describe, run};
use aquifer_tests::sim::driver::Sabotage;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Runs a seed twice: it must succeed, and do the same both times.
fn replay(seed: u64) -> Result<aquifer_tests::model::run::Report, String> {
    let first = run(seed, Sabotage::None)?;
    let second = run(seed, Sabotage::None)?;
    if first.trace != second.trace {
        return Err("two runs of it differ".to_owned());
    }
    Ok(first)
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
    let mut failures = Vec::new();
    for seed in first..first + count {
        if let Err(failure) = replay(seed) {
            eprintln!("seed {seed}: {failure}");
            failures.push(seed);
        }
    }
    assert!(
        failures.is_empty(),
        "seeds {failures:?} failed; replay one with AQUIFER_SEED=<seed> cargo test -p \
         aquifer-tests --test model random"
    );
}
