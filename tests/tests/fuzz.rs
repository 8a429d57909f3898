//! The fuzz targets on their seeds and on mutations of them: what a fuzzer would find in a minute.
//!
//! `AQUIFER_FUZZ=n` makes n mutations for each target, `AQUIFER_SEED` is the first number drawn
//! from. See `fuzz/README.md` for the fuzzer itself.

use std::path::Path;

use aquifer_tests::fuzz::{TARGETS, Target, mutate};
use aquifer_tests::sim::rng::Rng;

/// Mutations that an ordinary run makes for a target.
const MUTATIONS: usize = 5_000;
/// Forged stores, each of which takes some milliseconds.
const STORES: usize = 2_000;

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder("seeds").join(target.name)).expect("a target has seeds");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

// Tries inputs that `draw` makes of a seed, as many as asked for.
fn try_all(target: &Target, count: usize, draw: impl Fn(Vec<u8>, &mut Rng) -> Vec<u8>) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{}", target.name);
    seeds.iter().for_each(|seed| (target.run)(seed));
    let mut rng = Rng::new(number("AQUIFER_SEED").unwrap_or(1) as u64);
    for at in 0..number("AQUIFER_FUZZ").unwrap_or(count) {
        let bytes = draw(seeds[rng.below(seeds.len())].clone(), &mut rng);
        let run = std::panic::AssertUnwindSafe(|| (target.run)(&bytes));
        if std::panic::catch_unwind(run).is_err() {
            panic!("{}: input {at} is {bytes:02x?}", target.name);
        }
    }
}

#[test]
fn no_parser_panics() {
    for target in TARGETS.iter().filter(|target| target.name != "store") {
        try_all(target, MUTATIONS, |mut bytes, rng| {
            mutate(&mut bytes, rng);
            bytes
        });
    }
}

#[test]
fn no_store_of_forged_objects_panics_or_hangs() {
    let target = TARGETS.iter().find(|target| target.name == "store").unwrap();
    // Edits of four bytes each: changes of a seed would mostly shift them.
    try_all(target, STORES, |_, rng| {
        let edits = rng.between(1, 6);
        (0..4 * edits).map(|_| rng.next_u64() as u8).collect()
    });
}

#[test]
fn every_target_has_its_file() {
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in TARGETS {
        let file = folder("fuzz_targets").join(target.name).with_extension("rs");
        let text = std::fs::read_to_string(&file).expect("a target has a file");
        assert!(text.contains(&format!("run(\"{}\", data)", target.name)), "{text}");
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
    }
}
